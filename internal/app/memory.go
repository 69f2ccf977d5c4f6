package app

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// The runtime's settings if its own variables GOMEMLIMIT and GOGC do not say
// otherwise. Most of the heap are caches that are there to stay, and marking them is
// the cost of a collection: with four times the room there are a quarter as many.
const (
	memoryLimit = 2 << 30 // bytes, at most
	gcPercent   = 400
)

// limitMemory sets them.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limitWithin(os.DirFS("/sys/fs/cgroup")))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
}

// limitWithin returns the limit of memory in a container: nine tenths of what it
// has, since not all memory is the runtime's, and at most memoryLimit. fsys is where
// a container sees its control group, of version 2 or 1.
func limitWithin(fsys fs.FS) int64 {
	for _, name := range []string{"memory.max", "memory/memory.limit_in_bytes"} {
		b, err := fs.ReadFile(fsys, name)
		if err != nil {
			continue
		}
		// Without a limit it says "max", or more bytes than any machine has.
		if n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && n > 0 {
			return min(memoryLimit, n/10*9)
		}
	}
	return memoryLimit
}

// mostMemory is the most that memoryShare gives, in bytes.
const mostMemory = 256 << 20

// memoryShare returns how many bytes each of the four large users of memory may
// take: customers in use, records that wait, and of the local copy the block cache
// and what is not yet in files. It is an eighth of GOMEMLIMIT, so that half of the
// limit is left for what is in flight and for the runtime.
func memoryShare() int64 { return min(mostMemory, debug.SetMemoryLimit(-1)/8) }

// batchShare is how many of the largest transactions one such share must hold: with
// their copies on the way to the brokers they are part of what is in flight.
const batchShare = 16

// openState opens the local copy of an application's state.
func (c *Config) openState(log *slog.Logger) (*state.Store, error) {
	store, err := state.Open(c.State, state.Options{
		App: c.App, Now: time.Now, Wake: engine.WakeOf, Logger: log, CacheBytes: memoryShare(), MemTableBytes: memoryShare(),
	})
	return store, explainDisk(err, c.State)
}

// explainDisk says what to do about a disk that has refused something.
func explainDisk(err error, dir string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: the disk of %s is full: free some space, or move state to a larger disk, and restart; nothing is lost: the changelog has what the local copy lacks", err, dir)
	case errors.Is(err, state.ErrFailed):
		return fmt.Errorf("%w: the disk of %s failed, or the directory was removed: repair it and restart; nothing is lost: the changelog has what the local copy lacks", err, dir)
	}
	return err
}

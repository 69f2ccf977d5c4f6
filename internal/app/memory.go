package app

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// What the runtime is told if its own variables GOMEMLIMIT and GOGC do not say
// otherwise. Most of the heap are caches that are there to stay, and marking them is
// the cost of a collection: with twice the room there are half as many.
const (
	memoryLimit = 2 << 30 // bytes
	gcPercent   = 200
)

// limitMemory sets them.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
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

// storeOptions returns how the local copy is opened.
func storeOptions(log *slog.Logger) state.Options {
	return state.Options{Wake: engine.WakeOf, Logger: log, CacheBytes: memoryShare(), MemTableBytes: memoryShare()}
}

// explainDisk says what to do about a disk that has refused something.
func explainDisk(err error, dir string) error {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: the disk of %s is full: make room there, or set state to a larger disk, and start again; nothing is lost, what the local copy lacks comes from the changelog", err, dir)
	case errors.Is(err, state.ErrFailed):
		return fmt.Errorf("%w: the disk of %s does not do what it should, or the directory was taken away: start again when it is mended; nothing is lost, what the local copy lacks comes from the changelog", err, dir)
	}
	return err
}

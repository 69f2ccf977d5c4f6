package app

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

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

package preview

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// memory is how much of it each part of the temporary store takes, in bytes.
const memory = 64 << 20

// TempStore opens an empty store in a directory of its own below dir, "" meaning the system's
// for temporary files. remove closes it and removes it; it may be given what went wrong
// meanwhile, and returns it with what to do about it.
func TempStore(dir, app string, log *slog.Logger) (store *state.Store, remove func(error) error, err error) {
	own, err := os.MkdirTemp(dir, "segmill-preview-")
	if err != nil {
		return nil, nil, fmt.Errorf("--tmp: %w", err)
	}
	store, err = state.Open(filepath.Join(own, "state"), state.Options{App: app, Wake: engine.WakeOf, Logger: log, CacheBytes: memory, MemTableBytes: memory})
	if err != nil {
		return nil, nil, explained(errors.Join(err, os.RemoveAll(own)), own)
	}
	return store, func(wrong error) error {
		return explained(errors.Join(wrong, store.Close(), os.RemoveAll(own)), own)
	}, nil
}

// explained says what to do about a disk that has refused something.
func explained(err error, dir string) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, state.ErrFailed) {
		return fmt.Errorf("%w: a preview keeps the state of one partition below %s: name another directory with --tmp", err, filepath.Dir(dir))
	}
	return err
}

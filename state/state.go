// Package state keeps the local copy of what the changelog says: customers, the
// index of their next due instants, and how far the copy has come. It is a
// Pebble database, one per instance, in which every task has a key prefix.
//
// The one rule: what belongs together is written in one batch, so that after
// any crash a task's copy is exactly what it was at some earlier position, and
// says which. The copy is written only after the changelog has committed, so it
// can be behind the changelog and never ahead of it; losing it costs time and
// nothing else. The package knows nothing of Kafka or of what the bytes mean.
package state

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/segmill/segmill/engine/expr"
)

// Millis is an instant in milliseconds since 1970.
type Millis = expr.Millis

// Never is later than every instant: a customer that is not in the due index.
const Never = expr.Never

// ErrFailed is wrapped by every error after the disk refused a write. The store
// stays failed: only a new process can open the directory again.
var ErrFailed = errors.New("state: the store failed")

// ErrDamaged is wrapped by errors that say that stored bytes are not what was
// written. Close the store and open it again: Open sets the files aside.
var ErrDamaged = errors.New("state: the store is damaged")

// ErrInUse is wrapped by the reason of WasReset if the damage was found while the
// database was in use, and not when it was opened.
var ErrInUse = errors.New("found while it was in use")

// Store is the database of one instance. Its methods may be called by any
// goroutine; a Task belongs to one.
type Store struct {
	db   *pebble.DB
	lock *pebble.Lock
	dir  string
	mark mark
	opt  Options

	// failed is closed when the disk refuses a write, once, after err is set. It
	// releases whoever waits for Pebble, which does not return then.
	failed chan struct{}
	mu     sync.Mutex
	err    error // the first failure or damage
}

// Open opens the database in dir, and creates it if there is none. The directory
// is the store's own: one that holds something else, or the state of another
// application, is an error that wraps ErrForeign, and nothing in it is touched. A
// database that can't be read is moved to dir + ".damaged-" and the time, and an
// empty one is created: WasReset then returns the reason. Other errors are left
// for what moving does not help: no permission, no space, another process.
func Open(dir string, opt Options) (*Store, error) {
	opt = opt.withDefaults()
	s := &Store{dir: filepath.Clean(dir), opt: opt, failed: make(chan struct{})}
	if err := s.claimDir(); err != nil {
		return nil, err
	}
	if err := s.openClaimed(); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	return s, nil
}

// openClaimed opens the database of a directory that is claimed and locked.
func (s *Store) openClaimed() error {
	reason := s.damageMarked()
	if reason == nil {
		if reason = s.openPebble(); reason == nil {
			return nil
		}
		if !worthSettingAside(reason) {
			return fmt.Errorf("state: open %s: %w", s.dir, reason)
		}
	}
	aside, err := s.setAside()
	if err != nil {
		return fmt.Errorf("%w; the database was set aside because of: %w", err, reason)
	}
	s.opt.Logger.Error("local state cannot be read: set aside, and every task restores from its changelog",
		"dir", s.dir, "moved_to", aside, "error", reason)
	if err := s.openPebble(); err != nil {
		return fmt.Errorf("state: open %s: %w", s.dir, err)
	}
	s.opt.reset = reason
	return nil
}

func (s *Store) takeLock() error {
	lock, err := pebble.LockDirectory(s.dir, s.opt.FS)
	if err != nil {
		return fmt.Errorf("state: lock %s (is another process using it?): %w", s.dir, err)
	}
	s.lock = lock
	return nil
}

// openPebble opens the database under the lock. Bytes that are wrong in the
// right place make Pebble panic instead of returning an error, and a disk that
// refuses what was in the log makes it try again without end: as in guard, the
// wait ends when the store fails.
func (s *Store) openPebble() error {
	type result struct {
		db  *pebble.DB
		err error
	}
	done := make(chan result, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- result{err: fmt.Errorf("%w: %v", ErrDamaged, r)}
			}
		}()
		db, err := pebble.Open(s.dir, s.opt.pebbleOptions(s))
		done <- result{db, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return r.err
		}
		s.db = r.db
	case <-s.failed:
		return s.Err()
	}
	err := s.Err()
	if errors.Is(err, ErrDamaged) {
		return errors.Join(err, s.db.Close())
	}
	return err
}

// WasReset returns why Open set an earlier database aside, nil if it did not.
func (s *Store) WasReset() error { return s.opt.reset }

// Err returns the failure or damage that the store was found to have, or nil.
func (s *Store) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail records the first failure or damage.
func (s *Store) fail(kind error, format string, args ...any) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.err = fmt.Errorf("%w: %w", kind, fmt.Errorf(format, args...))
	if errors.Is(kind, ErrDamaged) {
		s.markDamaged()
	} else {
		close(s.failed)
	}
	s.opt.Logger.Error("state store", "dir", s.dir, "error", s.err)
	return s.err
}

// guard runs a write. After a refused write Pebble's commit queue never moves
// again, so every batch in it behind the failed one would wait for ever:
// the wait ends when the store fails, and the goroutine is given up with it.
func (s *Store) guard(write func() error) error {
	if err := s.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- s.fail(ErrFailed, "%v", r)
			}
		}()
		done <- write()
	}()
	select {
	case err := <-done:
		if err != nil {
			return s.judge(err)
		}
		return s.Err()
	case <-s.failed:
		return s.Err()
	}
}

// judge turns an error of Pebble into one of ours.
func (s *Store) judge(err error) error {
	if errors.Is(err, pebble.ErrCorruption) {
		return s.fail(ErrDamaged, "%v", err)
	}
	return fmt.Errorf("state: %w", err)
}

// Close flushes and closes the database. After a failure it only returns the
// failure: Pebble's goroutines may still hold the files.
func (s *Store) Close() error {
	select {
	case <-s.failed:
		return s.Err()
	default:
	}
	err := s.db.Close()
	return errors.Join(err, s.lock.Close())
}

// Stats are sizes and counts of the database.
type Stats struct {
	DiskBytes, CacheBytes, MemTableBytes int64
	CacheHits, CacheMisses               int64
	Compactions, Flushes                 int64
	ReadAmp                              int
}

// Stats returns the sizes now.
func (s *Store) Stats() Stats {
	m := s.db.Metrics()
	return Stats{
		DiskBytes: int64(m.DiskSpaceUsage()), CacheBytes: m.BlockCache.Size, MemTableBytes: int64(m.MemTable.Size),
		CacheHits: m.BlockCache.Hits, CacheMisses: m.BlockCache.Misses,
		Compactions: m.Compact.Count, Flushes: m.Flush.Count, ReadAmp: m.ReadAmp(),
	}
}

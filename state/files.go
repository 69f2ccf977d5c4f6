package state

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const (
	asideSuffix = ".damaged"
	damageFile  = "DAMAGED"
)

// private is the disk with modes that keep other users out: the files hold
// personal data.
type private struct{ vfs.FS }

// Unwrap returns the file system below.
func (p private) Unwrap() vfs.FS { return p.FS }

// Create creates a file of mode 0600.
func (p private) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.Create(name, c)
	return closed(name, f, err)
}

// OpenReadWrite opens a file, which gets the mode 0600.
func (p private) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := p.FS.OpenReadWrite(name, c, opts...)
	return closed(name, f, err)
}

// ReuseForWrite is ReuseForWrite of the disk; the file keeps its mode of 0600.
func (p private) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := p.FS.ReuseForWrite(oldname, newname, c)
	return closed(newname, f, err)
}

// MkdirAll creates directories; the last one gets the mode 0700 also if it is
// there already.
func (p private) MkdirAll(dir string, perm os.FileMode) error {
	if err := p.FS.MkdirAll(dir, perm); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

func closed(name string, f vfs.File, err error) (vfs.File, error) {
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// worthSettingAside reports whether an error of opening is about what is in the
// files. The copy can always be made again, so in doubt it is.
func worthSettingAside(err error) bool {
	for _, e := range []error{fs.ErrPermission, syscall.ENOSPC, syscall.EMFILE, syscall.ENFILE, syscall.EROFS, ErrFailed} {
		if errors.Is(err, e) {
			return false
		}
	}
	return true
}

// setAside renames the directory and begins an empty one, under a new lock.
func (s *Store) setAside() error {
	aside := s.dir + asideSuffix
	if err := s.lock.Close(); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := s.opt.FS.RemoveAll(aside); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	if err := s.opt.FS.Rename(s.dir, aside); err != nil {
		return fmt.Errorf("state: set aside: %w", err)
	}
	if err := s.opt.FS.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("state: %w", err)
	}
	s.mu.Lock()
	s.err, s.failed, s.damaged = nil, make(chan struct{}), make(chan struct{})
	s.mu.Unlock()
	return s.takeLock()
}

// markDamaged leaves a note for the next Open. If that does not work, Open will
// meet the damage itself.
func (s *Store) markDamaged() {
	f, err := s.opt.FS.Create(filepath.Join(s.dir, damageFile), vfs.WriteCategoryUnspecified)
	if err == nil {
		_ = f.Close()
	}
}

// damageMarked returns an error if an earlier process left the note.
func (s *Store) damageMarked() error {
	if _, err := s.opt.FS.Stat(s.opt.FS.PathJoin(s.dir, damageFile)); err != nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrDamaged, ErrInUse)
}

package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const damageFile = "DAMAGED"

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

// MkdirAll creates directories; the last one gets the mode 0700, unless it is
// there already: what somebody else has made keeps its mode.
func (p private) MkdirAll(dir string, perm os.FileMode) error {
	if _, err := os.Lstat(dir); err == nil {
		return nil
	}
	if err := p.FS.MkdirAll(dir, perm); err != nil {
		return err
	}
	return os.Chmod(dir, 0o700)
}

// Lock locks a file, which gets the mode 0600.
func (p private) Lock(name string) (io.Closer, error) {
	l, err := p.FS.Lock(name)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(name, 0o600); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Lstat describes a file without following a symbolic link.
func (private) Lstat(name string) (os.FileInfo, error) { return os.Lstat(name) }

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

package state

import (
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// walFS hides errors of the write-ahead log from Pebble, which answers some of
// them by a panic under a lock that it does not hold, the one thing in Go that
// can't be recovered from. The store fails instead, and every call says so.
//
// From the first error on nothing more is written to any log. Otherwise:
//  1. a write to log 5 fails and is dropped;
//  2. Pebble, which has not heard of it, goes on to log 6, and that works;
//  3. the next process replays 5 up to the hole and then 6: a state that never
//     was.
//
// Nor is anything else written or removed then: Pebble expects that the process
// has ended where it could not write its MANIFEST. It would flush again what that
// record already names, and the next process would find every key twice.
type walFS struct {
	vfs.FS
	s *Store
}

// Unwrap returns the file system below.
func (w walFS) Unwrap() vfs.FS { return w.FS }

// Create creates a file.
func (w walFS) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.writable(name, func() (vfs.File, error) { return w.FS.Create(name, c) })
}

// ReuseForWrite makes a new file of an old one.
func (w walFS) ReuseForWrite(oldname, newname string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return w.writable(newname, func() (vfs.File, error) { return w.FS.ReuseForWrite(oldname, newname, c) })
}

// OpenReadWrite opens a file for writing.
func (w walFS) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return w.writable(name, func() (vfs.File, error) { return w.FS.OpenReadWrite(name, c, opts...) })
}

// Link makes a second name of a file.
func (w walFS) Link(oldname, newname string) error {
	return w.s.unfailed(func() error { return w.FS.Link(oldname, newname) })
}

// Remove removes a file.
func (w walFS) Remove(name string) error {
	return w.s.unfailed(func() error { return w.FS.Remove(name) })
}

// RemoveAll removes a directory.
func (w walFS) RemoveAll(name string) error {
	return w.s.unfailed(func() error { return w.FS.RemoveAll(name) })
}

// Rename renames a file.
func (w walFS) Rename(oldname, newname string) error {
	return w.s.unfailed(func() error { return w.FS.Rename(oldname, newname) })
}

// unfailed does something unless the store has failed.
func (s *Store) unfailed(do func() error) error {
	select {
	case <-s.failed:
		return s.Err()
	default:
		return do()
	}
}

// OpenDir opens a directory. Pebble syncs it when a log is created.
func (w walFS) OpenDir(name string) (vfs.File, error) {
	f, err := w.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &walFile{File: f, s: w.s}, nil
}

// writable creates a file to be written.
func (w walFS) writable(name string, create func() (vfs.File, error)) (f vfs.File, err error) {
	err = w.s.unfailed(func() error { f, err = create(); return err })
	switch {
	case filepath.Ext(name) != ".log":
		if err != nil {
			if w.s.Err() != nil {
				<-time.After(100 * time.Millisecond) // Pebble tries again at once, for ever
			}
			return nil, err
		}
		return &otherFile{File: f, s: w.s}, nil
	case err != nil:
		_ = w.s.fail(ErrFailed, "%w", err)
		f = nowhere{}
	}
	return &walFile{File: f, s: w.s}, nil
}

// otherFile is a file that is not a log.
type otherFile struct {
	vfs.File
	s *Store
}

// Write appends p.
func (f *otherFile) Write(p []byte) (n int, err error) {
	err = f.s.unfailed(func() error { n, err = f.File.Write(p); return err })
	return n, err
}

// WriteAt writes p at an offset.
func (f *otherFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.s.unfailed(func() error { n, err = f.File.WriteAt(p, off); return err })
	return n, err
}

// Sync makes what was written durable.
func (f *otherFile) Sync() error { return f.s.unfailed(f.File.Sync) }

// walFile is a log, or the directory of the logs.
type walFile struct {
	vfs.File
	s *Store
}

// do runs a write unless the store has failed, and makes it fail on an error.
func (f *walFile) do(write func() error) error {
	select {
	case <-f.s.failed:
		return nil
	default:
	}
	if err := write(); err != nil {
		_ = f.s.fail(ErrFailed, "%w", err)
	}
	return nil
}

// Write appends p.
func (f *walFile) Write(p []byte) (int, error) {
	return len(p), f.do(func() error { _, err := f.File.Write(p); return err })
}

// Sync makes what was written durable.
func (f *walFile) Sync() error { return f.do(f.File.Sync) }

// SyncData makes what was written durable.
func (f *walFile) SyncData() error { return f.do(f.File.SyncData) }

// SyncTo makes a prefix durable.
func (f *walFile) SyncTo(length int64) (full bool, err error) {
	err = f.do(func() error { full, err = f.File.SyncTo(length); return err })
	return full, err
}

// Preallocate reserves space.
func (f *walFile) Preallocate(offset, length int64) error {
	return f.do(func() error { return f.File.Preallocate(offset, length) })
}

// Close closes the file.
func (f *walFile) Close() error { return f.do(f.File.Close) }

// nowhere takes the place of a file that could not be created.
type nowhere struct{}

var errNowhere = errors.New("no such file")

func (nowhere) Close() error                       { return nil }
func (nowhere) Read([]byte) (int, error)           { return 0, io.EOF }
func (nowhere) ReadAt([]byte, int64) (int, error)  { return 0, io.EOF }
func (nowhere) Write(p []byte) (int, error)        { return len(p), nil }
func (nowhere) WriteAt([]byte, int64) (int, error) { return 0, errNowhere }
func (nowhere) Preallocate(int64, int64) error     { return nil }
func (nowhere) Stat() (vfs.FileInfo, error)        { return nil, errNowhere }
func (nowhere) Sync() error                        { return nil }
func (nowhere) SyncTo(int64) (bool, error)         { return true, nil }
func (nowhere) SyncData() error                    { return nil }
func (nowhere) Prefetch(int64, int64) error        { return nil }
func (nowhere) Fd() uintptr                        { return vfs.InvalidFd }

package state

import (
	"errors"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fullFor is a disk on which no file with an ending can be made.
type fullFor struct {
	vfs.FS
	ending string
}

func (f fullFor) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if filepath.Ext(name) == f.ending {
		return nil, syscall.ENOSPC
	}
	return f.FS.Create(name, c)
}

// A flush that fails makes the store fail, with the reason. Pebble alone would try
// it again and again, while commits wait for room in memory.
func TestFlushFails(t *testing.T) {
	opt := options(fullFor{vfs.NewMem(), ".sst"})
	opt.MemTableBytes = 4 << 20
	s, err := Open("state", opt)
	if err != nil {
		t.Fatal(err)
	}
	task := s.Task(1)
	value := bytesOf(Never, string(make([]byte, 100_000)))
	for i := range 1_000 { // many times what fits into memory
		if err = task.Apply([]Change{{Customer: string(rune('a' + i%26)), Value: value, Old: Never, New: Never}}, &Meta{}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want the full disk", err)
	}
	if err := s.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("Close: %v", err)
	}
}

// What is in the log and can't be written to a file when the store is opened fails
// in the same way, and is not taken for damage.
func TestOpenOnFullDisk(t *testing.T) {
	files := vfs.NewMem()
	s := open(t, files)
	if err := s.Task(1).Apply([]Change{{Customer: "a", Value: bytesOf(Never, "x"), Old: Never, New: Never}}, &Meta{}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s) // leaves it in the log
	_, err := Open("db", options(fullFor{files, ".sst"}))
	if !errors.Is(err, ErrFailed) || !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("got %v, want the full disk", err)
	}
	if names, err := files.List("/"); err != nil || len(names) != 1 {
		t.Errorf("the store was set aside: %v, %v", names, err)
	}
}

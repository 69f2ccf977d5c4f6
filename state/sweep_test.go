package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
)

// injector counts what an injector refuses, by kind.
type injector struct {
	errorfs.Injector
	mu   *sync.Mutex
	hits map[errorfs.OpKind]int
}

func (in injector) MaybeError(op errorfs.Op) error {
	err := in.Injector.MaybeError(op)
	if err != nil {
		in.mu.Lock()
		in.hits[op.Kind]++
		in.mu.Unlock()
	}
	return err
}

// readAll reads everything of a task in every way there is. What is read without
// an error must be what the first steps wrote, as many as the meta says.
func readAll(t *testing.T, task *Task) error {
	t.Helper()
	m, ok, err := task.Meta()
	if err != nil {
		return err
	}
	want := map[string]string{}
	if ok {
		for i := range int(m.Next) + 1 {
			want[fmt.Sprintf("c%d", i%7)] = string(bytesOf(Millis(i+1), fmt.Sprint(i)))
		}
	}
	got := map[string]string{}
	if err := task.Scan("", func(id string, v []byte) error { got[id] = string(v); return nil }); err != nil {
		return err
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("misread: %s", diff)
	}
	for id, v := range want {
		b, ok, err := task.Customer(nil, id)
		if err != nil {
			return err
		}
		if !ok || string(b) != v {
			t.Errorf("misread: %s is %q, want %q", id, b, v)
		}
	}
	due, err := task.Due(nil, Due{}, Never, 100)
	if err == nil && len(due) != len(want) {
		t.Errorf("misread: due %v", due)
	}
	return err
}

// used returns the files of a store that has been used: two tables, and a log
// that holds more.
func used(t *testing.T) *vfs.MemFS {
	t.Helper()
	files := vfs.NewCrashableMem()
	s := open(t, files)
	from := 0
	for _, n := range []int{30, 50, 60} {
		if _, err := writeSteps(s.Task(1), from, n); err != nil {
			t.Fatal(err)
		}
		if n < 60 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		from = n
	}
	closeStore(t, s)
	return files
}

// use opens a store and does with it all that is done to one.
func use(t *testing.T, files vfs.FS) error {
	opt := options(files)
	opt.quiet = true
	s, err := Open("db", opt)
	if err != nil {
		return err
	}
	task := s.Task(1)
	if s.WasReset() != nil {
		return errors.Join(readAll(t, task), s.Close())
	}
	steps := func() error {
		if err := readAll(t, task); err != nil {
			return err
		}
		if _, err := writeSteps(task, 60, 80); err != nil {
			return err
		}
		if err := s.guard(s.db.Flush); err != nil {
			return err
		}
		compact := func() error { return s.db.Compact(context.Background(), []byte{0}, []byte{0xff}, false) }
		if err := s.guard(compact); err != nil {
			return err
		}
		if _, err := writeSteps(task, 80, 90); err != nil {
			return err
		}
		return readAll(t, task)
	}
	return errors.Join(steps(), s.Close())
}

// An error of any file operation of a store that is in use, reads and compaction
// included, ends in an error of ours or does not matter: nothing is misread, and
// what is on the disk stays a prefix.
func TestDiskErrorsInUse(t *testing.T) {
	prepared := used(t)
	hits := map[errorfs.OpKind]int{}
	var mu sync.Mutex
	// Their number differs a little from run to run.
	for i, beyond := int32(0), 0; beyond < 5; i++ {
		n := total(hits)
		files := prepared.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(i), 0))})
		err := use(t, errorfs.Wrap(files, injector{errorfs.OnIndex(i), &mu, hits}))
		if t.Failed() || strings.Contains(fmt.Sprint(err), "lock held") {
			t.Fatalf("operation %d: %v", i, err)
		}
		checkAfter(t, files, i)
		if total(hits) == n {
			beyond++
		}
	}
	t.Logf("%d operations: %v", total(hits), hits)
	for _, kind := range []errorfs.OpKind{
		errorfs.OpCreate, errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpRename, errorfs.OpRemove, errorfs.OpList,
		errorfs.OpFileRead, errorfs.OpFileReadAt, errorfs.OpFileWrite,
	} {
		if hits[kind] == 0 {
			t.Errorf("no operation of kind %d", kind)
		}
	}
	if hits[errorfs.OpFileSync]+hits[errorfs.OpFileSyncData]+hits[errorfs.OpFileSyncTo] == 0 {
		t.Error("nothing was synced")
	}
}

func total(hits map[errorfs.OpKind]int) (n int) {
	for _, k := range hits {
		n += k
	}
	return n
}

// checkAfter opens what a store has left behind on a disk that works.
func checkAfter(t *testing.T, files *vfs.MemFS, i int32) {
	t.Helper()
	s := open(t, files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(i), 1))}))
	if err := readAll(t, s.Task(1)); err != nil || t.Failed() {
		t.Fatalf("after operation %d: %v", i, err)
	}
	closeStore(t, s)
}

// full refuses every write from one operation on, as a full disk does.
type full struct{ after *errorfs.InjectIndex }

func (f full) String() string { return "(full)" }

func (f full) MaybeError(op errorfs.Op) error {
	switch op.Kind {
	case errorfs.OpCreate, errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate, errorfs.OpMkdirAll, errorfs.OpLink, errorfs.OpReuseForWrite:
		if f.after.Index.Load() < 0 || f.after.MaybeError(op) != nil {
			return syscall.ENOSPC
		}
	}
	return nil
}

// A full disk ends in an error, reading goes on, the files are not set aside, and
// with space again everything is there up to some step.
func TestDiskFull(t *testing.T) {
	prepared := used(t)
	failed := 0
	for i, beyond := int32(0), 0; beyond < 5; i++ {
		files := prepared.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(i), 0))})
		in := full{errorfs.OnIndex(i)}
		if err := use(t, errorfs.Wrap(files, in)); err != nil {
			failed++
		} else if in.after.Index.Load() >= 0 {
			beyond++ // it had no so many
		}
		if t.Failed() {
			t.Fatalf("operation %d", i)
		}
		s := open(t, files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(i), 1))}))
		if s.WasReset() != nil {
			t.Errorf("operation %d: set aside because the disk was full: %v", i, s.WasReset())
		} else if k := checkPrefix(t, s.Task(1)); k < 60 {
			t.Errorf("operation %d: %d steps are left", i, k)
		}
		closeStore(t, s)
	}
	t.Logf("%d ended in an error", failed)
	if failed < 10 {
		t.Errorf("only %d ended in an error", failed)
	}
}

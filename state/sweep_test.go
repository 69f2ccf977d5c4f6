package state

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
)

// injector refuses one operation: the n-th of its kind. How many operations of other
// kinds stand before it differs from run to run, since Pebble works in the background.
type injector struct {
	kind errorfs.OpKind
	n    int64
	seen *atomic.Int64 // of the kind
}

func (in injector) String() string { return fmt.Sprintf("(number %d of kind %d)", in.n, in.kind) }

func (in injector) MaybeError(op errorfs.Op) error {
	if op.Kind == in.kind && in.seen.Add(1)-1 == in.n {
		return errorfs.ErrInjected
	}
	return nil
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

// sweptKinds are the kinds of operations that a store in use is sure to do.
var sweptKinds = []errorfs.OpKind{
	errorfs.OpCreate, errorfs.OpOpen, errorfs.OpOpenDir, errorfs.OpRename, errorfs.OpRemove, errorfs.OpList,
	errorfs.OpFileRead, errorfs.OpFileReadAt, errorfs.OpFileWrite,
}

// An error of any file operation of a store that is in use, reads and compaction
// included, ends in an error of ours or does not matter: nothing is misread, and
// what is on the disk stays a prefix.
func TestDiskErrorsInUse(t *testing.T) {
	prepared := used(t)
	hits := map[errorfs.OpKind]int{}
	for kind := errorfs.OpCreate; kind <= errorfs.OpFileFlush; kind++ {
		// How many there are differs a little from run to run.
		for n, beyond := int64(0), 0; beyond < 2; n++ {
			files := prepared.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(n), uint64(kind)))})
			in := injector{kind, n, new(atomic.Int64)}
			err := use(t, errorfs.Wrap(files, in))
			if t.Failed() || strings.Contains(fmt.Sprint(err), "lock held") {
				t.Fatalf("%v: %v", in, err)
			}
			checkAfter(t, files, in)
			if in.seen.Load() > n {
				hits[kind]++
			} else {
				beyond++
			}
		}
	}
	t.Logf("operations by kind: %v", hits)
	for _, kind := range sweptKinds {
		if hits[kind] == 0 {
			t.Errorf("no operation of kind %d", kind)
		}
	}
	if hits[errorfs.OpFileSync]+hits[errorfs.OpFileSyncData]+hits[errorfs.OpFileSyncTo] == 0 {
		t.Error("nothing was synced")
	}
}

// checkAfter opens what a store has left behind on a disk that works.
func checkAfter(t *testing.T, files *vfs.MemFS, in injector) {
	t.Helper()
	s := open(t, files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(in.n), 1000+uint64(in.kind)))}))
	if err := readAll(t, s.Task(1)); err != nil || t.Failed() {
		t.Fatalf("after %v: %v", in, err)
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

package state

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/google/go-cmp/cmp"
)

// writeSteps applies numbered steps until one fails or n are done. Step i leaves
// customer c<i%7> with value i, and the position i.
func writeSteps(task *Task, from, n int) (done int, err error) {
	wakes := map[int]Millis{}
	for i := range from {
		wakes[i%7] = Millis(i + 1)
	}
	for i := from; i < n; i++ {
		old, ok := wakes[i%7]
		if !ok {
			old = Never
		}
		c := Change{Customer: fmt.Sprintf("c%d", i%7), Value: bytesOf(Millis(i+1), fmt.Sprint(i)), Old: old, New: Millis(i + 1)}
		if err := task.Apply([]Change{c}, &Meta{Next: int64(i), Position: fmt.Append(nil, i)}); err != nil {
			return i, err
		}
		wakes[i%7] = Millis(i + 1)
	}
	return n, nil
}

// checkPrefix fails the test unless the task holds exactly what the first k
// steps wrote, for the k that its meta names. It returns k.
func checkPrefix(t *testing.T, task *Task) int {
	t.Helper()
	m, ok, err := task.Meta()
	if err != nil {
		t.Fatal(err)
	}
	k := 0
	if ok {
		k = int(m.Next) + 1
	}
	want := map[string]string{}
	for i := range k {
		want[fmt.Sprintf("c%d", i%7)] = string(bytesOf(Millis(i+1), fmt.Sprint(i)))
	}
	if diff := cmp.Diff(want, contents(t, task)); diff != "" {
		t.Fatalf("after step %d: %s", k, diff)
	}
	due, err := task.Due(nil, Due{}, Never, 100)
	if err != nil || len(due) != len(want) {
		t.Fatalf("after step %d: due %v %v", k, due, err)
	}
	return k
}

// After a crash a task is what it was at the position that its meta names.
func TestCrashLeavesAPrefix(t *testing.T) {
	for _, percent := range []int{0, 50, 100} {
		for seed := range uint64(10) {
			rng := rand.New(rand.NewPCG(seed, uint64(percent)))
			files := vfs.NewCrashableMem()
			s := open(t, files)
			done, err := writeSteps(s.Task(1), 0, 1+rng.IntN(300))
			if err != nil {
				t.Fatal(err)
			}
			crashed := files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
			closeStore(t, s)
			s = open(t, crashed)
			if k := checkPrefix(t, s.Task(1)); k > done {
				t.Errorf("seed %d: %d of %d steps are there", seed, k, done)
			}
			closeStore(t, s)
		}
	}
}

// An error of any file operation ends in an error of ours, never in a process
// that ends or hangs, and what is on the disk stays a prefix.
func TestDiskErrors(t *testing.T) {
	const operations = 300
	for i := range int32(operations) {
		files := vfs.NewCrashableMem()
		injector := errorfs.OnIndex(i)
		steps := func() (done int, err error) {
			s, err := Open("db", options(errorfs.Wrap(files, injector)))
			if err != nil {
				return 0, err
			}
			task := s.Task(1)
			if done, err = writeSteps(task, 0, 40); err != nil {
				_ = s.Close()
				return done, err
			}
			if err := s.guard(s.db.Flush); err != nil {
				_ = s.Close()
				return done, err
			}
			done, err = writeSteps(task, 40, 60)
			return done, errors.Join(err, s.Close())
		}
		done, err := steps()
		if strings.Contains(fmt.Sprint(err), "lock held") {
			t.Fatalf("operation %d: %v", i, err)
		}
		crashed := files.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 100, RNG: rand.New(rand.NewPCG(uint64(i), 0))})
		s := open(t, crashed)
		if k := checkPrefix(t, s.Task(1)); k > done+1 {
			t.Errorf("operation %d: %d steps on disk, %d were done (%v)", i, k, done, err)
		}
		closeStore(t, s)
	}
}

// A flipped bit in any file is found by Open, or by a read, or does not matter:
// what is read is never anything else than what was written.
func TestFlippedBits(t *testing.T) {
	files := vfs.NewMem()
	s := open(t, files)
	if _, err := writeSteps(s.Task(1), 0, 50); err != nil {
		t.Fatal(err)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	if _, err := writeSteps(s.Task(1), 50, 60); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	names, err := files.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{".sst", ".log", "MANIFEST-", "OPTIONS-", "marker.format-version", "marker.manifest"} {
		if !slices.ContainsFunc(names, func(name string) bool { return strings.Contains(name, kind) }) {
			t.Errorf("no file of kind %s in %v", kind, names)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	found := 0
	for _, name := range names {
		original := readFile(t, files, "db/"+name)
		for range 12 {
			if len(original) == 0 {
				break
			}
			flipped := slices.Clone(original)
			bit := rng.IntN(8 * len(flipped))
			flipped[bit/8] ^= 1 << (bit % 8)
			if !flippedBit(t, files, name, flipped) {
				found++
			}
		}
	}
	if found == 0 {
		t.Error("no flip was found")
	}
}

// flippedBit opens a copy of the files with one file replaced. It returns false
// if the damage was found.
func flippedBit(t *testing.T, files *vfs.MemFS, name string, b []byte) bool {
	t.Helper()
	mem := vfs.NewMem()
	if ok, err := vfs.Clone(files, mem, "db", "db"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	f, err := mem.Create("db/"+name, vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s := open(t, mem)
	defer func() { _ = s.Close() }()
	if s.WasReset() != nil {
		if n := checkPrefix(t, s.Task(1)); n != 0 {
			t.Errorf("%s: %d steps in an empty store", name, n)
		}
		return false
	}
	_, _, metaErr := s.Task(1).Meta()
	scanErr := s.Task(1).Scan("", func(string, []byte) error { return nil })
	if err := errors.Join(metaErr, scanErr); err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v is not ErrDamaged", name, err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		if s = open(t, mem); s.WasReset() == nil {
			t.Errorf("%s: not set aside after %v", name, err)
		}
		return false
	}
	checkPrefix(t, s.Task(1))
	return true
}

func readFile(t *testing.T, files vfs.FS, name string) []byte {
	t.Helper()
	f, err := files.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() // read only
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

package state

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Damaged databases are moved to directories named after the time. The newest two
// stay, and everything that the store has not made: a directory of an earlier
// version or of somebody else, also one that has a name of ours, and one in which
// somebody has put something.
func TestDamagedIsSetAside(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "state")
	opt := onDisk("hs9")
	now := time.Date(2026, 1, 31, 9, 0, 0, 0, time.UTC)
	opt.Now = func() time.Time { return now }
	write(t, filepath.Join(root, "state.damaged", "other.txt"), "of somebody else")
	write(t, filepath.Join(root, "state.damaged-20260131T085959Z", "other.txt"), "of somebody else")
	if err := os.Symlink("state", filepath.Join(root, "state.damaged-20260131T085958Z")); err != nil {
		t.Fatal(err)
	}
	others := []string{"state", "state.damaged", "state.damaged-20260131T085958Z", "state.damaged-20260131T085959Z"}
	// The first two are of the same second.
	for i, want := range [][]string{
		{"state.damaged-20260131T090000Z"},
		{"state.damaged-20260131T090000Z", "state.damaged-20260131T090000Z-2"},
		{"state.damaged-20260131T090000Z-2", "state.damaged-20260131T090200Z"},
		{"state.damaged-20260131T090000Z-2", "state.damaged-20260131T090200Z", "state.damaged-20260131T090300Z"},
	} {
		if i == 3 {
			write(t, filepath.Join(root, "state.damaged-20260131T090000Z-2", "notes.txt"), "why?")
		}
		if i > 1 {
			now = now.Truncate(time.Hour).Add(time.Duration(i) * time.Minute)
		}
		s, err := Open(dir, opt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := writeSteps(s.Task(0), 0, 20); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
		write(t, filepath.Join(dir, "user.txt"), "of the user") // in a marked directory: stays where it is
		manifests, err := filepath.Glob(filepath.Join(dir, "MANIFEST-*"))
		if err != nil || len(manifests) == 0 {
			t.Fatal(manifests, err)
		}
		for _, m := range manifests {
			write(t, m, "nonsense")
		}
		if s, err = Open(dir, opt); err != nil || s.WasReset() == nil {
			t.Fatalf("open: %v, reset: %v", err, s.WasReset())
		}
		if got := contents(t, s.Task(0)); len(got) != 0 {
			t.Errorf("customers of an empty store: %v", got)
		}
		closeStore(t, s)
		entries, err := os.ReadDir(root)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		want = append(slices.Clone(others), want...)
		if slices.Sort(want); !slices.Equal(names, want) {
			t.Errorf("%d: got %v, want %v", i, names, want)
		}
	}
	for _, name := range []string{"state/user.txt", "state.damaged/other.txt", "state.damaged-20260131T085959Z/other.txt"} {
		if b, err := os.ReadFile(filepath.Join(root, name)); err != nil || !strings.HasPrefix(string(b), "of ") {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
}

// A process that is killed while it moves the files leaves no database that is
// made of the rest.
func TestKilledWhileSettingAside(t *testing.T) {
	for moved := range 40 {
		files := used(t)
		s := &Store{dir: "db", opt: options(files).withDefaults()}
		s.opt.FS = &fewRenames{FS: files, left: moved}
		s.mark, _ = s.readMark("db")
		if _, err := s.setAside(); err == nil {
			break // all of them
		} else if moved == 39 {
			t.Errorf("no end: %v", err)
		}
		o := open(t, files)
		if o.WasReset() == nil {
			t.Errorf("after %d moves the rest was taken for a database", moved)
		}
		if got := contents(t, o.Task(1)); len(got) != 0 {
			t.Errorf("after %d moves: %v", moved, got)
		}
		closeStore(t, o)
	}
}

// fewRenames refuses to rename after a while; those of marks do not count.
type fewRenames struct {
	vfs.FS
	left int
}

func (f *fewRenames) Rename(from, to string) error {
	if strings.HasPrefix(filepath.Base(to), markFile) {
		return f.FS.Rename(from, to)
	}
	if f.left == 0 {
		return os.ErrPermission
	}
	f.left--
	return f.FS.Rename(from, to)
}

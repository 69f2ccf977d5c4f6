package state

import (
	"flag"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

var writeStores = flag.Bool("store", false, "write a store of today's format into testdata")

// stored is a directory with a closed store for every format that was ever
// released. They are never written again.
const stored = "testdata/stores"

// TestStoresOfAllFormats opens a store of every format that there has been. What
// is read is what was written then; a format that this version can't read is set
// aside, and never misread.
func TestStoresOfAllFormats(t *testing.T) {
	if *writeStores {
		writeStore(t, filepath.Join(stored, "pebble20-meta1"))
	}
	dirs, err := filepath.Glob(filepath.Join(stored, "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatal(dirs, err)
	}
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			s := open(t, loadStore(t, dir))
			if s.WasReset() != nil {
				t.Fatalf("set aside: %v", s.WasReset())
			}
			if k := checkPrefix(t, s.Task(1)); k != 60 {
				t.Errorf("%d steps, want 60", k)
			}
			if _, err := writeSteps(s.Task(1), 60, 70); err != nil {
				t.Error(err)
			}
			if k := checkPrefix(t, s.Task(1)); k != 70 {
				t.Errorf("%d steps, want 70", k)
			}
			closeStore(t, s)
		})
	}
}

// A store of a format that no version knows is set aside; a copy whose meta has
// one is none.
func TestUnknownFormats(t *testing.T) {
	dirs, err := filepath.Glob(filepath.Join(stored, "*"))
	if err != nil || len(dirs) == 0 {
		t.Fatal(dirs, err)
	}
	files := loadStore(t, dirs[0])
	names, err := files.List("db")
	if err != nil {
		t.Fatal(err)
	}
	renamed := false
	for _, name := range names {
		if strings.HasPrefix(name, "marker.format-version.") {
			renamed = true
			if err := files.Rename("db/"+name, "db/marker.format-version.000009.999"); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := open(t, files)
	if !renamed || s.WasReset() == nil {
		t.Errorf("a store of format 999 was opened: %v", names)
	}
	if got := contents(t, s.Task(1)); len(got) > 0 {
		t.Errorf("read %v", got)
	}
	closeStore(t, s)

	s = open(t, loadStore(t, dirs[0]))
	task := s.Task(1)
	b, _, err := task.get(nil, task.key(kindMeta))
	if err != nil {
		t.Fatal(err)
	}
	b[0] = metaFormat + 1
	if err := s.db.Set(task.key(kindMeta), b, nil); err != nil {
		t.Fatal(err)
	}
	if m, ok, err := task.Meta(); ok || err != nil {
		t.Errorf("meta of another format was read: %v %v", m, err)
	}
	closeStore(t, s)
}

func loadStore(t *testing.T, dir string) *vfs.MemFS {
	t.Helper()
	files := vfs.NewMem()
	if ok, err := vfs.Clone(vfs.Default, files, dir, "db"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	return files
}

func writeStore(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		t.Fatal(err)
	}
	from := used(t)
	names, err := from.List("db")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == "LOCK" {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), readFile(t, from, path.Join("db", name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

package state

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// Customers of these tests are eight bytes of wake-up instant and then anything.
func wakeOf(b []byte) (Millis, error) {
	if len(b) < 8 {
		return 0, errors.New("too short")
	}
	return Millis(binary.BigEndian.Uint64(b)), nil
}

func bytesOf(wake Millis, rest string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, uint64(wake)), rest...)
}

func options(files vfs.FS) Options {
	return Options{FS: files, Wake: wakeOf, Logger: slog.New(slog.DiscardHandler), CacheBytes: 1 << 20, MemTableBytes: 4 << 20}
}

func open(t testing.TB, files vfs.FS) *Store {
	t.Helper()
	s, err := Open("db", options(files))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func contents(t interface{ Fatal(...any) }, task *Task) map[string]string {
	m := map[string]string{}
	if err := task.Scan("", func(id string, v []byte) error { m[id] = string(v); return nil }); err != nil {
		t.Fatal(err)
	}
	if empty, err := task.Empty(); err != nil || empty != (len(m) == 0) {
		t.Fatal("of ", len(m), " customers: empty is ", empty, ", error ", err)
	}
	return m
}

func digestOf(m map[string]string) Digest {
	var d Digest
	for id, v := range m {
		h, _ := DigestOf(id, []byte(v), nil)
		d = d.Add(h)
	}
	return d
}

func TestTasksDoNotSeeEachOther(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	a, b, scratch := s.Task(1), s.Task(2), s.Scratch(1)
	put := func(task *Task, v string) {
		t.Helper()
		c := []Change{{Customer: "anna", Value: bytesOf(5, v), Old: Never, New: 5}}
		if err := task.Apply(c, &Meta{Next: 7, Position: []byte(v), Versions: []byte("v" + v)}); err != nil {
			t.Fatal(err)
		}
	}
	put(a, "a")
	put(b, "b")
	put(scratch, "scratch")
	if err := a.Drop(); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := a.Meta(); ok || err != nil {
		t.Errorf("meta of a dropped task: %v %v", ok, err)
	}
	if got := contents(t, a); len(got) != 0 {
		t.Errorf("customers of a dropped task: %v", got)
	}
	if due, err := a.Due(nil, Due{}, Never, 10); len(due) != 0 || err != nil {
		t.Errorf("due index of a dropped task: %v %v", due, err)
	}
	for task, want := range map[*Task]string{b: "b", scratch: "scratch"} {
		v, ok, err := task.Customer(nil, "anna")
		if string(v) != string(bytesOf(5, want)) || !ok || err != nil {
			t.Errorf("customer of task %s: %q %v %v", want, v, ok, err)
		}
		m, ok, err := task.Meta()
		if diff := cmp.Diff(m, Meta{Next: 7, Position: []byte(want), Versions: []byte("v" + want)}); diff != "" || !ok || err != nil {
			t.Errorf("meta of task %s: %v %v %s", want, ok, err, diff)
		}
	}
}

// The due index gives (due, customer) order, also before 1970, and takes both
// ends of the range in.
func TestDueOrder(t *testing.T) {
	s := open(t, vfs.NewMem())
	defer closeStore(t, s)
	task := s.Task(0)
	for _, d := range []Due{{5, "b"}, {-3, "x"}, {5, "a"}, {1 << 40, "z"}, {6, "a0"}} {
		if err := task.Apply([]Change{{Customer: d.Customer, Value: bytesOf(d.At, ""), Old: Never, New: d.At}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		after Due
		upto  Millis
		limit int
		want  []Due
	}{
		{Due{-10, ""}, 6, 10, []Due{{-3, "x"}, {5, "a"}, {5, "b"}, {6, "a0"}}},
		{Due{5, ""}, 5, 10, []Due{{5, "a"}, {5, "b"}}},
		{Due{5, "a"}, 100, 10, []Due{{5, "b"}, {6, "a0"}}},
		{Due{5, ""}, Never, 3, []Due{{5, "a"}, {5, "b"}, {6, "a0"}}},
		{Due{7, ""}, 100, 3, nil},
	} {
		got, err := task.Due(nil, c.after, c.upto, c.limit)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("Due(%v, %d, %d) = %v, %v; want %v", c.after, c.upto, c.limit, got, err, c.want)
		}
	}
}

// A store behaves like a map, through restarts, drops, and both ways to restore.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := vfs.NewMem()
		s, err := Open("db", options(files))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		task, model, digest := s.Task(3), map[string]string{}, Digest{}
		wake := func(v string) Millis {
			if v == "" {
				return Never
			}
			w, _ := wakeOf([]byte(v))
			return w
		}
		changes := func() []Change {
			ids := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d/1", "é"}), 0, 6).Draw(t, "customers")
			var cs []Change
			for _, id := range ids {
				c := Change{Customer: id}
				if rapid.IntRange(0, 3).Draw(t, "delete") > 0 {
					w := rapid.SampledFrom([]Millis{1, 2, 300, Never}).Draw(t, "wake")
					c.Value = bytesOf(w, rapid.StringN(0, 3, 9).Draw(t, "rest"))
				}
				cs = append(cs, c)
			}
			return cs
		}
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				seen := map[string]bool{}
				var cs []Change
				for _, c := range changes() {
					if seen[c.Customer] {
						continue
					}
					seen[c.Customer] = true
					c.Old, c.New = wake(model[c.Customer]), wake(string(c.Value))
					update(model, c)
					cs = append(cs, c)
				}
				digest = digestOf(model)
				if err := task.Apply(cs, &Meta{}); err != nil {
					t.Fatal(err)
				}
			},
			"replay": func(t *rapid.T) {
				cs := changes()
				for _, c := range cs {
					update(model, c)
				}
				if digest, err = task.Replay(cs, &Meta{}, digest); err != nil {
					t.Fatal(err)
				}
			},
			"restore": func(t *rapid.T) {
				if err := task.Drop(); err != nil {
					t.Fatal(err)
				}
				clear(model)
				for range 2 {
					cs := changes()
					for _, c := range cs {
						update(model, c)
					}
					if err := task.Load(cs); err != nil {
						t.Fatal(err)
					}
				}
				var n int
				if digest, n, err = task.Index(nil); err != nil || n != len(model) {
					t.Fatal(n, err)
				}
				if err := task.Apply(nil, &Meta{}); err != nil {
					t.Fatal(err)
				}
			},
			"reopen": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open("db", options(files)); err != nil || s.WasReset() != nil {
					t.Fatal(err, s.WasReset())
				}
				task = s.Task(3)
			},
			"": func(t *rapid.T) {
				if diff := cmp.Diff(model, contents(t, task)); diff != "" {
					t.Fatal(diff)
				}
				if want := digestOf(model); digest != want {
					t.Fatalf("digest %v, want %v", digest, want)
				}
				var want []Due
				for _, id := range slices.Sorted(maps.Keys(model)) {
					if w := wake(model[id]); w != Never {
						want = append(want, Due{w, id})
					}
				}
				slices.SortStableFunc(want, func(a, b Due) int { return int(a.At - b.At) })
				got, err := task.Due(nil, Due{}, Never, 100)
				if err != nil || !slices.Equal(got, want) {
					t.Fatalf("due %v %v, want %v", got, err, want)
				}
				if _, ok, err := task.Meta(); !ok || err != nil {
					return // nothing written yet
				}
				v, err := task.Verify(context.Background())
				if err != nil || v.Digest != digest || v.Customers != len(model) || v.Misplaced != 0 {
					t.Fatalf("verified %+v %v", v, err)
				}
			},
		})
	})
}

func update(model map[string]string, c Change) {
	if c.Value == nil {
		delete(model, c.Customer)
	} else {
		model[c.Customer] = string(c.Value)
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	opt := options(nil)
	opt.FS = nil
	s, err := Open(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writeSteps(s.Task(0), 0, 20); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, opt); err == nil {
		t.Error("a second Open of the same directory")
	}
	closeStore(t, s)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want && filepath.Base(path) != "LOCK" {
			t.Errorf("%s: mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func FuzzMeta(f *testing.F) {
	m := Meta{Next: 1 << 40, AppliedAt: 77, Position: []byte("p"), TopicID: [16]byte{1, 15: 2}}
	f.Add(m.append(nil))
	f.Add([]byte{metaFormat})
	f.Fuzz(func(t *testing.T, b []byte) {
		var m Meta
		if m.decode(b) != nil {
			return
		}
		var again Meta
		if err := again.decode(m.append(nil)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Error(diff)
		}
	})
}

//go:build e2e

package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// Between two runs the local copy is damaged, file by file, or was written by
// another version. It is never misread: it is set aside, or left alone, with a line
// in the log, and what is told is right.
func TestDamagedOrForeignState(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	f := newFlow(t, facts(r, 80, 60, inOrder, 20*time.Minute))
	e := f.instance(t, "formats", "testdata/hours.yaml")
	e.replace(t, "log: warn", "log: info")
	const aside, unused = "set aside, and every task restores", `"reason":"position record is not readable: its format`
	steps := []struct {
		what    string
		harm    func(*testing.T)
		expect  string // in the log of the next run; "" if it may not notice
		restore bool   // the copy must have been restored from nothing
	}{
		{"the manifest is garbage", func(t *testing.T) { e.spoil(t, "MANIFEST-*", garbage) }, aside, true},
		{"a bit of the manifest is wrong", func(t *testing.T) { e.spoil(t, "MANIFEST-*", flip(r)) }, "", false},
		{"bits of the logs are wrong", func(t *testing.T) { e.spoil(t, "*.log", flip(r)) }, "", false},
		{"the logs are gone", func(t *testing.T) { e.spoil(t, "*.log", os.Remove) }, "", false},
		{"bits of the tables are wrong", func(t *testing.T) { e.spoil(t, "*.sst", flip(r)) }, "", false},
		{"the tables are gone", func(t *testing.T) { e.spoil(t, "*.sst", os.Remove) }, "", true},
		{"the options are garbage", func(t *testing.T) { e.spoil(t, "OPTIONS-*", garbage) }, aside, true},
		{"the marker names no manifest", func(t *testing.T) {
			e.spoil(t, "marker.manifest.*", func(name string) error {
				return os.Rename(name, filepath.Join(filepath.Dir(name), "marker.manifest.000099.MANIFEST-999999"))
			})
		}, aside, true},
		{"the marker is of a later version of the database", func(t *testing.T) {
			e.spoil(t, "marker.format-version.*", func(name string) error {
				return os.Rename(name, filepath.Join(filepath.Dir(name), "marker.format-version.000999.999"))
			})
		}, aside, true},
		{"the position is of another version", func(t *testing.T) { e.foreign(t) }, unused, true},
	}
	for k, step := range steps {
		bound := len(f.l) * (k + 1) / (len(steps) + 1)
		p := e.start(t)
		f.commits(t, "formats", bound, p)
		f.during(t, 200*time.Millisecond, bound)
		if k%2 == 0 {
			p.stop(t)
		} else {
			p.kill(t)
		}
		step.harm(t)
		said := len(e.logged(t))
		p = e.start(t)
		f.during(t, 100*time.Millisecond, bound+len(f.l)/30)
		f.b.drained(t, "formats")
		p.stop(t)
		after := e.logged(t)[said:]
		restored := strings.Contains(after, `"tail":false`)
		t.Logf("%s: noticed at once: %t, restored from nothing: %t", step.what, strings.Contains(after, aside) || strings.Contains(after, unused), restored)
		if !strings.Contains(after, step.expect) || step.restore && !restored {
			t.Errorf("%s: the log does not say %q and that all was restored:\n%s", step.what, step.expect, after)
		}
	}
	f.compare(t, e, "formats", "testdata/hours.yaml")
}

// spoil does something to the files of the local copy with such names.
func (e *instance) spoil(t *testing.T, pattern string, do func(name string) error) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(e.state, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("no file %s in the state (%v)", pattern, err)
	}
	for _, name := range names {
		if err := do(name); err != nil {
			t.Fatal(err)
		}
	}
}

func garbage(name string) error { return os.WriteFile(name, []byte("no such thing\n"), 0o600) }

// flip changes one bit of a file.
func flip(r *rand.Rand) func(name string) error {
	return func(name string) error {
		b, err := os.ReadFile(name)
		if err != nil || len(b) == 0 {
			return err
		}
		b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		return os.WriteFile(name, b, 0o600)
	}
}

// foreign makes the positions those of a later version, and every customer
// something that this version would misread.
func (e *instance) foreign(t *testing.T) {
	t.Helper()
	s, err := state.Open(e.state, state.Options{Wake: engine.WakeOf})
	if err != nil {
		t.Fatal(err)
	}
	for n := range int32(4) {
		task := s.Task(n)
		m, ok, err := task.Meta()
		if err != nil || !ok {
			t.Fatalf("partition %d has no position (%v)", n, err)
		}
		m.Position[0] += 0x40 // a format that there is not yet
		var swapped []state.Change
		last := ""
		var lastValue []byte
		err = task.Scan("", func(id string, v []byte) error {
			if last != "" {
				swapped = append(swapped, state.Change{Customer: id, Value: lastValue, Old: state.Never, New: state.Never})
			}
			last, lastValue = id, append([]byte(nil), v...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := task.Apply(swapped, &m); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

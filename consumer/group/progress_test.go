package group

import (
	"bytes"
	"log/slog"
	"path"
	"strings"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// A restore that is held up shows itself, and a short one is not in the log. What
// is said of a partition goes away with it.
func TestProgressOfRestore(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	g := newFleet(t, 1)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	for _, c := range g.CustomersOf(0, 20) {
		g.Produce(g.Event(plan.Purchase, c, g.Now(), nil))
	}
	in.caughtUp()
	in.stop()

	var log bytes.Buffer
	held, release := make(chan struct{}), make(chan struct{})
	hold := sync.OnceFunc(func() { close(held) }) // a slow machine may lose the partition and acquire it again
	in = g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		c.Metrics = metrics.New(reg)
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		rig.FailAt(g, c, func(_ int32, point string) error {
			if point == "replayed" {
				hold()
				<-release
			}
			return nil
		})
	})
	<-held
	st := in.o.Status()
	if r := st.Tasks[0].Restore; st.Ready || r == nil || r.Next != r.End || r.Records < 20 || r.Bytes == 0 {
		t.Errorf("%+v", r)
	}
	got := fixture.Gather(t, reg)
	if left, ok := got["segmill_restore_remaining_records{0}"]; !ok || left != 0 || got["segmill_state_restored_records_total{}"] < 20 {
		t.Errorf("%v", got)
	}
	close(release)
	in.caughtUp()
	if r := in.o.Status().Tasks[0].Restore; r != nil {
		t.Errorf("still %v", r)
	}
	g.Eventually("lag is measured", func() bool { _, ok := fixture.Gather(t, reg)["segmill_event_time_lag_seconds{0,web}"]; return ok })
	in.stop()
	for name := range fixture.Gather(t, reg) {
		if strings.HasPrefix(name, "segmill_restore_remaining") || strings.HasPrefix(name, "segmill_event_time_lag") {
			t.Errorf("%s is still there", name)
		}
	}
	if strings.Contains(log.String(), "restoring") || !strings.Contains(log.String(), "msg=restored") {
		t.Errorf("log:\n%s", log.String())
	}
}

// Damage of the database is counted by how it was found, once, whatever the
// number of stores and owners that a process has.
func TestDamageIsCounted(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	metrics := metrics.New(reg)
	g := newFleet(t, 1)
	files := vfs.NewMem()
	write := func(name, text string) {
		f, err := files.Create(name, vfs.WriteCategoryUnspecified)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	run := func() {
		in := g.start(fixture.Rules, files, func(c *config.Config) { c.Metrics = metrics })
		in.ready()
		in.stop()
	}
	check := func(start, running float64) {
		t.Helper()
		got := fixture.Gather(t, reg)
		if got["segmill_state_damaged_total{start}"] != start || got["segmill_state_damaged_total{running}"] != running || got["segmill_state_damaged_total{digest}"] != 0 {
			t.Errorf("%v of start, %v of running, %v of digest", got["segmill_state_damaged_total{start}"], got["segmill_state_damaged_total{running}"], got["segmill_state_damaged_total{digest}"])
		}
	}
	run()
	check(0, 0)
	names, err := files.List("state")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "MANIFEST") {
			write(path.Join("state", name), "these are not the bytes that were written")
		}
	}
	run()
	check(1, 0)
	write("state/DAMAGED", "")
	run()
	check(1, 1)
	run()
	check(1, 1)
}

// Every kind of restore is verified, and a copy that is wrong is made again from
// the whole changelog once.
func TestRestoresAreVerified(t *testing.T) {
	type counts struct{ assigned, again, damaged float64 }
	run := func(g *fleet, files vfs.FS, until task.State) (counts, float64) {
		g.Helper()
		reg := prometheus.NewPedanticRegistry()
		in := g.start(fixture.Rules, files, func(c *config.Config) { c.Metrics = metrics.New(reg) })
		g.Eventually(string(until), func() bool {
			st := in.o.Status()
			return len(st.Tasks) == 1 && st.Tasks[0].State == until
		})
		in.stop()
		got := fixture.Gather(t, reg)
		return counts{
			got["segmill_task_acquisitions_total{assigned}"], got["segmill_task_acquisitions_total{error}"],
			got["segmill_state_damaged_total{digest}"],
		}, got["segmill_state_restored_records_total{}"]
	}
	events := func(g *fleet, files vfs.FS) {
		in := g.start(fixture.Rules, files, nil)
		in.ready()
		for _, c := range g.CustomersOf(0, 5) {
			g.Produce(g.Event(plan.Purchase, c, g.Now(), nil))
		}
		in.caughtUp()
		in.stop()
	}
	t.Run("a tail over a wrong copy", func(t *testing.T) {
		g := newFleet(t, 1)
		files := vfs.NewMem()
		events(g, files)
		s := g.Store(files)
		c := g.CustomersOf(0, 1)[0]
		b, _, err := s.Task(0).Customer(nil, c)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Task(0).Load([]state.Change{{Customer: c, Value: append(b, 0)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		events(g, vfs.NewMem()) // by another instance, about the same customers
		got, _ := run(g, files, task.Running)
		if got != (counts{1, 1, 1}) {
			t.Errorf("%+v", got)
		}
		if got, _ := run(g, files, task.Running); got != (counts{1, 0, 0}) {
			t.Errorf("afterwards: %+v", got)
		}
	})
	t.Run("the whole of a wrong changelog", func(t *testing.T) {
		g := newFleet(t, 1)
		events(g, vfs.NewMem())
		_, all := run(g, vfs.NewMem(), task.Running)
		c := g.Read(rig.App + ".changelog")[0]
		spoilt := *c[0]
		spoilt.Key, spoilt.Headers = []byte(changelog.CustomerPrefix+"nobody"), nil
		for _, r := range c {
			if strings.HasPrefix(string(r.Key), changelog.CustomerPrefix) {
				spoilt.Value = r.Value
			}
		}
		g.Produce(&spoilt)
		got, read := run(g, vfs.NewMem(), task.Stopped)
		if got != (counts{1, 1, 1}) {
			t.Errorf("%+v", got)
		}
		if read != 2*(all+1) {
			t.Errorf("%v records read; there are %v, to be read twice", read, all+1)
		}
	})
}

package group

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// A standby with nothing to read notes that its copy is current, so that it does
// not become too old to be used.
func TestIdleStandbyStaysFresh(t *testing.T) {
	g := newFleet(t, 2)
	a, b := g.join(t, "a", vfs.NewMem(), nil), g.join(t, "b", vfs.NewMem(), nil)
	g.Produce(g.Event(plan.Purchase, g.CustomersOf(0, 1)[0], g.Now(), nil), g.Event(plan.Purchase, g.CustomersOf(1, 1)[0], g.Now(), nil))
	g.settled(a, b)
	end := g.Ends(rig.App + ".changelog")[rig.App+".changelog"]
	g.Shift.Store(int64(10 * time.Minute)) // nothing is due then
	since := engine.Millis(g.Now().UnixMilli())
	for _, m := range []*member{a, b} {
		for _, p := range m.upToDate() {
			g.Eventually("the copy is noted to be current", func() bool {
				meta, ok, err := m.store.Task(p).Meta()
				if err != nil || !ok || meta.Next != end[p] {
					t.Fatalf("%+v, %v, %v; the end is %d", meta, ok, err, end[p])
				}
				return meta.AppliedAt >= since
			})
		}
	}
	if now := g.Ends(rig.App + ".changelog")[rig.App+".changelog"]; !gocmp.Equal(now, end) {
		t.Errorf("the changelog grew from %v to %v", end, now)
	}
	a.stop()
	b.stop()
}

// A standby's copy that is wrong is found when it is brought up to date, and made
// again; the instance goes on.
func TestWrongStandby(t *testing.T) {
	g := newFleet(t, 2)
	disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	a, b := g.join(t, "a", disks[0], nil), g.join(t, "b", disks[1], nil)
	ids := append(g.CustomersOf(0, 5), g.CustomersOf(1, 5)...)
	buy := func() {
		for _, id := range ids {
			g.Produce(g.Event(plan.Purchase, id, g.Now(), nil))
		}
	}
	buy()
	g.settled(a, b)
	b.stop()
	s := g.Store(disks[1])
	for p := range g.Partitions {
		id := g.CustomersOf(p, 1)[0]
		v, ok, err := s.Task(p).Customer(nil, id)
		if !ok || err != nil {
			t.Fatal(ok, err)
		}
		if err := s.Task(p).Load([]state.Change{{Customer: id, Value: append(v, 0)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g.Eventually("a has everything", func() bool { return len(a.owns()) == int(g.Partitions) })
	buy()
	a.caughtUp()
	b = g.join(t, "b", disks[1], nil)
	g.settled(a, b)
	// It was standby for at least one before it joined.
	if n := b.metric("segmill_state_damaged_total{digest}"); n < 1 || n > 2 {
		t.Errorf("%v copies were wrong", n)
	}
	if n := b.metric("segmill_task_acquisitions_total{error}"); n > 0 {
		t.Errorf("%v partitions were acquired again", n)
	}
	a.stop()
	for p := range g.Partitions {
		g.Eventually("b has everything", func() bool { return slices.Contains(b.owns(), p) })
		if _, err := replica.Verify(context.Background(), b.store, p); err != nil {
			t.Error(err)
		}
	}
	b.stop()
}

func TestStandbyConfig(t *testing.T) {
	g := newFleet(t, 1)
	store := g.Store(vfs.NewMem())
	defer store.Close() // nothing was written
	for _, x := range []struct {
		change func(*config.Config)
		want   string
	}{
		{func(c *config.Config) { c.Standby = -1 }, "standby -1 is not between 0 and 3"},
		{func(c *config.Config) { c.Standby = 4 }, "standby 4 is not between 0 and 3"},
		{func(c *config.Config) { c.Standby = 1 }, "standby needs Group.Instance"},
	} {
		cfg := g.Config(fixture.Rules, store)
		x.change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%v, want %s", err, x.want)
		}
	}
}

// An instance copies before it takes partitions, says so, and can be stopped
// meanwhile. If nothing moves, or nobody says who is in the group, it joins with
// what it has.
func TestJoiningWithoutCopies(t *testing.T) {
	for name, fault := range map[string]kfake.Fault{
		"no changelog": {Keys: []kmsg.Key{kmsg.Fetch}, Topic: rig.App + ".changelog", Err: kerr.UnknownServerError, Count: -1},
		"no group":     {Keys: []kmsg.Key{kmsg.DescribeGroups}, Err: kerr.GroupAuthorizationFailed, Count: -1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newFleet(t, 2)
			a := g.join(t, "a", vfs.NewMem(), nil)
			for i := range 20 {
				g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%d", i), g.Now(), nil))
			}
			a.caughtUp()
			h := g.Broker.Fault(fault)
			waits := func(m *member) {
				g.Eventually("it tries", func() bool { return h.Hits() > 3 && m.o.Status().Joining != "" })
				st := m.o.Status()
				if st.Ready || len(st.Tasks) > 0 || !strings.HasPrefix(st.Joining, "copying partitions before taking any") {
					t.Errorf("%+v", st)
				}
			}
			b := g.join(t, "b", vfs.NewMem(), nil)
			waits(b)
			b.stop()
			b = g.join(t, "b", vfs.NewMem(), nil)
			waits(b)
			g.Shift.Store(int64(2 * warmPatience))
			g.Eventually("b joins", func() bool { return len(b.o.Status().Tasks) == 1 && b.o.Status().Joining == "" })
			h.Remove()
			g.settled(a, b)
			a.stop()
			b.stop()
			g.Members()
		})
	}
}

// stuckLog is a log that does not return before it is released.
type stuckLog struct {
	slog.Handler
	reached, release chan struct{}
}

func (stuckLog) Enabled(context.Context, slog.Level) bool { return true }

func (l stuckLog) Handle(context.Context, slog.Record) error {
	l.reached <- struct{}{}
	<-l.release
	return nil
}

// A task starts when the standby of its partition, which writes to the same copy,
// is over.
func TestTaskWaitsForItsStandby(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	g := newFleet(t, 1)
	o, end := g.byHand(func(c *config.Config) { c.Metrics = metrics.New(reg) })
	defer end()
	stuck := stuckLog{slog.DiscardHandler, make(chan struct{}, 10), make(chan struct{})}
	options := o.CopyOptions(0, o.Config.Store.Task(0), slog.New(stuck))
	options.Topic = "no such topic" // so that it says something, and is stuck in that
	c := replica.Follow(t.Context(), replica.StandbyOptions{Options: options})
	<-stuck.reached
	o.standbys.copies[0] = c
	running := o.startByHand(0)
	if rig.Within(50*time.Millisecond, func() bool { return fixture.Gather(t, reg)["segmill_task_acquisitions_total{assigned}"] > 0 }) {
		t.Error("the task did not wait")
	}
	if o.standbys.follow(t.Context(), map[int32]bool{0: true}); o.standbys.copies[0] != c {
		t.Error("another standby has been started")
	}
	close(stuck.release)
	g.Eventually("running", func() bool { return running.Status().State == task.Running })
	if o.standbys.follow(t.Context(), map[int32]bool{0: true}); o.standbys.copies[0] != nil {
		t.Error("a standby has been started beside the task")
	}
}

// A standby reads up to the last stable offset: beyond it may be half a
// transaction. Only who has fenced the owner may ask for more.
func TestStandbyEndIsStable(t *testing.T) {
	g := newFleet(t, 2)
	beyond := g.Broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: rig.App + ".changelog", Observe: true, Count: -1,
		When: func(r kmsg.Request) bool {
			req := r.(*kmsg.ListOffsetsRequest)
			return req.IsolationLevel == 0 && req.Topics[0].Partitions[0].Timestamp == -1
		},
	})
	a, b := g.join(t, "a", vfs.NewMem(), nil), g.join(t, "b", vfs.NewMem(), nil)
	g.Produce(g.Event(plan.Purchase, g.CustomersOf(0, 1)[0], g.Now(), nil), g.Event(plan.Purchase, g.CustomersOf(1, 1)[0], g.Now(), nil))
	g.settled(a, b)
	a.stop()
	b.stop()
	acquired := 0.0
	for _, m := range []*member{a, b} {
		for _, reason := range []string{"assigned", "error", "fenced"} {
			acquired += m.metric("segmill_task_acquisitions_total{" + reason + "}")
		}
	}
	// On a slow machine an acquisition can end before it asks.
	if n := float64(beyond.Hits()); n == 0 || n > acquired {
		t.Errorf("asked for the high watermark %v times, acquired %v times", n, acquired)
	}
}

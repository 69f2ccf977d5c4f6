package group

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// member is an instance in a group with standbys.
type member struct {
	*instance
	t     *testing.T
	name  string
	files *vfs.MemFS
	reg   *prometheus.Registry
}

// join starts an instance by name on files, with one standby for each partition.
func (g *fleet) join(t *testing.T, name string, files *vfs.MemFS, change func(*config.Config)) *member {
	t.Helper()
	m := &member{t: t, name: name, files: files, reg: prometheus.NewPedanticRegistry()}
	m.instance = g.start(fixture.Rules, files, func(c *config.Config) {
		c.Standby, c.Group.Instance, c.Metrics = 1, name, metrics.New(m.reg)
		c.Fixed.StandbyEach = 20 * time.Millisecond
		if change != nil {
			change(c)
		}
	})
	return m
}

func (m *member) metric(name string) float64 { return fixture.Gather(m.t, m.reg)[name] }

// restored is how many changelog records the instance has read to take partitions
// over, and copied how many to be standby.
func (m *member) restored() float64 { return m.metric("segmill_state_restored_records_total{}") }
func (m *member) copied() float64   { return m.metric("segmill_standby_records_total{}") }

// owns returns the partitions that run on the instance.
func (m *member) owns() []int32 {
	var parts []int32
	for _, t := range m.o.Status().Tasks {
		if t.State == task.Running {
			parts = append(parts, t.Partition)
		}
	}
	return parts
}

// upToDate returns the partitions of which the instance has a copy of everything
// that has been written.
func (m *member) upToDate() []int32 {
	m.o.mu.Lock()
	defer m.o.mu.Unlock()
	if m.o.standbys == nil {
		return nil
	}
	ends := m.g.Ends(rig.App + ".changelog")[rig.App+".changelog"]
	var parts []int32
	for p, c := range m.o.standbys.copies {
		if state, _, _, _ := c.Look(); state == replica.Current && c.Next() == ends[p] && !over(c.Done()) {
			parts = append(parts, p)
		}
	}
	slices.Sort(parts)
	return parts
}

// settled waits until every partition runs on one of the members, evenly, has taken
// everything, and has a copy with everything on another.
func (g *fleet) settled(members ...*member) {
	g.Helper()
	g.Eventually("every partition has one owner and a copy elsewhere", func() bool {
		var owned, copied []int32
		inputs := g.Ends("web", "purchase", "profile")
		for _, m := range members {
			st := m.o.Status()
			for _, task := range st.Tasks {
				for topic, end := range inputs {
					if task.Sources[changelog.Input{Topic: topic}].Next < end[task.Partition] {
						return false
					}
				}
			}
			owns := m.owns()
			if !st.Ready || st.Lag > 0 || len(owns) != len(st.Tasks) || len(owns) < int(g.Partitions)/len(members) {
				return false
			}
			copies := m.upToDate()
			if slices.ContainsFunc(copies, func(p int32) bool { return slices.Contains(owns, p) }) {
				return false
			}
			owned, copied = append(owned, owns...), append(copied, copies...)
		}
		slices.Sort(owned)
		slices.Sort(copied)
		all := make([]int32, g.Partitions)
		for i := range all {
			all[i] = int32(i)
		}
		return slices.Equal(owned, all) && slices.Equal(copied, all)
	})
}

// changelog returns how many records the changelog has.
func (g *fleet) changelog() (n int) {
	for _, records := range g.Read(rig.App + ".changelog") {
		n += len(records)
	}
	return n
}

func byEvents(c *config.Config) {
	c.Time.Clock = config.EventsClock
	c.Batch.Records, c.Batch.Interval = 20, 5*time.Millisecond
}

// An instance that is killed is replaced by its standbys, which read next to
// nothing for it, and what comes out is what one instance would have emitted.
func TestStandbyTakesOver(t *testing.T) {
	t.Run("exactly once", func(t *testing.T) { standbyTakesOver(t, config.ExactlyOnce) })
	t.Run("at least once", func(t *testing.T) { standbyTakesOver(t, config.AtLeastOnce) })
}

func standbyTakesOver(t *testing.T, delivery config.Delivery) {
	seed := fixture.Seeds(t, 1)[0]
	t.Logf("SEED=%d", seed)
	// Two parts of a history; between them the first one is killed. A task has records of one
	// input alone: of two, its clock would depend on which are there first.
	const events = 1_500
	history := func(g *fleet, part int) {
		rng := rand.New(rand.NewPCG(seed, uint64(part)))
		at := time.Date(2026, 1, 1+15*part, 0, 0, 0, 0, time.UTC)
		for range 5 {
			var records []*kgo.Record
			for range events / 5 {
				at = at.Add(time.Duration(rng.Int64N(int64(10 * time.Minute))))
				customer := fmt.Sprintf("c%d", rng.IntN(40))
				stream := []plan.Stream{plan.Web, plan.Purchase}[g.Route.Partition(customer)%2]
				records = append(records, g.Event(stream, customer, at, nil))
			}
			g.Produce(records...)
		}
		g.Eventually("everything is taken", func() bool {
			folded, _, _ := g.Totals()
			return int(folded) == (part+1)*events
		})
	}
	clean := newFleet(t, 4)
	one := clean.start(fixture.Rules, vfs.NewMem(), byEvents)
	one.ready()
	history(clean, 0)
	history(clean, 1)
	one.stop()

	goroutines := runtime.NumGoroutine()
	g := newFleet(t, 4)
	g.Delivery = delivery
	a := g.join(t, "a", vfs.NewMem(), byEvents)
	a.ready()
	b := g.join(t, "b", vfs.NewMem(), byEvents)
	history(g, 0)
	g.settled(a, b)
	all := g.changelog()
	before := b.restored()
	a.crash()
	b.ready()
	if read := b.restored() - before; read > float64(all)/20 {
		t.Errorf("%v of %d records were read to take over", read, all)
	}
	history(g, 1)
	b.stop()
	if diff := gocmp.Diff(clean.byCustomer(), g.byCustomer()); diff != "" {
		t.Error(diff)
	}
	g.Members()
	g.verifyFromNothing(fixture.Rules, byEvents)
	for name := range fixture.Gather(t, b.reg) {
		if strings.HasPrefix(name, "segmill_standby_lag") || strings.HasPrefix(name, "segmill_standbys{") {
			t.Errorf("%s is still there", name)
		}
	}
	g.Broker.Close()
	g.Client.Close()
	g.Eventually("no goroutine is left", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// Instances come and go in good order, new ones and old ones: each partition moves
// to where a copy of it is.
func TestScaleOut(t *testing.T) {
	t.Run("exactly once", func(t *testing.T) { scaleOut(t, config.ExactlyOnce) })
	t.Run("at least once", func(t *testing.T) { scaleOut(t, config.AtLeastOnce) })
}

func scaleOut(t *testing.T, delivery config.Delivery) {
	g := newFleet(t, 6)
	g.Delivery = delivery
	disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem(), vfs.NewMem()}
	events := func() {
		for i := range 300 {
			g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%d", i), g.Now(), nil))
		}
	}
	small := func(what string, read float64) {
		t.Helper()
		// One partition of the six may go to somebody without a copy: a copy that has
		// just heard of a new end is not offered. Without copies two or more would.
		if all := g.changelog(); read > float64(all)/5 {
			t.Errorf("%s: %v of %d records were read to take over", what, read, all)
		}
	}
	a := g.join(t, "a", disks[0], nil)
	a.ready()
	events()
	a.caughtUp()
	all := g.changelog()

	b := g.join(t, "b", disks[1], nil)
	g.settled(a, b)
	small("b is new", b.restored())
	if b.copied() < float64(all)/3 {
		t.Errorf("%v of %d records were copied", b.copied(), all)
	}
	events()
	c := g.join(t, "c", disks[2], nil)
	g.settled(a, b, c)
	small("c is new", c.restored())

	moved := a.restored() + c.restored()
	b.stop()
	events()
	g.settled(a, c)
	small("b has left", a.restored()+c.restored()-moved)
	b = g.join(t, "b", disks[1], nil)
	g.settled(a, b, c)
	small("b is back", b.restored())
	if b.copied() > float64(g.changelog())*2/3 {
		t.Errorf("%v records were copied again", b.copied())
	}

	moved = b.restored() + c.restored()
	a.crash()
	g.settled(b, c)
	small("a has died", b.restored()+c.restored()-moved)
	a = g.join(t, "a", disks[0], nil)
	g.settled(a, b, c)
	small("a is back", a.restored())
	for _, m := range []*member{a, b, c} {
		if n := m.metric("segmill_state_damaged_total{digest}"); n > 0 {
			t.Errorf("%s: %v copies were wrong", m.name, n)
		}
		g.Eventually(m.name+" is standby for two", func() bool { return m.metric("segmill_standbys{current}") == 2 })
	}
	for _, m := range []*member{a, b, c} {
		m.stop()
	}
	if folded, dead, _ := g.Totals(); folded != 900 || dead > 0 {
		t.Errorf("folded %d, dead letters %d", folded, dead)
	}
	if got := len(g.Members()); got < 300 {
		t.Errorf("%d members", got)
	}
	g.verifyFromNothing(fixture.Rules, nil)
}

// A standby follows erasures and a rebuild: what it takes over is what the owner
// had.
func TestStandbyFollowsErasureAndRebuild(t *testing.T) {
	g := newFleet(t, 2)
	disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	atOnce := func(c *config.Config) { c.Fixed.StoreEach = 1 }
	a, b := g.join(t, "a", disks[0], atOnce), g.join(t, "b", disks[1], atOnce)
	for i := range 60 {
		g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%d", i), g.Now(), map[string]any{"revenue": "90"}))
	}
	g.settled(a, b)
	for i := range 20 {
		id := fmt.Sprintf("c%d", i)
		g.Produce(&kgo.Record{Topic: "profile", Partition: g.Route.Partition(id), Key: []byte(id), Timestamp: g.Now()})
	}
	g.Eventually("20 are erased", func() bool { return len(g.Members()) == 40 })
	g.settled(a, b)
	counted := func(m *member) (customers int) {
		for p := range g.Partitions {
			v, err := replica.Verify(context.Background(), m.store, p)
			if err != nil {
				t.Errorf("%s, partition %d: %v", m.name, p, err)
			}
			customers += v.Customers
		}
		return customers
	}
	if x, y := counted(a), counted(b); x != 40 || y != 40 {
		t.Errorf("%d and %d customers, want 40", x, y)
	}
	a.stop()
	b.stop()

	changed := strings.Replace(fixture.Rules, "> 300", "> 80", 1)
	rebuild := func(c *config.Config) { c.Engine, c.Rebuild = fixture.NewEngine(t, changed), true }
	a, b = g.join(t, "a", disks[0], rebuild), g.join(t, "b", disks[1], rebuild)
	g.settled(a, b)
	if x, y := counted(a), counted(b); x != 40 || y != 40 {
		t.Errorf("after the rebuild: %d and %d customers, want 40", x, y)
	}
	before := b.restored()
	a.crash()
	b.ready()
	if read, all := b.restored()-before, g.changelog(); read > 10 {
		t.Errorf("%v of %d records were read to take over", read, all)
	}
	if n := b.metric("segmill_state_damaged_total{digest}"); n > 0 {
		t.Errorf("%v copies were wrong", n)
	}
	b.stop()
	big := slices.DeleteFunc(g.Members(), func(m string) bool { return !strings.HasSuffix(m, " big") })
	if len(big) != 40 {
		t.Errorf("%d are big, want 40", len(big))
	}
	g.verifyFromNothing(changed, nil)
}

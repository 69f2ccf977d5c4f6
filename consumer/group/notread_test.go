package group

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/reshard"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// noPurchases leaves purchases out, as rules do that do not have the stream.
func noPurchases(c *config.Config) {
	c.Inputs = slices.DeleteFunc(c.Inputs, func(topic string) bool { return topic == "purchase" })
	c.NotRead = []config.NotRead{{Topic: "purchase", Message: "not read: no stream"}}
}

// purchases returns how far purchases were read, of all tasks together.
func (g *uneven) purchases() (next int64) {
	g.Helper()
	for _, pos := range g.Positions() {
		for of, at := range pos.Sources {
			if of.Topic == "purchase" {
				next += at.Next
			}
		}
	}
	return next
}

// docs/semantics.md, 11.8: an input that the rules leave out keeps its position and does not hold up the clock;
// when they have it again, it goes on there, and each of its records counts once.
func TestNotReadKeepsItsPosition(t *testing.T) {
	g := newUneven(t, 4, unevenCounts())
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, g.settings)
	in.ready()
	want := g.buyers("before", 10)
	g.taken(in)
	in.stop()
	if n := g.purchases(); n != 10 {
		t.Fatalf("%d purchases were read", n)
	}
	in = g.start(fixture.Rules, files, both(g.settings, noPurchases))
	in.ready()
	want = append(want, g.buyers("meanwhile", 10)...)
	g.Produce(g.event(plan.Profile, "anna", g.Now()))
	after := in.o.Status().Clock
	g.Eventually("the clocks go on", func() bool { return in.o.Status().Clock > after+1000 })
	folded, dead, _ := g.Totals()
	if st := in.o.Status(); folded != 11 || dead != 0 || len(st.NotRead) != 1 || st.Lag != 0 {
		t.Errorf("folded %d, dead letters %d, %+v", folded, dead, st)
	}
	in.stop()
	if n := g.purchases(); n != 10 {
		t.Errorf("purchases are at %d", n)
	}
	in = g.start(fixture.Rules, files, g.settings)
	g.areMembers(want)
	g.taken(in)
	in.stop()
	if n := g.purchases(); n != 20 {
		t.Errorf("%d purchases were read", n)
	}
	if folded, _, _ = g.Totals(); folded != 21 {
		t.Errorf("folded %d", folded)
	}
}

// Of an input that was not read, retention deletes records like any others: the partition
// stops, unless it may go on without them.
func TestNotReadDeleted(t *testing.T) {
	g := newUneven(t, 1, map[string]int32{"web": 1, "purchase": 1, "profile": 1})
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	g.buyers("before", 3)
	g.taken(in)
	in.stop()
	in = g.start(fixture.Rules, files, noPurchases)
	in.ready()
	g.buyers("deleted", 3)
	in.stop()
	adm := kadm.NewClient(g.Client)
	ends, err := adm.ListEndOffsets(t.Context(), "purchase")
	if err == nil {
		_, err = adm.DeleteRecords(t.Context(), ends.Offsets())
	}
	if err != nil {
		t.Fatal(err)
	}
	in = g.start(fixture.Rules, files, noPurchases)
	in.ready() // nobody needs them
	in.stop()
	in = g.start(fixture.Rules, files, nil)
	g.Eventually("it stops", func() bool {
		st := in.o.Status()
		return len(st.Tasks) == 1 && st.Tasks[0].State == task.Stopped && strings.Contains(st.Tasks[0].Error, "records 3 to 5 of purchase were deleted before they were read")
	})
	in.stop()
	in = g.start(fixture.Rules, files, func(c *config.Config) { c.SkipDeleted = true })
	in.ready()
	in.stop()
}

// The position of an input that is not read moves with the state.
func TestNotReadReshards(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	m := g.grow(3, true)
	leave := func(r *reshard.Reshard) { noPurchases(&r.From); noPurchases(&r.To) }
	if _, err := m.run(g, files, leave); err != nil {
		t.Fatal(err)
	}
	in = m.start(fixture.Rules, vfs.NewMem(), m.to)
	in.ready()
	m.Produce(m.Event(plan.Purchase, "anna", m.Now(), nil))
	in.caughtUp()
	read := int64(0)
	for _, st := range in.o.Status().Tasks {
		for p := range int32(3) {
			read += st.Sources[changelog.InputOf("purchase", p, st.Partition)].Next
		}
	}
	in.stop()
	if read != 2 {
		t.Errorf("purchases are at %d", read)
	}
}

// Rules may leave out every input: the engine runs, and its clocks go on.
func TestNothingIsRead(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	g.Produce(g.Event(plan.Web, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	g.Shift.Add(int64(48 * time.Hour))
	nothing := func(c *config.Config) {
		for _, topic := range c.Inputs {
			c.NotRead = append(c.NotRead, config.NotRead{Topic: topic, Message: "not read"})
		}
		c.Inputs = nil
	}
	in = g.start(fixture.Rules, files, nothing)
	in.ready()
	if st := in.o.Status(); len(st.Tasks) != 2 {
		t.Errorf("%d tasks", len(st.Tasks))
	}
	g.Eventually("her visit is long ago", func() bool { return len(g.Members()) == 0 })
	in.stop()
	first := g.start(fixture.Rules, vfs.NewMem(), both(nothing, func(c *config.Config) { c.App = "another" }))
	if err := first.refused(); err == nil || !strings.Contains(err.Error(), "the rules leave out every input, so nothing says how many tasks there are") {
		t.Errorf("%v", err)
	}
}

// So it is while the engine runs: rules that come leave an input out, and others have it again.
func TestNotReadWhileRunning(t *testing.T) {
	g := newUneven(t, 4, unevenCounts())
	in := g.start(fixture.Rules, vfs.NewMem(), both(g.settings, noPurchases))
	in.ready()
	change := func(name, text string, reads []string) {
		t.Helper()
		r := g.Rules(text)
		r.Name, r.Reads = name, reads
		if len(reads) < 3 {
			r.NotRead = []config.NotRead{{Topic: "purchase", Message: "not read: no stream"}}
		}
		in.o.Change(&r)
		in.under(name)
	}
	for p := range g.Partitions { // each has committed something under the rules before
		g.Produce(g.event(plan.Profile, g.CustomersOf(p, 1)[0], g.Now()))
	}
	g.Eventually("all have state", func() bool { return len(g.Positions()) == 4 })
	want := g.buyers("before", 10)
	change("with", strings.Replace(fixture.Rules, ">= 3", ">= 4", 1), []string{"profile", "purchase", "web"})
	g.areMembers(want)
	change("without", strings.Replace(fixture.Rules, ">= 3", ">= 5", 1), []string{"profile", "web"})
	if st := in.o.Status(); len(st.NotRead) != 1 {
		t.Errorf("%v", st.NotRead)
	}
	want = append(want, g.buyers("meanwhile", 10)...)
	g.Produce(g.event(plan.Profile, "anna", g.Now()))
	g.Eventually("anna is known", func() bool { folded, _, _ := g.Totals(); return folded == 15 })
	if n := g.purchases(); n != 10 {
		t.Errorf("purchases are at %d", n)
	}
	change("again", fixture.Rules, []string{"profile", "purchase", "web"})
	g.areMembers(want)
	g.taken(in)
	in.stop()
	if folded, dead, _ := g.Totals(); folded != 25 || dead != 0 {
		t.Errorf("folded %d, dead letters %d", folded, dead)
	}
}

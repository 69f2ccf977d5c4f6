package group

import (
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/reshard"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// fromNow reads purchases from now on.
func fromNow(c *config.Config) { c.FromNow = []string{"purchase"} }

// An input that is read from now on is read from its end when tasks meet it: at a first
// start, and when it is added later. That is decided once: what comes while nobody
// runs, and on partitions that are added, is read, and a rebuild begins there too.
func TestFromNow(t *testing.T) {
	without := func(c *config.Config) {
		c.Inputs = slices.DeleteFunc(c.Inputs, func(topic string) bool { return topic == "purchase" })
	}
	for name, prepare := range map[string]func(g *uneven, files vfs.FS){
		"first start": func(*uneven, vfs.FS) {},
		"added later": func(g *uneven, files vfs.FS) {
			in := g.start(fixture.Rules, files, both(g.settings, without))
			in.ready()
			g.Produce(g.event(plan.Profile, "anna", g.Now()))
			g.Eventually("it is folded", func() bool { folded, _, _ := g.Totals(); return folded == 1 })
			in.stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newUneven(t, 4, map[string]int32{"web": 4, "purchase": 3, "profile": 1}) // none for the last task
			files := vfs.NewMem()
			g.buyers("former", 10)
			prepare(g, files)
			settings := both(g.settings, fromNow)
			in := g.start(fixture.Rules, files, settings)
			in.ready()
			in.crash() // before anything came
			want := g.buyers("down", 10)
			g.grow("purchase", 8)
			want = append(want, g.buyers("added", 30)...)
			in = g.start(fixture.Rules, vfs.NewMem(), settings)
			g.areMembers(want)
			in.stop()
			first := int64(0)
			for p, pos := range g.Positions() {
				for of, at := range pos.Sources {
					first += at.First
					if at.First > 0 && (of.Topic != "purchase" || of.Partition(p) > 2) {
						t.Errorf("task %d reads %v from offset %d on", p, of, at.First)
					}
				}
			}
			if first != 10 {
				t.Errorf("%d records are left out, want 10", first)
			}
			in = g.start(fixture.OtherRules, files, both(settings, func(c *config.Config) { c.Rebuild = true }))
			g.taken(in)
			in.stop()
			if got := g.Members(); !slices.Equal(got, want) {
				t.Errorf("after a rebuild %v, want %v", got, want)
			}
		})
	}
}

// A task that has no partition of such an input remembers that it has met it, and nothing
// is written of inputs that are read from their beginning.
func TestFromNowIsRemembered(t *testing.T) {
	g := newUneven(t, 4, map[string]int32{"web": 4, "purchase": 1, "profile": 4})
	in := g.start(fixture.Rules, vfs.NewMem(), both(g.settings, fromNow))
	in.ready()
	in.stop()
	for p, pos := range g.Positions() {
		at, ok := pos.Sources[changelog.Input{Topic: "purchase"}]
		if pos.Seq != 1 || !ok || at.Next != 0 {
			t.Errorf("task %d at %d: %+v", p, pos.Seq, pos.Sources)
		}
		if b := pos.Append(nil); b[0] != 1 {
			t.Errorf("format %d of a position that has nothing to say of partitions", b[0])
		}
	}
}

// Inputs that continue those of an application that was moved are read from their
// beginning, whatever is written: they are not new.
func TestFromNowContinues(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	m := g.grow(3, false)
	now := func(c *config.Config) { c.FromNow = c.Inputs }
	if _, err := m.run(g, files, func(r *reshard.Reshard) { now(&r.To) }); err != nil {
		t.Fatal(err)
	}
	r := m.Event(plan.Purchase, "berta", g.Now(), nil)
	r.Topic = m.name(r.Topic)
	m.Produce(r)
	in = m.start(fixture.Rules, vfs.NewMem(), both(m.to, now))
	m.Eventually("both are members", func() bool { return len(m.memberships("changes", "changes2")) == 2 })
	in.stop()
}

// The state moves to another number of tasks while the inputs stay as they are, and a
// rebuild then finds everything.
func TestReshardUneven(t *testing.T) {
	for _, to := range []int32{3, 6} {
		t.Run(strconv.Itoa(int(to)), func(t *testing.T) {
			g := newUneven(t, 4, unevenCounts())
			files := vfs.NewMem()
			in := g.start(fixture.Rules, files, g.settings)
			in.ready()
			g.areMembers(g.buyers("old", 20)) // also whose records are forwarded
			g.taken(in)
			in.stop()
			m := &moved{&fleet{g.Beside(to)}, true}
			m.Connect()
			settings := both(m.to, func(c *config.Config) { c.Create.Partitions = to })
			done, err := m.run(g.fleet, files, func(r *reshard.Reshard) { settings(&r.To) })
			if err != nil || done.To != to {
				t.Fatalf("%+v, %v", done, err)
			}
			g.buyers("new", 20)
			files = vfs.NewMem()
			in = m.start(fixture.Rules, files, settings)
			m.Eventually("all are members", func() bool { return len(m.memberships("changes", "changes2")) == 40 })
			in.stop()
			in = m.start(fixture.OtherRules, files, both(settings, func(c *config.Config) { c.Rebuild = true }))
			in.ready()
			in.stop()
			if l := m.memberships("changes", "changes2"); len(l) != 40 {
				t.Errorf("after a rebuild %v", l)
			}
		})
	}
}

package group

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/engine/plan"
)

// other are rules that differ from rules in every way: one segment is the same,
// one has another condition, one is new and one is gone.
const other = `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) >= 1"}
  - {id: frequent, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase, days(2)) >= 2"}
  - {id: visitor, objective: a, owner: b, review_by: 2099-01-01, when: "count(web) >= 20"}
`

func TestRulesChanged(t *testing.T) {
	g := newRig(t, 1)
	files := vfs.NewMem()
	in := g.start(rules, files, nil)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), map[string]any{"revenue": "1000"}), g.event(plan.Purchase, "anna", g.now(), nil))
	in.caughtUp()
	in.stop()
	if got := g.members(); !slices.Equal(got, []string{"anna big", "anna buyer"}) {
		t.Fatalf("%v", got)
	}

	in = g.start(other, files, nil)
	err := in.wait()
	want := "changed: frequent; added: visitor; removed: big, browsing, trigger:cart_left"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--rebuild") {
		t.Fatalf("%v; want %q", err, want)
	}

	in = g.start(other, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	in.stop()
	if got := g.members(); !slices.Equal(got, []string{"anna buyer", "anna frequent"}) {
		t.Errorf("%v", got)
	}
	for _, e := range g.effects("changes")[0] {
		if e.Segment == "big" && e.Sequence == 2 && (e.Cause != "rule_change" || e.Action != "exited") {
			t.Errorf("%v", e)
		}
	}
	// The same rules again need nothing, also after losing the disk.
	n := len(g.effects("changes")[0])
	g.verifyFromNothing(other, nil)
	if got := len(g.effects("changes")[0]); got != n {
		t.Errorf("%d changes more", got-n)
	}
}

// However often a rebuild dies, in the end the memberships are those of a run
// that had the new rules from the beginning, and nothing is told twice.
func TestRebuildDies(t *testing.T) {
	for _, seed := range seeds(t, 2) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			fresh := newRig(t, 2)
			fresh.history(rand.New(rand.NewPCG(seed, 0)), 1_500)
			in := fresh.start(other, vfs.NewMem(), overHistory)
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}

			g := newRig(t, 2)
			g.history(rand.New(rand.NewPCG(seed, 0)), 1_500)
			files := vfs.NewCrashableMem()
			in = g.start(rules, files, overHistory)
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}
			before := g.positions()
			rebuild := func(c *config.Config) {
				c.Time.Clock, c.Rebuild = config.EventsClock, true
				c.Batch.Records = 3
			}
			for range 4 {
				in = g.start(other, files, rebuild)
				enough := before[0].Seq + uint64(1+rng.IntN(4))
				g.eventually("a part of the rebuild", func() bool {
					st := in.o.Status()
					return st.Ready || len(st.Tasks) > 0 && st.Tasks[0].Seq >= enough
				})
				in.crash()
				if rng.IntN(2) == 0 {
					files = vfs.NewCrashableMem()
				}
			}
			in = g.start(other, files, rebuild)
			in.ready()
			in.stop()
			if diff := gocmp.Diff(fresh.members(), g.members()); diff != "" {
				t.Error(diff)
			}
			for p, pos := range g.positions() {
				if pos.Rebuilding || pos.Clock != before[p].Clock || !gocmp.Equal(pos.Sources, before[p].Sources) {
					t.Errorf("partition %d: %+v after %+v", p, pos, before[p])
				}
			}
			g.verifyFromNothing(other, func(c *config.Config) { c.Time.Clock = config.EventsClock })
		})
	}
}

// An unfinished rebuild to one set of rules can be followed by one to another.
func TestRebuildToAnotherSet(t *testing.T) {
	g := newRig(t, 1)
	files := vfs.NewMem()
	in := g.start(rules, files, nil)
	in.ready()
	for i := range 100 {
		g.produce(g.event(plan.Purchase, fmt.Sprintf("c%02d", i), g.now(), map[string]any{"revenue": "1000"}))
	}
	in.caughtUp()
	in.stop()
	before := g.positions()[0].Seq
	in = g.start(other, files, func(c *config.Config) { c.Rebuild, c.Batch.Records = true, 1 })
	g.eventually("a part of the rebuild", func() bool {
		st := in.o.Status()
		return len(st.Tasks) > 0 && st.Tasks[0].Seq > before+2
	})
	in.crash()

	third := strings.ReplaceAll(other, "visitor", "guest")
	in = g.start(third, files, nil)
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "added: guest; removed: visitor") {
		t.Fatalf("%v", err)
	}
	in = g.start(third, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	in.stop()
	for _, m := range g.members() {
		if !strings.HasSuffix(m, " buyer") {
			t.Errorf("member %s", m)
		}
	}
	if pos := g.positions()[0]; pos.Rebuilding || pos.Rules != changelog.HashVersions(newEngine(t, third).Versions()) {
		t.Errorf("%+v", pos)
	}
}

// Timers that are due while nobody runs fire once the task is back.
func TestTimersAfterOutage(t *testing.T) {
	g := newRig(t, 1)
	files := vfs.NewMem()
	in := g.start(rules, files, nil)
	in.ready()
	now := g.now()
	for i := range 40 {
		g.produce(g.event(plan.Web, fmt.Sprintf("c%02d", i), now, nil))
	}
	in.caughtUp()
	in.stop()
	if got := len(g.members()); got != 40 {
		t.Fatalf("%d browse", got)
	}
	g.shift.Store(int64(12 * time.Hour))
	start := time.Now()
	in = g.start(rules, files, func(c *config.Config) { c.Time.OverdueRate = 50 })
	in.ready()
	// Events have their turn while overdue timers are held back.
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	g.eventually("anna buys", func() bool { return slices.Contains(g.members(), "anna buyer") })
	g.eventually("all have left", func() bool { return slices.Equal(g.members(), []string{"anna buyer"}) })
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("40 timers at 50 a second took %v", took)
	}
	in.stop()
	for _, e := range g.effects("changes")[0] {
		if e.Action == "exited" && !e.At.Equal(now.Add(3*time.Hour).Truncate(time.Millisecond)) {
			t.Errorf("%v, want at %v", e, now.Add(3*time.Hour))
		}
	}
}

// A rebuild under rules that wake customers up at other times leaves no entry of
// the due index behind.
func TestRebuildMovesWakeUps(t *testing.T) {
	g := newRig(t, 1)
	files := vfs.NewMem()
	in := g.start(rules, files, nil)
	in.ready()
	for i := range 10 {
		g.produce(g.event(plan.Purchase, fmt.Sprintf("c%d", i), g.now(), map[string]any{"revenue": "90"}))
	}
	in.caughtUp()
	in.stop()
	changed := strings.Replace(rules, "> 300", "> 80", 1)
	in = g.start(changed, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	if v, err := replica.Verify(context.Background(), in.store, 0); err != nil || v.Customers != 10 {
		t.Errorf("%+v, %v", v, err)
	}
	in.stop()
}

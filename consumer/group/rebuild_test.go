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
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

func TestRulesChanged(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), map[string]any{"revenue": "1000"}), g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"anna big", "anna buyer"}) {
		t.Fatalf("%v", got)
	}

	in = g.start(fixture.OtherRules, files, nil)
	err := in.wait()
	want := "changed: frequent; added: visitor; removed: big, browsing, trigger:cart_left"
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--rebuild") {
		t.Fatalf("%v; want %q", err, want)
	}

	in = g.start(fixture.OtherRules, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"anna buyer", "anna frequent"}) {
		t.Errorf("%v", got)
	}
	for _, e := range g.Effects("changes")[0] {
		if e.Segment == "big" && e.Sequence == 2 && (e.Cause != "rule_change" || e.Action != "exited") {
			t.Errorf("%v", e)
		}
	}
	// The same rules again need nothing, also after losing the disk.
	n := len(g.Effects("changes")[0])
	g.verifyFromNothing(fixture.OtherRules, nil)
	if got := len(g.Effects("changes")[0]); got != n {
		t.Errorf("%d changes more", got-n)
	}
}

// An instance whose rules read records in another way refuses the state of the first, as
// one with other rules does.
func TestReadingChanged(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	const written = "defaults: {timezone: UTC}\n"
	for reading, want := range map[string]string{
		written + "readings: {dedup: {web: 2d}}\n":                    "added: reading:dedup:web",
		written + "readings: {min_event_time: 2020-01-01}\n":          "added: reading:min_event_time",
		"defaults: {timezone: UTC, currency: EUR}\n":                  "added: defaults:currency",
		"defaults: {currency: EUR}\nreadings: {rates: {USD: 0.92}}\n": "added: defaults:currency, reading:rates",
	} {
		in := g.start(strings.Replace(fixture.Rules, written, reading, 1), files, nil)
		if err := in.wait(); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--rebuild") {
			t.Errorf("%s: %v; want %q", reading, err, want)
		}
	}
}

// However often a rebuild dies, in the end the memberships are those of a run
// that had the new rules from the beginning, and nothing is emitted twice.
func TestRebuildDies(t *testing.T) {
	testChangeDies(t, func(c *config.Config) { c.Rebuild = true })
}

// The same of a change that keeps facts.
func TestApplyDies(t *testing.T) { testChangeDies(t, func(c *config.Config) { c.Apply = true }) }

func testChangeDies(t *testing.T, way func(*config.Config)) {
	t.Helper()
	for _, seed := range fixture.Seeds(t, 2) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 2))
			fresh := newFleet(t, 2)
			fresh.History(rand.New(rand.NewPCG(seed, 0)), 1_500)
			in := fresh.start(fixture.OtherRules, vfs.NewMem(), rig.OverHistory)
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}

			g := newFleet(t, 2)
			g.History(rand.New(rand.NewPCG(seed, 0)), 1_500)
			files := vfs.NewCrashableMem()
			in = g.start(fixture.Rules, files, rig.OverHistory)
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}
			before := g.Positions()
			changing := both(way, func(c *config.Config) {
				c.Time.Clock = config.EventsClock
				c.Batch.Records = 3
			})
			for range 4 {
				in = g.start(fixture.OtherRules, files, changing)
				enough := before[0].Seq + uint64(1+rng.IntN(4))
				g.Eventually("a part of the change", func() bool {
					st := in.o.Status()
					return st.Ready || len(st.Tasks) > 0 && st.Tasks[0].Seq >= enough
				})
				in.crash()
				if rng.IntN(2) == 0 {
					files = vfs.NewCrashableMem()
				}
			}
			in = g.start(fixture.OtherRules, files, changing)
			in.ready()
			in.stop()
			if diff := gocmp.Diff(fresh.Members(), g.Members()); diff != "" {
				t.Error(diff)
			}
			for p, pos := range g.Positions() {
				if pos.Rebuilding || pos.Clock != before[p].Clock || !gocmp.Equal(pos.Sources, before[p].Sources) {
					t.Errorf("partition %d: %+v after %+v", p, pos, before[p])
				}
			}
			g.verifyFromNothing(fixture.OtherRules, func(c *config.Config) { c.Time.Clock = config.EventsClock })
		})
	}
}

// An unfinished rebuild to one set of rules can be followed by one to another.
func TestRebuildToAnotherSet(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	for i := range 100 {
		g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%02d", i), g.Now(), map[string]any{"revenue": "1000"}))
	}
	in.caughtUp()
	in.stop()
	before := g.Positions()[0].Seq
	in = g.start(fixture.OtherRules, files, func(c *config.Config) { c.Rebuild, c.Batch.Records = true, 1 })
	g.Eventually("a part of the rebuild", func() bool {
		st := in.o.Status()
		return len(st.Tasks) > 0 && st.Tasks[0].Seq > before+2
	})
	in.crash()

	third := strings.ReplaceAll(fixture.OtherRules, "visitor", "guest")
	in = g.start(third, files, nil)
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "added: guest; removed: visitor") {
		t.Fatalf("%v", err)
	}
	in = g.start(third, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	in.stop()
	for _, m := range g.Members() {
		if !strings.HasSuffix(m, " buyer") {
			t.Errorf("member %s", m)
		}
	}
	if pos := g.Positions()[0]; pos.Rebuilding || pos.Rules != changelog.HashVersions(fixture.NewEngine(t, third).Versions()) {
		t.Errorf("%+v", pos)
	}
}

// Timers that are due while nobody runs fire once the task is back.
func TestTimersAfterOutage(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	now := g.Now()
	for i := range 40 {
		g.Produce(g.Event(plan.Web, fmt.Sprintf("c%02d", i), now, nil))
	}
	in.caughtUp()
	in.stop()
	if got := len(g.Members()); got != 40 {
		t.Fatalf("%d browse", got)
	}
	g.Shift.Store(int64(12 * time.Hour))
	start := time.Now()
	in = g.start(fixture.Rules, files, func(c *config.Config) { c.Time.OverdueRate = 50 })
	in.ready()
	// Events have their turn while overdue timers are held back.
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("anna buys", func() bool { return slices.Contains(g.Members(), "anna buyer") })
	g.Eventually("all have left", func() bool { return slices.Equal(g.Members(), []string{"anna buyer"}) })
	if took := time.Since(start); took < 400*time.Millisecond {
		t.Errorf("40 timers at 50 a second took %v", took)
	}
	in.stop()
	for _, e := range g.Effects("changes")[0] {
		if e.Action == "exited" && !e.At.Equal(now.Add(3*time.Hour).Truncate(time.Millisecond)) {
			t.Errorf("%v, want at %v", e, now.Add(3*time.Hour))
		}
	}
}

// A rebuild under rules that wake customers up at other times leaves no entry of
// the due index behind.
func TestRebuildMovesWakeUps(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	for i := range 10 {
		g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%d", i), g.Now(), map[string]any{"revenue": "90"}))
	}
	in.caughtUp()
	in.stop()
	changed := strings.Replace(fixture.Rules, "> 300", "> 80", 1)
	in = g.start(changed, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	if v, err := replica.Verify(context.Background(), in.store, 0); err != nil || v.Customers != 10 {
		t.Errorf("%+v, %v", v, err)
	}
	in.stop()
}

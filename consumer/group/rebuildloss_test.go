package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// rulesOf returns rules of segments, "id: condition" each.
func rulesOf(segments ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\ndefaults: {timezone: UTC}\nsegments:\n")
	for _, s := range segments {
		id, when, _ := strings.Cut(s, ": ")
		fmt.Fprintf(&b, "  - {id: %s, objective: a, owner: b, review_by: 2099-01-01, when: %q}\n", id, when)
	}
	return b.String()
}

// lookingBack tells a Config how far back its rules look.
func lookingBack(c *config.Config) {
	c.LookBack = map[string]engine.Millis{}
	for _, s := range []plan.Stream{plan.Web, plan.Purchase, plan.Profile} {
		c.LookBack[s.String()] = c.Engine.Plan().LookBack(s)
	}
}

// A rebuild that would lose facts is refused, and says how many customers have them. Then
// nothing has changed, and the former rules still run.
func TestRebuildRefusesLoss(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	before := rulesOf("buyer: count(purchase) >= 1", "visitor: count(web, days(3)) >= 1")
	after := rulesOf("buyer: count(purchase) >= 1", "visitor: count(web, days(3)) >= 1", "frequent: count(purchase) >= 2")
	in := g.start(before, files, nil)
	in.ready()
	now := g.Now()
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	g.Produce(
		g.Event(plan.Purchase, "anna", ago(30), nil), g.Event(plan.Purchase, "berta", ago(29), nil),
		g.Event(plan.Purchase, "berta", ago(20), nil), g.Event(plan.Purchase, "clara", ago(1), nil),
		g.Event(plan.Web, "clara", ago(9), nil), g.Event(plan.Web, "clara", ago(8), nil), g.Event(plan.Web, "clara", ago(1), nil),
	)
	in.caughtUp()
	in.stop()
	for _, topic := range []string{"purchase", "web"} { // of web, what no rule can see any more
		if err := g.Broker.DeleteRecords(topic, 0, map[string]int64{"purchase": 2, "web": 1}[topic]); err != nil {
			t.Fatal(err)
		}
	}
	ends := func() string { return fmt.Sprint(g.Ends(rig.App+".changelog", "changes", "triggers")) }
	was := ends()
	in = g.start(after, files, both(lookingBack, func(c *config.Config) { c.Rebuild = true }))
	err := in.refused()
	want := fmt.Sprintf("purchase/0 begins on %s, and rules look back for ever. Of 3 customers of partition 0, 1 would lose all facts, because the inputs no longer mention them, and 1 some. ",
		ago(20).UTC().Format(time.RFC3339))
	if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "--accept-loss") || strings.Contains(err.Error(), "web/0") {
		t.Errorf("%v\nwant %q", err, want)
	}
	if got := ends(); got != was {
		t.Errorf("the topics end at %s, before at %s", got, was)
	}
	in = g.start(before, files, nil)
	in.ready()
	in.stop()

	reg := prometheus.NewPedanticRegistry()
	in = g.start(after, files, both(lookingBack, func(c *config.Config) {
		c.Rebuild, c.AcceptLoss, c.Metrics = true, true, metrics.New(reg)
	}))
	in.ready()
	in.stop()
	if diff := gocmp.Diff([]string{"berta buyer", "clara buyer", "clara visitor"}, g.Members()); diff != "" {
		t.Error(diff)
	}
	for facts, want := range map[string]float64{"all": 1, "some": 1} {
		if got := fixture.Gather(t, reg)["segmill_rebuild_losses_total{"+facts+"}"]; got != want {
			t.Errorf("%v customers have lost %s facts, want %v", got, facts, want)
		}
	}
}

// While a task counts what a rebuild would lose, which is then refused, the other tasks of
// the instance leave everything as it is.
func TestRebuildRefusedElsewhere(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	in := g.start(rulesOf("buyer: count(purchase) >= 1"), files, nil)
	in.ready()
	for p := range g.Partitions {
		for _, customer := range g.CustomersOf(p, 2) {
			g.Produce(g.Event(plan.Purchase, customer, g.Now(), nil))
		}
	}
	in.caughtUp()
	in.stop()
	if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
		t.Fatal(err)
	}
	ends := func() string { return fmt.Sprint(g.Ends(rig.App+".changelog", "changes")) }
	was := ends()
	surveyed, refolded := make(chan struct{}), make(chan struct{})
	in = g.start(rulesOf("customer: count(purchase) >= 1"), files, both(lookingBack, func(c *config.Config) {
		c.Rebuild = true
		rig.FailAt(t, c, func(task int32, point string) error {
			switch {
			case task == 0 && point == "surveyed":
				close(surveyed)
				<-refolded
				rig.Within(300*time.Millisecond, func() bool { return ends() != was })
			case task == 1 && point == "refolded":
				<-surveyed
				close(refolded)
			}
			return nil
		})
	}))
	if err := in.refused(); err == nil || !strings.Contains(err.Error(), "Of 2 customers of partition 0, 1 would lose all facts") {
		t.Error(err)
	}
	if got := ends(); got != was {
		t.Errorf("the topics end at %s, before at %s", got, was)
	}
}

// Nothing is refused where nothing that rules look back to was deleted, whatever else was.
func TestRebuildWithoutLoss(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(rulesOf("visitor: count(web, days(3)) >= 1"), files, nil)
	in.ready()
	for _, days := range []int{9, 8, 4, 1} {
		g.Produce(g.Event(plan.Web, "anna", g.Now().AddDate(0, 0, -days), nil))
	}
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	for topic, offset := range map[string]int64{"web": 2, "purchase": 1} { // of purchase nothing is read
		if err := g.Broker.DeleteRecords(topic, 0, offset); err != nil {
			t.Fatal(err)
		}
	}
	in = g.start(rulesOf("visitor: count(web, days(3)) >= 1", "came: count(web, days(3)) >= 2"), files,
		both(lookingBack, func(c *config.Config) { c.Rebuild = true }))
	in.ready()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"anna visitor"}) {
		t.Errorf("%v", got)
	}
	in = g.start(rulesOf("visitor: count(web, days(4)) >= 1"), files, both(lookingBack, func(c *config.Config) { c.Rebuild = true }))
	if err := in.refused(); err == nil || !strings.Contains(err.Error(), "web/0 begins on ") || !strings.Contains(err.Error(), ", and rules look back to ") {
		t.Errorf("%v", err)
	}
}

// The differences of a rebuild are effective when it ends. What was due of the rules
// that are as they were fires first, as of its own time; and the clock does not pass what
// is unread.
func TestRebuildIsEffectiveAtItsEnd(t *testing.T) {
	changed := strings.Replace(fixture.Rules, ">= 3", ">= 1", 1)
	for name, unread := range map[string]time.Duration{"all is read": 0, "one record is unread": time.Hour} {
		t.Run(name, func(t *testing.T) {
			g := newFleet(t, 1)
			files := vfs.NewMem()
			in := g.start(fixture.Rules, files, nil)
			in.ready()
			now := g.Now().Truncate(time.Millisecond)
			g.Produce(
				g.Event(plan.Web, "anna", now, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}}),
				g.Event(plan.Purchase, "berta", now, nil),
			)
			in.caughtUp()
			in.stop()
			g.Shift.Store(int64(4 * time.Hour))
			if unread > 0 {
				g.Produce(g.Event(plan.Web, "clara", now.Add(unread), nil))
			}
			earliest := g.Now().Add(-time.Second)
			in = g.start(changed, files, func(c *config.Config) { c.Rebuild = true })
			in.ready()
			in.caughtUp()
			latest := g.Now()
			if unread > 0 {
				earliest, latest = now.Add(unread-time.Second), now.Add(unread)
			}
			g.Eventually("anna has left", func() bool { return !slices.Contains(g.Members(), "anna browsing") })
			in.stop()
			found := 0
			for _, e := range g.Effects("changes")[0] {
				switch {
				case e.Customer == "anna" && e.Action == "exited":
					if found++; e.Cause != "timer" || !e.At.Equal(now.Add(3*time.Hour)) {
						t.Errorf("%v, want it at %v", e, now.Add(3*time.Hour))
					}
				case e.Cause == "rule_change":
					if found++; e.Customer != "berta" || e.At.Before(earliest) || e.At.After(latest) {
						t.Errorf("%v, want it between %v and %v", e, earliest, latest)
					}
				}
			}
			for _, e := range g.Effects("triggers")[0] {
				if found++; e.Customer != "anna" || !e.Fired.Equal(now.Add(30*time.Minute)) {
					t.Errorf("%v, want it at %v", e, now.Add(30*time.Minute))
				}
			}
			if found != 3 {
				t.Errorf("%d of 3 effects", found)
			}
		})
	}
}

// Wherever a rebuild dies, and however much later it goes on, its differences have the
// instant that they had: those that are emitted again are the same.
func TestRebuildDiesAtEachPoint(t *testing.T) {
	for _, point := range []string{"refolded", "begun", "produced", "ended", "applied", "reemitted"} {
		for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
			t.Run(fmt.Sprintf("%s, delivery %d", point, delivery), func(t *testing.T) {
				t.Parallel()
				testRebuildDiesAt(t, point, delivery)
			})
		}
	}
}

func testRebuildDiesAt(t *testing.T, point string, delivery config.Delivery) {
	changed := strings.NewReplacer(">= 3", ">= 1", `  - {id: browsing, objective: a, owner: b, review_by: 2099-01-01, when: "did(web, hours(3))"}`+"\n", "", "triggers:",
		`  - {id: quiet, objective: a, owner: b, review_by: 2099-01-01, when: "count(web, minutes(5)) == 0"}`+"\ntriggers:").Replace(fixture.Rules)
	d := dying{
		point: point, delivery: delivery, changed: changed, last: changed, allow: func(c *config.Config) { c.Rebuild = true },
		want: []string{"buyer", "frequent", "quiet"},
	}
	instants := map[time.Time]int{}
	for _, e := range d.run(t) {
		if e.Cause != "event" { // nothing changes by time alone
			instants[e.At]++
		}
	}
	if len(instants) != 1 {
		t.Errorf("the differences are of %v", instants)
	}
}

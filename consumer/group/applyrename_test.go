package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/rig"
)

// was says in rules what some of them were called: pairs of the id now and the one before.
func was(rules string, ids ...string) string {
	for i := 0; i < len(ids); i += 2 {
		rules = strings.Replace(rules, "{id: "+ids[i]+",", "{id: "+ids[i]+", was: "+ids[i+1]+",", 1)
	}
	return rules
}

// Segments and triggers are renamed on all partitions, and an unrelated segment is added, when
// the old end of an input has been deleted: the new ids are emitted of members, nobody leaves or
// enters, no trigger forgets, and no fact is lost.
func TestApplyRenames(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	once := func(id, when string) string {
		return fmt.Sprintf("triggers:\n  - {id: %s, kind: rule, reentry: once, when: %q}\n", id, when)
	}
	in := g.start(rulesOf("buyer: count(purchase) >= 1", "big: sum(purchase.revenue) > 100", "reader: did(web, days(7))")+once("welcome", `in_segment("buyer")`), files, nil)
	in.ready()
	day := func(n int) time.Time { return g.Now().AddDate(0, 0, -n) }
	for i := range 20 {
		who := fmt.Sprintf("c%02d", i)
		g.Produce(g.Event(plan.Purchase, who, day(400), map[string]any{"revenue": "60"}), g.Event(plan.Web, who, day(1), nil))
	}
	in.caughtUp()
	in.stop()
	for p := range g.Partitions {
		if err := g.Broker.DeleteRecords("purchase", p, g.Ends("purchase")["purchase"][p]); err != nil {
			t.Fatal(err)
		}
	}
	said := g.said()
	rules := rulesOf("client: count(purchase) >= 1", "big: sum(purchase.revenue) > 100", "guest: did(web, days(7))", "visitor: count(web, days(9)) >= 1")
	after := was(rules+once("hello", `in_segment("client")`), "client", "buyer", "guest", "reader", "hello", "welcome")
	in = g.start(after, files, applying)
	in.ready()
	var want []string
	for i := range 20 {
		who := fmt.Sprintf("c%02d ", i)
		want = append(want, who+"entered visitor 1 (rule_change)", who+"renamed client 1 (rule_change)", who+"renamed guest 1 (rule_change)")
	}
	if diff := gocmp.Diff(want, g.says(said)); diff != "" {
		t.Error(diff)
	}
	said = g.said()
	g.Produce(
		g.Event(plan.Purchase, "c07", g.Now(), map[string]any{"revenue": "60"}),
		&kgo.Record{Topic: "profile", Key: []byte("c08"), Partition: g.Route.Partition("c08")},
	)
	in.caughtUp()
	in.stop()
	want = []string{
		"c07 entered big 1 (event)", "c08 erased  0 (erasure)",
		"c08 exited client 2 (erasure)", "c08 exited guest 2 (erasure)", "c08 exited visitor 2 (erasure)",
	}
	if diff := gocmp.Diff(want, g.says(said)); diff != "" {
		t.Error(diff)
	}
	// What the rules were called may go from the files without a change.
	said = g.said()
	in = g.start(rules+once("hello", `in_segment("client")`), files, nil)
	in.ready()
	in.stop()
	if got := g.says(said); len(got) > 0 {
		t.Errorf("emitted is %q", got)
	}
	g.Members()
	g.verifyFromNothing(after, nil)
}

// A rebuild follows renames, too: nobody leaves or enters, and the numbers go on.
func TestRebuildRenames(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	in := g.start(rulesOf("buyer: count(purchase) >= 1", "often: count(purchase) >= 2"), files, nil)
	in.ready()
	for i := range 4 {
		who := fmt.Sprintf("c%d", i)
		g.Produce(g.Event(plan.Purchase, who, g.Now(), nil), g.Event(plan.Purchase, who, g.Now(), nil))
	}
	in.caughtUp()
	in.stop()
	said := g.said()
	after := was(rulesOf("client: count(purchase) >= 1", "regular: count(purchase) >= 3"), "client", "buyer", "regular", "often")
	in = g.start(after, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	in.stop()
	var want []string
	for i := range 4 {
		who := fmt.Sprintf("c%d ", i)
		want = append(want, who+"exited regular 2 (rule_change)", who+"renamed client 1 (rule_change)", who+"renamed regular 1 (rule_change)")
	}
	if diff := gocmp.Diff(want, g.says(said)); diff != "" {
		t.Error(diff)
	}
	g.Members()
	g.verifyFromNothing(after, nil)
}

// Wherever a change dies in which rules take each other's ids, and though it is given up for
// another one in which they do so again, all customers come to the last ids once, and nobody
// leaves or enters.
func TestRenameDiesAtEachPoint(t *testing.T) {
	for _, point := range []string{"refolded", "begun", "produced", "ended", "applied", "reemitted"} {
		for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
			for _, another := range []bool{false, true} {
				if another && (point == "refolded" || delivery == config.AtLeastOnce) {
					continue // nothing has begun that could be given up; or a reader has seen of it what was not committed
				}
				t.Run(fmt.Sprintf("%s, delivery %d, another set %v", point, delivery, another), func(t *testing.T) {
					t.Parallel()
					testRenameDiesAt(t, point, delivery, another)
				})
			}
		}
	}
}

func testRenameDiesAt(t *testing.T, point string, delivery config.Delivery, another bool) {
	rig.NeedPoints(t)
	g := rig.New(t, 1)
	g.Delivery = delivery
	files := vfs.NewMem()
	d := g.Drive(rulesOf("one: count(web) >= 1", "two: count(web) >= 2", "three: count(web) >= 3"), files, 0, nil)
	d.Until("acquired")
	for i := range 12 { // more than are brought over before the last death; c0 has one visit, and so on
		for range i + 1 {
			g.Produce(g.Event(plan.Web, fmt.Sprintf("c%d", i), g.Now(), nil))
		}
	}
	d.Free()
	g.Eventually("all are folded", func() bool { folded, _, _ := g.Totals(); return folded == 78 })
	d.Stop()
	// one and two swap, and three goes to four.
	changed := was(rulesOf("two: count(web) >= 1", "one: count(web) >= 2", "four: count(web) >= 3"), "two", "one", "one", "two", "four", "three")
	last, names := changed, []string{"two", "one", "four"}
	if another { // all go round: one to four, four to two, two to one
		last = was(rulesOf("one: count(web) >= 1", "four: count(web) >= 2", "two: count(web) >= 3"), "one", "two", "four", "one", "two", "four")
		names = []string{"one", "four", "two"}
	}
	again := func(c *config.Config) { c.Apply, c.Batch.Records = true, 1 }
	for range 3 {
		g.Shift.Add(int64(10 * time.Minute))
		d = g.Drive(changed, files, 0, again)
		for range 3 {
			d.Until(point)
			if point == "refolded" || point == "reemitted" {
				break // there is one in a change
			}
		}
		d.Kill()
	}
	d = g.Drive(last, files, 0, again)
	d.Until("acquired")
	d.Free()
	d.Stop()
	var want []string
	for i := range 12 {
		for _, name := range names[:min(3, i+1)] {
			want = append(want, fmt.Sprintf("c%d %s", i, name))
		}
	}
	slices.Sort(want)
	if diff := gocmp.Diff(want, g.Members()); diff != "" {
		t.Error(diff)
	}
	told := map[string]int{}
	for _, e := range g.Effects("changes")[0] {
		if e.Cause == "event" {
			continue
		}
		if told[e.Customer+" "+e.Segment]++; e.Action != "renamed" || told[e.Customer+" "+e.Segment] > 1 && !another {
			t.Errorf("%v", e)
		}
	}
}

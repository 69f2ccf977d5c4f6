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

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// applying lets an instance bring changed rules in.
func applying(c *config.Config) {
	c.Apply = true
	c.LookBackOf = func(of func(int) bool) map[string]engine.Millis {
		back := map[string]engine.Millis{}
		for _, s := range []plan.Stream{plan.Web, plan.Purchase, plan.Profile} {
			back[s.String()] = c.Engine.Plan().LookBackOf(s, of)
		}
		return back
	}
}

// says returns the changes and triggers since some were there, without what differs between
// runs.
func (g *fleet) says(before map[string]int) (l []string) {
	for _, topic := range []string{"changes", "triggers"} {
		effects := g.Effects(topic)
		for p := range g.Partitions {
			for _, e := range effects[p][before[fmt.Sprint(topic, p)]:] {
				l = append(l, fmt.Sprintf("%s %s %s%s %d (%s)", e.Customer, e.Action, e.Segment, e.Name, e.Sequence, e.Cause))
			}
		}
	}
	slices.Sort(l)
	return l
}

// said returns how many changes and triggers there are, for says.
func (g *fleet) said() map[string]int {
	n := map[string]int{}
	for _, topic := range []string{"changes", "triggers"} {
		for p, l := range g.Effects(topic) {
			n[fmt.Sprint(topic, p)] = len(l)
		}
	}
	return n
}

// The case that was reported: the old end of an input has been deleted, and a segment is
// added that has nothing to do with it. Nothing is emitted of the others, and no fact is
// lost.
func TestApplyKeepsFacts(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	before := rulesOf("buyer: count(purchase) >= 1", "big: sum(purchase.revenue) > 100")
	in := g.start(before, files, nil)
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
	after := rulesOf("buyer: count(purchase) >= 1", "big: sum(purchase.revenue) > 100", "visitor: did(web, days(7))", "often: count(purchase) >= 2")
	in = g.start(after, files, applying)
	in.ready()
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("c%02d entered visitor 1 (rule_change)", i))
	}
	if diff := gocmp.Diff(want, g.says(said)); diff != "" {
		t.Error(diff)
	}
	said = g.said()
	g.Produce(g.Event(plan.Purchase, "c07", g.Now(), map[string]any{"revenue": "60"}))
	in.caughtUp()
	in.stop()
	if diff := gocmp.Diff([]string{"c07 entered big 1 (event)", "c07 entered often 1 (event)"}, g.says(said)); diff != "" {
		t.Error(diff)
	}
	g.verifyFromNothing(after, nil)
}

// A rule that needs what has been deleted is refused, and said so; it may begin with what is
// left.
func TestApplyRefusesLoss(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	before := rulesOf("buyer: count(purchase) >= 1")
	in := g.start(before, files, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now().AddDate(0, 0, -30), nil), g.Event(plan.Purchase, "anna", g.Now(), map[string]any{"revenue": "7"}))
	in.caughtUp()
	in.stop()
	if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
		t.Fatal(err)
	}
	ends := func() string { return fmt.Sprint(g.Ends(rig.App+".changelog", "changes")) }
	was := ends()
	after := rulesOf("buyer: count(purchase) >= 1", "spender: sum(purchase.revenue) > 5")
	in = g.start(after, files, applying)
	err := in.refused()
	for _, want := range []string{"added: spender", "purchase/0 begins on ", "and rules look back for ever", "--apply --accept-loss"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	if got := ends(); got != was {
		t.Errorf("the topics end at %s, before at %s", got, was)
	}
	in = g.start(after, files, both(applying, func(c *config.Config) { c.AcceptLoss = true }))
	in.ready()
	in.stop()
	if diff := gocmp.Diff([]string{"anna buyer", "anna spender"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// An instance that still has old files does not bring them back by its flag; somebody who
// wants to says so.
func TestApplyFormer(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	old, young := rulesOf("buyer: count(purchase) >= 1"), rulesOf("buyer: count(purchase) >= 2")
	for _, step := range []struct {
		rules   string
		change  func(*config.Config)
		want    string // in the error, "" if it runs
		members []string
	}{
		{old, nil, "", []string{"anna buyer"}},
		{young, nil, "with --apply", []string{"anna buyer"}},
		{young, applying, "", nil},
		{young, applying, "", nil},
		{old, applying, "were in force before", nil},
		{old, both(applying, func(c *config.Config) { c.ApplyFormer = true }), "", []string{"anna buyer"}},
		{young, applying, "were in force before", []string{"anna buyer"}},
	} {
		in := g.start(step.rules, files, step.change)
		if step.want != "" {
			if err := in.refused(); err == nil || !strings.Contains(err.Error(), step.want) {
				t.Errorf("%v; want %q", err, step.want)
			}
		} else {
			in.ready()
			if len(g.Effects("changes")) == 0 {
				g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
				in.caughtUp()
			}
			in.stop()
		}
		if got := g.Members(); !slices.Equal(got, step.members) {
			t.Errorf("members %q, want %q", got, step.members)
		}
	}
}

// State of an earlier version does not say what is kept. Changed rules are refused until this
// version has run with the rules as they were, though nothing came meanwhile.
func TestApplyToEarlierState(t *testing.T) {
	g := newFleet(t, 1)
	old, young := rulesOf("buyer: count(purchase) >= 1"), rulesOf("buyer: count(purchase) >= 2")
	in := g.start(old, vfs.NewMem(), nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	pos := g.Positions()[0].Clone()
	pos.Seq++
	versions := changelog.Versions{Hashes: fixture.NewEngine(t, old).Versions()} // of which the first format has no more
	g.Produce(
		&kgo.Record{Topic: rig.App + ".changelog", Key: []byte(changelog.VersionsKey), Value: versions.Append(nil)},
		&kgo.Record{Topic: rig.App + ".changelog", Key: []byte(changelog.PositionKey), Value: pos.Append(nil)},
	)
	if err := g.start(young, vfs.NewMem(), applying).refused(); err == nil || !strings.Contains(err.Error(), "was written by an earlier version") {
		t.Errorf("%v", err)
	}
	for _, rules := range []string{old, young} {
		in = g.start(rules, vfs.NewMem(), applying)
		in.ready()
		in.stop()
	}
	if got := g.Members(); len(got) > 0 {
		t.Errorf("members %q", got)
	}
}

// Wherever a change dies, and however much later it goes on, also to yet other rules, it
// comes out as if it had not; of rules that did not change nothing is emitted.
func TestApplyDiesAtEachPoint(t *testing.T) {
	for _, point := range []string{"refolded", "begun", "produced", "ended", "applied", "reemitted"} {
		for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
			for _, another := range []bool{false, true} {
				if another && delivery == config.AtLeastOnce {
					continue // a reader can have seen an entry of rules that were given up
				}
				t.Run(fmt.Sprintf("%s, delivery %d, another set %v", point, delivery, another), func(t *testing.T) {
					t.Parallel()
					testApplyDiesAt(t, point, delivery, another)
				})
			}
		}
	}
}

func testApplyDiesAt(t *testing.T, point string, delivery config.Delivery, another bool) {
	add := func(id, when string) string {
		return strings.NewReplacer(">= 3", ">= 1", `  - {id: browsing, objective: a, owner: b, review_by: 2099-01-01, when: "did(web, hours(3))"}`+"\n", "", "triggers:",
			fmt.Sprintf("  - {id: %s, objective: a, owner: b, review_by: 2099-01-01, when: %q}\ntriggers:", id, when)).Replace(fixture.Rules)
	}
	d := dying{
		point: point, delivery: delivery, changed: add("spender", "sum(purchase.revenue) > 10"), allow: func(c *config.Config) { c.Apply = true },
		want: []string{"buyer", "frequent", "spender"},
	}
	d.last = d.changed
	if another {
		d.last, d.want[2] = add("reader", "distinct(web.name) >= 1"), "reader"
	}
	for _, e := range d.run(t) {
		if e.Cause != "event" && !slices.Contains([]string{"browsing", "frequent", "spender", "reader"}, e.Segment) {
			t.Errorf("%v of a rule that has not changed", e)
		}
	}
}

// dying is a change of rules that dies at a point, again and again, each time ten minutes
// later, until it comes through.
type dying struct {
	point         string
	delivery      config.Delivery
	changed, last string // rules, until it comes through and then
	allow         func(*config.Config)
	want          []string // of which segments all customers are members in the end
}

// run returns the changes that were emitted.
func (x dying) run(t *testing.T) []rig.Effect {
	t.Helper()
	rig.NeedPoints(t)
	g := rig.New(t, 1)
	g.Delivery = x.delivery
	files := vfs.NewMem()
	d := g.Drive(fixture.Rules, files, 0, nil)
	d.Until("acquired")
	var want []string
	for i := range 12 { // more than are brought over before the last death
		customer := fmt.Sprintf("c%02d", i)
		g.Produce(g.Event(plan.Purchase, customer, g.Now(), map[string]any{"revenue": "50"}), g.Event(plan.Web, customer, g.Now(), nil))
		for _, segment := range x.want {
			want = append(want, customer+" "+segment)
		}
	}
	d.Free()
	g.Eventually("all are folded", func() bool { folded, _, _ := g.Totals(); return folded == 24 })
	d.Stop()
	change := func(rules string) *rig.Driven {
		g.Shift.Add(int64(10 * time.Minute))
		return g.Drive(rules, files, 0, func(c *config.Config) { x.allow(c); c.Batch.Records = 1 })
	}
	for range 3 {
		d = change(x.changed)
		for range 3 {
			d.Until(x.point)
			if x.point == "refolded" || x.point == "reemitted" {
				break // there is one in a change
			}
		}
		d.Kill()
	}
	d = change(x.last)
	d.Until("acquired")
	d.Free()
	d.Stop()
	if diff := gocmp.Diff(want, g.Members()); diff != "" {
		t.Error(diff)
	}
	return g.Effects("changes")[0]
}

package group

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// change gives a running instance other rules, and waits until all partitions are under them.
func (in *instance) change(text string) {
	in.g.Helper()
	rules := in.g.Rules(text)
	rules.Name = fmt.Sprintf("%x", len(text))
	in.o.Change(&rules)
	in.under(rules.Name)
}

// under waits until all partitions are under rules of a name.
func (in *instance) under(name string) {
	in.g.Helper()
	in.g.Eventually("all partitions are under "+name, func() bool {
		st := in.o.Status()
		for _, t := range st.Tasks {
			if t.Rules != name || t.Change != "" {
				return false
			}
		}
		return st.Ready && len(st.Tasks) == int(in.g.Partitions)
	})
}

// docs/semantics.md, 7.18. The case that was reported, while the engine runs: the old end of an input has been deleted,
// and segments are added that do not need it. Nothing is emitted of the others, no fact is
// lost, and the new ones have their history.
func TestChangeLive(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	kept := []string{"buyer: count(purchase) >= 1", "big: sum(purchase.revenue) > 100"}
	in := g.start(rulesOf(kept...), files, nil)
	in.ready()
	day := func(n int) time.Time { return g.Now().AddDate(0, 0, -n) }
	for i := range 20 {
		who := fmt.Sprintf("c%02d", i)
		g.Produce(g.Event(plan.Purchase, who, day(400), map[string]any{"revenue": "60"}), g.Event(plan.Web, who, day(60), map[string]any{"name": "a"}))
	}
	in.caughtUp()
	for p := range g.Partitions {
		if err := g.Broker.DeleteRecords("purchase", p, g.Ends("purchase")["purchase"][p]); err != nil {
			t.Fatal(err)
		}
	}
	said := g.said()
	after := rulesOf(append(kept, "visitor: did(web, days(90))", "curious: distinct(web.name, days(90)) >= 1", "often: count(purchase) >= 2")...)
	in.change(after)
	var want []string
	for i := range 20 {
		want = append(want, fmt.Sprintf("c%02d entered curious 1 (rule_change)", i), fmt.Sprintf("c%02d entered visitor 1 (rule_change)", i))
	}
	if diff := gocmp.Diff(want, g.says(said)); diff != "" {
		t.Error(diff)
	}
	said = g.said()
	g.Produce(g.Event(plan.Purchase, "c07", g.Now(), map[string]any{"revenue": "60"}))
	in.caughtUp()
	in.change(rulesOf(kept[0], "often: count(purchase) >= 2"))
	if diff := gocmp.Diff([]string{"c07 entered big 1 (event)", "c07 entered often 1 (event)", "c07 exited big 2 (rule_change)"},
		slices.DeleteFunc(g.says(said), func(l string) bool { return strings.Contains(l, "visitor") || strings.Contains(l, "curious") })); diff != "" {
		t.Error(diff)
	}
	in.stop()
	g.verifyFromNothing(rulesOf(kept[0], "often: count(purchase) >= 2"), nil)
}

// An instance that was started to rebuild keeps facts when rules change later.
func TestChangeLiveAfterRebuild(t *testing.T) {
	g := newFleet(t, 1)
	in := g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), func(c *config.Config) { c.Rebuild = true })
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now().AddDate(0, 0, -30), nil), g.Event(plan.Web, "anna", g.Now(), nil))
	in.caughtUp()
	if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
		t.Fatal(err)
	}
	in.change(rulesOf("buyer: count(purchase) >= 1", "visitor: did(web)"))
	in.stop()
	if diff := gocmp.Diff([]string{"anna buyer", "anna visitor"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// A partition of which nothing is known is under the newest rules at once.
func TestChangeLiveOfNothing(t *testing.T) {
	g := newFleet(t, 2)
	in := g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
	in.ready()
	after := rulesOf("buyer: count(purchase) >= 1", "visitor: did(web)")
	in.change(after)
	g.Produce(g.Event(plan.Web, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	if diff := gocmp.Diff([]string{"anna visitor"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// A change to rules that need what has been deleted is refused while the engine runs: nothing
// changes, and it says so.
func TestChangeLiveRefusesLoss(t *testing.T) {
	g := newFleet(t, 1)
	before := rulesOf("buyer: count(purchase) >= 1")
	in := g.start(before, vfs.NewMem(), nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now().AddDate(0, 0, -30), nil), g.Event(plan.Purchase, "anna", g.Now(), map[string]any{"revenue": "7"}))
	in.caughtUp()
	if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
		t.Fatal(err)
	}
	rules := g.Rules(rulesOf("buyer: count(purchase) >= 1", "spender: sum(purchase.revenue) > 5"))
	in.o.Change(&rules)
	g.Eventually("the change is refused", func() bool {
		st := in.o.Status()
		return len(st.Tasks) == 1 && strings.Contains(st.Tasks[0].Refused, "have been deleted")
	})
	g.Produce(g.Event(plan.Purchase, "berta", g.Now(), map[string]any{"revenue": "7"}))
	in.caughtUp()
	if diff := gocmp.Diff([]string{"anna buyer", "berta buyer"}, g.Members()); diff != "" {
		t.Error(diff)
	}
	rules.AcceptLoss, rules.Name = true, "accepted"
	in.o.Change(&rules)
	in.under("accepted")
	if diff := gocmp.Diff([]string{"anna buyer", "anna spender", "berta buyer", "berta spender"}, g.Members()); diff != "" {
		t.Error(diff)
	}
	in.stop()
}

// Rules change again and again while events come and instances die. Who is in which segment at
// the end is as if the last rules had been there all along, and so is all that was emitted of
// a rule that never changed.
func TestChangeLiveAgainstFinalRules(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("SEED=%d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	const steady = "steady: count(purchase) >= 2"
	sets := []string{
		rulesOf(steady, "old: did(web, days(30))"),
		rulesOf(steady, "old: did(web, days(30))", "curious: distinct(web.name, days(90)) >= 3"),
		rulesOf(steady, "old: did(web, days(80))", "curious: distinct(web.name, days(90)) >= 2", "spender: sum(purchase.revenue, days(50)) > 100"),
		rulesOf(steady, "rich: sum(purchase.revenue) > 150", "curious: distinct(web.name, days(90)) >= 2", "in_both: in_segment('curious') && in_segment('rich')"),
	}
	var history []*kgo.Record
	g := newFleet(t, 3)
	now := g.Now()
	event := func(r *rand.Rand, at time.Time) *kgo.Record {
		who := fmt.Sprintf("c%03d", r.IntN(150))
		if r.IntN(2) == 0 {
			return g.Event(plan.Web, who, at, map[string]any{"name": fmt.Sprintf("p%d", r.IntN(9))})
		}
		return g.Event(plan.Purchase, who, at, map[string]any{"revenue": fmt.Sprint(r.IntN(60))})
	}
	for i := range 3_000 {
		history = append(history, event(r, now.Add(-90*24*time.Hour+time.Duration(i)*40*time.Minute)))
	}
	files := vfs.NewMem()
	in := g.start(sets[0], files, nil)
	in.ready()
	g.Produce(history...)
	in.caughtUp()

	// Events go on.
	var all sync.WaitGroup
	var lives []*kgo.Record
	over := make(chan struct{})
	all.Go(func() {
		r := rand.New(rand.NewPCG(seed, 2))
		for {
			select {
			case <-over:
				return
			case <-time.After(5 * time.Millisecond):
			}
			e := event(r, g.Now())
			lives = append(lives, e)
			g.Produce(e)
		}
	})
	last := ""
	for n := range 6 {
		last = sets[(n+1)%len(sets)]
		rules := g.Rules(last)
		rules.Name = fmt.Sprint("set ", n)
		in.o.Change(&rules)
		if r.IntN(2) == 0 {
			in.under(rules.Name)
			continue
		}
		folded, _, _ := g.Totals()
		more := folded + uint64(r.IntN(30))
		g.Eventually("some events have come", func() bool { now, _, _ := g.Totals(); return now >= more })
		if n == 5 || r.IntN(2) == 0 {
			in.under(rules.Name)
		}
	}
	close(over)
	all.Wait()
	in.caughtUp()
	in.stop()

	want := newFleet(t, 3)
	other := want.start(last, vfs.NewMem(), nil)
	other.ready()
	want.Produce(copies(history)...)
	other.caughtUp()
	want.Produce(copies(lives)...)
	other.caughtUp()
	other.stop()
	if diff := gocmp.Diff(want.Members(), g.Members()); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(steadyOf(want.Rig), steadyOf(g.Rig)); diff != "" {
		t.Error(diff)
	}
	g.verifyFromNothing(last, nil)
}

// A task dies at every point of a change while events come, with its disk or without, and
// goes on as an instance does that knows both sets. The change is made once.
func TestChangeLiveDiesAtEachPoint(t *testing.T) {
	for _, point := range []string{"prepared", "fenced", "replayed", "restored", "refolded", "begun", "produced", "ended", "applied", "acquired", "stored", "reemitted"} {
		for _, lost := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, disk lost %v", point, lost), func(t *testing.T) {
				t.Parallel()
				testChangeLiveDiesAt(t, point, lost)
			})
		}
	}
}

func testChangeLiveDiesAt(t *testing.T, point string, lost bool) {
	rig.NeedPoints(t)
	g := rig.New(t, 1)
	files := vfs.NewMem()
	const steady = "steady: count(purchase) >= 2"
	before := rulesOf(steady, "old: did(web, days(30))")
	after := rulesOf(steady, "often: count(purchase) >= 4", "curious: distinct(web.name) >= 1")
	sets := logOf(g, before, after)
	produce := func() {
		for i := range 12 {
			who := fmt.Sprintf("c%02d", i)
			g.Produce(g.Event(plan.Purchase, who, g.Now(), nil), g.Event(plan.Web, who, g.Now(), map[string]any{"name": "a"}))
		}
	}
	d := g.Drive(before, files, 0, sets.known)
	d.Until("acquired")
	produce()
	d.Until("applied") // there is something to keep
	d.Change(sets.rules(after))
	d.Until("prepared")
	for n := range 3 {
		if n > 0 || point != "prepared" {
			d.Until(point)
		}
		d.Kill()
		g.Shift.Add(int64(10 * time.Minute))
		produce()
		if lost {
			files = vfs.NewMem()
		}
		d = g.Drive(after, files, 0, sets.known)
	}
	d.Until("acquired")
	sets.complete(d, after, 4*24)
	var want []string
	for i := range 12 {
		who := fmt.Sprintf("c%02d", i)
		want = append(want, who+" curious", who+" often", who+" steady")
	}
	if diff := gocmp.Diff(want, g.Members()); diff != "" {
		t.Error(diff)
	}
	var instants []time.Time
	for _, e := range g.Effects("changes")[0] {
		if e.Cause == "rule_change" {
			instants = append(instants, e.At)
		}
		if e.Segment == "steady" && (e.Cause != "event" || e.Sequence != 1) {
			t.Errorf("%v of a rule that has not changed", e)
		}
		if e.Sequence > 2 {
			t.Errorf("%v: more than once", e)
		}
	}
	// Those of the change, or of the customer, who may be a little ahead of the clock.
	if first, last := slices.MinFunc(instants, time.Time.Compare), slices.MaxFunc(instants, time.Time.Compare); last.Sub(first) > time.Minute {
		t.Errorf("the differences are of %v to %v", first, last)
	}
}

// ruleLog is what an instance knows of rules that are or were in force.
type ruleLog struct {
	g    *rig.Rig
	sets map[[16]byte]*config.Rules
}

// logOf returns a log of rules, which are named by their place in it.
func logOf(g *rig.Rig, texts ...string) *ruleLog {
	l := &ruleLog{g: g, sets: map[[16]byte]*config.Rules{}}
	for n, text := range texts {
		r := g.Rules(text)
		r.Name = fmt.Sprint("set ", n)
		l.sets[changelog.HashVersions(r.Engine.Versions())] = &r
	}
	return l
}

// rules returns rules of the log.
func (l *ruleLog) rules(text string) *config.Rules {
	r := l.g.Rules(text)
	return l.sets[changelog.HashVersions(r.Engine.Versions())]
}

// known lets an instance, whose batches are small, have the log.
func (l *ruleLog) known(c *config.Config) {
	c.Rules = *l.sets[changelog.HashVersions(c.Engine.Versions())]
	c.Known = func(_ context.Context, hash [16]byte) (*config.Rules, error) { return l.sets[hash], nil }
	c.Batch.Records = 2
}

// complete lets a task run until it is under rules and has folded so many records, and ends it.
func (l *ruleLog) complete(d *rig.Driven, text string, folded uint64) {
	l.g.Helper()
	d.Free()
	l.g.Eventually("the rules are in force, and all is folded", func() bool {
		st := d.Task.Status()
		return st.Rules == l.rules(text).Name && st.Change == "" && st.Folded == folded
	})
	d.Stop()
}

// docs/semantics.md, 7.18: a change that goes on after a crash is of the instant that it was begun with, for those of
// whom nothing is heard.
func TestChangeLiveKeepsItsInstant(t *testing.T) {
	rig.NeedPoints(t)
	g := rig.New(t, 1)
	before, after := rulesOf("buyer: count(purchase) >= 1"), rulesOf("buyer: count(purchase) >= 1", "visitor: did(web)")
	sets := logOf(g, before, after)
	files := vfs.NewMem()
	d := g.Drive(before, files, 0, sets.known)
	d.Until("acquired")
	for i := range 30 {
		g.Produce(g.Event(plan.Web, fmt.Sprintf("c%02d", i), g.Now(), nil))
	}
	d.Free()
	g.Eventually("all is folded", func() bool { return d.Task.Status().Folded == 30 })
	d.Stop()
	d = g.Drive(after, files, 0, sets.known)
	for n := range 3 {
		for range 3 {
			d.Until("ended")
		}
		d.Kill()
		g.Shift.Add(int64(10 * time.Minute))
		g.Produce(g.Event(plan.Web, "somebody", g.Now(), nil))
		if n == 1 {
			files = vfs.NewMem()
		}
		d = g.Drive(after, files, 0, sets.known)
	}
	sets.complete(d, after, 33)
	var at []time.Time
	for _, e := range g.Effects("changes")[0] {
		if e.Cause == "rule_change" {
			at = append(at, e.At)
		}
	}
	if len(at) != 30 {
		t.Fatalf("%d differences", len(at))
	}
	if first, last := slices.MinFunc(at, time.Time.Compare), slices.MaxFunc(at, time.Time.Compare); last.Sub(first) > time.Minute {
		t.Errorf("the differences are of %v to %v", first, last)
	}
}

// What a disk has of a change that was completed elsewhere is not taken for what another
// change needs.
func TestChangeLiveOnOldDisk(t *testing.T) {
	rig.NeedPoints(t)
	g := rig.New(t, 1)
	first, second, third := rulesOf("buyer: count(purchase) >= 1"), rulesOf("buyer: count(purchase) >= 1", "visitor: did(web)"),
		rulesOf("buyer: count(purchase) >= 1", "curious: distinct(web.name) >= 2")
	sets := logOf(g, first, second, third)
	files := vfs.NewMem()
	d := g.Drive(first, files, 0, sets.known)
	d.Until("acquired")
	for i := range 12 {
		g.Produce(g.Event(plan.Web, fmt.Sprintf("c%02d", i%6), g.Now(), map[string]any{"name": fmt.Sprint("p", i)}))
	}
	d.Free()
	g.Eventually("all is folded", func() bool { return d.Task.Status().Folded == 12 })
	d.Stop()
	d = g.Drive(second, files, 0, sets.known)
	d.Until("prepared")
	d.Until("begun")
	d.Kill()
	sets.complete(g.Drive(second, vfs.NewMem(), 0, sets.known), second, 12)
	d = g.Drive(third, vfs.NewMem(), 0, sets.known)
	d.Until("prepared")
	d.Until("ended")
	d.Kill()
	sets.complete(g.Drive(third, files, 0, sets.known), third, 12)
	var want []string
	for i := range 6 {
		want = append(want, fmt.Sprintf("c%02d curious", i))
	}
	if diff := gocmp.Diff(want, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// What is read while facts are made beside the loop is in them, once.
func TestChangeLiveTakesWhatComesMeanwhile(t *testing.T) {
	rig.NeedPoints(t)
	g := newFleet(t, 1)
	before := rulesOf("buyer: count(purchase) >= 1")
	var in *instance
	meanwhile := func(_ int32, point string) error {
		if point == "aside" {
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), map[string]any{"revenue": "7"}))
			g.Eventually("it is folded", func() bool { folded, _, _ := g.Totals(); return folded == 2 })
		}
		return nil
	}
	in = g.start(before, vfs.NewMem(), func(c *config.Config) { rig.FailAt(g, c, meanwhile) })
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), map[string]any{"revenue": "5"}))
	in.caughtUp()
	in.change(rulesOf("buyer: count(purchase) >= 1", "twelve: sum(purchase.revenue) == 12", "more: sum(purchase.revenue) > 12"))
	if diff := gocmp.Diff([]string{"anna buyer", "anna twelve"}, g.Members()); diff != "" {
		t.Error(diff)
	}
	in.stop()
}

// steadyOf returns what was emitted of the rule that never changed.
func steadyOf(g *rig.Rig) (l []string) {
	for _, effects := range g.Effects("changes") {
		for _, e := range effects {
			if e.Segment == "steady" {
				l = append(l, fmt.Sprintf("%s %s %d %s", e.Customer, e.Action, e.Sequence, e.Cause))
			}
		}
	}
	slices.Sort(l)
	return l
}

// copies returns records that can be produced to another broker.
func copies(l []*kgo.Record) (out []*kgo.Record) {
	for _, r := range l {
		out = append(out, &kgo.Record{Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp})
	}
	return out
}

// Facts that were made beside the loop and are gone when they are needed are made again: what
// drops a copy that is wrong drops them too.
func TestChangeLiveLosesWhatWasMade(t *testing.T) {
	rig.NeedPoints(t)
	g := newFleet(t, 1)
	var in *instance
	made := false
	in = g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), func(c *config.Config) {
		store := c.Store
		rig.FailAt(g, c, func(_ int32, point string) error {
			switch made = made || point == "aside"; {
			case made && point == "restored":
				return store.Scratch(0).Drop()
			default:
				return nil
			}
		})
	})
	in.ready()
	g.Produce(g.Event(plan.Web, "anna", g.Now(), nil))
	in.caughtUp()
	in.change(rulesOf("buyer: count(purchase) >= 1", "visitor: did(web)"))
	in.stop()
	if diff := gocmp.Diff([]string{"anna visitor"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// Facts of which the first were dropped while the others were made are all made again.
func TestChangeLiveLosesWhatIsBeingMade(t *testing.T) {
	rig.NeedPoints(t)
	g := newFleet(t, 1)
	in := g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
	in.ready()
	var first []*kgo.Record
	var want []string
	for i := range 600 { // more than what is left for the next session
		who := fmt.Sprintf("c%03d", i)
		first = append(first, g.Event(plan.Web, who, g.Now(), nil))
		want = append(want, who+" visitor")
	}
	g.Produce(first...)
	in.caughtUp()
	rules := g.Rules(rulesOf("buyer: count(purchase) >= 1", "visitor: did(web)"))
	rules.Name = "visitors"
	read := rules.Read
	var begun, dropped sync.Once
	rules.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
		begun.Do(func() {
			g.Produce(g.Event(plan.Web, "meanwhile", g.Now(), nil))
			g.Eventually("it is folded", func() bool { folded, _, _ := g.Totals(); return folded == 601 })
		})
		res, err := read(r, ev)
		if ev.Customer == "meanwhile" { // it is read when the others are in the scratch space
			dropped.Do(func() { err = errors.Join(err, in.store.Scratch(0).Drop()) })
		}
		return res, err
	}
	in.o.Change(&rules)
	in.under("visitors")
	in.stop()
	if diff := gocmp.Diff(append(want, "meanwhile visitor"), g.Members()); diff != "" {
		t.Error(diff)
	}
}

// What another task has read and forwarded when facts are made is counted once, whether this
// one has read it by then or not.
func TestApplyTakesForwardedOnce(t *testing.T) {
	rig.NeedPoints(t)
	g := mappedFleet(t, 2)
	who := "c0"
	for n := 1; g.Route.Partition(who) != 0; n++ {
		who = fmt.Sprint("c", n)
	}
	sale := func(n string) *kgo.Record { // on the other task's partition
		r := g.logOf(rand.New(rand.NewPCG(1, 1)), []act{{N: n, Who: who, At: g.Now(), Cents: 1000}})
		r.Partition = 1
		return r
	}
	forwarded := func(n int64) func() bool {
		return func() bool { return g.Ends(rig.App + ".repartition")[rig.App+".repartition"][0] >= n }
	}
	files := vfs.NewMem()
	in := g.startMapped(rulesOf("buyer: count(purchase) >= 1")+actMappings, files, nil)
	in.ready()
	g.Produce(sale("one"))
	g.Eventually("it is folded", func() bool { folded, _, _ := g.Totals(); return folded == 1 })
	in.stop()
	var once sync.Once
	after := rulesOf("buyer: count(purchase) >= 1", "rich: sum(purchase.revenue) == 20", "richer: sum(purchase.revenue) > 20") + actMappings
	in = g.startMapped(after, files, func(c *config.Config) {
		applying(c)
		back := c.LookBackOf
		c.LookBackOf = func(of func(int) bool) map[string]engine.Millis {
			m := back(of)
			m["log"] = m["purchase"]
			return m
		}
		rig.FailAt(g, c, func(task int32, point string) error {
			if task == 0 && point == "restored" {
				once.Do(func() {
					g.Produce(sale("two"))
					g.Eventually("it is forwarded", forwarded(3)) // each with the end of its transaction
				})
			}
			return nil
		})
	})
	in.ready()
	g.Eventually("it is folded", func() bool { folded, _, _ := g.Totals(); return folded == 2 })
	in.stop()
	if diff := gocmp.Diff([]string{who + " buyer", who + " rich"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

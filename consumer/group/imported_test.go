package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// importedRules have facts of all kinds of reach, and timers.
var importedRules = rulesOf("buyer: count(purchase) >= 2", "visitor: did(web, days(10))", "spender: sum(purchase.revenue, days(40)) > 100", "asleep: since_last(web) > days(5)")

// story is what happened to some customers, up to an instant: events in the order of their
// times, and one who is erased in the middle.
func (g *fleet) story(rng *rand.Rand, end time.Time, n int) (l []*kgo.Record) {
	for i := range n {
		at := end.Add(-time.Duration(n-i) * 90 * 24 * time.Hour / time.Duration(n+1)).Truncate(time.Millisecond)
		who := fmt.Sprintf("c%02d", rng.IntN(40))
		switch {
		case i == n/2:
			l = append(l, &kgo.Record{Topic: "profile", Partition: g.Route.Partition(who), Key: []byte(who), Timestamp: at})
		case rng.IntN(2) == 0:
			l = append(l, g.Event(plan.Web, who, at, nil))
		default:
			l = append(l, g.Event(plan.Purchase, who, at, map[string]any{"revenue": fmt.Sprint(rng.IntN(60))}))
		}
	}
	return l
}

// parts returns what a file has of a story, and what the inputs still have: some of it is in
// both. Erasures are never in a file.
func parts(story []*kgo.Record) (file, left []*kgo.Record) {
	for i, r := range story {
		if r.Value != nil && i < len(story)*2/3 {
			file = append(file, r)
		}
		if r.Value == nil || i >= len(story)/3 {
			left = append(left, r)
		}
	}
	return file, left
}

// toTheEnd makes a run over history to an instant, with small batches.
func toTheEnd(end time.Time) func(*config.Config) {
	return func(c *config.Config) {
		c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(end.UnixMilli())
		c.Batch.Records = 7
	}
}

// allOnInputs runs a story that is on the inputs as a whole, and returns what is emitted and
// stored.
func allOnInputs(t *testing.T, story []*kgo.Record, text string, change func(*config.Config)) (*fleet, map[string]string) {
	g := newFleet(t, 2)
	g.Produce(copies(story)...)
	files := vfs.NewMem()
	if err := g.start(text, files, change).wait(); err != nil {
		t.Fatal(err)
	}
	return g, g.stored(files)
}

// names reports whether a position still names the topic of history.
func (g *fleet) namesHistory() bool {
	for _, pos := range g.Positions() {
		for in := range pos.Sources {
			if in.Topic == rig.HistoryTopic {
				return true
			}
		}
	}
	return false
}

// docs/semantics.md, 4.28. A new application whose history was imported, with copies of events in the file and on the
// inputs, is as one that had everything on the inputs, down to the bytes of its customers.
func TestImportIntoNew(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("SEED=%d", seed)
	end := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	g := newFleet(t, 2)
	story := g.story(rand.New(rand.NewPCG(seed, 1)), end, 600)
	file, left := parts(story)
	g.Import(1).Write(copies(file)...).Finish()
	g.Produce(copies(left)...)
	files := vfs.NewMem()
	if err := g.start(importedRules, files, toTheEnd(end)).wait(); err != nil {
		t.Fatal(err)
	}
	want, stored := allOnInputs(t, story, importedRules, toTheEnd(end))
	if diff := gocmp.Diff(want.byCustomer(), g.byCustomer()); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(stored, g.stored(files)); diff != "" {
		t.Error("the customers' bytes differ")
	}
	if g.namesHistory() {
		t.Error("a position names the topic of history, which has been read")
	}
	folded, dead, _ := g.Totals()
	if int(folded) != len(file)+len(left) || dead != 0 {
		t.Errorf("%d records folded, %d refused; want %d", folded, dead, len(file)+len(left))
	}
}

// A task that dies again and again while it reads history goes on where it was.
func TestImportIntoNewUnderFaults(t *testing.T) {
	rig.NeedPoints(t)
	seed := rand.Uint64()
	t.Logf("SEED=%d", seed)
	end := time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)
	g := newFleet(t, 2)
	story := g.story(rand.New(rand.NewPCG(seed, 1)), end, 200)
	file, left := parts(story)
	g.Import(1).Write(copies(file)...).Finish()
	g.Produce(copies(left)...)
	files := vfs.NewMem()
	var passed, inHistory atomic.Int64
	if err := g.start(importedRules, files, func(c *config.Config) {
		toTheEnd(end)(c)
		rig.FailAt(t, c, func(_ int32, point string) error {
			n := passed.Add(1)
			if point == "history read" && n%2 == 0 || n%23 == 0 && n < 1000 {
				if g.namesHistory() {
					inHistory.Add(1)
				}
				return rig.ErrCrash
			}
			return nil
		})
	}).wait(); err != nil {
		t.Fatal(err)
	}
	if inHistory.Load() == 0 {
		t.Error("no task has died while it read history")
	}
	want, stored := allOnInputs(t, story, importedRules, toTheEnd(end))
	if diff := gocmp.Diff(want.byCustomer(), g.byCustomer()); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(stored, g.stored(files)); diff != "" {
		t.Error("the customers' bytes differ")
	}
}

// docs/semantics.md, 4.28: a new application waits for an import that has begun, says so, and goes on by itself. What is
// imported later is not read as an input.
func TestImportUnfinished(t *testing.T) {
	g := newFleet(t, 2)
	day := func(n int) time.Time { return g.Now().AddDate(0, 0, -n) }
	of := g.CustomersOf(0, 3) // the other partition has nothing but a mark
	i := g.Import(1).Write(g.Event(plan.Purchase, of[0], day(30), nil))
	g.Produce(g.Event(plan.Purchase, of[1], day(0), nil))
	in := g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
	g.Eventually("both tasks wait", func() bool {
		n := 0
		for _, s := range in.o.Status().Tasks {
			if strings.Contains(s.Error, "import 0000000000000001 is not finished") {
				n++
			}
		}
		return n == 2 && !in.o.Status().Ready
	})
	if folded, _, _ := g.Totals(); folded != 0 {
		t.Errorf("%d records are folded before the history is there", folded)
	}
	i.Write(g.Event(plan.Purchase, of[2], day(20), nil)).Finish()
	in.caughtUp()
	g.Eventually("it says of both that history has been read", func() bool { return len(g.Positions()) == 2 && !g.namesHistory() })
	members := []string{of[0] + " buyer", of[1] + " buyer", of[2] + " buyer"}
	slices.Sort(members)
	if diff := gocmp.Diff(members, g.Members()); diff != "" {
		t.Error(diff)
	}
	for p := range g.Partitions {
		g.Import(2 + uint64(p)).Write(g.Event(plan.Purchase, g.CustomersOf(p, 4)[3], day(10), nil)).Finish()
	}
	in.stop()
	in = g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
	in.caughtUp()
	in.stop()
	if diff := gocmp.Diff(members, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// With the wall clock, what was imported is in its order before what comes now, its timers
// fire as of their own instants, and nothing of it counts as lag.
func TestImportByTheWallClock(t *testing.T) {
	g := newFleet(t, 2)
	day := func(n int) time.Time { return g.Now().AddDate(0, 0, -n) }
	g.Import(1).Write(g.Event(plan.Web, "anna", day(30), nil), g.Event(plan.Web, "anna", day(10), nil)).Finish()
	g.Produce(g.Event(plan.Web, "anna", day(0), nil))
	in := g.start(rulesOf("asleep: since_last(web) > days(5)"), vfs.NewMem(), nil)
	in.caughtUp()
	g.Eventually("all that is due is emitted", func() bool { return len(g.Effects("changes")[g.Route.Partition("anna")]) >= 4 })
	var got []string
	for _, e := range g.Effects("changes")[g.Route.Partition("anna")] {
		got = append(got, fmt.Sprintf("%s, %d days ago", e.Action, int(g.Now().Sub(e.At).Hours()/24)))
	}
	if diff := gocmp.Diff([]string{"entered, 25 days ago", "exited, 10 days ago", "entered, 5 days ago", "exited, 0 days ago"}, got); diff != "" {
		t.Error(diff)
	}
	if st := in.o.Status(); st.Lag != 0 || g.namesHistory() {
		t.Errorf("lag %d, and a position names the history: %v", st.Lag, g.namesHistory())
	}
	in.stop()
}

// What is wrong with an imported record is said of its own place, and stops nothing.
func TestImportOfBadRecords(t *testing.T) {
	g := newFleet(t, 2)
	at, anna := g.Now().AddDate(0, 0, -3), g.CustomersOf(0, 1)[0]
	bad := func(change func(*kgo.Record)) *kgo.Record {
		r := g.Event(plan.Purchase, anna, at, nil)
		change(r)
		return r
	}
	g.Import(1).Write(
		bad(func(r *kgo.Record) { r.Topic = "elsewhere" }),
		bad(func(r *kgo.Record) { r.Value = nil }),
		bad(func(r *kgo.Record) { r.Value = []byte("{") }),
		bad(func(r *kgo.Record) { r.Value = []byte{0, 0, 0, 0, 1, 2} }),
		bad(func(r *kgo.Record) { r.Partition = 1 }),
		bad(func(*kgo.Record) {}),
	).Finish()
	in := g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
	in.caughtUp()
	g.Eventually("all are taken", func() bool { folded, dead, _ := g.Totals(); return folded == 1 && dead == 5 })
	in.stop()
	var got []string
	letters := g.Read(rig.App + ".dlq")
	for _, r := range slices.Concat(letters[0], letters[1]) {
		h := map[string]string{}
		for _, of := range r.Headers {
			h[of.Key] = string(of.Value)
		}
		got = append(got, fmt.Sprintf("%s/%s@%s %s", h["dlq.topic"], h["dlq.partition"], h["dlq.offset"], h["dlq.cause"]))
	}
	want := []string{"shop.history/0@0 format", "shop.history/0@1 format", "shop.history/0@2 format", "shop.history/0@3 format", "shop.history/1@0 misrouted"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff([]string{anna + " buyer"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// An event that a mapping has made stands in the history as it would be forwarded, and its
// copy on the input is a duplicate.
func TestImportOfMappedEvents(t *testing.T) {
	g := mappedFleet(t, 1)
	at := g.Now().AddDate(0, 0, -3)
	of := func(id string) *kgo.Record {
		r := g.Event(plan.Purchase, "anna", at, map[string]any{"event_id": id})
		r.Topic, r.Headers = "log", feed.MappedHeaders(&schemas.MappedText{Mapping: "sales", Stream: "purchase"})
		return r
	}
	g.Import(1).Write(of("one"), of("two")).Finish()
	g.Produce(g.logOf(rand.New(rand.NewPCG(1, 1)), []act{{N: "two", Who: "anna", At: at, Cents: 1000}, {N: "three", Who: "anna", At: at, Cents: 1000}}))
	in := g.startMapped(rulesOf("thrice: count(purchase) == 3")+actMappings, vfs.NewMem(), nil)
	in.caughtUp()
	g.Eventually("all are folded", func() bool { return g.folded() == 4 })
	in.stop()
	if diff := gocmp.Diff([]string{"anna thrice"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// docs/semantics.md, 7.19. An import into a running application changes nothing by itself. A rule that comes then has its
// history of those who are known; nobody becomes known, and other rules emit nothing.
func TestImportIntoRunning(t *testing.T) {
	g := newFleet(t, 2)
	day := func(n int) time.Time { return g.Now().AddDate(0, 0, -n) }
	const buyer = "buyer: count(purchase) >= 2"
	in := g.start(rulesOf(buyer), vfs.NewMem(), nil)
	in.ready()
	var file []*kgo.Record
	for i := range 20 {
		who := fmt.Sprintf("c%02d", i)
		file = append(file, g.Event(plan.Purchase, who, day(80), map[string]any{"revenue": "60"}))
		if i >= 10 {
			continue // the file alone knows them
		}
		both := g.Event(plan.Purchase, who, day(20), map[string]any{"revenue": "50"})
		g.Produce(both)
		file = append(file, copies([]*kgo.Record{both})...)
	}
	in.caughtUp()
	said, folded := g.said(), g.folded()
	g.Import(1).Write(file...).Finish()
	in.stop()
	in = g.start(rulesOf(buyer), vfs.NewMem(), nil)
	in.caughtUp()
	if l := g.says(said); len(l) > 0 || g.folded() != folded {
		t.Errorf("an import alone emits %v, and %d records are folded that were %d", l, g.folded(), folded)
	}
	after := rulesOf(buyer, "spender: sum(purchase.revenue, days(90)) > 100", "rich: sum(purchase.revenue, days(90)) > 120")
	in.change(after)
	in.stop()
	var want []string
	for i := range 10 {
		want = append(want, fmt.Sprintf("c%02d entered spender 1 (rule_change)", i))
	}
	if diff := gocmp.Diff(want, g.says(said)); diff != "" {
		t.Error(diff)
	}
	g.verifyFromNothing(after, nil)
}

func (g *fleet) folded() uint64 { n, _, _ := g.Totals(); return n }

// A rebuild forgets, and makes everything again: also of what was imported.
func TestImportAndRebuild(t *testing.T) {
	g := newFleet(t, 1)
	day := func(n int) time.Time { return g.Now().AddDate(0, 0, -n) }
	files := vfs.NewMem()
	in := g.start(rulesOf("buyer: count(purchase) >= 2"), files, nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", day(1), nil))
	in.caughtUp()
	in.stop()
	g.Import(1).Write(g.Event(plan.Purchase, "anna", day(9), nil), g.Event(plan.Purchase, "berta", day(8), nil), g.Event(plan.Purchase, "berta", day(7), nil)).Finish()
	in = g.start(rulesOf("buyer: count(purchase) >= 2", "any: count(purchase) >= 1"), files, func(c *config.Config) { c.Rebuild = true })
	in.caughtUp()
	in.stop()
	if diff := gocmp.Diff([]string{"anna any", "anna buyer", "berta any", "berta buyer"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// docs/semantics.md, 7.20: an import fills the gap of an input whose old records have been deleted if it reaches from
// what is left back to where rules look; otherwise the change is refused.
func TestImportFillsGap(t *testing.T) {
	for name, c := range map[string]struct {
		files [][2]int // from and to, in days before now; a window of 90 days reaches back 100
		rule  string
		fills bool
	}{
		"from one to the other":      {[][2]int{{120, 10}}, "spender: sum(purchase.revenue, days(90)) > 5", true},
		"two imports":                {[][2]int{{40, 10}, {120, 40}}, "spender: sum(purchase.revenue, days(90)) > 5", true},
		"begins too late":            {[][2]int{{80, 10}}, "spender: sum(purchase.revenue, days(90)) > 5", false},
		"ends too early":             {[][2]int{{120, 12}}, "spender: sum(purchase.revenue, days(90)) > 5", false},
		"two imports, a gap between": {[][2]int{{39, 10}, {120, 40}}, "spender: sum(purchase.revenue, days(90)) > 5", false},
		"for ever":                   {[][2]int{{80, 10}}, "spender: sum(purchase.revenue) > 5", true},
		"for ever, ends too early":   {[][2]int{{80, 12}}, "spender: sum(purchase.revenue) > 5", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 1)
			now := g.Now()
			day := func(n int) time.Time { return now.AddDate(0, 0, -n) }
			in := g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
			in.ready()
			gone, left := g.Event(plan.Purchase, "anna", day(60), nil), g.Event(plan.Purchase, "anna", day(10), nil)
			g.Produce(gone, left)
			in.caughtUp()
			if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
				t.Fatal(err)
			}
			for n, of := range c.files {
				g.Import(uint64(n)).Write(g.Event(plan.Purchase, "anna", day(of[0]), nil), g.Event(plan.Purchase, "berta", day(of[1]), nil)).Finish()
			}
			rules := g.Rules(rulesOf("buyer: count(purchase) >= 1", c.rule))
			rules.Name = "after"
			in.o.Change(&rules)
			if c.fills {
				in.under("after")
			} else {
				g.Eventually("the change is refused", func() bool {
					st := in.o.Status()
					return len(st.Tasks) == 1 && strings.Contains(st.Tasks[0].Refused, "have been deleted")
				})
			}
			in.stop()
			want := []string{"anna buyer"}
			if c.fills {
				want = append(want, "anna spender")
			}
			if diff := gocmp.Diff(want, g.Members()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A change of rules that is prepared while the history is still being read takes of it what
// was read, and the rest as it is read.
func TestImportWhileRulesChange(t *testing.T) {
	rig.NeedPoints(t)
	g := rig.New(t, 1)
	var file []*kgo.Record
	for i := range 40 {
		file = append(file, g.Event(plan.Purchase, fmt.Sprintf("c%d", i%5), g.Now().AddDate(0, 0, i-50), nil))
	}
	g.Import(1).Write(file...).Finish()
	texts := []string{rulesOf("buyer: count(purchase) >= 1"), rulesOf("buyer: count(purchase) >= 1", "eight: sum(purchase.revenue) == 80", "more: sum(purchase.revenue) > 80")}
	log := logOf(g, texts...)
	d := g.Drive(texts[0], vfs.NewMem(), 0, log.known)
	for range 3 {
		d.Until("applied")
	}
	if pos := g.Positions()[0]; pos.Sources[changelog.Input{Topic: rig.HistoryTopic}].Next == 0 {
		t.Fatalf("the history is not being read: %+v", pos)
	}
	d.Change(log.rules(texts[1]))
	log.complete(d, texts[1], uint64(len(file)))
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprintf("c%d buyer", i), fmt.Sprintf("c%d eight", i))
	}
	if diff := gocmp.Diff(want, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// A topic of history that does not fit the tasks stops a new partition, and a change of rules
// that needs the past is refused, both with a remedy.
func TestImportForOtherTasks(t *testing.T) {
	g := newFleet(t, 2)
	g.Import(1).Finish()
	g.AddPartitions(rig.HistoryTopic, 3)
	in := g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
	g.Eventually("both are stopped", func() bool {
		tasks := in.o.Status().Tasks
		return len(tasks) == 2 && !slices.ContainsFunc(tasks, func(s task.Status) bool {
			return s.State != task.Stopped || !strings.Contains(s.Error, "import the files again")
		})
	})
	in.stop()

	g = newFleet(t, 2)
	in = g.start(rulesOf("buyer: count(purchase) >= 1"), vfs.NewMem(), nil)
	in.ready()
	for p := range g.Partitions {
		g.Produce(g.Event(plan.Web, g.CustomersOf(p, 1)[0], g.Now(), nil))
	}
	in.caughtUp()
	g.Import(1).Finish()
	g.AddPartitions(rig.HistoryTopic, 3)
	rules := g.Rules(rulesOf("buyer: count(purchase) >= 1", "visitor: did(web)"))
	in.o.Change(&rules)
	g.Eventually("both refuse the change", func() bool {
		tasks := in.o.Status().Tasks
		return len(tasks) == 2 && !slices.ContainsFunc(tasks, func(s task.Status) bool { return !strings.Contains(s.Refused, "import the files again") })
	})
	rules.AcceptLoss, rules.Name = true, "accepted"
	in.o.Change(&rules)
	in.under("accepted")
	in.stop()
}

// A change of rules while the history is still being read is not refused for what that has:
// the rest of it comes under the new rules.
func TestImportFillsGapWhileItIsRead(t *testing.T) {
	rig.NeedPoints(t)
	g := rig.New(t, 1)
	day := func(n int) time.Time { return g.Now().AddDate(0, 0, -n) }
	g.Produce(g.Event(plan.Purchase, "anna", day(80), nil), g.Event(plan.Purchase, "anna", day(1), nil))
	if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
		t.Fatal(err)
	}
	var file []*kgo.Record
	for i := range 40 {
		file = append(file, g.Event(plan.Purchase, "anna", day(120-3*i), nil))
	}
	g.Import(1).Write(append(file, g.Event(plan.Purchase, "berta", day(0), nil))...).Finish()
	texts := []string{rulesOf("buyer: count(purchase) >= 1"), rulesOf("buyer: count(purchase) >= 1", "all: sum(purchase.revenue) == 410", "more: sum(purchase.revenue) > 410")}
	log := logOf(g, texts...)
	d := g.Drive(texts[0], vfs.NewMem(), 0, log.known)
	for g.Positions()[0] == nil || g.Positions()[0].Seq < 3 {
		d.Until("applied")
	}
	d.Change(log.rules(texts[1]))
	log.complete(d, texts[1], 42)
	if diff := gocmp.Diff([]string{"anna all", "anna buyer", "berta buyer"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

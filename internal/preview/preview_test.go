package preview

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// events makes an instance go by the times of events.
func events(c *config.Config) { c.Time.Clock = config.EventsClock }

// Over random histories and random changes of rules, a preview says what --apply then emits.
func TestEqualsApply(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 6) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(seed, 0))
			g := &shop{rig.New(t, 1+int32(r.IntN(3)))}
			g.Delivery = []config.Delivery{config.ExactlyOnce, config.AtLeastOnce}[r.IntN(2)]
			g.History(r, 800)
			files := vfs.NewMem()
			before, after := anyRules(r), renamed(r, anyRules(r))
			g.wait(g.start(before, files, rig.OverHistory))
			members, said := g.sizes(), g.said()
			report, err := g.preview(after, all, events)
			if err != nil {
				t.Fatal(err)
			}
			in := g.start(after, files, func(c *config.Config) { c.Apply = true; events(c) })
			g.ready(in)
			g.stop(in)
			g.compare(report, members, said)
		})
	}
}

// compare compares a report with what an instance has emitted since.
func (g *shop) compare(r *Report, members, said map[string]int) {
	g.Helper()
	was, is := g.count(said), emitted{entered: map[string]int{}, exited: map[string]int{}, due: r.Due}
	sizes := map[string]int{}
	for i := range r.Segments {
		s := &r.Segments[i]
		if s.Entered > 0 {
			is.entered[s.ID] = s.Entered
		}
		if s.Exited > 0 {
			is.exited[s.ID] = s.Exited
		}
		if s.New != nil && s.New.Size > 0 {
			sizes[s.ID] = s.New.Size
		}
		if s.Old != nil && r.Due.Changes == 0 && s.Old.Size != members[cmp.Or(s.Was, s.ID)] {
			g.Errorf("%s has %d members, the report says %d", s.ID, members[cmp.Or(s.Was, s.ID)], s.Old.Size)
		}
		if s.Change == Unchanged && s.Entered+s.Exited > 0 || min(MostExamples, s.Entered+s.Exited) != len(s.Examples) {
			g.Errorf("%+v", s)
		}
	}
	if diff := gocmp.Diff(was, is, gocmp.AllowUnexported(emitted{})); diff != "" {
		g.Errorf("emitted (-), reported (+):\n%s", diff)
	}
	if diff := gocmp.Diff(g.sizes(), sizes); diff != "" {
		g.Errorf("members (-), reported (+):\n%s", diff)
	}
}

// An application that has been down is previewed as of now: what is due by time alone is
// counted apart, and changed rules are judged at the clock that --apply would have.
func TestAsOfNow(t *testing.T) {
	g := &shop{rig.New(t, 2)}
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	g.ready(in)
	for i := range 12 {
		who := fmt.Sprintf("c%02d", i)
		g.Produce(g.Event(plan.Web, who, g.Now(), nil), g.Event(plan.Purchase, who, g.Now().Add(-40*time.Hour), map[string]any{"revenue": "90"}))
	}
	g.Eventually("all are folded", func() bool { folded, _, _ := g.Totals(); return folded == 24 })
	after := strings.NewReplacer("days(2)) >= 3", "days(2)) >= 1", "> 300", "> 80").Replace(fixture.Rules)

	// While it runs, nothing is due.
	report, err := g.preview(after, all, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := segmentOf(t, report, "frequent"); s.Entered != 12 || report.Due != (Due{}) || report.Clock != "now" {
		t.Errorf("%+v of %+v", s, report)
	}
	g.stop(in)
	members, said := g.sizes(), g.said()
	g.Shift.Store(int64(12 * time.Hour))
	if report, err = g.preview(after, all, nil); err != nil {
		t.Fatal(err)
	}
	if s := segmentOf(t, report, "browsing"); s.Old.Size != 0 || s.New.Size != 0 || report.Due.Changes != 12 {
		t.Errorf("%+v of %+v", s, report)
	}
	if s := segmentOf(t, report, "frequent"); s.Entered != 0 || segmentOf(t, report, "big").Entered != 12 || report.Affected != 12 {
		t.Errorf("%+v of %+v", s, report)
	}
	in = g.start(after, files, func(c *config.Config) { c.Apply = true })
	g.ready(in)
	g.stop(in)
	g.compare(report, members, said)
}

// An application is previewed while it writes: what is counted is its state at some position.
func TestWhileItRuns(t *testing.T) {
	for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
		t.Run(fmt.Sprint("delivery ", delivery), func(t *testing.T) {
			t.Parallel()
			g := &shop{rig.New(t, 1)}
			g.Delivery = delivery
			in := g.start(fixture.Rules, vfs.NewMem(), nil)
			g.ready(in)
			const people = 300
			for i := range people / 10 {
				var records []*kgo.Record
				for k := range 10 {
					records = append(records, g.Event(plan.Purchase, fmt.Sprintf("c%03d", 10*i+k), g.Now(), nil))
				}
				g.Produce(records...)
				store := g.Store(vfs.NewMem())
				r, err := Run(context.Background(), g.config(strings.Replace(fixture.Rules, ">= 1", ">= 2", 1), store, nil), all)
				if err != nil && !strings.Contains(err.Error(), "has no state yet") {
					t.Fatal(err)
				}
				if err == nil && segmentOf(t, r, "buyer").Exited != r.Customers {
					t.Errorf("%+v", r)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
			}
			g.Eventually("all are folded", func() bool { folded, _, _ := g.Totals(); return folded == people })
			g.stop(in)
			if n := g.sizes()["buyer"]; n != people {
				t.Errorf("%d buyers", n)
			}
		})
	}
}

// What needs history is named and left out, and everything else is previewed; a preview with
// history says which inputs are short, unless what was imported fills the gap.
func TestNeedsHistory(t *testing.T) {
	g := &shop{rig.New(t, 1)}
	files := vfs.NewMem()
	before := rulesOf([]string{"buyer: count(purchase) >= 1", "recent: did(purchase, days(2))"}, nil)
	in := g.start(before, files, nil)
	g.ready(in)
	for i := range 4 {
		who := fmt.Sprintf("c%d", i)
		g.Produce(g.Event(plan.Purchase, who, g.Now().AddDate(0, 0, -30), nil), g.Event(plan.Purchase, who, g.Now().AddDate(0, 0, -1), map[string]any{"revenue": "7"}))
	}
	g.Eventually("all are folded", func() bool { folded, _, _ := g.Totals(); return folded == 8 })
	g.stop(in)
	after := rulesOf([]string{
		"buyer: count(purchase) >= 2", "recent: did(purchase, days(40))", "spender: sum(purchase.revenue) > 5", `rich: in_segment("spender")`,
	}, []string{"{id: silent, kind: inactivity, after: 20d}"})
	report, err := g.preview(after, Options{Sample: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(report.needHistory()), "[recent rich spender trigger:silent]"; got != want || report.History != Missing {
		t.Errorf("%s need history, want %s", got, want)
	}
	if s := segmentOf(t, report, "buyer"); s.Exited != 0 || s.New.Size != 4 || s.Change != Changed {
		t.Errorf("%+v", s)
	}
	if s := segmentOf(t, report, "spender"); s.New != nil || s.Old != nil || s.Entered != 0 {
		t.Errorf("%+v", s)
	}
	if since := report.HistorySince["purchase"]; !strings.HasPrefix(since, g.Now().AddDate(0, 0, -30).UTC().Format(time.DateOnly)) {
		t.Errorf("history since %s", since)
	}
	if losing, unknown := report.Losing(0.4); len(losing) > 0 || fmt.Sprint(unknown) != "[recent]" {
		t.Errorf("%q, %q", losing, unknown)
	}
	if report, err = g.preview(after, all, nil); err != nil {
		t.Fatal(err)
	}
	if s := segmentOf(t, report, "rich"); s.Entered != 4 || report.History != Folded || len(report.Incomplete) > 0 {
		t.Errorf("%+v of %+v", s, report)
	}
	if err := g.Broker.DeleteRecords("purchase", 0, 1); err != nil {
		t.Fatal(err)
	}
	if report, err = g.preview(after, all, nil); err != nil {
		t.Fatal(err)
	}
	if text := strings.Join(report.Lines(), "\n"); len(report.Incomplete) != 1 || !strings.Contains(text, "purchase/0 begins on ") {
		t.Errorf("%q in\n%s", report.Incomplete, text)
	}
	g.Import(1).Write(g.Event(plan.Purchase, "c0", g.Now().AddDate(0, 0, -60), nil), g.Event(plan.Purchase, "c1", g.Now(), nil)).Finish()
	if report, err = g.preview(after, all, nil); err != nil {
		t.Fatal(err)
	}
	if since := report.HistorySince["purchase"]; len(report.Incomplete) > 0 || !strings.HasPrefix(since, g.Now().AddDate(0, 0, -60).UTC().Format(time.DateOnly)) {
		t.Errorf("%q, since %s", report.Incomplete, since)
	}
}

// A rule that is not previewed takes no facts from those that are, though it shares them.
func TestSharedFacts(t *testing.T) {
	g := &shop{rig.New(t, 1)}
	const recent = "recent: did(purchase, days(2))"
	in := g.start(rulesOf([]string{recent}, nil), vfs.NewMem(), nil)
	g.ready(in)
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("it is folded", func() bool { folded, _, _ := g.Totals(); return folded == 1 })
	g.stop(in)
	g.Shift.Store(int64(50 * time.Hour))
	report, err := g.preview(rulesOf([]string{recent, "longer: did(purchase, days(40))"}, nil), Options{Sample: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if s := segmentOf(t, report, "recent"); report.Due.Changes != 1 || s.Old.Size != 0 || s.Change != Unchanged || !segmentOf(t, report, "longer").NeedsHistory {
		t.Errorf("%+v of %+v", s, report)
	}
}

// The same rules change nothing; a guard knows who leaves; a sample is scaled.
func TestGuardAndSample(t *testing.T) {
	g := &shop{rig.New(t, 3)}
	g.History(rand.New(rand.NewPCG(1, 1)), 1_000)
	g.wait(g.start(fixture.Rules, vfs.NewMem(), rig.OverHistory))
	report, err := g.preview(fixture.Rules, all, events)
	if err != nil || !report.Same || report.Affected != 0 || report.Clock != "state" {
		t.Fatalf("%v, %+v", err, report)
	}
	removed := strings.Replace(fixture.Rules, "  - {id: buyer,", "  - {id: customer,", 1)
	if report, err = g.preview(removed, all, events); err != nil {
		t.Fatal(err)
	}
	n := g.sizes()["buyer"]
	if s := segmentOf(t, report, "buyer"); s.Change != Removed || s.Exited != n || s.New != nil || segmentOf(t, report, "customer").Entered != n {
		t.Errorf("%+v of %d", s, n)
	}
	if losing, _ := report.Losing(0.999); len(losing) != 1 || losing[0] != fmt.Sprintf("buyer would lose %d of its %d members (100.0 %%)", n, n) {
		t.Errorf("%q", losing)
	}
	if losing, _ := report.Losing(1); len(losing) > 0 {
		t.Errorf("%q", losing)
	}
	if report, err = g.preview(removed, Options{Sample: 4, NoExamples: true}, events); err != nil {
		t.Fatal(err)
	}
	s := segmentOf(t, report, "buyer")
	if s.Exited%4 != 0 || s.Exited == 0 || s.Exited > 2*n || s.Exited != s.Old.Size || len(s.Examples) > 0 || report.Customers < n {
		t.Errorf("%+v of %d", s, n)
	}
	if text := strings.Join(report.Lines(), "\n"); !strings.Contains(text, fmt.Sprintf("~%d", s.Exited)) || !strings.Contains(text, "estimates, from one of 4 customers") {
		t.Error(text)
	}
}

// A state that cannot be previewed says why, and what to do.
func TestRefusals(t *testing.T) {
	g := &shop{rig.New(t, 1)}
	refused := func(rules string, want string) {
		t.Helper()
		if r, err := g.preview(rules, all, events); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v, %v; want %q", r, err, want)
		}
	}
	refused(fixture.Rules, "there is no topic shop.changelog, so shop has never run here: is the app of the configuration right?")
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, events)
	g.ready(in)
	refused(fixture.OtherRules, "shop has no state yet")
	for i := range 100 {
		g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%02d", i), g.Now(), map[string]any{"revenue": "1000"}))
	}
	g.Eventually("all are folded", func() bool { folded, _, _ := g.Totals(); return folded == 100 })
	g.stop(in)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	store := g.Store(vfs.NewMem())
	if _, err := Run(ctx, g.config(fixture.OtherRules, store, events), all); err == nil {
		t.Error("a preview goes on when it is interrupted")
	}
	_ = store.Close()

	rig.NeedPoints(t)
	d := g.Drive(fixture.OtherRules, files, 0, func(c *config.Config) { c.Apply, c.Batch.Records = true, 1; events(c) })
	d.Until("begun")
	d.Until("begun")
	d.Kill()
	refused(fixture.OtherRules, "a change of rules is in progress, which comes first: let segmill run complete it")
}

// The report has the shape that docs/before-you-apply.md describes, and reads as it is there.
func TestReport(t *testing.T) {
	r := &Report{
		App: "shop", Rules: []string{"rules"}, At: "2026-03-01T00:00:00.000Z", AtLatest: "2026-03-01T00:00:00.000Z", Clock: "now", Customers: 4000, Sample: 1,
		History: Missing, HistorySince: map[string]string{"purchase": "2025-01-01T00:00:00.000Z"}, Reading: []string{"defaults:currency"},
		Segments: []Segment{
			{ID: "buyer", Change: Unchanged, Old: &Size{9, 0.1}, New: &Size{9, 0.1}},
			{ID: "client", Was: "customer", Change: Renamed, Old: &Size{9, 0.1}, New: &Size{9, 0.1}},
			{
				ID: "loyal", Change: Changed, When: "count(purchase) >= 3", Old: &Size{120, 0.03}, New: &Size{80, 0.02}, Entered: 5, Exited: 45,
				Examples: []Example{{"anna", "exited", "2026-03-01T00:00:00.000Z", map[string]string{"count(purchase)": "2", "profile.vip": ""}}},
			},
			{ID: "old", Change: Removed, Old: &Size{1, 0.00025}, Exited: 1},
			{ID: "rich", Change: Added, NeedsHistory: true},
		},
		Triggers: []Trigger{
			{ID: "cart", Kind: "abandoned_cart", Change: Changed},
			{ID: "gone", Change: Removed},
			{ID: "same", Kind: "rule", Change: Unchanged},
			{ID: "silent", Was: "quiet", Kind: "inactivity", Change: Renamed},
		},
		Entered: 5, Exited: 46, Affected: 50, Due: Due{3, 2},
	}
	want, err := os.ReadFile("testdata/report.txt")
	got := strings.Join(r.Lines(), "\n") + "\n"
	if os.Getenv("UPDATE") != "" {
		err = os.WriteFile("testdata/report.txt", []byte(got), 0o600)
		want = []byte(got)
	}
	if diff := gocmp.Diff(string(want), got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	var b bytes.Buffer
	var back Report
	if err := r.JSON(&b); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || !gocmp.Equal(*r, back) {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A temporary store leaves nothing behind, whatever happened.
func TestTempStore(t *testing.T) {
	dir := t.TempDir()
	_, remove, err := TempStore(dir, "shop", fixture.Logger())
	if err != nil {
		t.Fatal(err)
	}
	if err := remove(context.Canceled); err == nil || err.Error() != context.Canceled.Error() {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, _, err := TempStore(dir+"/none", "shop", fixture.Logger()); err == nil || !strings.HasPrefix(err.Error(), "--tmp: ") {
		t.Error(err)
	}
}

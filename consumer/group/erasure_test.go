package group

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// erase writes a tombstone on the profile topic and waits for the receipt.
func (g *fleet) erase(customer string) {
	g.Helper()
	receipts := func() (n int) {
		for _, effects := range g.Effects("changes") {
			for _, e := range effects {
				if e.Customer == customer && e.Action == "erased" {
					n++
				}
			}
		}
		return n
	}
	before := receipts()
	g.Produce(&kgo.Record{Topic: "profile", Partition: g.Route.Partition(customer), Key: []byte(customer)})
	g.Eventually("a receipt", func() bool { return receipts() > before })
}

// An erased customer leaves nothing behind: no key in the changelog, no bytes and no
// timer in the local copy, no timer that fires; and nothing brings them back.
func TestErasureLeavesNothing(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	now := g.Now()
	var first []*kgo.Record
	for i, at := range []time.Duration{3, 2, 1} {
		first = append(first, g.Event(plan.Purchase, "anna", now.Add(-at*time.Minute), map[string]any{"revenue": "200"}),
			g.Event(plan.Web, "anna", now.Add(-at*time.Minute+time.Second), map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": fmt.Sprint(i)}}}))
	}
	g.Produce(first...)
	g.Produce(g.Event(plan.Purchase, "berta", now, nil))
	g.Eventually("anna", func() bool {
		return slices.Equal(g.Members(), []string{"anna big", "anna browsing", "anna buyer", "anna frequent", "berta buyer"})
	})
	p := g.Route.Partition("anna")
	g.erase("anna")
	in.caughtUp()
	in.stop()

	checkGone := func(files vfs.FS) {
		t.Helper()
		s := g.Store(files)
		for n := range g.Partitions {
			task := s.Task(n)
			if err := task.Scan("", func(id string, _ []byte) error {
				if id == "anna" {
					t.Error("her bytes are in the store")
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			due, err := task.Due(nil, state.Due{At: changelog.Never}, engine.Never, 1000)
			if err != nil {
				t.Error(err)
			}
			for _, d := range due {
				if d.Customer == "anna" {
					t.Errorf("she is due at %v", d.At)
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	checkGone(files)
	records := g.Read(rig.App + ".changelog")[p]
	last := slices.IndexFunc(records, func(r *kgo.Record) bool { return string(r.Key) == "c/anna" && r.Value == nil })
	if last < 0 || slices.ContainsFunc(records[last:], func(r *kgo.Record) bool { return string(r.Key) == "c/anna" && r.Value != nil }) {
		t.Error("the changelog does not end with her tombstone")
	}
	// The exits, in order of segment, then the receipt; all in one transaction, which
	// the one position behind the tombstone ends.
	var emitted []string
	for _, e := range g.Effects("changes")[p] {
		if e.Customer == "anna" && e.Cause == "erasure" {
			emitted = append(emitted, fmt.Sprintf("%s %s %d", e.Action, e.Segment, e.Sequence))
		}
	}
	if diff := gocmp.Diff([]string{"exited big 2", "exited browsing 2", "exited buyer 2", "exited frequent 2", "erased  0"}, emitted); diff != "" {
		t.Error(diff)
	}

	// From nothing she does not come back, and her timers do not fire.
	g.Shift.Store(int64(4 * time.Hour))
	fresh := vfs.NewMem()
	in = g.start(fixture.Rules, fresh, nil)
	in.follows(g.Now())
	in.stop()
	checkGone(fresh)
	if got := g.Members(); !slices.Equal(got, []string{"berta buyer"}) {
		t.Errorf("%v", got)
	}
	if n := len(g.Read("triggers")); n > 0 {
		t.Errorf("triggers fired on %d partitions", n)
	}

	// An old event that comes again is one of a new customer, whose sequences begin
	// at 1: also for segments that she had left before.
	in = g.start(fixture.Rules, fresh, nil)
	in.ready()
	again := *first[0]
	g.Produce(&again)
	g.Eventually("anna is new", func() bool { return slices.Equal(g.Members(), []string{"anna buyer", "berta buyer"}) })
	g.erase("anna")
	g.erase("nobody") // is answered all the same
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"berta buyer"}) {
		t.Errorf("%v", got)
	}
	g.verifyFromNothing(fixture.Rules, nil)
}

// In a run over history an erasure stands at its time in Kafka: behind what the
// customer had done before it, and what time alone had made due, whatever topic that
// is on; and before what comes later. One later than the end of the run comes last,
// and is of the end.
func TestErasureOverHistory(t *testing.T) {
	g := newFleet(t, 1)
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	hours := func(h float64) time.Time { return day.Add(time.Duration(h * float64(time.Hour))) }
	erasure := func(customer string, at time.Time) *kgo.Record {
		return &kgo.Record{Topic: "profile", Partition: g.Route.Partition(customer), Key: []byte(customer), Timestamp: at}
	}
	cart := map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}}
	g.Produce(
		erasure("anna", hours(2)), erasure("berta", hours(30)),
		g.Event(plan.Purchase, "anna", hours(0), nil), g.Event(plan.Purchase, "anna", hours(0.001), nil),
		g.Event(plan.Web, "anna", hours(1), cart),
		g.Event(plan.Purchase, "berta", hours(0), nil), g.Event(plan.Web, "berta", hours(3), cart),
		g.Event(plan.Purchase, "anna", hours(4), nil),
	)
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(hours(24).UnixMilli())
	})
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range slices.Concat(g.Effects("changes")[0], g.Effects("triggers")[0]) {
		what, at := e.Action+" "+e.Segment, e.At
		if e.Trigger != "" {
			what, at = "fired "+e.Name, e.Fired
		}
		got = append(got, fmt.Sprintf("%s %s %d at %v %s", e.Customer, what, e.Sequence, at.Sub(day), e.Cause))
	}
	want := []string{
		"anna entered buyer 1 at 0s event",
		"berta entered buyer 1 at 0s event",
		"anna entered browsing 1 at 1h0m0s event",
		"anna exited browsing 2 at 2h0m0s erasure",
		"anna exited buyer 2 at 2h0m0s erasure",
		"anna erased  0 at 2h0m0s erasure",
		"berta entered browsing 1 at 3h0m0s event",
		"anna entered buyer 1 at 4h0m0s event",
		"berta exited browsing 2 at 6h0m0s timer",
		"berta exited buyer 2 at 24h0m0s erasure",
		"berta erased  0 at 24h0m0s erasure",
		"anna fired cart_left 1 at 1h30m0s ",
		"berta fired cart_left 1 at 3h30m0s ",
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whoever drops changes with an id that was seen before misses none when a customer is
// erased, known again and erased again within a millisecond.
func TestErasuresAtOneInstant(t *testing.T) {
	g := newFleet(t, 1)
	at := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	rules := "version: 1\ndefaults: {timezone: UTC}\nsegments:\n" +
		"  - {id: french, objective: a, owner: b, review_by: 2099-01-01, when: \"profile.country == 'FR'\"}\n"
	for range 2 {
		erasure := kgo.Record{Topic: "profile", Key: []byte("anna"), Timestamp: at}
		again := erasure
		g.Produce(g.Event(plan.Profile, "anna", at, map[string]any{"country": "FR"}), &erasure, &again)
	}
	in := g.start(rules, vfs.NewMem(), func(c *config.Config) {
		c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(at.Add(time.Hour).UnixMilli())
	})
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	var got []string
	ids := map[string]bool{}
	for _, e := range g.Effects("changes")[0] {
		ids[e.ID] = true
		got = append(got, fmt.Sprintf("%s %s %d at %v", e.Action, e.Segment, e.Sequence, e.At.Sub(at)))
	}
	life := []string{"entered french 1 at 0s", "exited french 2 at 0s", "erased  0 at 0s", "erased  0 at 0s"}
	if diff := gocmp.Diff(slices.Concat(life, life), got); diff != "" {
		t.Error(diff)
	}
	if len(ids) != len(got) {
		t.Errorf("%d changes have %d ids", len(got), len(ids))
	}
}

// A rebuild reads the inputs again, the erasure included: what stood before it stays
// erased, what came after it counts.
func TestErasureAndRebuild(t *testing.T) {
	g := newFleet(t, 1)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	now := g.Now().Add(-time.Hour)
	buy := func(customer string, after time.Duration) {
		g.Produce(g.Event(plan.Purchase, customer, now.Add(after), nil))
	}
	for i := range 4 {
		buy("anna", time.Duration(i)*time.Minute)
		buy("berta", time.Duration(i)*time.Minute)
	}
	in.caughtUp()
	g.erase("anna")
	g.erase("berta")
	now = g.Now()
	buy("berta", 0)
	in.caughtUp()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"berta buyer"}) {
		t.Fatalf("%v", got)
	}
	in = g.start(fixture.OtherRules, files, func(c *config.Config) { c.Rebuild = true })
	in.ready()
	in.stop()
	if got := g.Members(); !slices.Equal(got, []string{"berta buyer"}) {
		t.Errorf("after the rebuild: %v", got)
	}
	g.verifyFromNothing(fixture.OtherRules, nil)

	// Nor does the history bring her back that a resharding carries along.
	m := g.grow(3, false)
	if _, err := m.run(g, files, nil); err != nil {
		t.Fatal(err)
	}
	in = m.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { m.to(c); c.Rebuild = true })
	in.ready()
	in.stop()
	if got := m.memberships("changes", "changes2"); !slices.Equal(got, []string{"berta buyer"}) {
		t.Errorf("after the resharding: %v", got)
	}
}

// What came after an erasure counts, although what came before it is now elsewhere.
func TestErasureAndReshard(t *testing.T) {
	g := newFleet(t, 2)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, nil)
	in.ready()
	now := broker.NewRouter(3)
	moves := func(p int32) string {
		ids := g.CustomersOf(p, 20)
		return ids[slices.IndexFunc(ids, func(id string) bool { return now.Partition(id) == 2 })]
	}
	early, late := moves(1), moves(0)
	g.Produce(g.Event(plan.Purchase, early, g.Now(), nil))
	in.caughtUp()
	g.erase(early)
	g.Produce(g.Event(plan.Purchase, late, g.Now(), nil))
	in.caughtUp()
	in.stop()
	m := g.grow(3, true)
	if _, err := m.run(g, files, nil); err != nil {
		t.Fatal(err)
	}
	newFiles := vfs.NewMem()
	in = m.start(fixture.Rules, newFiles, m.to)
	in.ready()
	for range 3 {
		m.Produce(m.Event(plan.Purchase, early, g.Now(), nil))
	}
	in.caughtUp()
	in.stop()
	in = m.start(counting, newFiles, func(c *config.Config) { m.to(c); c.Rebuild = true })
	in.ready()
	in.stop()
	want := []string{early + " purchase1", early + " purchase2", early + " purchase3", late + " purchase1"}
	slices.Sort(want)
	if got := m.memberships("changes", "changes2"); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// An erasure of somebody who is not known is counted, and erases nobody who is known by
// the id in another form.
func TestErasureOfNobody(t *testing.T) {
	g := newFleet(t, 1)
	reg := prometheus.NewPedanticRegistry()
	var log bytes.Buffer
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		c.Metrics, c.Logger = metrics.New(reg), slog.New(slog.NewTextHandler(&log, nil))
	})
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anon:berta", g.Now(), nil), g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	before := g.Members()
	for _, id := range []string{"berta", "Anna", "anon:anna", "clara"} {
		g.erase(id)
	}
	in.stop()
	if got := g.Members(); !slices.Equal(got, before) {
		t.Errorf("%v, before %v", got, before)
	}
	if got := fixture.Gather(t, reg)["segmill_erasures_unknown_total{}"]; got != 4 {
		t.Errorf("%v counted", got)
	}
	for part, want := range map[string]int{
		"with anon: in front": 1, "without anon: in front": 1, "in lower case": 1, "is the key of the tombstone": 1, "berta": 0, "clara": 0,
	} {
		if got := strings.Count(log.String(), part); got != want {
			t.Errorf("%q is logged %d times, want %d", part, got, want)
		}
	}
}

package group

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// docs/semantics.md, 1.9 and 1.10: a duplicate that came into Kafka later prolongs how
// long the id is remembered, also for the next owner, who has the changelog alone.
func TestDuplicateProlongs(t *testing.T) {
	const twice = `
version: 1
segments:
  - {id: back, objective: a, owner: b, review_by: 2099-01-01, when: "count(web) >= 2"}
`
	g := newFleet(t, 1)
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	visit := g.Event(plan.Web, "anna", start, nil)
	send := func(after time.Duration) {
		r := *visit
		r.Timestamp = start.Add(after)
		g.Produce(&r)
	}
	run := func(until time.Duration) {
		if err := g.start(twice, vfs.NewMem(), func(c *config.Config) {
			c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(start.Add(until).UnixMilli())
		}).wait(); err != nil {
			t.Fatal(err)
		}
	}
	send(0)
	run(time.Hour)
	send(20 * time.Hour)
	run(21 * time.Hour)
	g.Produce(g.Event(plan.Purchase, "anna", start.Add(30*time.Hour), nil))
	run(30 * time.Hour)
	send(31 * time.Hour) // a day and six hours after the event, eleven after its second copy
	run(32 * time.Hour)
	if got := g.Members(); len(got) != 0 {
		t.Errorf("a duplicate was counted: %v", got)
	}
	g.Produce(g.Event(plan.Purchase, "anna", start.Add(80*time.Hour), nil))
	run(80 * time.Hour)
	send(81 * time.Hour) // forgotten by now
	run(82 * time.Hour)
	if got := g.Members(); !slices.Equal(got, []string{"anna back"}) {
		t.Errorf("an event whose id is forgotten is a new one: %v", got)
	}
}

// docs/semantics.md, 1.12: a time in Kafka that no clock shows yet, as that of a producer
// that counts microseconds, does not make an id outlive its horizon.
func TestBogusKafkaTime(t *testing.T) {
	const twice = `
version: 1
segments:
  - {id: back, objective: a, owner: b, review_by: 2099-01-01, when: "count(web) >= 2"}
`
	g := newFleet(t, 1)
	start := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	visit := g.Event(plan.Web, "anna", start, nil)
	first := *visit
	first.Timestamp = time.Now().AddDate(3, 0, 0)
	run := func(until time.Duration) {
		if err := g.start(twice, vfs.NewMem(), func(c *config.Config) {
			c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(start.Add(until).UnixMilli())
		}).wait(); err != nil {
			t.Fatal(err)
		}
	}
	g.Produce(&first, g.Event(plan.Purchase, "anna", start.Add(30*time.Hour), nil))
	run(31 * time.Hour)
	g.Produce(visit)
	run(32 * time.Hour)
	if got := g.Members(); !slices.Equal(got, []string{"anna back"}) {
		t.Errorf("the id is remembered after a day: %v", got)
	}
}

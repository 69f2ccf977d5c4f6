package group

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// A run until an instant reads what was there at the start, stops before what is
// later, turns the clock, and can be followed by another one.
func TestUntil(t *testing.T) {
	g := newFleet(t, 2)
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	until := func(at time.Time) func(*config.Config) {
		return func(c *config.Config) { c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(at.UnixMilli()) }
	}
	ids := g.CustomersOf(0, 2)
	anna, berta := ids[0], ids[1]
	wrong := g.Event(plan.Web, anna, day.Add(time.Hour), nil)
	wrong.Partition = 1
	g.Produce(
		g.Event(plan.Web, anna, day, nil), wrong,
		g.Event(plan.Purchase, berta, day.Add(10*time.Hour), nil), // later than the instant
		g.Event(plan.Purchase, anna, day.Add(time.Hour), nil),     // stands behind it
	)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, until(day.Add(3*time.Hour+30*time.Minute)))
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	// The forwarded visit was at one o'clock: anna browses until four.
	if got := g.Members(); !slices.Equal(got, []string{anna + " browsing"}) {
		t.Errorf("%v", got)
	}
	if p := g.Positions()[0]; p.Clock.Time() != day.Add(3*time.Hour+30*time.Minute) || p.Sources[changelog.Input{Topic: "purchase"}].Next != 0 {
		t.Errorf("clock %v, sources %v", p.Clock, p.Sources)
	}
	in = g.start(fixture.Rules, files, until(day.Add(24*time.Hour)))
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	if got := g.Members(); !slices.Equal(got, []string{anna + " buyer", berta + " buyer"}) {
		t.Errorf("%v", got)
	}
}

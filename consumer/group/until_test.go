package group

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// A run until an instant reads what was there at the start, stops before what is
// later, turns the clock, and can be followed by another one.
func TestUntil(t *testing.T) {
	g := newRig(t, 2)
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	until := func(at time.Time) func(*config.Config) {
		return func(c *config.Config) { c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(at.UnixMilli()) }
	}
	ids := g.customersOf(0, 2)
	anna, berta := ids[0], ids[1]
	wrong := g.event(plan.Web, anna, day.Add(time.Hour), nil)
	wrong.Partition = 1
	g.produce(
		g.event(plan.Web, anna, day, nil), wrong,
		g.event(plan.Purchase, berta, day.Add(10*time.Hour), nil), // later than the instant
		g.event(plan.Purchase, anna, day.Add(time.Hour), nil),     // stands behind it
	)
	files := vfs.NewMem()
	in := g.start(rules, files, until(day.Add(3*time.Hour+30*time.Minute)))
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	// The forwarded visit was at one o'clock: anna browses until four.
	if got := g.members(); !slices.Equal(got, []string{anna + " browsing"}) {
		t.Errorf("%v", got)
	}
	if p := g.positions()[0]; p.Clock.Time() != day.Add(3*time.Hour+30*time.Minute) || p.Sources["purchase"].Next != 0 {
		t.Errorf("clock %v, sources %v", p.Clock, p.Sources)
	}
	in = g.start(rules, files, until(day.Add(24*time.Hour)))
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	if got := g.members(); !slices.Equal(got, []string{anna + " buyer", berta + " buyer"}) {
		t.Errorf("%v", got)
	}
}

func TestUntilNeedsTheClockOfEvents(t *testing.T) {
	g := newRig(t, 1)
	cfg := g.config(rules, g.store(vfs.NewMem()))
	cfg.Time.Until = 1
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "clock of events") {
		t.Error(err)
	}
}

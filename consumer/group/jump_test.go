package group

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// wallAt returns the present with another wall clock, as time.Now does after
// somebody has set the clock: the monotonic reading goes on.
func wallAt(wall time.Time) time.Time {
	t := time.Now()
	// The first word of a Time that has a monotonic reading: one bit that says so,
	// 33 bits of seconds since 1885, 30 bits of nanoseconds.
	seconds := uint64(wall.Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	*(*uint64)(unsafe.Pointer(&t)) = 1<<63 | seconds<<30 | uint64(wall.Nanosecond())
	return t
}

// setClock is a wall clock that can be set.
type setClock struct{ ahead, stuckAt atomic.Int64 }

func (c *setClock) now() time.Time {
	if at := c.stuckAt.Load(); at != 0 {
		return wallAt(time.Unix(0, at))
	}
	return wallAt(time.Now().Add(time.Duration(c.ahead.Load())))
}

func (c *setClock) set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

func TestSetClock(t *testing.T) {
	var c setClock
	before := time.Now()
	c.set(time.Hour)
	now := c.now()
	if mono := now.Sub(before); mono < 0 || mono > 30*time.Minute {
		t.Errorf("the monotonic clock was set too: %v", mono)
	}
	if wall := now.Round(0).Sub(before.Round(0)); wall < time.Hour || wall > 90*time.Minute {
		t.Errorf("the wall clock is %v ahead", wall)
	}
}

// What the wall clock does, a timer fires never early and once, as of its due
// instant, and events have their effects.
func TestClockJumps(t *testing.T) {
	type run struct {
		*fleet
		in    *instance
		clock setClock
		start time.Time // of anna's browsing
		files *vfs.MemFS
	}
	begin := func(t *testing.T) *run {
		t.Parallel()
		r := &run{fleet: newFleet(t, 1), files: vfs.NewMem()}
		r.in = r.start2(&r.clock, r.files)
		r.in.ready()
		r.start = time.Now().Truncate(time.Millisecond)
		r.Produce(r.Event(plan.Web, "anna", r.start, map[string]any{"name": "product_added"}))
		r.Eventually("anna", func() bool { return slices.Equal(r.Members(), []string{"anna browsing"}) })
		return r
	}
	// comes produces an event of now by the wall clock, waits for what follows from
	// it, and returns when it happened.
	comes := func(r *run, customer string) time.Time {
		r.Helper()
		r.Produce(r.Event(plan.Purchase, customer, r.clock.now(), nil))
		var at time.Time
		r.Eventually(customer, func() bool {
			for _, e := range r.Effects("changes")[0] {
				if e.Customer == customer && e.Segment == "buyer" {
					at = e.At
				}
			}
			return !at.IsZero()
		})
		return at
	}
	fired := func(r *run) (due []time.Duration) {
		for _, e := range r.Effects("triggers")[0] {
			due = append(due, e.Due.Sub(r.start))
		}
		return due
	}
	quiet := func(r *run) {
		r.Helper()
		if due := fired(r); len(due) > 0 {
			r.Errorf("fired %v after the start", due)
		}
	}
	once := func(r *run) {
		r.Helper()
		r.Eventually("the cart", func() bool { return len(fired(r)) > 0 })
		comes(r, "last")
		r.in.stop()
		if due := fired(r); !slices.Equal(due, []time.Duration{30 * time.Minute}) {
			r.Errorf("fired %v after the start", due)
		}
		r.Positions()
	}

	t.Run("an hour back", func(t *testing.T) {
		r := begin(t)
		clock := r.in.o.Status().Clock
		r.clock.set(-time.Hour)
		if at := comes(r, "ben"); expr.MillisOf(at) < clock {
			t.Errorf("ben at %v, the clock was at %v", at, clock)
		}
		r.in.stop()
		r.in = r.start2(&r.clock, r.files) // also in a new process
		if at := comes(r, "carl"); expr.MillisOf(at) < clock {
			t.Errorf("carl at %v, the clock was at %v", at, clock)
		}
		r.in.stop()
		quiet(r)
		r.clock.set(31 * time.Minute)
		r.in = r.start2(&r.clock, r.files)
		once(r)
	})
	t.Run("almost an hour ahead", func(t *testing.T) {
		r := begin(t)
		r.clock.set(59 * time.Minute)
		once(r)
	})
	t.Run("a year ahead", func(t *testing.T) {
		r := begin(t)
		r.clock.set(365 * 24 * time.Hour)
		r.Eventually("stopped", func() bool { return r.in.o.Status().ClockStopped })
		comes(r, "ben") // a year ahead, as far as we know
		comes(r, "carl")
		quiet(r)
		if want := []string{"anna browsing", "ben buyer", "carl buyer"}; !slices.Equal(r.Members(), want) {
			t.Errorf("%v, want %v", r.Members(), want)
		}
		r.in.stop()
		r.in = r.start2(&r.clock, r.files) // which confirms the clock
		once(r)
	})
	t.Run("stuck", func(t *testing.T) {
		r := begin(t)
		r.clock.stuckAt.Store(r.start.Add(time.Second).UnixNano())
		comes(r, "ben")
		comes(r, "carl")
		quiet(r)
		if clock := r.in.o.Status().Clock; clock > expr.MillisOf(r.start.Add(time.Second)) {
			t.Errorf("the clock goes on without the wall clock: %v", clock)
		}
		r.clock.set(31 * time.Minute)
		r.clock.stuckAt.Store(0)
		once(r)
	})
}

// start2 starts an instance with a clock that can be set.
func (g *fleet) start2(c *setClock, files vfs.FS) *instance {
	return g.start(fixture.Rules, files, func(cfg *config.Config) {
		cfg.Now = c.now
		cfg.Time.MaxMergeWait = time.Hour // no record waits because of the clock
	})
}

// Event times do not move the clock, whatever they are: the old ones are late, those
// before 1990 and those of the far future are dead letters.
func TestEventTimes(t *testing.T) {
	for mode, name := range []string{config.WallClock: "wall", config.EventsClock: "events"} {
		t.Run(name, func(t *testing.T) {
			g := newFleet(t, 1)
			start := func() *instance {
				return g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.Time.Clock = config.ClockMode(mode) })
			}
			var in *instance
			if mode == int(config.WallClock) { // as they come; the other clock reads a history
				in = start()
				in.ready()
			}
			now := g.Now().Truncate(time.Millisecond)
			g.Produce(g.Event(plan.Web, "anna", now, map[string]any{"name": "product_added"}))
			for _, at := range []time.Time{
				time.Unix(0, 0), time.UnixMilli(-1), time.Date(1901, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC),
				time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC),
				time.Date(2099, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), now.Add(24 * time.Hour),
			} {
				r := g.Event(plan.Web, "ben", at, nil)
				if r.Timestamp = at; at.Unix() < 0 {
					r.Timestamp = now // Kafka has none before 1970
				}
				p := g.Event(plan.Purchase, "carl", at, nil)
				p.Timestamp = r.Timestamp
				g.Produce(r, p)
			}
			if in == nil {
				in = start()
			}
			in.caughtUp()
			g.Produce(g.Event(plan.Purchase, "anna", now.Add(time.Second), nil))
			g.Eventually("anna buys", func() bool { return slices.Contains(g.Members(), "anna buyer") })
			if clock := in.o.Status().Clock; clock > expr.MillisOf(g.Now().Add(time.Second)) {
				t.Errorf("the clock is at %v", clock)
			}
			in.stop()
			// Ben's visit was over long ago, Carl's purchase counts.
			if want := []string{"anna browsing", "anna buyer", "carl buyer"}; !slices.Equal(g.Members(), want) {
				t.Errorf("%v, want %v", g.Members(), want)
			}
			if n := len(g.Effects("triggers")[0]); n > 0 {
				t.Errorf("%d triggers fired", n)
			}
			if folded, dead, _ := g.Totals(); folded != 4 || dead != 14 {
				t.Errorf("folded %d, dead letters %d", folded, dead)
			}
		})
	}
}

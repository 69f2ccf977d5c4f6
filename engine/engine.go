package engine

import (
	"cmp"
	"fmt"
	"time"

	"github.com/segmill/segmill/engine/dedup"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/invariants"
)

// Options are the settings of an Engine that decide results besides the rules.
type Options struct {
	// Zones resolves an IANA time zone name, false if there is none of that
	// name. It must give the same answer whenever it is asked.
	Zones func(name string) (*time.Location, bool)
	// Dedup is how far behind a customer's instant the event ids of a stream are
	// remembered. 0 means what the rules say, or else that of its plan.StreamInfo.
	Dedup [plan.NumBuiltin]Millis
}

// Engine is a compiled rule set. It is immutable and shared by all tasks.
type Engine struct {
	p        *plan.Plan
	opt      Options
	zone     *time.Location
	triggers []Trigger
	keys     keys
	// initial are the units that are true of a customer with nothing but one event
	// without consequence.
	initial []int
	keepers []int // by stream
	dedup   dedup.Horizons
	ownKeys dedup.Keys // of streams that the rules declare
}

// New returns an engine for a compiled plan. triggers has one for each trigger
// of the plan, in its order (package triggers makes them).
func New(p *plan.Plan, triggers []Trigger, opt Options) (*Engine, error) {
	zone, ok := opt.Zones(p.Spec.Zone)
	if !ok {
		return nil, fmt.Errorf("unknown time zone %q", p.Spec.Zone)
	}
	if len(triggers) != len(p.Triggers) {
		return nil, fmt.Errorf("%d triggers for a plan of %d", len(triggers), len(p.Triggers))
	}
	for i, t := range triggers {
		if t == nil {
			return nil, fmt.Errorf("trigger %s: no meaning for its kind, %s", p.Triggers[i].ID, p.Triggers[i].Kind.Name)
		}
	}
	e := &Engine{p: p, opt: opt, zone: zone, triggers: triggers}
	for s, info := range p.Spec.Streams().All() {
		keep := cmp.Or(p.Spec.Reading.Dedup[info.Name], info.Dedup)
		if s < plan.NumBuiltin {
			keep = cmp.Or(opt.Dedup[s], keep)
		}
		e.dedup = append(e.dedup, keep)
		if info.Own {
			e.ownKeys = append(e.ownKeys, info.Key)
		}
		e.keepers = append(e.keepers, keepersOf(p, s))
	}
	e.keys = keysOf(p)
	e.initial = e.trueOfNothing()
	return e, nil
}

// Layout returns which fields of a stream events must carry, in which slots.
func (e *Engine) Layout(s plan.Stream) *plan.Layout { return &e.p.Streams[s].Layout }

// Catalog returns the streams and fields that the rules were checked against.
func (e *Engine) Catalog() *plan.Catalog { return e.p.Spec.Catalog }

// Plan returns what the engine runs.
func (e *Engine) Plan() *plan.Plan { return e.p }

// Versions returns the content hash of every segment, stage and trigger by id
// (triggers as "trigger:<id>"), and of the settings that decide results.
func (e *Engine) Versions() map[string]string { return e.p.Versions() }

// Apply folds one event into c. clock is the task clock.
//
// In order: what is due at or before the event's time fires, each as of its own
// instant; the event is folded; what is due after that and up to the customer's
// new instant (the latest of its last one, the event time and the clock) fires;
// rules that the event touched are evaluated at the new instant, and triggers
// that it made overdue are judged there.
//
// It returns false if the event was already folded: then nothing changed but, if the
// Stats say so (Prolonged), how long its id is remembered.
func (x *Evaluator) Apply(c *Customer, ev *Event, clock Millis, out *Output) bool {
	e := x.e
	x.begin(c, out)
	before := c.instant
	id := e.idOf(ev)
	if e.duplicate(c, id, out) {
		return false
	}
	if ev.At > c.instant {
		e.fire(x, ev.At)
	}
	base := max(c.instant, ev.At)
	now := max(base, clock)
	if !c.Known() {
		x.pending.AddAll(e.initial)
	}
	e.fold(x, ev, base, now)
	c.seen.Remember(id, base, &e.dedup)
	c.events++
	c.instant = base
	x.takeOverdue()
	e.fire(x, now)
	x.touched, x.pending = x.pending, x.touched
	e.step(x, now, CauseEvent, ev.ID)
	e.schedule(c)
	if invariants.Enabled {
		e.check(c, before, now)
	}
	return true
}

// Advance fires everything that is due at or before to, in order, each as of its
// own instant. The customer's instant becomes that of the last one that fired,
// so that big and small steps leave the same customer.
func (x *Evaluator) Advance(c *Customer, to Millis, out *Output) {
	x.begin(c, out)
	before := c.instant
	x.e.fire(x, to)
	if invariants.Enabled {
		x.e.check(c, before, to)
	}
}

// fire takes the steps that are due at or before to.
func (e *Engine) fire(x *Evaluator, to Millis) {
	c := x.c
	for c.wake <= to {
		at := c.wake
		x.setNow(at)
		x.move++
		x.timed, x.crossed = true, false
		for i := range c.cells {
			if c.cells[i].next <= at {
				e.expire(x, &c.cells[i])
			}
		}
		x.timed = false
		for i, due := range c.dues() {
			if due <= at {
				x.overdue = append(x.overdue, overdue{i, due})
			}
		}
		last, emitted := c.instant, len(x.out.Effects)
		e.step(x, at, CauseTimer, "")
		if !x.crossed && len(x.out.Effects) == emitted {
			// Nothing was due: the wake-up was early, and leaves no trace.
			c.instant = last
			x.out.Stats.EarlyWakes++
		}
		e.schedule(c)
	}
}

// schedule sets the wake-up from the cells and the triggers.
func (e *Engine) schedule(c *Customer) {
	c.wake = Never
	for i := range c.cells {
		c.wake = min(c.wake, c.cells[i].next)
	}
	for _, d := range c.dues() {
		c.wake = min(c.wake, d)
	}
}

// Erasure is a request to forget a customer.
type Erasure struct {
	At Millis // the time of its record in Kafka
	// Place is where its record came in, which no other erasure has: the ids of what
	// it causes are made of it. It is "" outside of Kafka.
	Place string
}

// Erase fires what was due at or before the time of the erasure, exits
// every membership, deletes everything known, and appends the receipt (an Erased
// effect). The instant of the exits and of the receipt is the latest of the
// customer's, the erasure's, and the task clock: like that of an event, so that a run
// over the same records later has the same one.
func (x *Evaluator) Erase(c *Customer, r Erasure, clock Millis, out *Output) {
	e := x.e
	x.Advance(c, r.At, out)
	now, known := max(c.instant, r.At, clock), c.Known()
	for i := range e.p.Segments {
		s := &e.p.Segments[i]
		if m := c.member(s.Key); m != nil && m.in() {
			out.Effects = append(out.Effects, Effect{
				Action: Exited, Customer: c.ID, Name: s.ID, Version: s.Version, At: now, Sequence: uint64(m.seq) + 1,
				Cause: CauseErasure, Erasure: r.Place, Group: s.Group, MemberFor: now - m.since,
			})
		}
	}
	out.Effects = append(out.Effects, Effect{Action: Erased, Customer: c.ID, At: now, Cause: CauseErasure, Erasure: r.Place, Known: known})
	*c = *e.NewCustomer(c.ID)
}

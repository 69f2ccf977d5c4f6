package engine

import (
	"time"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/invariants"
)

// Trigger is what one trigger of the rule set means; package triggers has one
// implementation for each kind.
type Trigger interface {
	// Due returns the earliest instant later than after at which the trigger is due
	// with no further event, which may lie in the past (then it is overdue); Never if
	// none.
	Due(v *View, m *Memory, after Millis) Millis
	// Fire judges the trigger, due at due, at the view's instant. It fills the
	// payload of f and returns true if it fires, and leaves m so that it does not fire
	// for the same again. What is due for several things at one instant fires for one at
	// a time.
	Fire(v *View, m *Memory, due Millis, f *Effect) bool
	// Settle marks what is due at or before the view's instant as emitted, without
	// firing: the rule is new, and its past is not news.
	Settle(v *View, m *Memory)
}

// View is what a trigger may look at: the customer as of one instant.
type View struct {
	x *Evaluator
	t *plan.TriggerPlan
}

// Now returns the instant.
func (v *View) Now() Millis { return v.x.now }

// Cart returns the customer's carts, nil if there never was one, and how long they
// remember. It is for kinds whose fact is a cart.
func (v *View) Cart() (*aggregate.Cart, Millis) {
	if c := v.x.c.find(v.t.Summary); c != nil {
		return c.other.(*aggregate.Cart), v.x.e.p.Summaries[v.t.Summary].Reach
	}
	return nil, 0
}

// Anchor returns the event that a register keeps, nil if there is none. It is for
// kinds whose fact is a register: the first or the latest event of some.
func (v *View) Anchor() *aggregate.Register {
	if c := v.x.c.find(v.t.Summary); c != nil {
		return c.other.(*aggregate.Register)
	}
	return nil
}

// Input returns the value of the trigger's input, Absent if it is not known.
func (v *View) Input() expr.Value { return v.x.e.value(v.x.c, v.t.Input, v.x.now) }

// Zone returns the customer's time zone, or the default.
func (v *View) Zone() *time.Location { return v.x.e.zoneOf(v.x.c) }

// Segments returns the ids of the segments that the customer is in, sorted.
func (v *View) Segments() []string {
	ids := v.x.e.Memberships(v.x.c)
	if v.x.change != nil {
		ids = v.x.stage.asEmitted(ids, v.x.c)
	}
	return ids
}

// Fields returns the trigger's chosen fields that have a value.
func (v *View) Fields() []Pair {
	x := v.x
	from := x.room(len(v.t.Fields))
	for i, f := range v.t.Fields {
		if val := f(&x.env); val.Present() {
			x.pair(v.t.Trigger.Fields[i].Name, val)
		}
	}
	return x.cut(from)
}

// due asks trigger i when it is next due, later than after.
func (e *Engine) due(x *Evaluator, i int, after Millis) Millis {
	t := &e.p.Triggers[i]
	m := x.memoryOf(t)
	if t.Reentry == plan.Once && m.Seq > 0 {
		return Never
	}
	return e.triggers[i].Due(x.viewOf(t), m, after)
}

// maxFirings is more than a trigger fires for in one step: a customer has few carts, and a
// date returns once a year.
const maxFirings = 10_000

// runTrigger lets trigger i, due at due, fire at the current instant, and schedules
// it again. What it is due for after that, up to the current instant, is judged too.
func (e *Engine) runTrigger(x *Evaluator, i int, due Millis) {
	for n := 0; due <= x.now; n++ {
		if invariants.Enabled && n == maxFirings {
			invariants.Broken("trigger %s of customer %q fires without end at %v", e.p.Triggers[i].ID, x.c.ID, due)
		}
		after := due
		if e.maybeFire(x, i, due) {
			after-- // there may be more that is due then
		}
		due = e.due(x, i, after)
	}
	x.c.dues()[i] = due
}

// maybeFire fires trigger i if its kind says so, and reports whether it did.
func (e *Engine) maybeFire(x *Evaluator, i int, due Millis) bool {
	t := &e.p.Triggers[i]
	m := x.c.memoryOf(t.Key)
	if t.Reentry == plan.Once && m.Seq > 0 {
		return false
	}
	f := x.out.effect()
	*f = Effect{
		Action: Fired, Customer: x.c.ID, Name: t.ID, Version: t.Version, At: x.now,
		Message: &Message{Kind: t.Kind.Name, Due: due, AnchorAt: Never},
	}
	if !e.triggers[i].Fire(x.viewOf(t), m, due, f) {
		x.out.Effects = x.out.Effects[:len(x.out.Effects)-1]
		return false
	}
	m.Seq++
	f.Sequence = m.Seq
	return true
}

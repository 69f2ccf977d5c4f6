package engine

import (
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Evaluator runs an Engine over customers. It holds the scratch space of its calls, so
// that a call allocates only what stays, and belongs to one goroutine. Nothing of a
// call is left for the next one.
type Evaluator struct {
	e *Engine
	call
	agenda
	readings
	folding
	pieces

	view  View   // what the trigger that is asked may see
	blank Memory // of a trigger that remembers nothing
	trial Output // of SizeWith
}

// call is what an evaluator was called with.
type call struct {
	c   *Customer
	out *Output
	now Millis
	env expr.Env
	// silent: rule triggers take their condition as it is and do not fire.
	silent bool
	cause  Cause
	event  string // the id of the event, if that is the cause
	// change is that of the rules while what is due of the unchanged ones fires, nil
	// otherwise.
	change *RuleChange
	renaming
}

// renaming is what becomes of ids in a change of rules.
type renaming struct {
	stage   *stage
	renamed []*renamed // of which something was emitted under the id before
	numbers []number   // under ids that others had
}

// agenda is what is to be judged.
type agenda struct {
	touched plan.Set // units to evaluate in this step
	pending plan.Set // units that the event touched, evaluated at the customer's instant
	// crossed: a comparison changed in this step of the timer.
	crossed bool

	overdue []overdue // triggers to judge in this step
	late    []overdue // those that the event made overdue
}

// readings are the values of inputs after the move that is being made, and before it.
type readings struct {
	values []known // of inputs, of the facts as they are, at now
	epoch  uint64  // of values
	former []known // of inputs, before the move that is being made
	move   uint64  // its number
	timed  bool    // the move is made by time alone, in the last millisecond
	sides  plan.Sides
}

// folding is an event on its way into summaries.
type folding struct {
	sample  sampleScratch
	matched []match
	before  []before
	texts   texts
	source  string // of the last event that a register took
}

// Evaluator returns an evaluator of the engine.
func (e *Engine) Evaluator() *Evaluator {
	x := &Evaluator{e: e}
	x.env.Input = x.value
	x.sides = plan.Sides{Before: x.formerly, After: x.value}
	x.touched, x.pending = plan.NewSet(len(e.p.Units)), plan.NewSet(len(e.p.Units))
	x.values, x.former = make([]known, len(e.p.Inputs)), make([]known, len(e.p.Inputs))
	return x
}

// known is a value that was computed in some epoch or move.
type known struct {
	when uint64
	kind expr.Kind
	n    int64
	s    string
}

func (k *known) value() expr.Value {
	if k.kind != expr.List {
		return expr.Value{K: k.kind, N: k.n, S: k.s}
	}
	return aggregate.TextsValue(k.s)
}

// textual reports whether values of a kind are told apart by S.
func textual(k expr.Kind) bool { return k == expr.String || k == expr.List }

// set notes a value in the form that it is kept in. The text is left alone among numbers:
// writing a pointer is dear while garbage is collected.
func (k *known) set(when uint64, kind expr.Kind, n int64, s string) {
	if textual(kind) || textual(k.kind) {
		k.s = s
	}
	k.when, k.kind, k.n = when, kind, n
}

// number is set for what is no text.
func (k *known) number(when uint64, kind expr.Kind, n int64) {
	if textual(k.kind) {
		k.s = ""
	}
	k.when, k.kind, k.n = when, kind, n
}

func (k *known) isNumber() bool { return k.kind != expr.Absent && !textual(k.kind) }

func (k *known) float() float64 { return expr.FloatOf(k.kind, k.n) }

type overdue struct {
	trigger int
	due     Millis
}

// begin prepares a call on customer c.
func (x *Evaluator) begin(c *Customer, out *Output) {
	x.c, x.out = c, out
	x.setNow(c.instant)
	if c.stale {
		x.e.refresh(x)
	}
}

// setNow makes t the instant of which values are read. It is called again when facts
// have changed.
func (x *Evaluator) setNow(t Millis) {
	x.now = t
	x.epoch++
}

// value returns input i at now. Values are kept for the instant, but memberships
// are not: they change while units are evaluated.
func (x *Evaluator) value(i int) expr.Value {
	k := &x.values[i]
	if k.when != x.epoch {
		in := &x.e.p.Inputs[i]
		if in.Kind == plan.InSegment {
			return x.e.value(x.c, i, x.now)
		}
		v := x.e.value(x.c, i, x.now)
		k.set(x.epoch, v.K, v.N, v.S)
	}
	return k.value()
}

// formerly returns input i before the move that is being made: a fold, which keeps
// what it changes in former, or a millisecond that passes.
func (x *Evaluator) formerly(i int) expr.Value {
	k := &x.former[i]
	switch {
	case k.when == x.move:
	case x.timed && x.e.p.Inputs[i].Timed():
		v := x.e.value(x.c, i, x.now-1)
		k.set(x.move, v.K, v.N, v.S)
	default:
		return x.value(i)
	}
	return k.value()
}

// takeOverdue moves the triggers that are due at or before the customer's
// instant out of the schedule: the event made them overdue, and they are judged
// at its new instant. What a trigger is due for after that stays in the schedule.
func (x *Evaluator) takeOverdue() {
	x.late = x.late[:0]
	c, dues := x.c, x.c.dues()
	for i, due := range dues {
		if due <= c.instant {
			if x.now != c.instant {
				x.setNow(c.instant)
			}
			x.late = append(x.late, overdue{i, due})
			dues[i] = x.e.due(x, i, c.instant)
		}
	}
	x.e.schedule(c)
}

// memoryOf returns what trigger t remembers of the customer; a blank one, not to
// be changed, if it remembers nothing.
func (x *Evaluator) memoryOf(t *plan.TriggerPlan) *Memory {
	if m := x.c.remembered(t.Key); m != nil {
		return m
	}
	x.blank = Memory{Key: t.Key, Mark: aggregate.None}
	return &x.blank
}

// viewOf returns the customer as trigger t may see it now.
func (x *Evaluator) viewOf(t *plan.TriggerPlan) *View {
	x.view = View{x, t}
	return &x.view
}

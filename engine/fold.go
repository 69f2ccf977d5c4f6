package engine

import (
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// match is a fold that an event meets.
type match struct {
	*plan.Fold
	of    *plan.Summary
	cell  *cell
	num   int64 // of the entry of a list
	neg   bool
	exact bool // the list was and is exact
	in    bool // the entry is in it
}

// before is an input that the fold may change; its value before is in
// readings.former.
type before struct {
	in      *plan.InputPlan
	cell    *cell // that it is computed from, nil if there is none
	input   int32
	trigger int32 // -1, or the trigger that is asked as of the instant and whose input it is
	match   int32 // whose cell it is; -1: another one
	window  aggregate.Window
}

// fold folds ev, touches the units that it concerns (in x.pending), and
// reschedules what was computed from the summaries that changed. Thresholds are
// compared at base, the later of the customer's last instant and the event's time;
// triggers asked as of the instant, at now.
func (e *Engine) fold(x *Evaluator, ev *Event, base, now Millis) {
	e.match(x, ev)
	e.place(x)
	x.setNow(base)
	x.move++
	zoned := false
	x.before = x.before[:0]
	for i := range x.matched {
		m := &x.matched[i]
		if m.cell.other == nil {
			m.cell.list.Prune(base, m.of.Reach)
		} else {
			m.cell.other.Prune(base, m.of.Reach)
		}
		x.remember(i)
		m.cell.next = Never
		zoned = zoned || m.Summary == e.p.ZoneSummary
	}
	if zoned {
		for _, i := range e.p.ZoneInputs {
			x.note(i, -1, -1, x.c.find(e.p.Inputs[i].Summary))
		}
	}
	e.foldMatched(x, ev)
	x.setNow(base)
	for i := range x.before {
		if b := &x.before[i]; b.trigger < 0 {
			e.settle(x, b)
		}
	}
	if zoned {
		for _, i := range e.p.ZoneInputs {
			if c := x.c.find(e.p.Inputs[i].Summary); c != nil {
				c.next = e.next(x, c)
			}
		}
	}
	e.rescheduleTriggers(x, zoned, base, now)
}

// settle takes the value of an input after the fold, touches the units that its
// move touches, and computes when it crosses the next threshold.
func (e *Engine) settle(x *Evaluator, b *before) {
	in, k := b.in, &x.values[b.input]
	if b.match < 0 || !windowed(in, b.cell) {
		x.compute(k, x.epoch, in, b.cell)
		x.moved(in, &x.former[b.input], k, &x.pending)
		if b.match >= 0 && in.Timed() {
			b.cell.next = min(b.cell.next, e.nextOf(x, b.cell, int(b.input)))
		}
		return
	}
	// A window of an exact list follows the fold without being added up again.
	switch m := &x.matched[b.match]; {
	case !m.exact:
		b.cell.list.Look(&b.window, in.Agg.Op, x.now, in.Window)
	case m.in:
		b.window.Inserted(aggregate.Entry{At: x.sample.At, Num: m.num})
	}
	kind, n := b.window.Number(in.Agg.Op, in.Stored)
	k.number(x.epoch, kind, n)
	x.moved(in, &x.former[b.input], k, &x.pending)
	b.cell.next = min(b.cell.next, x.crossing(in, b.cell, &b.window, kind, n))
}

// crossing returns when an input that is computed from a window, whose value is n,
// crosses the next threshold.
func (x *Evaluator) crossing(in *plan.InputPlan, cl *cell, w *aggregate.Window, kind expr.Kind, n int64) Millis {
	var r aggregate.Range
	in.Index.Around(kind, n, &r)
	return cl.list.NextOf(w, in.Agg.Op, in.Stored, &r)
}

// windowed reports whether an input is computed from a window of the cell's list.
func windowed(in *plan.InputPlan, cl *cell) bool {
	return cl != nil && cl.other == nil && in.Kind == plan.InAggregate
}

// compute notes the value of an input over cl at the instant of x.
func (x *Evaluator) compute(k *known, when uint64, in *plan.InputPlan, cl *cell) {
	if cl != nil && in.Kind == plan.InAggregate {
		if r, ok := cl.other.(*aggregate.Register); ok {
			kind, n, s := r.Kept()
			k.set(when, kind, n, s)
			return
		}
	}
	v := x.e.valueOf(x.c, in, cl, x.now)
	k.set(when, v.K, v.N, v.S)
}

// moved touches the units that the move of an input from a to b touches.
func (x *Evaluator) moved(in *plan.InputPlan, a, b *known, to *plan.Set) {
	if a.kind == b.kind && a.n == b.n && (!textual(a.kind) || a.s == b.s) {
		return
	}
	if a.isNumber() && b.isNumber() && in.Index.Still(a.float(), b.float()) {
		return
	}
	in.Index.Cross(a.value(), b.value(), &x.sides, to)
}

// place finds the cells that are folded into. New ones are added first: that
// moves the others.
func (e *Engine) place(x *Evaluator) {
	missing := 0
	for i := range x.matched {
		m := &x.matched[i]
		if m.cell = x.c.find(m.Summary); m.cell == nil {
			missing++
		}
	}
	if missing == 0 {
		return
	}
	x.c.cells = slices.Grow(x.c.cells, missing)
	for i := range x.matched {
		e.cell(x.c, x.matched[i].Summary)
	}
	for i := range x.matched {
		m := &x.matched[i]
		m.cell = x.c.find(m.Summary)
	}
	x.makeRoom()
}

// remember notes the values of the inputs over the summary of a match.
func (x *Evaluator) remember(match int) {
	m := &x.matched[match]
	for _, i := range m.of.Read {
		x.note(i, -1, match, m.cell)
	}
	for _, t := range m.of.Triggers {
		if tp := &x.e.p.Triggers[t]; tp.Kind.AsOf == plan.AsOfInstant {
			x.note(tp.Input, t, match, m.cell)
		}
	}
}

func (x *Evaluator) note(input, trigger, match int, cl *cell) {
	in, k := &x.e.p.Inputs[input], &x.former[input]
	n := len(x.before)
	x.before = slices.Grow(x.before, 1)[:n+1]
	b := &x.before[n]
	b.in, b.cell, b.input, b.trigger, b.match = in, cl, int32(input), int32(trigger), int32(match)
	if !windowed(in, cl) {
		x.compute(k, x.move, in, cl)
		return
	}
	cl.list.Look(&b.window, in.Agg.Op, x.now, in.Window)
	kind, v := b.window.Number(in.Agg.Op, in.Stored)
	k.number(x.move, kind, v)
}

// match finds the folds whose condition the event meets and whose field it has.
func (e *Engine) match(x *Evaluator, ev *Event) {
	sp := &e.p.Streams[ev.Stream]
	x.env.Fields = ev.Fields
	x.matched = x.matched[:0]
	x.matchAll(sp, sp.Every)
	for _, c := range sp.Always {
		x.test(sp, c)
	}
	for i := range sp.Equal {
		if d := &sp.Equal[i]; d.Slot < len(ev.Fields) && ev.Fields[d.Slot].K == expr.String {
			for _, c := range d.Find(ev.Fields[d.Slot].S) {
				if c.Sure {
					x.matchAll(sp, sp.ByCond[c.Cond])
				} else {
					x.test(sp, c.Cond)
				}
			}
		}
	}
}

func (x *Evaluator) test(sp *plan.StreamPlan, cond int) {
	if v := sp.Conds[cond](&x.env); v.K == expr.Bool && v.N != 0 {
		x.matchAll(sp, sp.ByCond[cond])
	}
}

func (x *Evaluator) matchAll(sp *plan.StreamPlan, folds []plan.Fold) {
	for i := range folds {
		f := &folds[i]
		if f.Slot >= 0 && (f.Slot >= len(x.env.Fields) || !x.env.Fields[f.Slot].Present()) {
			continue
		}
		n := len(x.matched)
		x.matched = slices.Grow(x.matched, 1)[:n+1]
		m := &x.matched[n]
		m.Fold, m.of, m.cell, m.neg = f, &x.e.p.Summaries[f.Summary], nil, false
		if f.Negate >= 0 {
			v := sp.Conds[f.Negate](&x.env)
			m.neg = v.K == expr.Bool && v.N != 0
		}
	}
}

// rescheduleTriggers asks the triggers over the changed summaries, and after a
// change of zone those that depend on it, when they are due: see plan.AsOf. As of
// base, what is due between base and now fires as of its own instant, and a cart
// that will have lapsed by now still counts then.
func (e *Engine) rescheduleTriggers(x *Evaluator, zoned bool, base, now Millis) {
	dues := x.c.dues()
	if len(dues) == 0 {
		return
	}
	for i := range x.matched {
		for _, t := range x.matched[i].of.Triggers {
			if e.p.Triggers[t].Kind.AsOf == plan.AsOfEvent {
				dues[t] = e.due(x, t, aggregate.None)
			}
		}
	}
	if zoned {
		for t := range e.p.Triggers {
			if e.p.Triggers[t].Kind.Zoned {
				dues[t] = e.due(x, t, aggregate.None)
			}
		}
	}
	for i := range x.before {
		b := &x.before[i]
		if b.trigger < 0 || expr.Identical(x.former[b.input].value(), e.value(x.c, int(b.input), base)) {
			continue
		}
		if x.now != now {
			x.setNow(now)
		}
		dues[b.trigger] = e.due(x, int(b.trigger), aggregate.None)
	}
}

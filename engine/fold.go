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
	cell  *cell
	neg   bool
	entry aggregate.Entry // of a list
	exact bool            // the list was and is exact
	in    bool            // the entry is in it
}

// before is an input that the fold may change; its value before is in
// exec.former.
type before struct {
	input   int
	trigger int   // -1, or the anniversary whose date the input is
	match   int   // whose cell it is computed from; -1: another one
	cell    *cell // it, nil if there is none
	window  aggregate.Window
}

// fold folds ev, touches the units that it concerns (in x.pending), and
// schedules anew what was computed from the summaries that changed. Thresholds
// are compared at base, the later of the customer's last instant and the event's
// time; anniversaries become known at now.
func (e *Engine) fold(x *exec, ev *Event, base, now Millis) {
	e.match(x, ev)
	e.place(x)
	x.at(base)
	x.move++
	zoned := false
	x.before = x.before[:0]
	for i := range x.matched {
		m := &x.matched[i]
		m.cell.sum().Prune(base, e.p.Summaries[m.Summary].Reach)
		x.remember(i)
		zoned = zoned || m.Summary == e.p.ZoneSummary
	}
	if zoned {
		for _, i := range e.p.ZoneInputs {
			x.note(i, -1, -1, x.c.find(e.p.Inputs[i].Summary))
		}
	}
	e.foldMatched(x, ev)
	x.at(base)
	for i := range x.before {
		if b := &x.before[i]; b.trigger < 0 {
			x.after(b)
			x.moved(b.input, &x.pending)
		}
	}
	e.rescheduleCells(x, zoned)
	e.rescheduleTriggers(x, zoned, base, now)
}

// windowed reports whether an input is computed from a window of the cell's list.
func windowed(in *plan.InputPlan, cl *cell) bool {
	return cl != nil && cl.other == nil && in.Kind == plan.InAggregate
}

// after notes the value of an input after the fold. A window of an exact list
// follows the fold without being added up again.
func (x *exec) after(b *before) {
	in := &x.e.p.Inputs[b.input]
	if b.match < 0 || !windowed(in, b.cell) {
		x.compute(&x.values[b.input], x.epoch, in, b.cell)
		return
	}
	switch m := &x.matched[b.match]; {
	case !m.exact:
		m.cell.list.Look(&b.window, in.Op, x.now, in.Window)
	case m.in:
		b.window.Inserted(m.entry)
	}
	kind, n := b.window.Number(in.Op, in.Stored)
	x.values[b.input].number(x.epoch, kind, n)
}

// compute notes the value of an input over cl at the instant of x.
func (x *exec) compute(k *known, when uint64, in *plan.InputPlan, cl *cell) {
	if cl != nil && in.Kind == plan.InAggregate {
		if r, ok := cl.other.(*aggregate.Register); ok {
			k.set(when, r.Value())
			return
		}
	}
	k.set(when, x.e.valueOf(x.c, in, cl, x.now))
}

// moved touches the units that the move of an input from its former value to its
// present one touches.
func (x *exec) moved(input int, to *plan.Set) {
	a, b := &x.former[input], &x.values[input]
	if a.kind == b.kind && a.n == b.n && (a.kind != expr.String || a.s == b.s) {
		return
	}
	in := &x.e.p.Inputs[input]
	if a.isNumber() && b.isNumber() && in.Index.Still(a.float(), b.float()) {
		return
	}
	in.Index.Move(a.value(), b.value(), &x.sides, to)
}

// place finds the cells that are folded into. New ones are added first: that
// moves the others.
func (e *Engine) place(x *exec) {
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
}

// remember notes the values of the inputs over the summary of a match.
func (x *exec) remember(match int) {
	m := &x.matched[match]
	s := &x.e.p.Summaries[m.Summary]
	for _, i := range s.Read {
		x.note(i, -1, match, m.cell)
	}
	for _, t := range s.Triggers {
		if tp := &x.e.p.Triggers[t]; tp.Kind == plan.Anniversary {
			x.note(tp.Date, t, match, m.cell)
		}
	}
}

func (x *exec) note(input, trigger, match int, cl *cell) {
	in, k := &x.e.p.Inputs[input], &x.former[input]
	n := len(x.before)
	x.before = slices.Grow(x.before, 1)[:n+1]
	b := &x.before[n]
	b.input, b.trigger, b.match, b.cell = input, trigger, match, cl
	if !windowed(in, cl) {
		x.compute(k, x.move, in, cl)
		return
	}
	cl.list.Look(&b.window, in.Op, x.now, in.Window)
	kind, v := b.window.Number(in.Op, in.Stored)
	k.number(x.move, kind, v)
}

// match finds the folds whose condition the event meets and whose field it has.
func (e *Engine) match(x *exec, ev *Event) {
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

func (x *exec) test(sp *plan.StreamPlan, cond int) {
	if v := sp.Conds[cond](&x.env); v.K == expr.Bool && v.N != 0 {
		x.matchAll(sp, sp.ByCond[cond])
	}
}

func (x *exec) matchAll(sp *plan.StreamPlan, folds []plan.Fold) {
	for i := range folds {
		f := &folds[i]
		if f.Slot >= 0 && (f.Slot >= len(x.env.Fields) || !x.env.Fields[f.Slot].Present()) {
			continue
		}
		m := match{Fold: f}
		if f.Negate >= 0 {
			v := sp.Conds[f.Negate](&x.env)
			m.neg = v.K == expr.Bool && v.N != 0
		}
		x.matched = append(x.matched, m)
	}
}

// rescheduleCells computes the next crossing of the cells that the fold changed,
// and after a change of zone of those whose years depend on it.
func (e *Engine) rescheduleCells(x *exec, zoned bool) {
	for i := range x.matched {
		x.matched[i].cell.next = Never
	}
	for i := range x.before {
		b := &x.before[i]
		in := &e.p.Inputs[b.input]
		if b.match < 0 || b.trigger >= 0 || !in.Timed() {
			continue
		}
		cl, at := x.matched[b.match].cell, Never
		if windowed(in, cl) {
			var r aggregate.Range
			in.Index.Around(x.values[b.input].kind, x.values[b.input].n, &r)
			at = cl.list.NextOf(&b.window, in.Op, in.Stored, &r)
		} else {
			at = e.nextOf(x, cl, b.input)
		}
		cl.next = min(cl.next, at)
	}
	if !zoned {
		return
	}
	for _, i := range e.p.ZoneInputs {
		if c := x.c.find(e.p.Inputs[i].Summary); c != nil {
			c.next = e.next(x, c)
		}
	}
}

// rescheduleTriggers asks the triggers over the changed summaries, and after a
// change of zone the anniversaries, when they are due. They are asked as of base:
// what is due between base and now fires as of its own instant, and a cart that
// will have lapsed by now still counts then. Only an anniversary whose date
// changed is asked as of now, because that is when it becomes known.
func (e *Engine) rescheduleTriggers(x *exec, zoned bool, base, now Millis) {
	dues := x.c.dues()
	if len(dues) == 0 {
		return
	}
	for i := range x.matched {
		for _, t := range e.p.Summaries[x.matched[i].Summary].Triggers {
			if e.p.Triggers[t].Kind != plan.Anniversary {
				dues[t] = e.due(x, t)
			}
		}
	}
	if zoned {
		for t := range e.p.Triggers {
			if e.p.Triggers[t].Kind == plan.Anniversary {
				dues[t] = e.due(x, t)
			}
		}
	}
	for i := range x.before {
		b := &x.before[i]
		if b.trigger < 0 || same(x.former[b.input].value(), e.value(x.c, b.input, base)) {
			continue
		}
		if x.now != now {
			x.at(now)
		}
		dues[b.trigger] = e.due(x, b.trigger)
	}
}

func same(a, b expr.Value) bool { return a.K == b.K && a.N == b.N && a.S == b.S }

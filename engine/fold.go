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
	trigger int // -1, or the anniversary whose date the input is
	match   int // whose cell it is computed from; -1: another one
	window  aggregate.Window
}

// sampleScratch is what is given to Cell.Fold.
type sampleScratch struct {
	aggregate.Sample
	lines []aggregate.Line
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
			e.p.Inputs[b.input].Index.Move(x.former[b.input].value(), x.after(b), &x.sides, &x.pending)
		}
	}
	e.rescheduleCells(x, zoned)
	e.rescheduleTriggers(x, zoned, base, now)
}

// windowed reports whether an input is computed from a window of the cell's list.
func windowed(in *plan.InputPlan, cl *cell) bool {
	return cl != nil && cl.other == nil && in.Kind == plan.InAggregate
}

// after returns the value of an input after the fold. A window of an exact list
// follows the fold without being added up again.
func (x *exec) after(b *before) expr.Value {
	in := &x.e.p.Inputs[b.input]
	if b.match < 0 || !windowed(in, x.matched[b.match].cell) {
		return x.value(b.input)
	}
	switch m := &x.matched[b.match]; {
	case !m.exact:
		b.window = m.cell.list.Over(in.Op, x.now, in.Window)
	case m.in:
		b.window.Inserted(m.entry)
	}
	v := b.window.Value(in.Op, in.Stored)
	x.values[b.input].set(x.epoch, v)
	return v
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
	b.input, b.trigger, b.match = input, trigger, match
	if !windowed(in, cl) {
		k.set(x.move, x.e.valueOf(x.c, in, cl, x.now))
		return
	}
	b.window = cl.list.Over(in.Op, x.now, in.Window)
	k.set(x.move, b.window.Value(in.Op, in.Stored))
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
			for _, c := range d.Conds[ev.Fields[d.Slot].S] {
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

// foldMatched gives the event to the summaries in x.matched.
func (e *Engine) foldMatched(x *exec, ev *Event) {
	s := &x.sample
	s.Stamp = aggregate.Stamp{At: ev.At, ID: ev.ID, Source: x.texts.of(ev.Source), Stream: uint8(ev.Stream)}
	for i := range x.matched {
		m := &x.matched[i]
		s.Value, s.Num = expr.Value{}, 0
		if m.Slot >= 0 {
			s.Value = ev.Fields[m.Slot]
			s.Num, _ = aggregate.Scaled(s.Value)
		}
		s.Clear, s.Remove, s.Lines = false, false, nil
		switch {
		case m.Cart == plan.CartClear:
			s.Clear = true
		case m.Cart == plan.CartAdd:
			s.Remove = m.neg
			x.lines(ev)
		case m.neg:
			s.Num = -s.Num
		}
		if m.cell.other == nil {
			l := &m.cell.list
			was := l.Coarse()
			m.entry = aggregate.Entry{At: ev.At, Num: s.Num}
			m.in = l.Insert(m.entry)
			m.exact = !was && !l.Coarse()
			if !was && !m.exact {
				x.out.Stats.Coarsened++
			}
			continue
		}
		if r, ok := m.cell.other.(*aggregate.Register); ok {
			if s.Value.K == expr.String {
				s.Value.S = x.texts.of(s.Value.S)
			}
			r.Fold(&s.Sample)
			continue
		}
		d, ok := m.cell.other.(*aggregate.Distinct)
		was := ok && d.Coarse()
		if m.cell.other.Fold(&s.Sample); ok && !was && d.Coarse() {
			x.out.Stats.Coarsened++
		}
	}
}

// The fields of a line item, in the order of the schema.
const (
	itemProduct  = 0
	itemQuantity = 5
	itemPrice    = 6
	itemFields   = 7
)

// maxQuantity bounds the quantity of one line.
const maxQuantity = 1 << 31

// lines reads the cart lines of a web event. An event without items is about one
// unit of a product without a name.
func (x *exec) lines(ev *Event) {
	l := &x.e.p.Streams[plan.Web].Layout
	field := func(path string) expr.Value {
		if i := l.Slot(path); i >= 0 && i < len(ev.Fields) {
			return ev.Fields[i]
		}
		return expr.Value{}
	}
	currency := field("currency").S
	x.sample.lines = x.sample.lines[:0]
	for _, it := range field("items").L {
		if len(it.L) != itemFields {
			continue
		}
		line := aggregate.Line{Product: it.L[itemProduct].S, Quantity: 1, Price: it.L[itemPrice], Currency: currency}
		if q := it.L[itemQuantity]; q.K == expr.Int {
			line.Quantity = max(0, min(q.N, maxQuantity))
		}
		if line.Quantity > 0 {
			x.sample.lines = append(x.sample.lines, line)
		}
	}
	if len(field("items").L) == 0 {
		x.sample.lines = append(x.sample.lines, aggregate.Line{Quantity: 1, Currency: currency})
	}
	x.sample.Lines = x.sample.lines
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
			r := in.Index.Around(x.values[b.input].value())
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

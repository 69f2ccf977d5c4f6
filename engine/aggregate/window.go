package aggregate

import (
	"math"
	"math/bits"

	"github.com/segmill/segmill/engine/expr"
)

// Op is what is computed of events: over a window of a List, and of what several
// ops are computed from over all time. Ops are compared by their pointers.
type Op struct {
	// of computes the value of totals. The ops below have none: what they compute,
	// and when it changes, is written out, because events wait for it.
	of func(t Total, k expr.Kind) expr.Value
}

// The ops.
var (
	OpCount = &Op{}
	OpSum   = &Op{}
	OpAvg   = &Op{}
	OpMin   = &Op{}
	OpMax   = &Op{}
)

// Total is what an Op can compute from: the number of values, 0 or more, their sum,
// and, unless there are none, the least and greatest.
type Total struct {
	N        uint64
	Sum      Int128
	Min, Max int64
}

// running is a total over some elements of a list.
type running struct {
	n        uint64
	sum      Int128
	min, max int64
}

func (t *running) add(p *Pane) {
	if t.n == 0 {
		t.min, t.max = p.Min, p.Max
	}
	t.min, t.max = min(t.min, p.Min), max(t.max, p.Max)
	t.n += p.N
	t.sum = t.sum.Plus(p.Sum)
}

func (t *running) value(op *Op, k expr.Kind) expr.Value {
	switch {
	case op.of != nil:
		return op.of(Total{t.n, t.sum, t.min, t.max}, k)
	case op == OpCount:
		return expr.IntValue(int64(t.n))
	case op == OpSum:
		return SumValue(t.sum, k)
	case t.n == 0:
		return expr.Value{}
	case op == OpAvg:
		// One division rounds once: dividing by the scale first would make an
		// average of 115.6378 compare unequal to that literal.
		return expr.DoubleValue(t.sum.Float(Scale(k) * float64(t.n)))
	case op == OpMin:
		return Number(k, t.min)
	default:
		return Number(k, t.max)
	}
}

// SumValue returns a sum of values of kind k as rules compare it: an int for
// ints (absent beyond 64 bits), else a double.
func SumValue(s Int128, k expr.Kind) expr.Value {
	if k != expr.Int {
		return expr.DoubleValue(s.Float(Scale(k)))
	}
	if !s.small() {
		return expr.Value{}
	}
	return expr.IntValue(int64(s.lo))
}

// Window is what a window of a list holds at some instant: the elements i to j.
type Window struct {
	now, w Millis
	i, j   int
	total  running
	bare   bool // only counted: total is empty
}

// Over returns the window of length w at now, as op needs it.
func (l *List) Over(op *Op, now, w Millis) (v Window) {
	l.Look(&v, op, now, w)
	return v
}

// Look makes v the window of length w at now, as op needs it.
func (l *List) Look(v *Window, op *Op, now, w Millis) {
	v.now, v.w = now, w
	if v.bare = op == OpCount && l.older == nil; v.bare {
		v.i, v.j = spanOf(l.Entries, now, w)
		return
	}
	switch extreme := op == OpMin || op == OpMax || op.of != nil; {
	case !extreme && l.size() > longList:
		l.keptWindow(v, now, w)
	case !extreme && l.older == nil:
		v.i, v.j = spanOf(l.Entries, now, w)
		v.total.addUp(l.Entries[v.i:v.j])
	default:
		v.i, v.j = l.span(now, w)
		v.total = l.total(v.i, v.j)
	}
}

// addUp makes t the total of entries whose least and greatest values do not matter:
// min is 0, or less if there are values below zero.
func (t *running) addUp(l []Entry) {
	var hi, lo, carry, signs uint64
	for i := range l {
		v := uint64(l[i].Num)
		sign := uint64(l[i].Num >> 63)
		lo, carry = bits.Add64(lo, v, 0)
		hi += sign + carry
		signs |= sign
	}
	*t = running{n: uint64(len(l)), sum: Int128{hi: int64(hi), lo: lo}, min: int64(signs)}
}

// Value returns op over the window; k is the kind of the field's values.
func (v *Window) Value(op *Op, k expr.Kind) expr.Value {
	kind, n := v.Number(op, k)
	return expr.Value{K: kind, N: n}
}

// Number is Value, which is never a text, in two parts.
func (v *Window) Number(op *Op, k expr.Kind) (expr.Kind, int64) {
	switch {
	case v.bare:
		return expr.Int, int64(v.j - v.i)
	case op == OpSum && k == expr.Decimal && v.total.sum.small():
		return expr.Double, int64(math.Float64bits(float64(int64(v.total.sum.lo)) / expr.DecimalOne))
	}
	r := v.total.value(op, k)
	return r.K, r.N
}

// Inserted follows the window over the insertion of an entry, not later than now,
// into a list that is exact before and after.
func (v *Window) Inserted(e Entry) {
	v.j++
	if e.At <= v.now-v.w {
		v.i++
	} else if !v.bare {
		t := &v.total
		if t.n == 0 {
			t.min, t.max = e.Num, e.Num
		}
		t.min, t.max = min(t.min, e.Num), max(t.max, e.Num)
		t.n++
		t.sum = t.sum.Add(e.Num)
	}
}

// Compute returns op over the events with now - w < t <= now; k is the kind of the
// field's values.
func (l *List) Compute(op *Op, k expr.Kind, now, w Millis) expr.Value {
	v := l.Over(op, now, w)
	return v.Value(op, k)
}

// total adds up elements i to j.
func (l *List) total(i, j int) running {
	var t running
	for ; i < min(j, len(l.Panes())); i++ {
		t.add(&l.older.panes[i])
	}
	if i == j {
		return t
	}
	rest := l.Entries[i-len(l.Panes()) : j-len(l.Panes())]
	if t.n == 0 {
		t.min, t.max = rest[0].Num, rest[0].Num
	}
	for i := range rest {
		v := rest[i].Num
		t.min, t.max = min(t.min, v), max(t.max, v)
		t.sum = t.sum.Add(v)
	}
	t.n += uint64(len(rest))
	return t
}

// drop takes element i out of a total of which it is the oldest; min and max
// become wrong.
func (l *List) drop(t *running, i int) {
	if i < len(l.Panes()) {
		t.n -= l.older.panes[i].N
		t.sum = t.sum.Minus(l.older.panes[i].Sum)
		return
	}
	t.n--
	t.sum = t.sum.Minus(Int128{}.Add(l.Entries[i-len(l.Panes())].Num))
}

// Next returns the first instant after now at which, with no further event, the
// value over window w leaves r, which holds the value now; Never if that does not
// come.
func (l *List) Next(op *Op, k expr.Kind, now, w Millis, r *Range) Millis {
	v := l.Over(op, now, w)
	return l.NextOf(&v, op, k, r)
}

// NextOf is Next for a window that has been computed.
func (l *List) NextOf(v *Window, op *Op, k expr.Kind, r *Range) Millis {
	i, j, w := v.i, v.j, v.w
	if i == j {
		return expr.Never
	}
	switch {
	case v.bare:
		return l.nextCount(i, j, w, r)
	case op == OpMin || op == OpMax:
		return l.nextExtreme(op, k, i, j, w, r)
	case op.of != nil:
		return l.nextOf(op, k, i, j, w, r)
	}
	t := v.total
	stride := 1
	if (op == OpSum || op == OpCount) && t.min >= 0 {
		if r.Endless() {
			return expr.Never
		}
		if op == OpCount {
			return l.nextFall(int64(t.n), int64(r.Below(int(t.n))), true, i, j, w)
		}
		if last, ok := r.lastBelow(Scale(k)); ok && t.sum.small() {
			return l.nextFall(int64(t.sum.lo), last, false, i, j, w)
		}
		stride = monotoneStride
	}
	return l.nextTotal(&t, op, k, i, j, w, stride, r)
}

// nextFall returns when a number that only falls is last or less. It looks from both
// ends: of much that has to leave little may stay, and the other way round.
func (l *List) nextFall(left, last int64, count bool, i, j int, w Millis) Millis {
	if last < 0 {
		return expr.Never
	}
	var stays int64 // of the elements from j on: last or less
	for i < j {
		if left -= l.part(i, count); left <= last {
			return l.time(i) + w
		}
		if stays += l.part(j-1, count); stays > last {
			return l.time(j-1) + w
		}
		i, j = i+1, j-1
	}
	return expr.Never
}

// part is what element i adds to a sum, which is known to be small, or to a count.
func (l *List) part(i int, count bool) int64 {
	n := len(l.Panes())
	switch {
	case i >= n && count:
		return 1
	case i >= n:
		return l.Entries[i-n].Num
	case count:
		return int64(l.older.panes[i].N)
	}
	return int64(l.older.panes[i].Sum.lo)
}

// monotoneStride is how many elements are taken out of a total that only falls
// before it is judged again.
const monotoneStride = 64

// nextTotal takes the elements out in order. A total that only falls leaves a
// range once: it is judged after every stride elements, and element by element in
// the stride in which it left.
func (l *List) nextTotal(t *running, op *Op, k expr.Kind, i, j int, w Millis, stride int, r *Range) Millis {
	for i < j {
		start, before := i, *t
		out := l.time(i)
		for i < j && (i-start < stride || l.time(i) == out) {
			out = l.time(i)
			l.drop(t, i)
			i++
		}
		if r.Has(t.value(op, k)) {
			continue
		}
		if stride == 1 {
			return out + w
		}
		*t = before
		return l.nextTotal(t, op, k, start, i, w, 1, r)
	}
	return expr.Never
}

// nextCount uses that a count only falls: it leaves the range with the entry that
// makes it the first number below. Entries of one instant leave together.
func (l *List) nextCount(i, j int, w Millis, r *Range) Millis {
	left := r.Below(j - i)
	if left < 0 {
		return expr.Never
	}
	return l.time(j-left-1) + w
}

// nextExtreme uses that a least value stays in a range as long as any value of
// that range is in the window: smaller ones would be outside already.
func (l *List) nextExtreme(op *Op, k expr.Kind, i, j int, w Millis, r *Range) Millis {
	for x := j - 1; x >= i; x-- {
		p := l.pane(x)
		v := p.Min
		if op == OpMax {
			v = p.Max
		}
		if r.Has(Number(k, v)) {
			return l.time(x) + w
		}
	}
	return l.time(i) + w
}

// nextOf is NextOf for an op of which nothing more is known: it adds up from the
// newest element on, and so meets what is left after each departure.
func (l *List) nextOf(op *Op, k expr.Kind, i, j int, w Millis, r *Range) Millis {
	next := expr.Never
	var left running
	for x := j - 1; x >= i; x-- {
		if x == j-1 || l.time(x) != l.time(x+1) { // those of one instant leave together
			if !r.Has(left.value(op, k)) {
				next = l.time(x) + w
			}
		}
		p := l.pane(x)
		left.add(&p)
	}
	return next
}

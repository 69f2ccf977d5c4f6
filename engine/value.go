package engine

import (
	"math"
	"time"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/calendar"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// value returns input i of c at now.
func (e *Engine) value(c *Customer, i int, now Millis) expr.Value {
	in := &e.p.Inputs[i]
	if in.Kind == plan.InSegment {
		m := c.member(e.p.Segments[in.SegmentIndex].Key)
		return expr.BoolValue(m != nil && m.in())
	}
	return e.valueOf(c, in, c.find(in.Summary), now)
}

// valueOf returns an input that is computed from cl, which is nil if nothing was
// folded into it.
func (e *Engine) valueOf(c *Customer, in *plan.InputPlan, cl *cell, now Millis) expr.Value {
	switch in.Kind {
	case plan.InAggregate:
		return aggregateValue(in, cl, now)
	case plan.InProfile:
		v := registerValue(cl)
		if v.K == expr.String && v.S == "" {
			return expr.Value{} // set to "": cleared
		}
		return v
	case plan.InSince:
		if v := e.valueOf(c, &e.p.Inputs[in.Of], cl, now); v.Present() {
			return expr.DurationValue(now - Millis(v.Float()))
		}
	case plan.InUntil:
		if v := e.valueOf(c, &e.p.Inputs[in.Of], cl, now); v.Present() {
			return expr.DurationValue(e.instantOf(c, v) - now)
		}
	case plan.InYears:
		loc := e.zoneOf(c)
		if d, ok := calendar.Of(e.valueOf(c, &e.p.Inputs[in.Of], cl, now), loc); ok {
			return expr.IntValue(int64(d.YearsAt(now, loc, e.p.Spec.MarFirst)))
		}
	case plan.InConsent:
		return expr.BoolValue(registerValue(cl).S == "granted")
	default: // the others need nothing here
	}
	return expr.Value{}
}

// instantOf returns the instant that a time is, or at which a date begins where the
// customer lives.
func (e *Engine) instantOf(c *Customer, v expr.Value) Millis {
	if v.K == expr.Date {
		return calendar.OfDays(v.N).At(e.zoneOf(c), 0)
	}
	return Millis(v.Float())
}

func registerValue(c *cell) expr.Value {
	if c == nil {
		return expr.Value{}
	}
	return c.other.(*aggregate.Register).Value()
}

// aggregateValue returns an aggregate; c is nil over no event.
func aggregateValue(in *plan.InputPlan, c *cell, now Millis) expr.Value {
	switch {
	case c == nil:
		return in.Agg.Nothing(in.Type)
	case c.other == nil:
		return c.list.Compute(in.Agg.Op, in.Stored, now, in.Window)
	}
	return c.other.Compute(in.Agg.Op, in.Stored, now, in.Window)
}

// zoneOf returns the customer's time zone, or the default.
func (e *Engine) zoneOf(c *Customer) *time.Location {
	if e.p.ZoneSummary >= 0 {
		if v := registerValue(c.find(e.p.ZoneSummary)); v.S != "" {
			if loc, ok := e.opt.Zones(v.S); ok {
				return loc
			}
		}
	}
	return e.zone
}

// next returns the first instant after that of x at which an input computed from
// cl crosses a threshold by time alone.
func (e *Engine) next(x *Evaluator, cl *cell) Millis {
	wake := Never
	for _, i := range e.p.Summaries[cl.summary].Timed {
		wake = min(wake, e.nextOf(x, cl, i))
	}
	return wake
}

func (e *Engine) nextOf(x *Evaluator, cl *cell, i int) Millis {
	in, cur := &e.p.Inputs[i], x.value(i)
	switch in.Kind {
	case plan.InSince:
		if !cur.Present() {
			return Never
		}
		return nextSince(&in.Index, x.now-Millis(cur.N), cur)
	case plan.InUntil:
		if !cur.Present() {
			return Never
		}
		return nextUntil(&in.Index, x.now+Millis(cur.N), cur)
	case plan.InYears:
		if !cur.Present() {
			return Never
		}
		return e.nextYears(x.c, in, cur)
	default: // the others need nothing here
	}
	var r aggregate.Range
	in.Index.Around(cur.K, cur.N, &r)
	if cl.other == nil {
		return cl.list.Next(in.Agg.Op, in.Stored, x.now, in.Window, &r)
	}
	if s, ok := cl.other.(*aggregate.Distinct); ok {
		return s.Next(x.now, in.Window, &r)
	}
	return Never
}

// nextSince returns when a duration that counts from start passes the next cut:
// at start + c for >= c, one millisecond later for > c.
func nextSince(x *plan.Index, start Millis, cur expr.Value) Millis {
	p := x.Pos(cur)
	if p == len(x.Cuts) {
		return Never
	}
	c := x.Cuts[p]
	t := start + Millis(c.At)
	if c.Above {
		t++
	}
	return t
}

// nextUntil returns when a duration that falls to 0 at end passes the next cut: at
// end - c for <= c, one millisecond later for < c.
func nextUntil(x *plan.Index, end Millis, cur expr.Value) Millis {
	p := x.Pos(cur)
	if p == 0 {
		return Never
	}
	c := x.Cuts[p-1]
	t := end - Millis(c.At)
	if !c.Above {
		t++
	}
	return t
}

// nextYears returns the local midnight at which the number of years passes the
// next cut, or changes at all if some rule reads it in another way.
func (e *Engine) nextYears(c *Customer, in *plan.InputPlan, cur expr.Value) Millis {
	to := math.Inf(1)
	if p := in.Index.Pos(cur); p < len(in.Index.Cuts) {
		cut := in.Index.Cuts[p]
		if to = math.Ceil(cut.At); cut.Above {
			to = math.Floor(cut.At) + 1
		}
	}
	if len(in.Index.Always) > 0 {
		to = float64(cur.N + 1)
	}
	if to > maxYears {
		return Never
	}
	loc := e.zoneOf(c)
	d, _ := calendar.Of(e.value(c, in.Of, 0), loc)
	return d.Anniversary(int(to), e.p.Spec.MarFirst).At(loc, 0)
}

// maxYears is more than anybody lives.
const maxYears = 10_000

// expire is called when a cell's next instant has come: it touches the units
// whose comparisons change at the instant of x. Nothing crossed a threshold before,
// so that the values a millisecond earlier are those that the units were judged by;
// but for units that an event touched and that are not judged yet: as long as there
// are any, every comparison counts.
func (e *Engine) expire(x *Evaluator, cl *cell) {
	exact, next := x.pending.Empty(), Never
	for _, i := range e.p.Summaries[cl.summary].Timed {
		in := &e.p.Inputs[i]
		if exact && windowed(in, cl) {
			next = min(next, x.expireWindow(i, in, cl))
			continue
		}
		a, b := x.formerly(i), x.value(i)
		x.crossed = x.crossed || in.Index.Crosses(a, b)
		if exact {
			in.Index.Move(a, b, &x.sides, &x.touched)
		} else {
			in.Index.Touch(a, b, &x.touched)
		}
		next = min(next, e.nextOf(x, cl, i))
	}
	cl.next = next
}

// expireWindow does it for an input that is computed from a window, and returns
// when it crosses the next threshold.
func (x *Evaluator) expireWindow(i int, in *plan.InputPlan, cl *cell) Millis {
	a, b := &x.former[i], &x.values[i]
	var w aggregate.Window
	if a.when != x.move {
		cl.list.Look(&w, in.Agg.Op, x.now-1, in.Window)
		kind, n := w.Number(in.Agg.Op, in.Stored)
		a.number(x.move, kind, n)
	}
	cl.list.Look(&w, in.Agg.Op, x.now, in.Window)
	kind, n := w.Number(in.Agg.Op, in.Stored)
	b.number(x.epoch, kind, n)
	x.crossed = x.crossed || in.Index.Crosses(a.value(), b.value())
	x.moved(in, a, b, &x.touched)
	return x.crossing(in, cl, &w, kind, n)
}

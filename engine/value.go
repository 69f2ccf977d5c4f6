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
	switch in.Kind {
	case plan.InAggregate:
		return aggregateValue(in, c.find(in.Summary), now)
	case plan.InProfile:
		v := registerValue(c.find(in.Summary))
		if v.K == expr.String && v.S == "" {
			return expr.Value{} // set to "": cleared
		}
		return v
	case plan.InSince:
		if v := e.value(c, in.Of, now); v.Present() {
			return expr.DurationValue(now - Millis(v.Float()))
		}
	case plan.InYears:
		loc := e.zoneOf(c)
		if d, ok := calendar.Of(e.value(c, in.Of, now), loc); ok {
			return expr.IntValue(int64(d.YearsAt(now, loc, e.p.Spec.MarFirst)))
		}
	case plan.InSegment:
		m := c.member(e.p.Segments[in.SegmentIndex].Key)
		return expr.BoolValue(m != nil && m.in())
	case plan.InConsent:
		return expr.BoolValue(registerValue(c.find(in.Summary)).S == "granted")
	}
	return expr.Value{}
}

func registerValue(c *cell) expr.Value {
	if c == nil {
		return expr.Value{}
	}
	return c.Cell.(*aggregate.Register).Value
}

// aggregateValue returns an aggregate; c is nil over no event.
func aggregateValue(in *plan.InputPlan, c *cell, now Millis) expr.Value {
	if c == nil {
		return emptyValue(in)
	}
	switch s := c.Cell.(type) {
	case *aggregate.List:
		return s.Value(in.Op, in.Stored, now, in.Window)
	case *aggregate.Distinct:
		return s.Value(now, in.Window)
	case *aggregate.Count:
		return expr.IntValue(int64(s.N))
	case *aggregate.Sum:
		if in.Agg == plan.AggSum {
			return aggregate.SumValue(s.S, in.Stored)
		}
		if s.N > 0 {
			// One division, as in a window: see the average there.
			return expr.DoubleValue(s.S.Float(aggregate.Scale(in.Stored) * float64(s.N)))
		}
	case *aggregate.Extreme:
		if s.Set {
			return aggregate.Number(in.Stored, s.V)
		}
	case *aggregate.Moment:
		if s.Set {
			return expr.TimeValue(s.At)
		}
	case *aggregate.Register:
		return s.Value
	}
	return expr.Value{}
}

func emptyValue(in *plan.InputPlan) expr.Value {
	switch in.Agg {
	case plan.AggCount, plan.AggDistinct:
		return expr.IntValue(0)
	case plan.AggSum:
		return aggregate.SumValue(aggregate.Int128{}, in.Stored)
	}
	return expr.Value{}
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

// sameScratch is the predicate that List.Next asks, kept to save an allocation.
type sameScratch struct {
	index *plan.Index
	cur   expr.Value
	fn    func(expr.Value) bool
}

func (s *sameScratch) accept(v expr.Value) bool { return s.index.Same(s.cur, v) }

// next returns the first instant after at when an input computed from cl
// crosses a threshold by time alone.
func (e *Engine) next(x *exec, cl *cell, at Millis) Millis {
	wake := Never
	for _, i := range e.p.Summaries[cl.summary].Inputs {
		if in := &e.p.Inputs[i]; in.Timed() && len(in.Index.All) > 0 {
			wake = min(wake, e.nextOf(x, cl, i, at))
		}
	}
	return wake
}

func (e *Engine) nextOf(x *exec, cl *cell, i int, at Millis) Millis {
	in := &e.p.Inputs[i]
	cur := e.value(x.c, i, at)
	switch in.Kind {
	case plan.InSince:
		if !cur.Present() {
			return Never
		}
		return nextSince(&in.Index, at-Millis(cur.N), cur)
	case plan.InYears:
		if !cur.Present() {
			return Never
		}
		return e.nextYears(x.c, in, cur)
	}
	x.same.index, x.same.cur = &in.Index, cur
	switch s := cl.Cell.(type) {
	case *aggregate.List:
		return s.Next(in.Op, in.Stored, at, in.Window, x.same.fn)
	case *aggregate.Distinct:
		return s.Next(at, in.Window, x.same.fn)
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
// whose comparisons change then. Nothing crossed a threshold before, so that the
// values a millisecond earlier are those that the units were judged by.
func (e *Engine) expire(x *exec, cl *cell, at Millis) {
	add := x.touched.add
	for _, i := range e.p.Summaries[cl.summary].Inputs {
		if in := &e.p.Inputs[i]; in.Timed() && len(in.Index.All) > 0 {
			in.Index.Touch(e.value(x.c, i, at-1), e.value(x.c, i, at), add)
		}
	}
	cl.next = e.next(x, cl, at)
}

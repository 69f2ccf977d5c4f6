package sim

import (
	"math/big"
	"slices"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// moment is one customer as of one instant: every input of the rules is computed
// again from the list of events.
type moment struct {
	o   *Oracle
	p   *person
	now Millis
}

// scope returns what the leaves of a rule's condition mean at m.
func (m moment) scope() *scope { return &scope{input: m.input} }

// input returns the value of an input of the rule set.
func (m moment) input(ref int) expr.Value {
	in := &m.o.spec.Inputs[ref]
	switch in.Kind {
	case plan.InAggregate:
		return m.aggregate(in)
	case plan.InProfile:
		return m.attribute(in.Field)
	case plan.InSince:
		if v := m.input(in.Of); v.Present() {
			return expr.DurationValue(m.now - Millis(v.N))
		}
		return expr.Value{}
	case plan.InUntil:
		if v := m.input(in.Of); v.Present() {
			return expr.DurationValue(m.beginning(v) - m.now)
		}
		return expr.Value{}
	case plan.InYears:
		if v := m.input(in.Of); v.Present() {
			zone := m.zone()
			return expr.IntValue(wholeYears(civilOf(v, zone), today(m.now, zone), m.o.spec.MarFirst))
		}
		return expr.Value{}
	case plan.InSegment:
		_, member := m.p.since[in.Segment]
		return expr.BoolValue(member)
	case plan.InConsent:
		return expr.BoolValue(m.consented(in.Channel, in.Purpose))
	}
	panic("sim: unknown kind of input")
}

// attribute returns the latest value given to an attribute of the profile; the
// empty string clears it.
func (m moment) attribute(path string) expr.Value {
	var latest *Record
	for i := range m.p.events {
		r := &m.p.events[i]
		if r.Stream != plan.Profile || !r.Fields[path].Present() {
			continue
		}
		if latest == nil || latest.Before(r) {
			latest = r
		}
	}
	if latest == nil {
		return expr.Value{}
	}
	if v := latest.Fields[path]; v.K != expr.String || v.S != "" {
		return v
	}
	return expr.Value{}
}

// zone returns the customer's zone: the profile's if there is one of that name,
// else the rule set's.
func (m moment) zone() *time.Location {
	if v := m.attribute("time_zone"); v.Present() {
		if zone, ok := m.o.opt.Zones(v.S); ok {
			return zone
		}
	}
	zone, ok := m.o.opt.Zones(m.o.spec.Zone)
	if !ok {
		return time.UTC
	}
	return zone
}

// beginning returns the instant that a time is, or at which a date begins where the
// customer lives.
func (m moment) beginning(v expr.Value) Millis {
	if v.K == expr.Date {
		return clockAt(v.N, 0, m.zone())
	}
	return Millis(v.N)
}

// consented reports whether the latest decision on a channel and purpose is
// granted.
func (m moment) consented(channel, purpose string) bool {
	var latest *Record
	for i := range m.p.events {
		r := &m.p.events[i]
		if r.Stream != plan.Consent || r.Fields["channel"].S != channel || r.Fields["purpose"].S != purpose {
			continue
		}
		if latest == nil || latest.Before(r) {
			latest = r
		}
	}
	return latest != nil && latest.Fields["state"].S == "granted"
}

// matching returns the events that one of the sources sees, in a window that
// ends at m, in the order of Before. A window of 0 is the lifetime.
func (m moment) matching(sources []plan.Source, window Millis) []*Record {
	var l []*Record
	for i := range m.p.events {
		r := &m.p.events[i]
		if window != 0 && r.At <= m.now-window || r.At > m.now {
			continue
		}
		for j := range sources {
			if sources[j].Stream == r.Stream && meets(r, sources[j].Cond) {
				l = append(l, r)
				break
			}
		}
	}
	slices.SortFunc(l, func(a, b *Record) int {
		switch {
		case a.Before(b):
			return -1
		case b.Before(a):
			return 1
		}
		return 0
	})
	return l
}

// meets reports whether a condition over one event's fields is true of r.
func meets(r *Record, cond *expr.Node) bool {
	if cond == nil {
		return true
	}
	s := &scope{field: func(path string) expr.Value { return r.Fields[path] }}
	return s.holds(cond)
}

// aggregate computes an aggregate over the events in its window.
func (m moment) aggregate(in *plan.Input) expr.Value {
	l := m.matching(in.Sources, in.Window)
	if in.Field == "" {
		return ofEvents(in.Agg.Name, l)
	}
	l = slices.DeleteFunc(l, func(r *Record) bool { return !r.Fields[in.Field].Present() })
	switch in.Agg.Name {
	case "distinct":
		seen := map[string]bool{}
		for _, r := range l {
			seen[r.Fields[in.Field].String()] = true
		}
		return expr.IntValue(int64(len(seen)))
	case "sum":
		return asNumber(in.Type, total(in, l))
	}
	if len(l) == 0 {
		return expr.Value{}
	}
	switch in.Agg.Name {
	case "avg":
		sum := total(in, l)
		return asNumber(expr.Double, sum.Quo(sum, big.NewRat(int64(len(l)), 1)))
	case "first":
		return seen(in, l[0].Fields[in.Field])
	case "last":
		return seen(in, l[len(l)-1].Fields[in.Field])
	case "min", "max":
		best := l[0].Fields[in.Field]
		for _, r := range l {
			v := r.Fields[in.Field]
			if in.Agg.Name == "min" && v.Float() < best.Float() || in.Agg.Name == "max" && v.Float() > best.Float() {
				best = v
			}
		}
		return seen(in, best)
	}
	panic("sim: unknown aggregate " + in.Agg.Name)
}

// ofEvents computes an aggregate that reads no field.
func ofEvents(name string, l []*Record) expr.Value {
	switch {
	case name == "count":
		return expr.IntValue(int64(len(l)))
	case len(l) == 0:
		return expr.Value{}
	case name == "first":
		return expr.TimeValue(l[0].At)
	case name == "last":
		return expr.TimeValue(l[len(l)-1].At)
	}
	panic("sim: unknown aggregate " + name)
}

// seen returns a field's value as rules see it: money as a double.
func seen(in *plan.Input, v expr.Value) expr.Value {
	if in.Type == expr.Double {
		return expr.DoubleValue(v.Float())
	}
	return v
}

// total adds up a field exactly, subtracting where a source negates. A double
// counts with nine digits after the point.
func total(in *plan.Input, l []*Record) *big.Rat {
	sum := new(big.Rat)
	for _, r := range l {
		v := exact(r.Fields[in.Field])
		for _, s := range in.Sources {
			if s.Stream == r.Stream && s.Negate != nil && meets(r, s.Negate) {
				v.Neg(v)
			}
		}
		sum.Add(sum, v)
	}
	return sum
}

// exact returns a number as a fraction.
func exact(v expr.Value) *big.Rat {
	switch v.K {
	case expr.Decimal:
		return big.NewRat(v.N, expr.DecimalOne)
	case expr.Double:
		r := new(big.Rat)
		r.SetString(new(big.Rat).SetFloat64(v.Float()).FloatString(9))
		return r
	}
	return big.NewRat(v.N, 1)
}

// asNumber returns a fraction as a value of kind Int or Double.
func asNumber(k expr.Kind, r *big.Rat) expr.Value {
	if k == expr.Int {
		return expr.IntValue(r.Num().Int64())
	}
	f, _ := r.Float64()
	return expr.DoubleValue(f)
}

package sim

import (
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// fire makes the steps that are due after the customer's instant and not after
// to, in order, each as of its own instant, and appends what they emit.
func (o *Oracle) fire(p *person, to Millis, out []engine.Effect) []engine.Effect {
	if len(p.events) == 0 {
		return out
	}
	for _, at := range o.candidates(p, to) {
		due := map[*unit]bool{}
		for _, u := range o.units {
			if u.due(o, p, at) {
				due[u] = true
			}
		}
		if len(due) == 0 && !o.occasion(p, at) {
			continue
		}
		p.instant = at
		out = o.step(p, reason{due: due, cause: engine.CauseTimer}, out)
	}
	return out
}

// occasion reports whether some trigger's time comes at an instant.
func (o *Oracle) occasion(p *person, at Millis) bool {
	for i := range o.spec.Triggers {
		t := &o.spec.Triggers[i]
		if p.spent(t) {
			continue
		}
		for _, c := range o.occasions(moment{o, p, at}, t) {
			if c.due == at && !p.done[c.key] {
				return true
			}
		}
	}
	return false
}

// candidates returns the instants after the customer's and up to another at
// which, with no further event, anything could change, and more.
func (o *Oracle) candidates(p *person, to Millis) []Millis {
	if to <= p.instant {
		return nil
	}
	m := moment{o, p, p.instant}
	var l []Millis
	for i := range o.spec.Inputs {
		l = m.changesOfInput(l, i, to)
	}
	for _, d := range o.delays() {
		for i := range p.events {
			l = append(l, p.events[i].At+d)
		}
	}
	for i := range o.spec.Triggers {
		t := &o.spec.Triggers[i]
		if t.Kind.Name != anniversary {
			continue
		}
		for now := p.instant; now < to+365*Day; now += 365 * Day {
			for _, c := range anniversaries(moment{o, p, now}, t) {
				l = append(l, c.due)
			}
		}
	}
	l = slices.DeleteFunc(l, func(at Millis) bool { return at <= p.instant || at > to })
	slices.Sort(l)
	return slices.Compact(l)
}

// delays returns the lengths of time after an event at which it can matter: the
// windows and the delays of triggers.
func (o *Oracle) delays() []Millis {
	var l []Millis
	for i := range o.spec.Inputs {
		if w := o.spec.Inputs[i].Window; w > 0 {
			l = append(l, w)
		}
	}
	for i := range o.spec.Triggers {
		if d := delayOf(&o.spec.Triggers[i]); d > 0 {
			l = append(l, d)
		}
	}
	return l
}

// changesOfInput appends the instants at which an input that moves with time can
// cross a constant that rules compare it with.
func (m moment) changesOfInput(l []Millis, ref int, to Millis) []Millis {
	in := &m.o.spec.Inputs[ref]
	switch in.Kind {
	case plan.InSince:
		start := m.input(in.Of)
		if !start.Present() {
			return l
		}
		for _, d := range m.o.constants(ref) {
			at := Millis(start.N + d.N)
			l = append(l, at, at+1)
		}
	case plan.InUntil:
		end := m.input(in.Of)
		if !end.Present() {
			return l
		}
		for _, d := range m.o.constants(ref) {
			at := m.beginning(end) - Millis(d.N)
			l = append(l, at, at+1)
		}
	case plan.InYears:
		v := m.input(in.Of)
		if !v.Present() {
			return l
		}
		zone := m.zone()
		date := civilOf(v, zone)
		for year := today(m.now, zone).year; year <= today(to, zone).year; year++ {
			l = append(l, clockAt(date.inYear(year, m.o.spec.MarFirst).days(), 0, zone))
		}
	default: // the others need nothing here
	}
	return l
}

// constants returns what rules compare an input with.
func (o *Oracle) constants(ref int) []expr.Value {
	var l []expr.Value
	for _, u := range o.units {
		for _, n := range u.atoms {
			if r, v, _ := atom(n); r == ref {
				l = append(l, v)
			}
		}
	}
	return l
}

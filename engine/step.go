package engine

import (
	"slices"
	"sort"
	"strings"

	"github.com/segmill/segmill/engine/plan"
)

// step evaluates the touched units at now, in order, then judges the overdue
// triggers, and appends what changed: exits, entries, triggers, each by id.
func (e *Engine) step(x *exec, now Millis, cause Cause, event string) {
	x.now, x.c.instant = now, now
	x.entered, x.exited, x.fired = x.entered[:0], x.exited[:0], x.fired[:0]
	for u := x.touched.pop(0); u >= 0; u = x.touched.pop(u) {
		e.evaluate(x, u)
	}
	if cause != CauseTimer {
		x.overdue = append(x.overdue, x.late...)
		x.late = x.late[:0]
	}
	for _, o := range x.overdue {
		e.judge(x, o.trigger, o.due)
	}
	x.overdue = x.overdue[:0]
	for _, l := range [][]Effect{x.exited, x.entered} {
		for i := range l {
			l[i].Cause = cause
			if cause == CauseEvent {
				l[i].CauseEvent = event
			}
		}
	}
	for _, l := range [][]Effect{x.exited, x.entered, x.fired} {
		sort.SliceStable(l, func(i, j int) bool { return l[i].Name < l[j].Name })
		x.out.Effects = append(x.out.Effects, l...)
	}
}

// evaluate decides one unit at the current instant.
func (e *Engine) evaluate(x *exec, u int) {
	x.out.Stats.Evaluated++
	unit := &e.p.Units[u]
	truth := -1 // the first condition that is true
	for i := range unit.Conds {
		if v := unit.Conds[i].Fn(&x.env); v.True() {
			truth = i
			break
		}
	}
	if unit.Kind == plan.UnitTrigger {
		t := &e.p.Triggers[unit.Trigger]
		m := x.c.memoryOf(t.Key)
		was := m.Was
		if m.Was = truth >= 0; m.Was && !was && !x.silent {
			e.shoot(x, unit.Trigger, x.now)
		}
		return
	}
	from := ""
	for i := range unit.Conds {
		if m := x.c.member(e.p.Segments[unit.Conds[i].Segment].Key); m != nil && m.in() && i != truth {
			from = e.p.Segments[unit.Conds[i].Segment].ID
			x.exited = append(x.exited, e.change(x, unit, i, max(truth, i)))
		}
	}
	if truth < 0 {
		return
	}
	if m := x.c.member(e.p.Segments[unit.Conds[truth].Segment].Key); m == nil || !m.in() {
		ef := e.change(x, unit, truth, truth)
		ef.From = from
		x.entered = append(x.entered, ef)
	}
}

// change flips the membership of a unit's condition i. The evidence is what the
// conditions up to last read: a stage is left or entered because of those before
// it, too.
func (e *Engine) change(x *exec, unit *plan.Unit, i, last int) Effect {
	s := &e.p.Segments[unit.Conds[i].Segment]
	m := x.c.memberOrNew(s.Key)
	m.seq++
	ef := Effect{
		Action: Entered, Customer: x.c.ID, Name: s.ID, Version: s.Version, At: x.now, Sequence: m.seq,
		Group: s.Group, Evidence: e.evidence(x, unit.Conds[:last+1]),
	}
	if m.in() {
		m.since = x.now
	} else {
		ef.Action, ef.MemberFor = Exited, x.now-m.since
		m.since = 0
	}
	x.touched.addAll(s.Dependents)
	return ef
}

// maxEvidence bounds how many values a change carries.
const maxEvidence = 16

// evidence returns what the conditions read, as text, sorted by name. An absent
// value is the empty text.
func (e *Engine) evidence(x *exec, conds []plan.Cond) []Pair {
	var ps []Pair
	for i := len(conds) - 1; i >= 0; i-- {
		for _, in := range conds[i].Inputs {
			name := e.p.Inputs[in].Text
			if len(ps) < maxEvidence && !slices.ContainsFunc(ps, func(p Pair) bool { return p.Name == name }) {
				ps = append(ps, Pair{name, e.value(x.c, in, x.now).String()})
			}
		}
	}
	slices.SortFunc(ps, func(a, b Pair) int { return strings.Compare(a.Name, b.Name) })
	return ps
}

// trueOfNothing returns the units that hold for a customer without any facts and
// memberships. Each is asked about a customer of its own: whether a segment that
// it reads holds is known only after the first event, and then it is touched.
func (e *Engine) trueOfNothing() []int {
	var out Output
	var units []int
	for u := range e.p.Units {
		x := out.begin(e, e.NewCustomer(""))
		x.entered, x.fired = x.entered[:0], x.fired[:0]
		e.evaluate(x, u)
		if len(x.entered)+len(x.fired) > 0 {
			units = append(units, u)
		}
	}
	return units
}

package engine

import (
	"cmp"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/plan"
)

// step evaluates the touched units at now, in order, then judges the overdue
// triggers, and appends what changed: exits, entries, triggers, each by id.
func (e *Engine) step(x *Evaluator, now Millis, cause Cause, event string) {
	if x.now != now {
		x.setNow(now)
	}
	x.c.instant = now
	x.cause, x.event = cause, event
	first := len(x.out.Effects)
	for u := x.touched.Pop(); u >= 0; u = x.touched.Pop() {
		e.evaluate(x, u)
	}
	if cause != CauseTimer {
		x.overdue = append(x.overdue, x.late...)
		x.late = x.late[:0]
	}
	for _, o := range x.overdue {
		e.runTrigger(x, o.trigger, o.due)
	}
	x.overdue = x.overdue[:0]
	if x.change != nil {
		x.stage.underFormerIDs(x.out.Effects[first:])
	}
	sortEffects(x.out.Effects[first:])
}

// sortEffects puts the effects of one step in order. There are seldom two.
func sortEffects(l []Effect) {
	for i := 1; i < len(l); i++ {
		if compareEffects(&l[i-1], &l[i]) > 0 {
			slices.SortStableFunc(l, func(a, b Effect) int { return compareEffects(&a, &b) })
			return
		}
	}
}

func compareEffects(a, b *Effect) int {
	return cmp.Or(cmp.Compare(rank(a.Action), rank(b.Action)), strings.Compare(a.Name, b.Name))
}

// rank orders the effects of one step.
func rank(a Action) int {
	switch a {
	case Renamed:
		return 0
	case Exited:
		return 1
	case Entered:
		return 2
	default: // the others need nothing here
	}
	return 3
}

// evaluate decides one unit at the current instant.
func (e *Engine) evaluate(x *Evaluator, u int) {
	if x.change != nil && x.change.differs.Units[u] {
		return
	}
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
			e.maybeFire(x, unit.Trigger, x.now)
		}
		return
	}
	from := ""
	for i := range unit.Conds {
		if m := x.c.member(e.p.Segments[unit.Conds[i].Segment].Key); m != nil && m.in() && i != truth {
			from = e.change(x, unit, m, i, max(truth, i)).Name
		}
	}
	if truth < 0 {
		return
	}
	if m := x.c.member(e.p.Segments[unit.Conds[truth].Segment].Key); m == nil || !m.in() {
		e.change(x, unit, m, truth, truth).From = from
	}
}

// change flips the membership m of a unit's condition i, nil if there is none yet,
// and emits it. The evidence is what the conditions up to last read: a stage is left or entered because of
// those before it, too.
func (e *Engine) change(x *Evaluator, unit *plan.Unit, m *membership, i, last int) *Effect {
	s := &e.p.Segments[unit.Conds[i].Segment]
	if m == nil {
		m = x.c.memberOrNew(s.Key)
	}
	m.seq++
	ef := x.out.effect()
	ef.Action, ef.Customer, ef.Name, ef.Version, ef.Group = Entered, x.c.ID, s.ID, s.Version, s.Group
	ef.At, ef.Sequence, ef.Cause = x.now, uint64(m.seq), x.cause
	ef.Evidence = x.evidence(&unit.Conds[last])
	if x.cause == CauseEvent {
		ef.CauseEvent = x.event
	}
	if m.in() {
		m.since = x.now
	} else {
		ef.Action, ef.MemberFor = Exited, x.now-m.since
		m.since = 0
	}
	x.touched.AddAll(s.Dependents)
	return ef
}

// evidence returns what a condition and those before it read, as text, sorted by
// name. An absent value is the empty text.
func (x *Evaluator) evidence(c *plan.Cond) []Pair {
	from := x.room(len(c.Evidence))
	for _, in := range c.Evidence {
		p := &x.e.p.Inputs[in]
		x.pair(p.Text, p.Shown(x.value(in)))
	}
	return x.cut(from)
}

// trueOfNothing returns the units that hold for a customer without any facts and
// memberships. Each is asked about a customer of its own: whether a segment that
// it reads holds is known only after the first event, and then it is touched.
func (e *Engine) trueOfNothing() []int {
	var out Output
	x := e.Evaluator()
	var units []int
	for u := range e.p.Units {
		out.Reset()
		x.begin(e.NewCustomer(""), &out)
		e.evaluate(x, u)
		if len(out.Effects) > 0 {
			units = append(units, u)
		}
	}
	return units
}

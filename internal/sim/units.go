package sim

import (
	"slices"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// unit is a rule that is evaluated as a whole: a segment, a lifecycle, or a
// trigger of kind rule.
type unit struct {
	id      string
	names   []string     // what it can be: the segment, or the stages in order
	when    []*expr.Node // the condition of each
	trigger *plan.Trigger

	atoms  []*expr.Node // comparisons of one input with a constant
	others []int        // inputs read in any other place
	reads  []string     // segments whose membership it reads
}

// unitsOf lists the units of a rule set: segments and lifecycles each after those
// whose membership they read, then triggers.
func unitsOf(s *plan.Spec) []*unit {
	var rules, triggers []*unit
	for i := range s.Segments {
		g := &s.Segments[i]
		rules = append(rules, &unit{id: g.ID, names: []string{g.ID}, when: []*expr.Node{g.When}})
	}
	for i := range s.Lifecycles {
		l := &s.Lifecycles[i]
		u := &unit{id: l.ID}
		for _, g := range l.Stages {
			u.names = append(u.names, l.ID+"/"+g.ID)
			u.when = append(u.when, g.When)
		}
		rules = append(rules, u)
	}
	for i := range s.Triggers {
		if t := &s.Triggers[i]; t.Kind.Name == ruleKind {
			triggers = append(triggers, &unit{id: t.ID, names: []string{t.ID}, when: []*expr.Node{t.When}, trigger: t})
		}
	}
	for _, u := range slices.Concat(rules, triggers) {
		for _, n := range u.when {
			u.dissect(n)
		}
		for _, ref := range u.inputs() {
			if in := &s.Inputs[ref]; in.Kind == plan.InSegment {
				u.reads = append(u.reads, in.Segment)
			}
		}
	}
	return append(inOrder(rules), triggers...)
}

// inOrder sorts rules so that each comes after those that it reads.
func inOrder(rules []*unit) []*unit {
	var done []*unit
	placed := map[string]bool{}
	for len(done) < len(rules) {
		before := len(done)
		for _, u := range rules {
			ready := !slices.Contains(done, u) && !slices.ContainsFunc(u.reads, func(name string) bool { return !placed[name] })
			if ready {
				done = append(done, u)
				for _, name := range u.names {
					placed[name] = true
				}
			}
		}
		if len(done) == before {
			panic("sim: segments that read each other")
		}
	}
	return done
}

// dissect finds the atoms of a condition, and the inputs outside of them.
func (u *unit) dissect(n *expr.Node) {
	if n == nil {
		return
	}
	if n.Op == expr.OpInput {
		u.others = append(u.others, n.Ref)
		return
	}
	if _, _, ok := atom(n); ok {
		u.atoms = append(u.atoms, n)
		return
	}
	for _, a := range n.Args {
		u.dissect(a)
	}
	if f := n.Fold; f != nil {
		for _, a := range []*expr.Node{f.Range, f.Init, f.While, f.Step, f.Result} {
			u.dissect(a)
		}
	}
}

// atom returns the input and the constant that n compares, if it is such a
// comparison.
func atom(n *expr.Node) (ref int, constant expr.Value, ok bool) {
	if n.Op < expr.OpEq || n.Op > expr.OpGe {
		return 0, expr.Value{}, false
	}
	a, b := n.Args[0], n.Args[1]
	switch {
	case a.Op == expr.OpInput && b.Op == expr.OpConst:
		return a.Ref, b.Const, true
	case a.Op == expr.OpConst && b.Op == expr.OpInput:
		return b.Ref, a.Const, true
	}
	return 0, expr.Value{}, false
}

// inputs returns the inputs that a unit reads.
func (u *unit) inputs() []int {
	l := slices.Clone(u.others)
	for _, n := range u.atoms {
		ref, _, _ := atom(n)
		l = append(l, ref)
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// inputsOf returns the inputs that an expression reads.
func inputsOf(n *expr.Node) []int {
	var u unit
	u.dissect(n)
	return u.inputs()
}

// choose returns the name of the first of the unit's conditions that is true at
// m, "" if none is.
func (u *unit) choose(m moment) string {
	for i, n := range u.when {
		if m.scope().holds(n) {
			return u.names[i]
		}
	}
	return ""
}

// due reports whether a unit is due at an instant: the truth of one of its atoms,
// or the value of another input, is not what it was a millisecond before.
// Durations outside atoms grow all the time and are due at no instant; the
// generated rules have none.
func (u *unit) due(o *Oracle, p *person, at Millis) bool {
	was, is := moment{o, p, at - 1}, moment{o, p, at}
	for _, n := range u.atoms {
		if was.scope().eval(n).N != is.scope().eval(n).N || was.scope().eval(n).K != is.scope().eval(n).K {
			return true
		}
	}
	for _, ref := range u.others {
		if o.spec.Inputs[ref].Kind == plan.InSince || o.spec.Inputs[ref].Kind == plan.InUntil {
			continue
		}
		if a, b := was.input(ref), is.input(ref); a.K != b.K || a.N != b.N || a.S != b.S {
			return true
		}
	}
	return false
}

// reason is why a step is made and what it looks at.
type reason struct {
	due   map[*unit]bool // nil: every unit
	cause engine.Cause
	event string
}

// step evaluates rules at the customer's instant and appends what is emitted: exits,
// entries, triggers, each by name.
func (o *Oracle) step(p *person, why reason, out []engine.Effect) []engine.Effect {
	m := moment{o, p, p.instant}
	var emitted []engine.Effect
	changed := map[string]bool{}
	for _, u := range o.units {
		read := slices.ContainsFunc(u.reads, func(name string) bool { return changed[name] })
		if why.due != nil && !why.due[u] && !read {
			continue
		}
		if u.trigger != nil {
			emitted = append(emitted, o.ruleTrigger(m, u, why)...)
			continue
		}
		for _, e := range o.move(m, u, why) {
			changed[e.Name] = true
			emitted = append(emitted, e)
		}
	}
	emitted = append(emitted, o.timed(m, why)...)
	sortStep(emitted)
	return append(out, emitted...)
}

// move compares what a unit says at m with what was emitted and emits the
// difference.
func (o *Oracle) move(m moment, u *unit, why reason) []engine.Effect {
	var l []engine.Effect
	name, left := u.choose(m), ""
	for _, n := range u.names {
		if _, member := m.p.since[n]; member && n != name {
			l = append(l, o.exit(m.p, n, m.now, why.cause, why.event))
			left = n
		}
	}
	if _, member := m.p.since[name]; name != "" && !member {
		l = append(l, o.enter(m.p, name, left, m.now, why.cause, why.event))
	}
	for i := range l {
		l[i].Evidence = m.evidence(u.when)
	}
	return l
}

// sortStep puts the effects of one step in order.
func sortStep(l []engine.Effect) {
	rank := func(e engine.Effect) int {
		return slices.Index([]engine.Action{engine.Exited, engine.Entered, engine.Fired}, e.Action)
	}
	slices.SortStableFunc(l, func(a, b engine.Effect) int {
		if c := rank(a) - rank(b); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
}

func byName(a, b engine.Pair) int { return strings.Compare(a.Name, b.Name) }

// Package bounds says of a condition that it is never true, or always, because of the
// values that its parts can have: a count is no fraction and never below zero, nobody has
// a text that is two texts, and what happened in 7 days happened in 30.
//
// Its one rule: it is sound and not complete. What it says holds for every customer, every
// history and every instant; where it does not know, it says nothing.
package bounds

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Judge judges the conditions of one rule set.
type Judge struct {
	// Spec has the inputs that conditions read. It may grow.
	Spec *plan.Spec
	// texts are the canonical texts of nodes, domains what inputs can be.
	texts   map[*expr.Node]string
	domains map[string]domain
}

// New returns a judge over a specification.
func New(s *plan.Spec) *Judge {
	return &Judge{Spec: s, texts: make(map[*expr.Node]string), domains: make(map[string]domain)}
}

// NeverTrue reports whether no customer, or no event, meets all of the conditions.
func (j *Judge) NeverTrue(all ...*expr.Node) bool {
	goals := make([]goal, len(all))
	for i, n := range all {
		goals[i] = goal{n, isTrue}
	}
	return !j.possible(goals)
}

// AlwaysTrue reports whether every customer, or every event, meets the condition.
func (j *Judge) AlwaysTrue(n *expr.Node) bool { return !j.possible([]goal{{n, notTrue}}) }

// NeverReached reports whether every customer who meets the condition meets one of those
// before it.
func (j *Judge) NeverReached(n *expr.Node, before ...*expr.Node) bool {
	goals := []goal{{n, isTrue}}
	for _, b := range before {
		goals = append(goals, goal{b, notTrue})
	}
	return !j.possible(goals)
}

// Core returns the fewest operands of a conjunction that nobody meets together, as far as
// leaving out one after the other finds them.
func (j *Judge) Core(n *expr.Node) []*expr.Node {
	if n.Op != expr.OpAnd {
		return []*expr.Node{n}
	}
	core := n.Args[:len(n.Args):len(n.Args)]
	for i := 0; i < len(core) && len(core) > 1; {
		fewer := append(core[:i:i], core[i+1:]...)
		if j.NeverTrue(fewer...) {
			core = fewer
		} else {
			i++
		}
	}
	return core
}

// text is the canonical text of a node, by which parts are known to have the same value.
func (j *Judge) text(n *expr.Node) string {
	if t, ok := j.texts[n]; ok {
		return t
	}
	t := n.Text(func(i int) string { return j.Spec.Inputs[i].Text })
	j.texts[n] = t
	return t
}

func (j *Judge) possible(goals []goal) bool {
	s := search{Judge: j, left: maxSteps}
	return s.possible(goals, newBox())
}

package canon

import (
	"cmp"
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Prune keeps the inputs that rules read, sorted by text with those that need
// others last: what the engine has to store then depends neither on unused
// definitions nor on the order of the files.
func Prune(s *plan.Spec) {
	used := make(map[int]bool)
	nodes := make(map[*expr.Node]bool)
	var mark func(ref int)
	mark = func(ref int) {
		used[ref] = true
		if s.Inputs[ref].Kind.Derived() {
			mark(s.Inputs[ref].Of)
		}
	}
	for _, root := range Roots(s) {
		Walk(root, func(n *expr.Node) {
			if n.Op == expr.OpInput && !nodes[n] {
				nodes[n] = true
				mark(n.Ref)
			}
		})
	}
	for _, t := range s.Triggers {
		if t.Kind.Has(plan.SetInput) {
			mark(t.Input)
		}
	}
	place := reorder(s, used)
	for n := range nodes {
		n.Ref = place[n.Ref]
	}
	for i := range s.Triggers {
		if t := &s.Triggers[i]; t.Kind.Has(plan.SetInput) {
			t.Input = place[t.Input]
		}
	}
}

// Roots lists the trees of all rules.
func Roots(s *plan.Spec) []*expr.Node {
	var out []*expr.Node
	for _, seg := range s.Segments {
		out = append(out, seg.When)
	}
	for _, l := range s.Lifecycles {
		for _, st := range l.Stages {
			out = append(out, st.When)
		}
	}
	for _, t := range s.Triggers {
		if t.When != nil {
			out = append(out, t.When)
		}
		for _, f := range t.Fields {
			out = append(out, f.Node)
		}
	}
	return out
}

// reorder replaces the inputs by the used ones and returns where each went.
func reorder(s *plan.Spec, used map[int]bool) map[int]int {
	var order []int
	for i := range s.Inputs {
		if used[i] {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(a, b int) int {
		x, y := s.Inputs[a], s.Inputs[b]
		if x.Kind.Derived() != y.Kind.Derived() {
			if y.Kind.Derived() {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.Text, y.Text)
	})
	place := make(map[int]int, len(order))
	inputs := make([]plan.Input, len(order))
	for i, from := range order {
		place[from] = i
		inputs[i] = s.Inputs[from]
	}
	for i := range inputs {
		if inputs[i].Kind.Derived() {
			inputs[i].Of = place[inputs[i].Of]
		}
	}
	s.Inputs = inputs
	return place
}

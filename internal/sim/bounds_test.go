package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/bounds"
	"github.com/segmill/segmill/engine/rule/canon"
)

// What the rule compiler calls never true has no member in any history, what it calls
// always true has every known customer, and a stage that it calls never reached has none.
func TestVerdictsHaveNoCounterexample(t *testing.T) {
	found := map[string]int{}
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		strain(r, rules.Spec)
		verdicts := verdictsOf(rules.Spec)
		if len(verdicts) == 0 {
			return
		}
		for _, v := range verdicts {
			found[v]++
		}
		judge(t, Rules{Spec: rules.Spec}, RandomHistory(r, rules.Spec, 60), func(_ testing.TB, s *plan.Spec, calls []Call) string {
			verdicts := verdictsOf(s)
			o := NewOracle(s, engine.Options{Zones: Zones})
			for i := range calls {
				c := &calls[i]
				o.Run(c)
				members := o.Members(c.Customer, o.Instant(c.Customer))
				for name, v := range verdicts {
					is := slices.Contains(members, name)
					if is && v != "always" || !is && v == "always" && len(o.person(c.Customer).events) > 0 {
						return fmt.Sprintf("call %d: %s\n%s is %s true, but member: %v", i, c, name, v, is)
					}
				}
			}
			return ""
		})
	})
	t.Logf("verdicts: %v", found)
}

// verdictsOf returns what is never or always true of segments and stages, by name.
func verdictsOf(s *plan.Spec) map[string]string {
	l := map[string]string{}
	j := bounds.New(s)
	for _, seg := range s.Segments {
		if j.NeverTrue(seg.When) {
			l[seg.ID] = "never"
		} else if j.AlwaysTrue(seg.When) {
			l[seg.ID] = "always"
		}
	}
	for _, c := range s.Lifecycles {
		var above []*expr.Node
		for _, st := range c.Stages {
			if j.NeverReached(st.When, above...) {
				l[c.ID+"/"+st.ID] = "never"
			}
			above = append(above, st.When)
		}
	}
	return l
}

// strain adds segments in which parts of conditions contradict each other more often: the
// same and the like with other limits, other windows and other signs.
func strain(r *rand.Rand, s *plan.Spec) {
	var atoms []*expr.Node
	collect := func(n *expr.Node) {
		canon.Walk(n, func(n *expr.Node) {
			if n.Type == expr.Bool && !canon.Has(n, expr.OpVar) && n.Op != expr.OpConst {
				atoms = append(atoms, n)
			}
		})
	}
	for _, seg := range s.Segments {
		collect(seg.When)
	}
	for _, l := range s.Lifecycles {
		for _, st := range l.Stages {
			collect(st.When)
		}
	}
	atoms = slices.DeleteFunc(atoms, func(n *expr.Node) bool { return readsMembership(s, n) || canon.Has(n, expr.OpField) })
	if len(atoms) == 0 {
		return
	}
	for i := range 6 {
		var parts []*expr.Node
		for range 2 + r.IntN(3) {
			parts = append(parts, varied(r, s, pick(r, atoms...)))
		}
		op := expr.OpAnd
		if i == 5 {
			op = expr.OpOr
		}
		s.Segments = append(s.Segments, plan.Segment{ID: fmt.Sprintf("strained%d", i), When: apply(op, expr.Bool, parts...)})
	}
}

// varied returns a condition like another one.
func varied(r *rand.Rand, s *plan.Spec, n *expr.Node) *expr.Node {
	switch {
	case chance(r, 25):
		return apply(expr.OpNot, expr.Bool, n)
	case n.Op >= expr.OpEq && n.Op <= expr.OpGe && n.Args[1].Op == expr.OpConst:
		v := n.Args[1].Const
		if v.K == expr.Int {
			v.N += int64(r.IntN(7) - 3)
		}
		of := n.Args[0]
		if of.Op == expr.OpInput && s.Inputs[of.Ref].Window > 0 && chance(r, 50) {
			in := s.Inputs[of.Ref]
			in.Window *= Millis(1 + r.IntN(3))
			in.Text = fmt.Sprintf("%s of %d", in.Text, in.Window)
			of = &expr.Node{Op: expr.OpInput, Type: of.Type, Ref: refOf(s, in)}
		}
		op := n.Op
		if v.K == expr.Int || v.K == expr.Double {
			op = pick(r, expr.OpEq, expr.OpNe, expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe)
		}
		return apply(op, expr.Bool, of, constant(v))
	}
	return n
}

// refOf returns the number of an input, which is added if there is none of its text.
func refOf(s *plan.Spec, in plan.Input) int {
	if i := slices.IndexFunc(s.Inputs, func(o plan.Input) bool { return o.Text == in.Text }); i >= 0 {
		return i
	}
	s.Inputs = append(s.Inputs, in)
	return len(s.Inputs) - 1
}

// readsMembership reports whether a condition depends on segments, so that it can not be
// put before them.
func readsMembership(s *plan.Spec, n *expr.Node) bool {
	found := false
	canon.Walk(n, func(n *expr.Node) {
		found = found || n.Op == expr.OpInput && s.Inputs[n.Ref].Kind == plan.InSegment
	})
	return found
}

package rule

import (
	"slices"
	"strconv"

	"cel.dev/cel-go/common/ast"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
)

// checkWord checks a constant that is compared with a field of few values.
func (t *translator) checkWord(e ast.Expr, value, with *expr.Node) {
	f := t.fields[with]
	if f != nil && value.Op == expr.OpConst && value.Const.K == expr.String {
		t.checkValue(e, value.Const.S, f, t.text(with))
	}
}

// checkValue checks a text against the values of a field: those of an
// enumeration are all there are, others are what is usual.
func (t *translator) checkValue(e ast.Expr, value string, f *expr.Type, name string) {
	switch {
	case f.Symbols != nil && !slices.Contains(f.Symbols, value):
		t.failAt(e, file.DidYouMean(value, f.Symbols), "%s is not a value of %s", strconv.Quote(value), name)
	case f.Words != nil && !slices.Contains(f.Words, value):
		t.Warn(t.placeOf(e), file.DidYouMean(value, f.Words), "%s is not a usual value of %s", strconv.Quote(value), name)
	}
}

// doubt is a != or ! whose operand can be absent: the result is then unknown,
// and people expect it to be true.
type doubt struct {
	at   file.Place
	sign string
	leaf *expr.Node
	name string // of the leaf, as the rule has it
}

func (t *translator) doubt(e ast.Expr, sign string, nodes ...*expr.Node) {
	for _, n := range nodes {
		if leaf := t.absentLeaf(n); leaf != nil {
			t.doubts = append(t.doubts, doubt{t.placeOf(e), sign, leaf, t.nameOf(leaf)})
			return
		}
	}
}

// nameOf prints a leaf with the rule's own name for the variable in it.
func (t *translator) nameOf(leaf *expr.Node) string {
	if leaf.Op == expr.OpMember && leaf.Args[0].Op == expr.OpVar {
		for _, v := range t.vars {
			if v.slot == leaf.Args[0].Ref {
				return v.name + "." + leaf.Name
			}
		}
	}
	return t.text(leaf)
}

// lintAbsent tells the doubts that no has() in the same expression answers.
func (t *translator) lintAbsent() {
	if len(t.doubts) == 0 {
		return
	}
	asked := make(map[string]bool)
	walkHas(t.expression.result.node, func(n *expr.Node) { asked[t.text(n)] = true })
	for _, d := range t.doubts {
		if asked[t.text(d.leaf)] {
			continue
		}
		hint := "add || !has(" + d.name + ") if those count"
		if d.leaf.Op == expr.OpInput && t.spec.Inputs[d.leaf.Ref].Kind != plan.InProfile {
			hint = "add || count(…) == 0 if those count"
		}
		t.Warn(d.at, hint, "where %s is absent, this %s is unknown and not true", d.name, d.sign)
	}
}

// walkHas calls f for everything that has() asks for.
func walkHas(n *expr.Node, f func(*expr.Node)) {
	walk(n, func(n *expr.Node) {
		if n.Op == expr.OpHas {
			f(n.Args[0])
		}
	})
}

// absentLeaf returns a part of n that can be absent and then makes n unknown.
func (t *translator) absentLeaf(n *expr.Node) *expr.Node {
	switch n.Op {
	case expr.OpHas, expr.OpFold:
		return nil
	case expr.OpInput:
		if t.inputCanBeAbsent(n.Ref) {
			return n
		}
	case expr.OpField, expr.OpMember:
		if f := t.fields[n]; f != nil && f.Optional {
			return n
		}
	default:
	}
	for _, a := range n.Args {
		if leaf := t.absentLeaf(a); leaf != nil {
			return leaf
		}
	}
	return nil
}

func (x *expression) inputCanBeAbsent(ref int) bool {
	switch in := x.spec.Inputs[ref]; in.Kind {
	case plan.InSegment, plan.InConsent:
		return false
	case plan.InAggregate:
		return !in.Agg.Zero
	default:
		return true
	}
}

// lintSize warns of a condition that is true of a customer who never did
// anything: it matches nearly everybody, which is seldom meant.
func (c *compiler) lintSize(p *file.Passage, n *expr.Node) {
	v, err := evaluate(c.zones, n, func(ref int) expr.Value {
		switch in := c.spec.Inputs[ref]; {
		case in.Kind == plan.InSegment || in.Kind == plan.InConsent:
			return expr.BoolValue(false)
		case in.Kind == plan.InAggregate:
			return in.Agg.Nothing(in.Type)
		}
		return expr.Value{}
	})
	if err == nil && v.K == expr.Bool && v.N == 1 {
		c.Warn(p, "add what they did, such as count(purchase) > 0", "this is true of every known customer who did nothing")
	}
}

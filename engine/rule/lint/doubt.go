package lint

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
)

// Doubts are the places of one expression where an absent value may surprise. They are
// collected while it is read, since its canonical form no longer has its signs.
type Doubts struct {
	*Linter
	doubts []doubt
}

// doubt is a != or ! whose operand can be absent: the result is then unknown,
// and people expect it to be true.
type doubt struct {
	at   file.Place
	sign string
	leaf *expr.Node
	name string // of the leaf, as the rule has it
}

// Add enters a sign over nodes, if one of them can be absent. nameOf prints a leaf as the
// rule has it.
func (d *Doubts) Add(at file.Place, sign string, nameOf func(*expr.Node) string, nodes ...*expr.Node) {
	for _, n := range nodes {
		if leaf := d.absentLeaf(n); leaf != nil {
			d.doubts = append(d.doubts, doubt{at, sign, leaf, nameOf(leaf)})
			return
		}
	}
}

// Warn warns of the doubts that no has() in the same expression answers.
func (d *Doubts) Warn(root *expr.Node) {
	if len(d.doubts) == 0 {
		return
	}
	answered := make(map[string]bool)
	canon.Walk(root, func(n *expr.Node) {
		if n.Op == expr.OpHas {
			answered[d.text(n.Args[0])] = true
		}
	})
	for _, one := range d.doubts {
		if answered[d.text(one.leaf)] {
			continue
		}
		hint := "add || !has(" + one.name + ") if those count"
		if one.leaf.Op == expr.OpInput && d.Spec.Inputs[one.leaf.Ref].Kind != plan.InProfile {
			hint = "add || count(…) == 0 if those count"
		}
		d.Log.Warn(one.at, hint, "where %s is absent, this %s is unknown and not true", one.name, one.sign)
	}
}

func (d *Doubts) text(n *expr.Node) string {
	return n.Text(func(i int) string { return d.Spec.Inputs[i].Text })
}

// absentLeaf returns a part of n that can be absent and then makes n unknown.
func (d *Doubts) absentLeaf(n *expr.Node) *expr.Node {
	switch n.Op {
	case expr.OpHas, expr.OpFold:
		return nil
	case expr.OpCall:
		if n.Name == expr.OrElse {
			return d.absentLeaf(n.Args[1])
		}
	case expr.OpInput:
		if canBeAbsent(&d.Spec.Inputs[n.Ref]) {
			return n
		}
	case expr.OpField, expr.OpMember:
		if f := d.Fields[n]; f != nil && f.Optional {
			return n
		}
	default:
	}
	for _, a := range n.Args {
		if leaf := d.absentLeaf(a); leaf != nil {
			return leaf
		}
	}
	return nil
}

func canBeAbsent(in *plan.Input) bool {
	switch in.Kind {
	case plan.InSegment, plan.InConsent:
		return false
	case plan.InAggregate:
		return !in.Agg.Zero
	default:
		return true
	}
}

package lint

import (
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// fact is that something is there: a value, or an event of some kind.
type fact struct {
	// what is the value, or the stream of the event.
	what string
	// conds are what is true of the event.
	conds []string
	// window is how long ago it was at most; 0: at any time.
	window expr.Millis
}

// implies reports whether something is there because another thing is.
func (f fact) implies(o fact) bool {
	return f.what == o.what && (o.window == 0 || f.window > 0 && f.window <= o.window) &&
		!slices.ContainsFunc(o.conds, func(c string) bool { return !slices.Contains(f.conds, c) })
}

// isKnown reports whether a leaf is there if all of known are.
func (d *Doubts) isKnown(leaf *expr.Node, known []fact) bool {
	need := d.factOf(leaf)
	return slices.ContainsFunc(known, func(f fact) bool { return f.implies(need) })
}

// factOf is the fact that a leaf has a value.
func (d *Doubts) factOf(leaf *expr.Node) fact {
	if leaf.Op != expr.OpInput {
		return fact{what: d.text(leaf)}
	}
	in := d.base(leaf.Ref)
	if in.Kind != plan.InAggregate {
		return fact{what: in.Text}
	}
	return d.happened(in)
}

// happened is the fact that an aggregate has something to look at.
func (d *Doubts) happened(in *plan.Input) fact {
	if len(in.Sources) != 1 {
		text := ""
		for _, s := range in.Sources {
			text += d.Spec.Streams().Name(s.Stream)
			if s.Cond != nil {
				text += "[" + s.Cond.Text(nil) + "]"
			}
		}
		return fact{what: text + in.Field, window: in.Window}
	}
	s := in.Sources[0]
	f := fact{what: "event of " + d.Spec.Streams().Name(s.Stream), window: in.Window}
	for _, c := range conjuncts(d.seen(in, s)) {
		f.conds = append(f.conds, c.Text(nil))
	}
	return f
}

func conjuncts(n *expr.Node) []*expr.Node {
	switch {
	case n == nil:
		return nil
	case n.Op == expr.OpAnd:
		return n.Args
	}
	return []*expr.Node{n}
}

// given returns what is there if n is true, or false.
func (d *Doubts) given(n *expr.Node, value bool) (facts []fact) {
	switch n.Op {
	case expr.OpHas:
		if value {
			return []fact{d.factOf(n.Args[0])}
		}
	case expr.OpNot:
		return d.given(n.Args[0], !value)
	case expr.OpAnd, expr.OpOr:
		if (n.Op == expr.OpAnd) != value {
			return nil
		}
		for _, a := range n.Args {
			facts = append(facts, d.given(a, value)...)
		}
	case expr.OpEq, expr.OpNe, expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe:
		if in := d.counted(n, value); in != nil {
			return []fact{d.happened(in)}
		}
		if value && n.Op != expr.OpNe && n.Args[1].Op == expr.OpConst {
			for _, l := range d.absentLeaves(n.Args[0], nil) {
				facts = append(facts, d.factOf(l))
			}
		}
	default:
	}
	return facts
}

// beside returns what is there, or cared for, beside an operand of && or ||. An operand
// of || that asks for what is missing, alone or with more, is there for just that case.
func (d *Doubts) beside(n *expr.Node, op expr.Op) (facts []fact) {
	if op == expr.OpAnd {
		return d.given(n, true)
	}
	for _, c := range conjuncts(n) {
		facts = append(facts, d.given(c, false)...)
	}
	return facts
}

// counted returns the aggregate that counts at least one event if n has the value, nil if
// n says nothing of the kind.
func (d *Doubts) counted(n *expr.Node, value bool) *plan.Input {
	a, b := n.Args[0], n.Args[1]
	if a.Op != expr.OpInput || b.Op != expr.OpConst || b.Const.K != expr.Int || d.Spec.Inputs[a.Ref].Kind != plan.InAggregate {
		return nil
	}
	in, limit := &d.Spec.Inputs[a.Ref], b.Const.N
	if in.Type != expr.Int || !in.Agg.Zero {
		return nil
	}
	atZero := map[expr.Op]bool{
		expr.OpEq: limit == 0, expr.OpNe: limit != 0, expr.OpLt: 0 < limit, expr.OpLe: 0 <= limit, expr.OpGt: 0 > limit, expr.OpGe: 0 >= limit,
	}[n.Op]
	if atZero == value {
		return nil
	}
	return in
}

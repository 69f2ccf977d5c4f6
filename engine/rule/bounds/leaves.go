package bounds

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// absentLeaves appends the parts of an atom that it is unknown without. Counts are among
// them, which are always there, so that the box knows of them.
func (s *search) absentLeaves(n *expr.Node, to []*expr.Node) []*expr.Node {
	switch n.Op {
	case expr.OpHas, expr.OpFold, expr.OpCond, expr.OpAnd, expr.OpOr, expr.OpVar, expr.OpConst:
		return to
	case expr.OpCall:
		if n.Name == expr.OrElse {
			return to
		}
	case expr.OpInput, expr.OpField:
		return append(to, n)
	default:
	}
	for _, a := range n.Args {
		to = s.absentLeaves(a, to)
	}
	return to
}

// canBeUnknown reports whether a condition may be neither true nor false.
func (s *search) canBeUnknown(n *expr.Node) bool {
	switch n.Op {
	case expr.OpHas, expr.OpConst:
		return false
	case expr.OpInput:
		in := &s.Spec.Inputs[n.Ref]
		return in.Kind != plan.InSegment && in.Kind != plan.InConsent && (in.Kind != plan.InAggregate || !in.Agg.Zero)
	case expr.OpField, expr.OpMember, expr.OpVar, expr.OpFold, expr.OpIndex:
		return true
	case expr.OpCall:
		if n.Name == expr.OrElse {
			return s.canBeUnknown(n.Args[1])
		}
	default:
	}
	if canFailItself(n) {
		return true
	}
	for _, a := range n.Args {
		if s.canBeUnknown(a) {
			return true
		}
	}
	return false
}

// canFail reports whether a part of n can be absent though all that it reads is there.
func canFail(n *expr.Node) bool {
	if canFailItself(n) || n.Op == expr.OpFold || n.Op == expr.OpVar || n.Op == expr.OpCond || n.Op == expr.OpAnd || n.Op == expr.OpOr {
		return true
	}
	for _, a := range n.Args {
		if canFail(a) {
			return true
		}
	}
	return false
}

// canFailItself: a division by zero, an overflow, an index out of range, a text that is no
// number.
func canFailItself(n *expr.Node) bool {
	switch n.Op {
	case expr.OpAdd, expr.OpSub, expr.OpMul, expr.OpDiv, expr.OpMod, expr.OpNeg, expr.OpIndex, expr.OpCall, expr.OpMember:
		return true
	default:
		return false
	}
}

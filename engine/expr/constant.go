package expr

import (
	"maps"
	"slices"
)

// Most comparisons are of one thing with a constant. They do what Relate does,
// which is asked where the kinds are others than expected.

// Bits of what a comparison is true of.
const (
	less = 1 << iota
	equal
	greater
)

var truths = map[Op]uint8{
	OpLt: less, OpLe: less | equal, OpGt: greater, OpGe: greater | equal, OpEq: equal, OpNe: less | greater,
}

// constantRelation returns a comparison of a with a constant on its right; nil if n
// is none that is worth it.
func constantRelation(n *Node, a Fn) Fn {
	if n.Args[1].Op != OpConst {
		return nil
	}
	op, c, truth := n.Op, n.Args[1].Const, truths[n.Op]
	switch {
	case c.K == String && (op == OpEq || op == OpNe):
		return textRelation(a, op, c)
	case c.K != Int && c.K != Double && c.K != Duration:
		return nil
	}
	f := c.Float()
	if n.Args[0].Op != OpInput {
		return nil
	}
	ref := n.Args[0].Ref
	return func(e *Env) Value {
		v := e.Input(ref)
		switch {
		case v.K == c.K && v.K != Double:
			return isTrue(truth, v.N, c.N)
		case v.K == Double && c.K != Duration:
			return isTrue(truth, FloatOf(Double, v.N), f)
		}
		return Relate(op, v, c)
	}
}

func isTrue[T int64 | float64](truth uint8, a, b T) Value {
	is := uint8(equal)
	if a < b {
		is = less
	} else if a > b {
		is = greater
	}
	return BoolValue(truth&is != 0)
}

func textRelation(a Fn, op Op, c Value) Fn {
	want := op == OpEq
	return func(e *Env) Value {
		v := a(e)
		if v.K == String {
			return BoolValue((v.S == c.S) == want)
		}
		return Relate(op, v, c)
	}
}

// fieldText returns a comparison of a field with a few texts, `==`, `!=` or `in`;
// nil if n is none.
func (c *Compiler) fieldText(n *Node) Fn {
	if len(n.Args) != 2 || n.Args[0].Op != OpField || n.Op != OpIn && n.Op != OpEq && n.Op != OpNe {
		return nil
	}
	var texts []string
	if b := n.Args[1]; n.Op == OpIn {
		texts = slices.Sorted(maps.Keys(constantStrings(b)))
	} else if b.Op == OpConst && b.Const.K == String {
		texts = []string{b.Const.S}
	}
	slot := c.Slot(n.Args[0].Path)
	if slot < 0 || len(texts) == 0 || len(texts) > fewStrings {
		return nil
	}
	op := n.Op
	return func(e *Env) Value {
		if slot >= len(e.Fields) {
			return Value{}
		}
		switch v := &e.Fields[slot]; {
		case v.K == String:
			for _, s := range texts {
				if s == v.S {
					return BoolValue(op != OpNe)
				}
			}
			return BoolValue(op == OpNe)
		case v.K == Absent || op == OpIn:
			return Value{}
		}
		return BoolValue(op == OpNe) // of another kind: not equal
	}
}

// Package canon has the canonical form of rules: what means the same is the same tree,
// and the same rules are the same plan.Spec, whatever the layout, the order of files and
// the order of && and ||.
//
// Its one rule: two forms are made one only if no customer and no instant tells them apart,
// unknown values included.
package canon

import (
	"cmp"
	"slices"

	"github.com/segmill/segmill/engine/expr"
)

// Const is the node of a constant.
func Const(v expr.Value) *expr.Node {
	return &expr.Node{Op: expr.OpConst, Type: v.K, Const: v}
}

// IsTrue reports whether n is the constant true.
func IsTrue(n *expr.Node) bool { return isConstBool(n, 1) }

// IsFalse reports whether n is the constant false.
func IsFalse(n *expr.Node) bool { return isConstBool(n, 0) }

func isConstBool(n *expr.Node, b int64) bool {
	return n.Op == expr.OpConst && n.Const.K == expr.Bool && n.Const.N == b
}

// Join is args joined by && or ||: flat, without duplicates, sorted by text.
// That is safe because both are commutative also where an operand is unknown.
func Join(op expr.Op, inputs func(int) string, args ...*expr.Node) *expr.Node {
	neutral, decides := int64(1), int64(0)
	if op == expr.OpOr {
		neutral, decides = 0, 1
	}
	type operand struct {
		node *expr.Node
		text string
	}
	var flat []operand
	for _, a := range args {
		parts := []*expr.Node{a}
		if a.Op == op {
			parts = a.Args
		}
		for _, p := range parts {
			if isConstBool(p, decides) {
				return p
			}
			if !isConstBool(p, neutral) {
				flat = append(flat, operand{p, p.Text(inputs)})
			}
		}
	}
	slices.SortStableFunc(flat, func(a, b operand) int { return cmp.Compare(a.text, b.text) })
	flat = slices.CompactFunc(flat, func(a, b operand) bool { return a.text == b.text })
	switch len(flat) {
	case 0:
		return Const(expr.BoolValue(neutral == 1))
	case 1:
		return flat[0].node
	}
	n := &expr.Node{Op: op, Type: expr.Bool}
	for _, o := range flat {
		n.Args = append(n.Args, o.node)
	}
	return n
}

// Not is the negation of n.
func Not(n *expr.Node) *expr.Node {
	if n.Op == expr.OpNot {
		return n.Args[0]
	}
	return &expr.Node{Op: expr.OpNot, Type: expr.Bool, Args: []*expr.Node{n}}
}

// turned is the comparison that means the same with its sides exchanged.
var turned = map[expr.Op]expr.Op{
	expr.OpEq: expr.OpEq, expr.OpNe: expr.OpNe,
	expr.OpLt: expr.OpGt, expr.OpLe: expr.OpGe, expr.OpGt: expr.OpLt, expr.OpGe: expr.OpLe,
}

// Compare is a comparison with its constant, if it has one, on the right and in
// the type of the other side.
func Compare(op expr.Op, a, b *expr.Node) *expr.Node {
	if a.Op == expr.OpConst && b.Op != expr.OpConst {
		op, a, b = turned[op], b, a
	}
	if b.Op == expr.OpConst {
		b = SameNumber(b, a.Type)
	}
	return &expr.Node{Op: op, Type: expr.Bool, Args: []*expr.Node{a, b}}
}

// exact is the largest whole number up to which every one is a double.
const exact = 1 << 53

// SameNumber turns a constant into the kind k of numbers if it stays the same
// number.
func SameNumber(n *expr.Node, k expr.Kind) *expr.Node {
	v := n.Const
	switch {
	case v.K == expr.Int && k == expr.Double && v.N >= -exact && v.N <= exact:
		return Const(expr.DoubleValue(float64(v.N)))
	case v.K == expr.Double && k == expr.Int:
		if f := v.Float(); f >= -exact && f <= exact && f == float64(int64(f)) {
			return Const(expr.IntValue(int64(f)))
		}
	}
	return n
}

// In is x in list. The order of a constant list does not matter, so it is
// sorted.
func In(x, list *expr.Node) *expr.Node {
	if list.Op == expr.OpConst {
		vals := make([]expr.Value, 0, len(list.Const.L))
		for _, v := range list.Const.L {
			vals = append(vals, SameNumber(Const(v), x.Type).Const)
		}
		slices.SortFunc(vals, compareValues)
		vals = slices.CompactFunc(vals, func(a, b expr.Value) bool { return compareValues(a, b) == 0 })
		list = Const(expr.ListValue(vals))
	}
	return &expr.Node{Op: expr.OpIn, Type: expr.Bool, Args: []*expr.Node{x, list}}
}

func compareValues(a, b expr.Value) int {
	return cmp.Or(cmp.Compare(a.K, b.K), cmp.Compare(a.N, b.N), cmp.Compare(a.S, b.S), slices.CompareFunc(a.L, b.L, compareValues))
}

// AreConstant reports whether all of nodes are constants.
func AreConstant(nodes []*expr.Node) bool {
	return !slices.ContainsFunc(nodes, func(n *expr.Node) bool { return n.Op != expr.OpConst })
}

// Evaluate works out a tree; fields and variables have no value, inputs the one
// that input gives.
func Evaluate(zones expr.Zones, n *expr.Node, input func(int) expr.Value) (expr.Value, error) {
	c := expr.Compiler{Slot: func(string) int { return 0 }, Zones: zones}
	fn, err := c.Compile(n)
	if err != nil {
		return expr.Value{}, err
	}
	return fn(&expr.Env{Input: input}), nil
}

// Shift moves the variables of a definition's comprehensions out of the way of
// those that it is used in.
func Shift(n *expr.Node, by int) *expr.Node {
	if by == 0 || !Has(n, expr.OpFold) {
		return n
	}
	return shiftAll(n, by)
}

func shiftAll(n *expr.Node, by int) *expr.Node {
	out := *n
	if n.Op == expr.OpVar {
		out.Ref += by
	}
	out.Args = make([]*expr.Node, len(n.Args))
	for i, a := range n.Args {
		out.Args[i] = shiftAll(a, by)
	}
	if f := n.Fold; f != nil {
		out.Fold = &expr.Fold{
			Var: f.Var + by, Acc: f.Acc + by,
			Range: shiftAll(f.Range, by), Init: shiftAll(f.Init, by), While: shiftAll(f.While, by),
			Step: shiftAll(f.Step, by), Result: shiftAll(f.Result, by),
		}
	}
	return &out
}

// Has reports whether there is a node of the operation.
func Has(n *expr.Node, op expr.Op) bool {
	found := false
	Walk(n, func(n *expr.Node) { found = found || n.Op == op })
	return found
}

// Count returns the number of nodes.
func Count(n *expr.Node) int {
	count := 0
	Walk(n, func(*expr.Node) { count++ })
	return count
}

// Walk calls f for n and every node below it.
func Walk(n *expr.Node, f func(*expr.Node)) {
	f(n)
	Below(n, func(a *expr.Node) { Walk(a, f) })
}

// Below calls f for every node right below n.
func Below(n *expr.Node, f func(*expr.Node)) {
	for _, a := range n.Args {
		f(a)
	}
	if n.Fold != nil {
		for _, a := range []*expr.Node{n.Fold.Range, n.Fold.Init, n.Fold.While, n.Fold.Step, n.Fold.Result} {
			f(a)
		}
	}
}

package canon

import (
	"testing"

	"github.com/segmill/segmill/engine/expr"
)

// What Join and Not build is worth the same as what they were given, also where a value is
// unknown, and the order of the operands does not show.
func TestJoinKeepsTheValue(t *testing.T) {
	input := func(ref int) *expr.Node { return &expr.Node{Op: expr.OpInput, Type: expr.Bool, Ref: ref} }
	name := func(ref int) string { return string(rune('a' + ref)) }
	values := []expr.Value{expr.BoolValue(false), expr.BoolValue(true), {}}
	for _, op := range []expr.Op{expr.OpAnd, expr.OpOr} {
		inner := Join(expr.OpAnd, name, input(1), Not(input(2)))
		built := Join(op, name, input(0), inner, input(0), Const(expr.BoolValue(op == expr.OpAnd)))
		turned := Join(op, name, Join(expr.OpAnd, name, Not(input(2)), input(1)), input(0))
		if built.Text(name) != turned.Text(name) {
			t.Errorf("%s and %s mean the same", built.Text(name), turned.Text(name))
		}
		plain := &expr.Node{Op: op, Type: expr.Bool, Args: []*expr.Node{input(0), {Op: expr.OpAnd, Type: expr.Bool, Args: []*expr.Node{
			input(1), {Op: expr.OpNot, Type: expr.Bool, Args: []*expr.Node{input(2)}},
		}}}}
		for i := range 27 {
			at := func(ref int) expr.Value { return values[[]int{i % 3, i / 3 % 3, i / 9}[ref]] }
			got, err1 := Evaluate(nil, built, at)
			want, err2 := Evaluate(nil, plain, at)
			if err1 != nil || err2 != nil || got.K != want.K || got.N != want.N {
				t.Errorf("%s of case %d is %v (%v), want %v (%v)", built.Text(name), i, got, err1, want, err2)
			}
		}
	}
}

package expr

import (
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

var anyValue = rapid.Custom(func(t *rapid.T) Value {
	n := rapid.Int64Range(-2, 2).Draw(t, "n")
	return rapid.SampledFrom([]Value{
		{},
		BoolValue(n > 0), IntValue(n), IntValue(n + 1<<53), DoubleValue(float64(n) / 2), DoubleValue(1 << 53), DecimalValue(n * 5000),
		StringValue(strconv.FormatInt(n, 10)), TimeValue(Millis(n)), DurationValue(Millis(n)), DateValue(n), ListValue(nil),
	}).Draw(t, "value")
})

// compared compiles a comparison of a with a constant twice, a being an input and a
// field, and returns what both are.
func compared(t *rapid.T, op Op, a Value, constant *Node) (r [2]Value) {
	c := Compiler{Slot: func(string) int { return 0 }}
	for i, left := range []Op{OpInput, OpField} {
		fn, err := c.Compile(&Node{Op: op, Args: []*Node{{Op: left}, constant}})
		if err != nil {
			t.Fatal(err)
		}
		r[i] = fn(&Env{Fields: []Value{a}, Input: func(int) Value { return a }})
	}
	return r
}

// A comparison with a constant means what Relate says.
func TestConstantRelation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		op := rapid.SampledFrom([]Op{OpEq, OpNe, OpLt, OpLe, OpGt, OpGe}).Draw(t, "op")
		a, b := anyValue.Draw(t, "a"), anyValue.Draw(t, "b")
		for _, got := range compared(t, op, a, &Node{Op: OpConst, Const: b}) {
			if want := Relate(op, a, b); got.K != want.K || got.N != want.N {
				t.Fatalf("%v %v %v is %v, not %v", a, op, b, got, want)
			}
		}
	})
}

// It means the same of an input and of a field whether a text is in a list.
func TestInTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := anyValue.Draw(t, "a")
		var l []Value
		for i := range rapid.IntRange(1, 8).Draw(t, "texts") {
			l = append(l, StringValue(strconv.Itoa(i)))
		}
		r := compared(t, OpIn, a, &Node{Op: OpConst, Const: ListValue(l)})
		want := Value{}
		if n, err := strconv.Atoi(a.S); a.K == String {
			want = BoolValue(err == nil && n >= 0 && n < len(l))
		}
		if r[0].K != want.K || r[0].N != want.N || r[1].K != want.K || r[1].N != want.N {
			t.Fatalf("%v in %v is %v of an input and %v of a field, not %v", a, l, r[0], r[1], want)
		}
	})
}

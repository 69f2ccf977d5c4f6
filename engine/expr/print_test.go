package expr

import "testing"

func in(i int) *Node                  { return &Node{Op: OpInput, Type: Int, Ref: i} }
func val(v Value) *Node               { return &Node{Op: OpConst, Type: v.K, Const: v} }
func op(o Op, args ...*Node) *Node    { return &Node{Op: o, Args: args} }
func field(stream, path string) *Node { return &Node{Op: OpField, Name: stream, Path: path} }
func call(name string, args ...*Node) *Node {
	return &Node{Op: OpCall, Name: name, Args: args}
}

// TestText: there are parentheses where the tree would otherwise be another one, and
// nowhere else.
func TestText(t *testing.T) {
	a, b, c := in(0), in(1), in(2)
	acc := &Node{Op: OpVar, Ref: 1}
	x := &Node{Op: OpVar, Ref: 0}
	list := val(ListValue([]Value{IntValue(1), IntValue(2)}))
	fold := func(f Fold) *Node { f.Var, f.Acc, f.Range = 0, 1, list; return &Node{Op: OpFold, Fold: &f} }
	yes, no, none := val(BoolValue(true)), val(BoolValue(false)), val(ListValue(nil))
	one := val(IntValue(1))
	for _, tc := range []struct {
		n    *Node
		want string
	}{
		{op(OpSub, op(OpSub, a, b), c), "a - b - c"},
		{op(OpSub, a, op(OpSub, b, c)), "a - (b - c)"},
		{op(OpMul, op(OpAdd, a, b), c), "(a + b) * c"},
		{op(OpAdd, op(OpMul, a, b), c), "a * b + c"},
		{op(OpAnd, op(OpOr, a, b), c, op(OpNot, op(OpLt, a, b))), "(a || b) && c && !(a < b)"},
		{op(OpOr, op(OpAnd, a, b), c), "a && b || c"},
		{op(OpAnd, a, op(OpAnd, b, c)), "a && (b && c)"},
		{op(OpEq, op(OpLt, a, b), op(OpLt, b, c)), "a < b == (b < c)"},
		{op(OpCond, op(OpCond, a, b, c), b, op(OpCond, a, b, c)), "(a ? b : c) ? b : a ? b : c"},
		{op(OpNeg, op(OpNeg, a)), "-(-a)"},
		{op(OpSub, a, val(IntValue(-1))), "a - -1"},
		{op(OpMul, val(DoubleValue(-1)), a), "-1.0 * a"},
		{op(OpIn, a, list), "a in [1, 2]"},
		{op(OpIndex, op(OpList, a, b), c), "[a, b][c]"},
		{op(OpHas, field("web", "attributes.plan")), "has(web.attributes.plan)"},
		{field("web", "attributes.a b"), `web.attributes["a b"]`},
		{field("web", "attributes.a.b"), `web.attributes["a.b"]`},
		{field("web", "attributes.in"), `web.attributes["in"]`},
		{field("", "revenue"), "revenue"},
		{&Node{Op: OpMember, Ref: 3, Args: []*Node{a}}, "a.3"},
		{call("size", op(OpAdd, a, b)), "size(a + b)"},
		{call("startsWith", op(OpAdd, a, b), val(StringValue("\"x\n"))), `(a + b).startsWith("\"x\n")`},
		{val(IntValue(3)), "3"},
		{val(DoubleValue(3)), "3.0"},
		{val(DoubleValue(1e30)), "1e+30"},
		{val(StringValue("3")), `"3"`},
		{val(BoolValue(true)), "true"},
		{val(Value{}), "null"},
		{val(DecimalValue(123456)), `decimal("12.3456")`},
		{val(DateValue(0)), `date("1970-01-01")`},
		{val(TimeValue(1500)), `timestamp("1970-01-01T00:00:01.5Z")`},
		{val(RecordValue([]Value{IntValue(1)})), "record[1]"},
		{val(DurationValue(0)), `duration("0s")`},
		{val(DurationValue(36 * 3_600_000)), "hours(36)"},
		{val(DurationValue(48 * 3_600_000)), "days(2)"},
		{val(DurationValue(90_000)), `duration("90s")`},
		{val(DurationValue(-1)), `duration("-0.001s")`},
		{fold(Fold{Init: no, While: op(OpNot, acc), Step: op(OpOr, acc, op(OpLt, x, a)), Result: acc}), "[1, 2].exists(v0, v0 < a)"},
		{fold(Fold{Init: no, While: op(OpNot, acc), Step: op(OpOr, acc, b, a), Result: acc}), "[1, 2].exists(v0, b || a)"},
		{fold(Fold{Init: yes, While: acc, Step: op(OpAnd, op(OpLt, x, a), acc), Result: acc}), "[1, 2].all(v0, v0 < a)"},
		{fold(Fold{Init: none, While: yes, Step: op(OpAdd, acc, op(OpList, op(OpAdd, x, x))), Result: acc}), "[1, 2].map(v0, v0 + v0)"},
		{fold(Fold{Init: none, While: yes, Step: op(OpAdd, acc, list), Result: acc}), "fold([1, 2]; v0; v1; []; true; v1 + [1, 2]; v1)"},
		{fold(Fold{Init: none, While: yes, Step: op(OpCond, b, op(OpAdd, acc, op(OpList, a)), acc), Result: acc}), "[1, 2].map(v0, b, a)"},
		{fold(Fold{Init: none, While: yes, Step: op(OpCond, b, op(OpAdd, acc, op(OpList, x)), acc), Result: acc}), "[1, 2].filter(v0, b)"},
		{fold(Fold{Init: val(IntValue(0)), While: yes, Step: op(OpCond, b, op(OpAdd, acc, one), acc), Result: op(OpEq, acc, one)}), "[1, 2].exists_one(v0, b)"},
	} {
		got := tc.n.Text(func(i int) string { return string(rune('a' + i)) })
		if got != tc.want {
			t.Errorf("got %s, want %s", got, tc.want)
		}
	}
	if got := op(OpAdd, a, b).Text(nil); got != "input0 + input1" {
		t.Errorf("without texts: %s", got)
	}
}

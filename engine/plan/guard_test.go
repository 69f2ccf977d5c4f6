package plan

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/segmill/segmill/engine/expr"
)

// The inputs of these tests: three numbers and a text.
const (
	testNumbers = 3
	testInputs  = testNumbers + 1
)

// state are the values of the inputs.
type state [testInputs]expr.Value

var stateGen = rapid.Custom(func(t *rapid.T) (s state) {
	for i := range s {
		switch n := int64(rapid.IntRange(-1, 5).Draw(t, "value")); {
		case n < 0:
		case i < testNumbers:
			s[i] = expr.IntValue(n)
		default:
			s[i] = expr.StringValue(string(rune('a' + n)))
		}
	}
	return s
})

func node(op expr.Op, args ...*expr.Node) *expr.Node {
	return &expr.Node{Op: op, Type: expr.Bool, Args: args}
}

func compared(input int, op expr.Op, v expr.Value) *expr.Node {
	return node(op, &expr.Node{Op: expr.OpInput, Ref: input}, &expr.Node{Op: expr.OpConst, Const: v})
}

// comparisonGen makes few different comparisons, so that many units share one.
var comparisonGen = rapid.Custom(func(t *rapid.T) *expr.Node {
	in := rapid.IntRange(0, testInputs-1).Draw(t, "input")
	n := int64(rapid.IntRange(0, 2).Draw(t, "constant"))
	if in < testNumbers {
		ops := slices.Concat(slices.Repeat([]expr.Op{expr.OpGe}, 12), comparisons)
		return compared(in, rapid.SampledFrom(ops).Draw(t, "op"), expr.IntValue(n))
	}
	v := expr.StringValue(string(rune('a' + n)))
	switch rapid.IntRange(0, 3).Draw(t, "op") {
	case 0:
		return compared(in, expr.OpNe, v)
	case 1:
		return compared(in, expr.OpIn, expr.ListValue([]expr.Value{v, expr.StringValue("a")}))
	}
	return compared(in, expr.OpEq, v)
})

func conditionGen(depth int) *rapid.Generator[*expr.Node] {
	return rapid.Custom(func(t *rapid.T) *expr.Node {
		c := comparisonGen.Draw(t, "comparison")
		if depth == 0 {
			return c
		}
		more := func() *expr.Node { return conditionGen(depth-1).Draw(t, "part") }
		switch rapid.IntRange(0, 7).Draw(t, "kind") {
		case 0:
			return node(expr.OpOr, c, more())
		case 1:
			return node(expr.OpNot, more())
		case 2:
			return node(expr.OpCond, c, more(), more())
		case 3:
			return c
		}
		return node(expr.OpAnd, c, more())
	})
}

// indexed returns a plan of units with these conditions, and nothing else.
func indexed(t interface{ Fatal(...any) }, conds []*expr.Node) *Plan {
	c := compiler{Plan: &Plan{Inputs: make([]InputPlan, testInputs)}}
	for i := range c.Inputs {
		c.Inputs[i].Input, c.Inputs[i].Summary = &Input{}, -1
	}
	for _, n := range conds {
		fn, err := (&expr.Compiler{}).Compile(n)
		if err != nil {
			t.Fatal(err)
		}
		c.Units = append(c.Units, Unit{Conds: []Cond{{Fn: fn, node: n}}})
	}
	c.index()
	return c.Plan
}

// moved returns the units that Move touches when the inputs go from a to b.
func (p *Plan) moved(a, b *state) []int {
	sides := Sides{
		Before: func(i int) expr.Value { return a[i] },
		After:  func(i int) expr.Value { return b[i] },
	}
	return members(func(s *Set) {
		for i := range a {
			p.Inputs[i].Index.Move(a[i], b[i], &sides, s)
		}
	})
}

// Move touches every unit whose condition becomes true or ceases to be, however
// many inputs move at once, and none that Touch does not.
func TestMoveTouchesWhatChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := indexed(t, rapid.SliceOfN(conditionGen(2), 1, 80).Draw(t, "conditions"))
		for range 20 {
			a, b := stateGen.Draw(t, "before"), stateGen.Draw(t, "after")
			for i := range a {
				if rapid.IntRange(0, 2).Draw(t, "still") == 0 {
					b[i] = a[i]
				}
			}
			p.checkMove(t, &a, &b)
		}
	})
}

func (p *Plan) checkMove(t *rapid.T, a, b *state) {
	before := expr.Env{Input: func(i int) expr.Value { return a[i] }}
	after := expr.Env{Input: func(i int) expr.Value { return b[i] }}
	touched := p.moved(a, b)
	for u := range p.Units {
		fn := p.Units[u].Conds[0].Fn
		if x, y := fn(&before).True(), fn(&after).True(); x != y && !slices.Contains(touched, u) {
			t.Fatalf("unit %d is %v at %v and %v at %v, and not touched", u, x, *a, y, *b)
		}
	}
	plain := members(func(s *Set) {
		for i := range a {
			p.Inputs[i].Index.Touch(a[i], b[i], s)
		}
	})
	for _, u := range touched {
		if !slices.Contains(plain, u) {
			t.Fatalf("from %v to %v unit %d is touched for nothing", *a, *b, u)
		}
	}
}

// Units that share a comparison are touched by it only where the other one lets
// them change.
func TestMoveKeepsToTheGuards(t *testing.T) {
	const n = 1000
	var conds []*expr.Node
	for i := range n {
		at := expr.IntValue(int64(10 * i))
		conds = append(conds,
			node(expr.OpAnd, compared(0, expr.OpGt, expr.IntValue(2)), compared(1, expr.OpGe, at)),
			node(expr.OpAnd, compared(3, expr.OpEq, expr.StringValue("a")), compared(2, expr.OpLt, at)),
			node(expr.OpAnd, compared(1, expr.OpLt, expr.IntValue(-5)), compared(1, expr.OpLt, expr.IntValue(-10-int64(i)))))
	}
	p := indexed(t, conds)
	v, text := expr.IntValue, expr.StringValue
	for _, c := range []struct {
		name string
		a, b state
		want int
	}{
		{"a shared one becomes true", state{v(2), v(45)}, state{v(3), v(45)}, 5},
		{"a shared one becomes true as the other ceases to be", state{v(2), v(45)}, state{v(3)}, 0},
		{"a shared one ceases to be true", state{v(3), v(45)}, state{v(2), v(45)}, 5},
		{"nothing becomes 0", state{v(2)}, state{v(2), v(0)}, 0},
		{"nothing becomes 45 under the guard", state{v(3)}, state{v(3), v(45)}, 5},
		{"past two", state{v(3), v(45)}, state{v(3), v(65)}, 2},
		{"past two, but for the guard", state{v(2), v(45)}, state{v(2), v(65)}, 0},
		{"back over two as the guard ceases", state{v(3), v(65)}, state{v(0), v(45)}, 7},
		{"both on one input, the shared one alone", state{1: v(-3)}, state{1: v(-10)}, 0},
		{"both on one input", state{1: v(-3)}, state{1: v(-13)}, 3},
		{"a shared text", state{2: v(9950), 3: text("b")}, state{2: v(9950), 3: text("a")}, 4},
		{"a shared text is left", state{2: v(9950), 3: text("a")}, state{2: v(9950), 3: text("b")}, 4},
		{"under another text", state{2: v(0), 3: text("b")}, state{2: v(9000), 3: text("b")}, 0},
		{"under the text", state{2: v(0), 3: text("a")}, state{2: v(30), 3: text("a")}, 3},
	} {
		if got := p.moved(&c.a, &c.b); len(got) != c.want {
			t.Errorf("%s: %d units touched, want %d: %s", c.name, len(got), c.want, fmt.Sprint(got)[:min(100, len(fmt.Sprint(got)))])
		}
	}
}

package plan

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

var comparisons = []expr.Op{expr.OpEq, expr.OpNe, expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe}

// docs/semantics.md, 6.2: a move from a to b touches exactly the comparisons whose
// truth differs at a and at b; a move from or to absent touches every one.
func TestTouchIsExact(t *testing.T) {
	value := rapid.Custom(func(t *rapid.T) expr.Value {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return expr.Value{}
		case 1:
			return expr.DoubleValue(float64(rapid.IntRange(-6, 6).Draw(t, "half")) / 2)
		default:
			return expr.IntValue(int64(rapid.IntRange(-3, 3).Draw(t, "n")))
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		type comparison struct {
			op expr.Op
			c  expr.Value
		}
		var x Index
		var all []comparison
		for u := range rapid.IntRange(1, 12).Draw(t, "comparisons") {
			c := comparison{rapid.SampledFrom(comparisons).Draw(t, "op"), expr.IntValue(int64(rapid.IntRange(-3, 3).Draw(t, "c")))}
			all = append(all, c)
			if !x.compare(c.op, c.c, u) {
				t.Fatalf("comparison %v is not indexed", c)
			}
		}
		x.tidy()
		a, b := value.Draw(t, "a"), value.Draw(t, "b")
		var want []int
		touched := members(func(s *Set) { x.Touch(a, b, s) })
		for u, c := range all {
			if !expr.Identical(expr.Relate(c.op, a, c.c), expr.Relate(c.op, b, c.c)) {
				want = append(want, u)
			}
		}
		if a.Present() != b.Present() {
			want = want[:0]
			for u := range all {
				want = append(want, u)
			}
		}
		if !slices.Equal(touched, want) {
			t.Fatalf("from %v to %v: touched %v, want %v of %v", a, b, touched, want, all)
		}
		if x.Crosses(a, b) != (len(want) > 0) {
			t.Fatalf("from %v to %v crosses: %v, and touches %v", a, b, x.Crosses(a, b), want)
		}
		var r aggregate.Range
		if x.Around(a.K, a.N, &r); r.Has(b) && len(want) > 0 || !r.Has(b) && len(x.Cuts) == 0 {
			t.Fatalf("from %v to %v stays in %v, and touches %v", a, b, r, want)
		}
	})
}

// members returns what f adds to a set.
func members(f func(*Set)) []int {
	s := NewSet(10_000)
	f(&s)
	l := []int{}
	for u := s.Pop(); u >= 0; u = s.Pop() {
		l = append(l, u)
	}
	return l
}

// Texts are found by value, and in lists.
func TestTouchTexts(t *testing.T) {
	var x Index
	x.compare(expr.OpEq, expr.StringValue("FR"), 0)
	x.compare(expr.OpNe, expr.StringValue("DE"), 1)
	x.compare(expr.OpIn, expr.ListValue([]expr.Value{expr.StringValue("FR"), expr.StringValue("BE")}), 2)
	for _, c := range []struct{ a, b, want string }{
		{"FR", "DE", "[0 1 2]"}, {"BE", "LU", "[2]"}, {"LU", "ES", "[]"}, {"FR", "FR", "[]"},
	} {
		a, b := expr.StringValue(c.a), expr.StringValue(c.b)
		got := members(func(s *Set) { x.Touch(a, b, s) })
		if x.Crosses(a, b) != (len(got) > 0) {
			t.Errorf("from %s to %s crosses: %v", c.a, c.b, x.Crosses(a, b))
		}
		if s := fmt.Sprint(got); s != c.want {
			t.Errorf("from %s to %s: %s, want %s", c.a, c.b, s, c.want)
		}
	}
}

package expr

import (
	"math"
	"strings"
)

// numeric reports whether Float gives v's value for comparison with numbers.
func (v Value) numeric() bool {
	return v.K == Int || v.K == Double || v.K == Decimal || v.K == Number
}

// timelike reports whether v is an instant or a date (its midnight UTC).
func (v Value) timelike() bool { return v.K == Time || v.K == Date }

func (v Value) millis() int64 {
	if v.K == Date {
		return v.N * 86_400_000
	}
	return v.N
}

// Compare orders two values of comparable kinds: -1, 0 or 1. ok is false if one
// is absent or the kinds do not compare.
func Compare(a, b Value) (c int, ok bool) {
	switch {
	case a.K == b.K && (a.K == Int || a.K == Decimal || a.K == Duration || a.K == Bool || a.K == Time || a.K == Date):
		return cmp3(a.N, b.N), true
	case a.numeric() && b.numeric():
		return cmp3(a.Float(), b.Float()), true
	case a.K == String && b.K == String:
		return strings.Compare(a.S, b.S), true
	case a.timelike() && b.timelike():
		return cmp3(a.millis(), b.millis()), true
	}
	return 0, false
}

func cmp3[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Equal reports whether two values are equal; ok is false if that is unknown.
func Equal(a, b Value) (eq, ok bool) {
	if a.K == Absent || b.K == Absent {
		return false, false
	}
	if a.K == List || a.K == Record {
		if a.K != b.K || len(a.L) != len(b.L) {
			return false, true
		}
		for i := range a.L {
			if eq, ok := Equal(a.L[i], b.L[i]); !ok || !eq {
				return eq, ok
			}
		}
		return true, true
	}
	c, ok := Compare(a, b)
	return ok && c == 0, true
}

// Relate applies one of the six comparisons; the result is a Bool or unknown.
func Relate(op Op, a, b Value) Value {
	if op == OpEq || op == OpNe {
		eq, ok := Equal(a, b)
		if !ok {
			return Value{}
		}
		return BoolValue(eq == (op == OpEq))
	}
	c, ok := Compare(a, b)
	if !ok {
		return Value{}
	}
	switch op {
	case OpLt:
		return BoolValue(c < 0)
	case OpLe:
		return BoolValue(c <= 0)
	case OpGt:
		return BoolValue(c > 0)
	default:
		return BoolValue(c >= 0)
	}
}

// Arithmetic applies + - * / %. Integers overflow to absent, doubles that are
// not finite are absent, and division of integers truncates.
func Arithmetic(op Op, a, b Value) Value {
	switch {
	case a.K == Int && b.K == Int:
		return integers(op, a.N, b.N, Int)
	case a.numeric() && b.numeric():
		return doubles(op, a.Float(), b.Float())
	case op == OpAdd && a.K == String && b.K == String:
		return StringValue(a.S + b.S)
	case op == OpAdd && a.K == List && b.K == List:
		return ListValue(append(append([]Value(nil), a.L...), b.L...))
	case a.K == Duration && b.K == Duration && (op == OpAdd || op == OpSub):
		return integers(op, a.N, b.N, Duration)
	case a.timelike() && b.K == Duration && (op == OpAdd || op == OpSub):
		return integers(op, a.millis(), b.N, Time)
	case a.K == Duration && b.timelike() && op == OpAdd:
		return integers(op, a.N, b.millis(), Time)
	case a.timelike() && b.timelike() && op == OpSub:
		return integers(op, a.millis(), b.millis(), Duration)
	}
	return Value{}
}

func integers(op Op, a, b int64, k Kind) Value {
	var r int64
	switch op {
	case OpAdd:
		if r = a + b; (r > a) != (b > 0) && b != 0 {
			return Value{}
		}
	case OpSub:
		if r = a - b; (r < a) != (b > 0) && b != 0 {
			return Value{}
		}
	case OpMul:
		if r = a * b; a != 0 && (r/a != b || a == -1 && b == math.MinInt64) {
			return Value{}
		}
	default:
		if b == 0 || a == math.MinInt64 && b == -1 {
			return Value{}
		}
		if r = a / b; op == OpMod {
			r = a % b
		}
	}
	return Value{K: k, N: r}
}

func doubles(op Op, a, b float64) Value {
	var r float64
	switch op {
	case OpAdd:
		r = a + b
	case OpSub:
		r = a - b
	case OpMul:
		r = a * b
	case OpDiv:
		r = a / b
	default:
		return Value{}
	}
	if math.IsInf(r, 0) {
		return Value{}
	}
	return DoubleValue(r)
}

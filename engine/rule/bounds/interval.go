package bounds

import "math"

// interval is a closed interval of numbers. Values are compared as doubles or as whole
// numbers, so that an open end is the next number. Times and lengths of time are whole
// milliseconds, truth is 0 or 1.
type interval struct {
	lo, hi float64
	whole  bool
}

var everything = interval{math.Inf(-1), math.Inf(1), false}

// exact is the largest number up to which every whole one is a double.
const exact = 1 << 53

func point(f float64) interval { return interval{f, f, f == math.Trunc(f)} }

func (i interval) empty() bool { return i.lo > i.hi }

// tidy moves the ends of an interval of whole numbers to whole numbers.
func (i interval) tidy() interval {
	if i.whole {
		i.lo, i.hi = math.Ceil(i.lo), math.Floor(i.hi)
	}
	return i
}

func (i interval) meet(o interval) interval {
	return interval{max(i.lo, o.lo), min(i.hi, o.hi), i.whole || o.whole}.tidy()
}

func (i interval) hull(o interval) interval {
	return interval{min(i.lo, o.lo), max(i.hi, o.hi), i.whole && o.whole}
}

// above is what is more than f, below what is less.
func (i interval) above(f float64) interval {
	if i.whole {
		return interval{math.Floor(f) + 1, math.Inf(1), true}
	}
	return interval{math.Nextafter(f, math.Inf(1)), math.Inf(1), false}
}

func (i interval) below(f float64) interval {
	if i.whole {
		return interval{math.Inf(-1), math.Ceil(f) - 1, true}
	}
	return interval{math.Inf(-1), math.Nextafter(f, math.Inf(-1)), false}
}

// combine is the interval of f over the corners of two; rounding keeps the order of
// doubles, so that no value lies outside. Ends beyond what is exact are given up.
func combine(a, b interval, f func(x, y float64) float64) interval {
	out := interval{math.Inf(1), math.Inf(-1), a.whole && b.whole}
	for _, x := range []float64{a.lo, a.hi} {
		for _, y := range []float64{b.lo, b.hi} {
			v := f(x, y)
			if v != v { // 0 * ∞, ∞ - ∞
				return interval{math.Inf(-1), math.Inf(1), out.whole}
			}
			out.lo, out.hi = min(out.lo, v), max(out.hi, v)
		}
	}
	if out.lo < -exact {
		out.lo = math.Inf(-1)
	}
	if out.hi > exact {
		out.hi = math.Inf(1)
	}
	return out
}

func add(x, y float64) float64 { return x + y }
func sub(x, y float64) float64 { return x - y }

// mul takes 0 * ∞ as 0: no value is infinite.
func mul(x, y float64) float64 {
	if x == 0 || y == 0 {
		return 0
	}
	return x * y
}

// quotient is what a / b can be. Where the divisor can be zero the result can be absent,
// and else anything that a smaller divisor gives.
func quotient(a, b interval) interval {
	if b.lo < 0 && b.hi > 0 {
		return interval{math.Inf(-1), math.Inf(1), a.whole && b.whole}
	}
	if a.whole && b.whole {
		if b.lo == 0 {
			b.lo = 1
		}
		if b.hi == 0 {
			b.hi = -1
		}
		out := combine(a, b, div)
		out.lo, out.hi = math.Trunc(out.lo), math.Trunc(out.hi)
		return out
	}
	out := everything
	if a.lo >= 0 && b.lo >= 0 {
		out.lo = 0
	}
	if b.lo > 0 || b.hi < 0 {
		out = combine(a, b, div)
	}
	out.whole = false
	return out
}

func div(x, y float64) float64 {
	if math.IsInf(y, 0) && !math.IsInf(x, 0) {
		return 0
	}
	return x / y
}

// rest is what a % b can be, of whole numbers: of the sign of a and less than b.
func rest(a, b interval) interval {
	most := max(math.Abs(b.lo), math.Abs(b.hi)) - 1
	out := interval{-most, most, true}
	if a.lo >= 0 {
		out.lo = 0
	}
	if a.hi <= 0 {
		out.hi = 0
	}
	return out
}

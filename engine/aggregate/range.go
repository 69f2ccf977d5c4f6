package aggregate

import (
	"math"

	"github.com/segmill/segmill/engine/expr"
)

// Cut is a place between two neighbouring numbers: just below At, or just above
// it.
type Cut struct {
	At    float64
	Above bool
}

// Passed reports whether v lies above the cut.
func (c Cut) Passed(v float64) bool { return v > c.At || v == c.At && !c.Above }

// Least returns the least number above the cut: v lies above it exactly if v >=
// Least(). It is NaN if there is none.
func (c Cut) Least() float64 {
	switch {
	case !c.Above:
		return c.At
	case math.IsInf(c.At, 1):
		return math.NaN()
	}
	return math.Nextafter(c.At, math.Inf(1))
}

// Range is a range of values: numbers between two cuts, one number alone, or no
// value at all.
type Range struct {
	// Kind and N are a value of the range, no text. If it is Absent, nothing else is
	// in it.
	Kind expr.Kind
	N    int64
	// Only: nothing but that value.
	Only bool
	// Lo and Hi are the cuts below and above it.
	Lo, Hi Cut
}

// Lowest and Highest are cuts with nothing below and nothing above.
var (
	Lowest  = Cut{At: math.Inf(-1)}
	Highest = Cut{At: math.Inf(1), Above: true}
)

// Has reports whether v is in the range.
func (r *Range) Has(v expr.Value) bool {
	switch {
	case !v.Present() || r.Kind == expr.Absent:
		return v.K == r.Kind
	case r.Only:
		return v.K == r.Kind && v.N == r.N
	}
	f := v.Float()
	return r.Lo.Passed(f) && !r.Hi.Passed(f)
}

// Endless reports whether a number that only falls never leaves the range.
func (r *Range) Endless() bool { return !r.Only && r.Lo == Lowest }

// lastBelow returns the greatest scaled integer that as a double, divided by
// scale, lies below the range. ok is false if there is no saying so with doubles.
func (r *Range) lastBelow(scale float64) (n int64, ok bool) {
	f := math.Floor(r.Lo.At * scale)
	if r.Only || !(math.Abs(f) < 1<<52) {
		return 0, false
	}
	for r.Lo.Passed(f / scale) {
		f--
	}
	for !r.Lo.Passed((f + 1) / scale) {
		f++
	}
	return int64(f), true
}

// Below returns the greatest number below n, which is in the range, that is not;
// -1 if that would be negative.
func (r *Range) Below(n int) int {
	if r.Only {
		return n - 1
	}
	f := math.Ceil(r.Lo.At) - 1
	if r.Lo.Above {
		f = math.Floor(r.Lo.At)
	}
	return int(max(-1, f))
}

package lab

import (
	"fmt"
	"math"
	"slices"
)

// Series are measurements of one thing.
type Series []float64

// Median returns the middle one, the mean of the two in the middle if there is none,
// and NaN of nothing.
func (s Series) Median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	t := slices.Sorted(slices.Values(s))
	return (t[(len(t)-1)/2] + t[len(t)/2]) / 2
}

// Percentile returns the least value that at least p of 100 are not greater than
// (nearest rank); NaN of nothing.
func (s Series) Percentile(p float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	t := slices.Sorted(slices.Values(s))
	i := int(math.Ceil(p/100*float64(len(t)))) - 1
	return t[min(max(i, 0), len(t)-1)]
}

// Spread returns the median with the range, as "10.0 (9.2-11.3)".
func (s Series) Spread(digits int) string {
	if len(s) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.*f (%.*f-%.*f)", digits, s.Median(), digits, slices.Min(s), digits, slices.Max(s))
}

package expr

import (
	"math"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// Amounts of money are written as strconv writes them.
func TestHundredths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := float64(rapid.Int64Range(-2e14, 2e14).Draw(t, "n")) / rapid.SampledFrom([]float64{1, 10, 100, 1000, 3}).Draw(t, "by")
		f += rapid.Float64Range(-1, 1).Draw(t, "off") * rapid.SampledFrom([]float64{0, 1e-9, 1}).Draw(t, "much")
		if f == 0 || math.Abs(f) < 1e-6 {
			return
		}
		if got, want := DoubleValue(f).String(), strconv.FormatFloat(f, 'f', -1, 64); got != want {
			t.Fatalf("%v is %q", want, got)
		}
	})
}

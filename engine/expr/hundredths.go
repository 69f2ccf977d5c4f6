package expr

import (
	"math"
	"strconv"
)

// hundredths returns f as a number of hundredths if it is the double nearest to
// one, as sums of money are. With at most 15 digits no other decimal of as few
// digits has the same nearest double, so that it is the shortest that reads as f.
func hundredths(f float64) (n int64, ok bool) {
	if !(math.Abs(f) < 1e12) || f == 0 {
		return 0, false
	}
	r := math.RoundToEven(f * 100)
	return int64(r), r/100 == f
}

// appendHundredths appends n / 100 as strconv does: without zeros at the end.
func appendHundredths(b []byte, n int64) []byte {
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendInt(b, n/100, 10)
	switch r := byte(n % 100); {
	case r == 0:
	case r%10 == 0:
		b = append(b, '.', '0'+r/10)
	default:
		b = append(b, '.', '0'+r/10, '0'+r%10)
	}
	return b
}

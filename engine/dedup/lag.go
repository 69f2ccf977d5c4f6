package dedup

import (
	"math/bits"

	"github.com/segmill/segmill/engine/expr"
)

// lagUnit is what lags are multiples of, in ms.
const lagUnit = 128

// lagOf returns the smallest code whose lag is not less than a length of time: in
// units of lagUnit, rounded up to four significant bits. The greatest is 65 years.
func lagOf(d expr.Millis) uint64 {
	if d <= 0 {
		return 0
	}
	n := (uint64(d) + lagUnit - 1) / lagUnit
	shift := max(0, bits.Len64(n)-4)
	n = (n + 1<<shift - 1) >> shift // of 8 to 16 if shift > 0
	if shift > 0 {
		n += uint64(shift) << 3
	}
	return min(n, lagMask)
}

// lag returns the length of time of a code.
func lag(code uint64) expr.Millis {
	if code < 16 {
		return expr.Millis(code) * lagUnit
	}
	return expr.Millis(8+code&7) << (code>>3 - 1) * lagUnit
}

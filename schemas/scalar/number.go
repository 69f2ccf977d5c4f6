// Package scalar reads instants, dates and amounts, whichever way producers write
// them: as text, as numbers, as bytes of Avro.
//
// The one rule it keeps: a value is exact or an error. Amounts are units of 10^-4 and
// instants whole milliseconds of the years 1 to 9999; digits that do not fit are not
// rounded away, except where a float or a fraction of a second makes it unavoidable.
package scalar

import (
	"errors"
	"math"
	"math/big"
	"math/bits"

	"github.com/segmill/segmill/engine/expr"
)

// Why a number is not what it should be; the texts go on after "the value".
var (
	ErrRange  = errors.New("is out of range")
	ErrDigits = errors.New("has more than 4 digits after the point; round it before sending")
)

// Number is a decimal number as it was written: ±mant × 10^exp. mant has no
// factor 10, so that the number is whole exactly if exp is not negative.
type Number struct {
	neg  bool
	mant uint64
	exp  int
}

// maxExp bounds exponents, so that sums of them cannot overflow.
const maxExp = 1 << 20

// ParseNumber reads digits with an optional sign, fraction and exponent, and
// nothing else. A number of more digits than 64 bits hold is ErrRange.
func ParseNumber(b []byte) (n Number, ok bool, err error) {
	i, zeros, fraction, digits := 0, 0, 0, 0
	if len(b) > 0 && b[0] == '-' {
		n.neg = true
		i++
	}
	point := false
	for ; i < len(b); i++ {
		c := b[i]
		if c == '.' && !point && digits > 0 {
			point = true
			continue
		}
		if c-'0' > 9 {
			break
		}
		digits++
		if point {
			fraction++
		}
		if c == '0' {
			zeros++ // counts only if another digit follows
			continue
		}
		if n.mant, ok = shift(n.mant, zeros+1, uint64(c-'0')); !ok {
			err = ErrRange
		}
		zeros = 0
	}
	if digits == 0 || point && fraction == 0 {
		return n, false, nil
	}
	e, ok := exponent(b[i:])
	if n.exp = e + zeros - fraction; n.mant == 0 {
		n.exp = 0
	}
	return n, ok, err
}

// shift returns m × 10^k + d, false if that overflows.
func shift(m uint64, k int, d uint64) (uint64, bool) {
	if m == 0 {
		return d, true
	}
	for range k {
		hi, lo := bits.Mul64(m, 10)
		if hi != 0 {
			return 0, false
		}
		m = lo
	}
	m, carry := bits.Add64(m, d, 0)
	return m, carry == 0
}

// exponent reads "e-3" or nothing.
func exponent(b []byte) (int, bool) {
	if len(b) == 0 {
		return 0, true
	}
	if b[0] != 'e' && b[0] != 'E' || len(b) == 1 {
		return 0, false
	}
	b = b[1:]
	neg := b[0] == '-'
	if neg || b[0] == '+' {
		b = b[1:]
	}
	e := 0
	for _, c := range b {
		if c-'0' > 9 {
			return 0, false
		}
		e = min(e*10+int(c-'0'), maxExp)
	}
	if neg {
		e = -e
	}
	return e, len(b) > 0
}

// Scaled returns the number × 10^digits. It is ErrDigits if that is not whole.
func (n Number) Scaled(digits int) (int64, error) {
	if n.exp+digits < 0 {
		return 0, ErrDigits
	}
	return n.floor(digits)
}

// floor returns the largest whole number that is not above n × 10^digits.
func (n Number) floor(digits int) (int64, error) {
	m, e := n.mant, n.exp+digits
	cut := false
	for ; e < 0 && m > 0; e++ {
		cut = cut || m%10 != 0
		m /= 10
	}
	m, ok := shift(m, min(max(e, 0), 20), 0)
	if n.neg && cut {
		m++
	}
	switch {
	case !ok:
		return 0, ErrRange
	case !n.neg && m <= math.MaxInt64:
		return int64(m), nil
	case n.neg && m <= 1<<63:
		return -int64(m), nil
	}
	return 0, ErrRange
}

// DecimalOfFloat rounds f to 4 digits after the point.
func DecimalOfFloat(f float64) (int64, error) {
	x := math.RoundToEven(f * expr.DecimalOne)
	if !(math.Abs(x) < 1<<63) { // also NaN
		return 0, ErrRange
	}
	return int64(x), nil
}

// DecimalOfInt returns n as a decimal.
func DecimalOfInt(n int64) (int64, error) {
	d := n * expr.DecimalOne
	if d/expr.DecimalOne != n {
		return 0, ErrRange
	}
	return d, nil
}

// DecimalOfBytes reads an Avro decimal, a big-endian two's complement number of
// units of 10^-scale, and returns it in units of 10^-4.
func DecimalOfBytes(b []byte, scale int) (int64, error) {
	if len(b) == 0 {
		return 0, errors.New("has no bytes")
	}
	if len(b) > 8 {
		return wideDecimal(b, scale)
	}
	n := int64(int8(b[0]))
	for _, c := range b[1:] {
		n = n<<8 | int64(c)
	}
	if scale == expr.DecimalScale {
		return n, nil
	}
	for ; scale > expr.DecimalScale && n != 0; scale-- {
		if n%10 != 0 {
			return 0, ErrDigits
		}
		n /= 10
	}
	for ; scale < expr.DecimalScale; scale++ {
		if n > math.MaxInt64/10 || n < math.MinInt64/10 {
			return 0, ErrRange
		}
		n *= 10
	}
	return n, nil
}

// wideDecimal is decimalOfBytes for numbers that may not fit 64 bits before they
// are rescaled. Such a number has at most 64 bytes.
func wideDecimal(b []byte, scale int) (int64, error) {
	if len(b) > 64 {
		return 0, ErrRange
	}
	n := new(big.Int).SetBytes(b)
	if b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	ten := func(k int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(k)), nil) }
	if scale < expr.DecimalScale {
		n.Mul(n, ten(expr.DecimalScale-scale))
	} else if _, rest := n.QuoRem(n, ten(scale-expr.DecimalScale), new(big.Int)); rest.Sign() != 0 {
		return 0, ErrDigits
	}
	if !n.IsInt64() {
		return 0, ErrRange
	}
	return n.Int64(), nil
}

// Package scalar reads ids, amounts, instants, dates, truth values and words, whichever
// way producers write them: as text, as numbers, as bytes of Avro. There is one function
// for each kind of value; everything that reads a record uses these, so that a value
// means the same in every format.
//
// The one rule it keeps: a value is what the producer plainly meant, or an error.
// Amounts are units of 10^-4, rounded half to even; instants are whole milliseconds of
// the years 1 to 9999; nothing else is guessed or rounded.
package scalar

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/expr"
)

// Why a number is not what it should be; the texts go on after "the value".
var (
	ErrRange    = errors.New("is out of range")
	ErrFraction = errors.New("has a fraction")
)

// Number is a decimal number as it was written: ±mant × 10^exp. Of
// more digits than 64 bits hold, mant has the first ones, and cut says what the others
// amount to. Else mant has no factor 10, so that the number is whole exactly if exp is
// not negative.
type Number struct {
	neg  bool
	mant uint64
	exp  int
	cut  tail
}

// tail is what lies behind the last digit that is kept, in units of that digit.
type tail uint8

const (
	nothing tail = iota
	belowHalf
	half
	aboveHalf
)

// tailOf returns the tail that the digit d and the tail behind it make.
func tailOf(d uint64, behind tail) tail {
	switch {
	case d == 0 && behind == nothing:
		return nothing
	case d < 5:
		return belowHalf
	case d == 5 && behind == nothing:
		return half
	}
	return aboveHalf
}

// maxExp bounds the exponents that are read: no amount needs a larger one, and sums
// of them can't overflow.
const maxExp = 30

// ParseNumber reads digits with an optional sign, fraction and exponent, and
// nothing else. An exponent beyond ±30 is ErrRange.
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
		if n.cut != nothing {
			if n.cut == half {
				n.cut = aboveHalf
			}
			continue
		}
		m, fits := shift(n.mant, zeros+1, uint64(c-'0'))
		if !fits {
			for more, ok := shift(n.mant, 1, 0); zeros > 0 && ok; more, ok = shift(more, 1, 0) {
				n.mant = more
				zeros--
			}
			n.cut = belowHalf
			if zeros == 0 {
				n.cut = tailOf(uint64(c-'0'), nothing)
			}
			n.exp = digits - zeros - 1 // the digits that are kept, for now
			continue
		}
		n.mant, zeros = m, 0
	}
	if digits == 0 || point && fraction == 0 {
		return n, false, nil
	}
	e, ok := exponent(b[i:])
	if e > maxExp || e < -maxExp {
		err = ErrRange
	}
	switch {
	case n.mant == 0:
		n.exp = 0
	case n.cut != nothing:
		n.exp = e + digits - n.exp - fraction
	default:
		n.exp = e + zeros - fraction
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
		e = min(e*10+int(c-'0'), maxExp+1)
	}
	if neg {
		e = -e
	}
	return e, len(b) > 0
}

// Whole returns the number if it is a whole one, else ErrFraction.
func (n Number) Whole() (int64, error) {
	if n.exp < 0 || n.exp == 0 && n.cut != nothing {
		return 0, ErrFraction
	}
	return n.floor(0)
}

// Decimal returns the number in units of 10^-4, rounded half to even.
func (n Number) Decimal() (int64, error) {
	m, e, cut := n.mant, n.exp+expr.DecimalScale, n.cut
	for ; e < 0 && (m > 0 || cut != nothing); e++ {
		cut = tailOf(m%10, cut)
		m /= 10
	}
	if e > 0 && cut != nothing {
		return 0, ErrRange // it has 20 digits and more
	}
	m, ok := shift(m, min(max(e, 0), 20), 0)
	if cut == aboveHalf || cut == half && m%2 == 1 {
		m++
	}
	return signed(m, n.neg, ok)
}

// floor returns the largest whole number that is not above n × 10^digits.
func (n Number) floor(digits int) (int64, error) {
	m, e := n.mant, n.exp+digits
	cut := n.cut != nothing
	if cut && e > 0 {
		return 0, ErrRange
	}
	for ; e < 0 && m > 0; e++ {
		cut = cut || m%10 != 0
		m /= 10
	}
	m, ok := shift(m, min(max(e, 0), 20), 0)
	if n.neg && cut {
		m++
	}
	return signed(m, n.neg, ok)
}

// signed returns ±m, ErrRange if that does not fit or ok is false.
func signed(m uint64, neg, ok bool) (int64, error) {
	switch {
	case !ok:
		return 0, ErrRange
	case !neg && m <= math.MaxInt64:
		return int64(m), nil
	case neg && m <= 1<<63:
		return -int64(m), nil
	}
	return 0, ErrRange
}

// NumberOfFloat returns the shortest decimal number that is read back as f, which
// has so many bits. A float that is no number is ErrRange.
func NumberOfFloat(f float64, bits int) (Number, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return Number{}, ErrRange
	}
	var b [32]byte
	n, _, err := ParseNumber(strconv.AppendFloat(b[:0], f, 'e', -1, bits))
	return n, err
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
// units of 10^-scale, and returns it in units of 10^-4, rounded half to even.
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
	abs := uint64(n)
	if n < 0 {
		abs = -abs
	}
	return Number{neg: n < 0, mant: abs, exp: -scale}.Decimal()
}

// MaxDecimalBytes is the longest Avro decimal that is read, in bytes.
const MaxDecimalBytes = 64

// wideDecimal is DecimalOfBytes for numbers that may not fit 64 bits before they
// are rescaled.
func wideDecimal(b []byte, scale int) (int64, error) {
	if len(b) > MaxDecimalBytes {
		return 0, ErrRange
	}
	n := new(big.Int).SetBytes(b)
	if b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	ten := func(k int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(k)), nil) }
	if scale < expr.DecimalScale {
		n.Mul(n, ten(expr.DecimalScale-scale))
	} else {
		n = HalfToEven(n, ten(scale-expr.DecimalScale))
	}
	if !n.IsInt64() {
		return 0, ErrRange
	}
	return n.Int64(), nil
}

// HalfToEven returns n / by, which is above 0, rounded half to even.
func HalfToEven(n, by *big.Int) *big.Int {
	q, rest := new(big.Int).QuoRem(n, by, new(big.Int))
	twice := new(big.Int).Lsh(rest.Abs(rest), 1)
	if c := twice.Cmp(by); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(int64(n.Sign())))
	}
	return q
}

// AppendDecimalBytes appends an Avro decimal, of units of 10^-scale, as JSON writes
// numbers.
func AppendDecimalBytes(dst, b []byte, scale int) []byte {
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if n.Sign() < 0 {
		dst = append(dst, '-')
	}
	digits := n.Abs(n).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	dst = append(dst, digits[:len(digits)-scale]...)
	if scale > 0 {
		dst = append(append(dst, '.'), digits[len(digits)-scale:]...)
	}
	return dst
}

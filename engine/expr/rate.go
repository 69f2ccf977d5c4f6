package expr

import (
	"math/bits"
	"regexp"
	"strconv"
	"strings"
)

// Rate is what an amount is multiplied by to be one of another currency, in units of
// 10^-10, above 0 and at most [MaxRate].
type Rate int64

// Bounds of a rate.
const (
	rateDigits      = 10
	rateOne    Rate = 1e10
	MaxRate         = 1_000_000 * rateOne
)

var rateForm = regexp.MustCompile(`^([0-9]{1,7})(?:\.([0-9]{1,10}))?$`)

// ParseRate reads a decimal number such as 0.92; false if it is none, or not above 0, or
// has more than ten digits after the point.
func ParseRate(s string) (Rate, bool) {
	m := rateForm.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1]+m[2]+strings.Repeat("0", rateDigits-len(m[2])), 10, 64)
	return Rate(n), err == nil && n > 0 && Rate(n) <= MaxRate
}

// String returns the rate as a decimal number without zeros at its end.
func (r Rate) String() string {
	whole, part := strconv.FormatInt(int64(r/rateOne), 10), strconv.FormatInt(int64(rateOne+r%rateOne), 10)[1:]
	return strings.TrimSuffix(whole+"."+strings.TrimRight(part, "0"), ".")
}

// Of returns the amount n, in units of 10^-4, times the rate, rounded half to even; false
// if that is out of range.
func (r Rate) Of(n int64) (int64, bool) {
	m := uint64(n)
	if n < 0 {
		m = -m
	}
	hi, lo := bits.Mul64(m, uint64(r))
	if hi >= uint64(rateOne) {
		return 0, false
	}
	q, rest := bits.Div64(hi, lo, uint64(rateOne))
	if twice := 2 * rest; twice > uint64(rateOne) || twice == uint64(rateOne) && q&1 == 1 {
		q++
	}
	if q > 1<<63-1 {
		return 0, false
	}
	if n < 0 {
		return -int64(q), true
	}
	return int64(q), true
}

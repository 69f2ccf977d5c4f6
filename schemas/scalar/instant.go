package scalar

import (
	"math"
	"time"

	"github.com/segmill/segmill/engine/expr"
)

// The instants that a record can name: the years 1 to 9999. Outside of them sums
// with windows could overflow and texts could not be parsed back.
const (
	MinInstant expr.Millis = -62_135_596_800_000
	MaxInstant expr.Millis = 253_402_300_799_999
	DayMillis              = 86_400_000
)

// Unit is what one step of a number that denotes an instant is.
type Unit uint8

// The units.
const (
	UnitGuess Unit = iota // seconds, milliseconds or microseconds by magnitude
	UnitMillis
	UnitMicros
	UnitNanos
	UnitDays
)

// Numbers below the first bound are seconds (until the year 5138), below the
// second milliseconds (of instants after March 1973), below the third
// microseconds.
const (
	boundSeconds = 100_000_000_000
	boundMillis  = 1_000 * boundSeconds
	boundMicros  = 1_000 * boundMillis
)

// InstantOf returns the instant that n steps after 1970 are, cut down to
// milliseconds.
func InstantOf(n int64, u Unit) (expr.Millis, error) {
	if u == UnitGuess {
		switch abs := max(n, -n); {
		case abs < 0: // the least int64
			return 0, ErrRange
		case abs < boundSeconds:
			n *= 1000
		case abs < boundMillis:
		case abs < boundMicros:
			n = FloorDiv(n, 1000)
		default:
			return 0, ErrRange
		}
	}
	switch u {
	case UnitMicros:
		n = FloorDiv(n, 1000)
	case UnitNanos:
		n = FloorDiv(n, 1_000_000)
	case UnitDays:
		if n > math.MaxInt32 || n < math.MinInt32 {
			return 0, ErrRange
		}
		n *= DayMillis
	default: // the others need nothing here
	}
	return CheckInstant(expr.Millis(n))
}

// CheckInstant returns m, or ErrRange if it is outside of the instants that a record
// can name.
func CheckInstant(m expr.Millis) (expr.Millis, error) {
	if m < MinInstant || m > MaxInstant {
		return 0, ErrRange
	}
	return m, nil
}

// AppendInstant appends m in RFC 3339 with milliseconds, UTC: as [expr.Millis.String].
func AppendInstant(b []byte, m expr.Millis) []byte {
	if m < MinInstant || m > MaxInstant {
		return append(b, m.String()...)
	}
	days := FloorDiv(int64(m), DayMillis)
	year, month, day := time.Unix(days*86_400, 0).UTC().Date()
	ms := uint32(int64(m) - days*DayMillis)
	seconds := ms / 1000
	minutes := seconds / 60
	ms %= 1000
	x := [...]byte{0, 0, 0, 0, '-', 0, 0, '-', 0, 0, 'T', 0, 0, ':', 0, 0, ':', 0, 0, '.', byte('0' + ms/100), 0, 0, 'Z'}
	put2(x[0:], uint32(year)/100)
	put2(x[2:], uint32(year)%100)
	put2(x[5:], uint32(month))
	put2(x[8:], uint32(day))
	put2(x[11:], minutes/60)
	put2(x[14:], minutes%60)
	put2(x[17:], seconds%60)
	put2(x[21:], ms%100)
	return append(b, x[:]...)
}

// put2 makes n, which is below 100, the first two bytes of b, as digits.
func put2(b []byte, n uint32) {
	b[0], b[1] = byte('0'+n/10), byte('0'+n%10)
}

// FloorDiv returns n / by, rounded down.
func FloorDiv(n, by int64) int64 {
	q := n / by
	if n%by < 0 {
		q--
	}
	return q
}

// InstantOfNumber is InstantOf for a number as text, which may have a fraction:
// of seconds it is kept to the millisecond.
func InstantOfNumber(n Number) (expr.Millis, error) {
	whole, err := n.floor(0)
	if err != nil {
		return 0, err
	}
	if whole > -boundSeconds && whole < boundSeconds {
		ms, err := n.floor(3)
		if err != nil {
			return 0, err
		}
		return CheckInstant(expr.Millis(ms))
	}
	return InstantOf(whole, UnitGuess)
}

// ParseInstant reads RFC 3339, such as 2026-03-01T12:00:00.5+01:00. Digits after
// the millisecond are cut off.
func ParseInstant(b []byte) (expr.Millis, bool) {
	if len(b) < len("2006-01-02T15:04:05Z") {
		return 0, false
	}
	day, ok := ParseDate(b[:10])
	h, ok1 := digits2(b[11:], 23)
	m, ok2 := digits2(b[14:], 59)
	s, ok3 := digits2(b[17:], 59)
	sep := b[10] == 'T' || b[10] == 't' || b[10] == ' '
	if !ok || !ok1 || !ok2 || !ok3 || !sep || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	ms := day*DayMillis + h*3_600_000 + m*60_000 + s*1000
	b = b[19:]
	if b[0] == '.' {
		f, n := fraction(b[1:])
		if n == 0 || n+1 == len(b) {
			return 0, false
		}
		ms += f
		b = b[1+n:]
	}
	offset, ok := parseOffset(b)
	return expr.Millis(ms - offset), ok
}

// fraction reads digits and returns the first three of them as milliseconds, and
// how many there are.
func fraction(b []byte) (ms int64, n int) {
	for ; n < len(b) && b[n]-'0' <= 9; n++ {
		if n < 3 {
			ms = ms*10 + int64(b[n]-'0')
		}
	}
	for i := n; i < 3; i++ {
		ms *= 10
	}
	return ms, n
}

// parseOffset reads Z or +01:00 and returns it in milliseconds.
func parseOffset(b []byte) (int64, bool) {
	if len(b) == 1 {
		return 0, b[0] == 'Z' || b[0] == 'z'
	}
	if len(b) != 6 || b[3] != ':' || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	h, ok1 := digits2(b[1:], 23)
	m, ok2 := digits2(b[4:], 59)
	offset := h*3_600_000 + m*60_000
	if b[0] == '-' {
		offset = -offset
	}
	return offset, ok1 && ok2
}

// digits2 reads two digits that make a number up to most.
func digits2(b []byte, most int64) (int64, bool) {
	if b[0]-'0' > 9 || b[1]-'0' > 9 {
		return 0, false
	}
	n := int64(b[0]-'0')*10 + int64(b[1]-'0')
	return n, n <= most
}

// ParseDate reads YYYY-MM-DD and returns the days since 1970-01-01.
func ParseDate(b []byte) (int64, bool) {
	if len(b) != 10 || b[4] != '-' || b[7] != '-' {
		return 0, false
	}
	hi, ok1 := digits2(b, 99)
	lo, ok2 := digits2(b[2:], 99)
	m, ok3 := digits2(b[5:], 12)
	d, ok4 := digits2(b[8:], 31)
	if !ok1 || !ok2 || !ok3 || !ok4 || m == 0 || d == 0 {
		return 0, false
	}
	t := time.Date(int(hi*100+lo), time.Month(m), int(d), 0, 0, 0, 0, time.UTC)
	return FloorDiv(t.Unix(), 86_400), t.Day() == int(d) && t.Year() > 0
}

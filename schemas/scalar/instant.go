package scalar

import (
	"errors"
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

// ErrDigits is the error of a number that may be a date and may be an instant.
var ErrDigits = errors.New("has eight digits that are a calendar date; write 2026-03-01")

// IsDateDigits reports whether n has eight digits that are a calendar date, as in
// 20260301.
func IsDateDigits(n int64) bool {
	if n < 1000_01_01 || n > 9999_12_31 {
		return false
	}
	y, m, d := n/10_000, n/100%100, n%100
	_, ok := dayOf(y, m, d)
	return ok
}

// Unit is what one step of a number that denotes an instant is.
type Unit uint8

// The units.
const (
	UnitGuess Unit = iota // seconds, milliseconds or microseconds by magnitude
	UnitMillis
	UnitMicros
	UnitNanos
	UnitDays
	UnitFewDays // days, if they are of a date that a record can name; else UnitGuess
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

// IsDay reports whether n, counted from 1970-01-01, is a day that a record can name.
func IsDay(n int64) bool {
	return n >= int64(MinInstant)/DayMillis && n <= int64(MaxInstant)/DayMillis
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
// of seconds it is kept to the millisecond. Eight digits that are a calendar date are
// ErrDigits: as seconds they would be an instant of 1970.
func InstantOfNumber(n Number) (expr.Millis, error) {
	whole, err := n.floor(0)
	if err != nil {
		return 0, err
	}
	if IsDateDigits(whole) {
		return 0, ErrDigits
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

// Civil is a date and a time of day as they were written.
type Civil struct {
	Day    int64 // since 1970-01-01
	Clock  int64 // milliseconds of the day
	Offset int64 // of Clock from UTC, in milliseconds
	Zone   Zoned
}

// Zoned says how a text says where its clock is.
type Zoned uint8

// The ways.
const (
	ByNothing Zoned = iota // no offset
	ByDate                 // no time of day either
	ByZ
	ByOffset
)

// ParseCivil reads a date, such as 2026-03-01, or a date and a time of day, such as
// 2026-03-01T12:00:00.5+01:00: RFC 3339, and what often goes for it: a blank for the T,
// an offset of +0100 or +01, no offset, and the second 60, which is the last
// millisecond before. Digits after the millisecond are cut off.
func ParseCivil(b []byte) (c Civil, ok bool) {
	if len(b) == 10 {
		c.Zone = ByDate
		c.Day, ok = ParseDate(b)
		return c, ok
	}
	if len(b) < len("2006-01-02T15:04:05") {
		return c, false
	}
	day, ok := ParseDate(b[:10])
	h, ok1 := digits2(b[11:], 23)
	m, ok2 := digits2(b[14:], 59)
	s, ok3 := digits2(b[17:], 60)
	sep := b[10] == 'T' || b[10] == 't' || b[10] == ' '
	if !ok || !ok1 || !ok2 || !ok3 || !sep || b[13] != ':' || b[16] != ':' {
		return c, false
	}
	c.Day, c.Clock = day, h*3_600_000+m*60_000+s*1000
	b = b[19:]
	if len(b) > 0 && b[0] == '.' {
		f, n := fraction(b[1:])
		if n == 0 {
			return c, false
		}
		c.Clock += f
		b = b[1+n:]
	}
	if s == 60 {
		c.Clock = h*3_600_000 + m*60_000 + 59_999
	}
	if len(b) == 0 {
		return c, true
	}
	if c.Zone = ByOffset; len(b) == 1 {
		c.Zone = ByZ
	}
	c.Offset, ok = parseOffset(b)
	return c, ok
}

// Instant returns the instant that c is, false if it has no offset or no time.
func (c *Civil) Instant() (expr.Millis, bool) {
	return expr.Millis(c.Day*DayMillis + c.Clock - c.Offset), c.Zone >= ByZ
}

// In returns the instant at which the clocks of a zone show c, whose offset is not
// looked at. A time that they skip is as much later as they skip; of one that they show
// twice it is the first.
func (c *Civil) In(zone *time.Location) expr.Millis {
	return InstantIn(c.Day*DayMillis+c.Clock, zone)
}

// InstantIn returns the instant at which the clocks of a zone show what those of UTC
// show at the instant local; see [Civil.In].
func InstantIn(local int64, zone *time.Location) expr.Millis {
	// Offsets change by a few hours and at most once a day, so those in force a day
	// before and a day after are the candidates; the one before comes first.
	_, before := time.UnixMilli(local - DayMillis).In(zone).Zone()
	_, after := time.UnixMilli(local + DayMillis).In(zone).Zone()
	first := local - int64(before)*1000
	for _, offset := range [...]int{max(before, after), min(before, after)} {
		at := local - int64(offset)*1000
		if _, is := time.UnixMilli(at).In(zone).Zone(); is == offset {
			return expr.Millis(at)
		}
	}
	return expr.Millis(first)
}

// DayIn returns the day, counted from 1970-01-01, that the clocks of a zone show at an
// instant.
func DayIn(m expr.Millis, zone *time.Location) int64 {
	_, offset := time.UnixMilli(int64(m)).In(zone).Zone()
	return FloorDiv(int64(m)+int64(offset)*1000, DayMillis)
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

// parseOffset reads Z, +01:00, +0100 or +01 and returns it in milliseconds.
func parseOffset(b []byte) (int64, bool) {
	if len(b) == 1 {
		return 0, b[0] == 'Z' || b[0] == 'z'
	}
	if b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	minutes := []byte("00")
	switch {
	case len(b) == len("+01:00") && b[3] == ':':
		minutes = b[4:]
	case len(b) == len("+0100"):
		minutes = b[3:]
	case len(b) != len("+01"):
		return 0, false
	}
	h, ok1 := digits2(b[1:], 23)
	m, ok2 := digits2(minutes, 59)
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
	if !ok1 || !ok2 || !ok3 || !ok4 {
		return 0, false
	}
	return dayOf(hi*100+lo, m, d)
}

// dayOf returns the days since 1970-01-01 of a date, false if the calendar does not
// have it or it is before the year 1.
func dayOf(year, month, day int64) (int64, bool) {
	if month < 1 || month > 12 || day < 1 || year < 1 {
		return 0, false
	}
	t := time.Date(int(year), time.Month(month), int(day), 0, 0, 0, 0, time.UTC)
	return FloorDiv(t.Unix(), 86_400), t.Day() == int(day)
}

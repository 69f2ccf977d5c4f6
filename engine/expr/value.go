// Package expr holds the values that rules work on and the typed expression
// tree that rules are compiled to. It is pure: no I/O, no clock, no goroutine,
// and nothing of CEL, YAML, Kafka or Pebble.
package expr

import (
	"math"
	"strconv"
	"time"
)

// Millis is an instant (milliseconds since 1970-01-01T00:00:00Z, UTC) or a
// length of time in milliseconds, whichever the name of the variable says.
type Millis int64

// Never is an instant later than every real one: "no wake-up".
const Never Millis = math.MaxInt64

// Time returns the instant as a UTC time.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)).UTC() }

// String returns the instant in RFC 3339 with milliseconds, UTC.
func (m Millis) String() string { return m.Time().Format(timeFormat) }

const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// MillisOf returns t cut down to milliseconds.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Kind says what a Value holds.
type Kind uint8

// The kinds of values. The numbers are part of the customer format and do not
// change.
const (
	Absent   Kind = 0  // no value; a comparison with it is unknown
	Bool     Kind = 1  // N is 0 or 1
	Int      Kind = 2  // N
	Double   Kind = 3  // math.Float64frombits(uint64(N))
	Decimal  Kind = 4  // N / 10^4: money
	String   Kind = 5  // S
	Time     Kind = 6  // N is Millis
	Duration Kind = 7  // N is a length in milliseconds
	Date     Kind = 8  // N is days since 1970-01-01: a civil date without a zone
	List     Kind = 9  // L
	Record   Kind = 10 // L, in the order of the schema's fields

	// Of documents; no customer has a value of these.
	Object Kind = 11 // N says where, to whoever made the value: see Env.Member
	Number Kind = 12 // S is its digits, as JSON writes it; no Int
)

// DecimalScale is the number of decimal digits after the point in a Decimal.
const DecimalScale = 4

// DecimalOne is the Decimal 1.
const DecimalOne = 10_000

// Value is one value. The zero Value is Absent.
type Value struct {
	K Kind
	N int64
	S string
	L []Value
}

// Constructors, one per kind.

// BoolValue returns b as a Value.
func BoolValue(b bool) Value {
	if b {
		return Value{K: Bool, N: 1}
	}
	return Value{K: Bool}
}

// IntValue returns n as a Value.
func IntValue(n int64) Value { return Value{K: Int, N: n} }

// DoubleValue returns f as a Value. NaN becomes Absent: no comparison with it
// could make anybody a member.
func DoubleValue(f float64) Value {
	if f != f {
		return Value{}
	}
	return Value{K: Double, N: int64(math.Float64bits(f))}
}

// DecimalValue returns the decimal n / 10^4.
func DecimalValue(n int64) Value { return Value{K: Decimal, N: n} }

// StringValue returns s as a Value.
func StringValue(s string) Value { return Value{K: String, S: s} }

// TimeValue returns the instant t as a Value.
func TimeValue(t Millis) Value { return Value{K: Time, N: int64(t)} }

// DurationValue returns the length d as a Value.
func DurationValue(d Millis) Value { return Value{K: Duration, N: int64(d)} }

// DateValue returns the civil date that is the given number of days after
// 1970-01-01.
func DateValue(days int64) Value { return Value{K: Date, N: days} }

// ListValue returns a list.
func ListValue(l []Value) Value { return Value{K: List, L: l} }

// RecordValue returns a record; its fields are in the order of the schema.
func RecordValue(l []Value) Value { return Value{K: Record, L: l} }

// True reports whether v is the boolean true: not false, not unknown.
func (v Value) True() bool { return v.K == Bool && v.N != 0 }

// Present reports whether v holds a value.
func (v Value) Present() bool { return v.K != Absent }

// Identical reports whether two values are of one kind and the same; lists are those of
// summaries, which have a text. Absent is identical to absent, and 3 is not to 3.0.
func Identical(a, b Value) bool { return a.K == b.K && a.N == b.N && a.S == b.S }

// Float returns a numeric or time value as a double. Decimals are divided once,
// so that a decimal text and the same literal in a rule give the same double.
func (v Value) Float() float64 {
	if v.K == Number {
		f, _ := strconv.ParseFloat(v.S, 64) // of JSON's form; infinite if it is too large
		return f
	}
	return FloatOf(v.K, v.N)
}

// FloatOf is Float for the kinds of values that have no S: it is small enough to be
// inlined.
func FloatOf(k Kind, n int64) float64 {
	switch k {
	case Double:
		return math.Float64frombits(uint64(n))
	case Decimal:
		return float64(n) / DecimalOne
	case Date:
		return float64(n) * 86_400_000
	default:
		return float64(n)
	}
}

// String returns the value as text, as evidence and payloads have it.
// Absent is the empty string.
func (v Value) String() string {
	switch v.K {
	case Absent:
		return ""
	case Bool:
		return strconv.FormatBool(v.N != 0)
	case Int:
		return strconv.FormatInt(v.N, 10)
	case String:
		return v.S
	}
	return string(v.AppendText(nil))
}

// AppendText appends what String returns.
func (v Value) AppendText(b []byte) []byte {
	switch v.K {
	case Absent:
		return b
	case Bool:
		return strconv.AppendBool(b, v.N != 0)
	case Int:
		return strconv.AppendInt(b, v.N, 10)
	case Double:
		if n, ok := hundredths(v.Float()); ok {
			return appendHundredths(b, n)
		}
		if f := math.Abs(v.Float()); f >= 1e-6 && f < 1e15 || f == 0 {
			return strconv.AppendFloat(b, v.Float(), 'f', -1, 64)
		}
		return strconv.AppendFloat(b, v.Float(), 'g', -1, 64)
	case Decimal:
		return appendDecimal(b, v.N)
	case String, Number:
		return append(b, v.S...)
	case Time:
		return Millis(v.N).Time().AppendFormat(b, timeFormat)
	case Duration:
		return appendDuration(b, Millis(v.N))
	case Date:
		return time.Unix(v.N*86_400, 0).UTC().AppendFormat(b, time.DateOnly)
	}
	b = append(b, '[')
	for i, e := range v.L {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = e.AppendText(b)
	}
	return append(b, ']')
}

// FormatDecimal returns n / 10^4 as text with no trailing zeros after the
// second digit: 12.5 is "12.50", 12.3456 is "12.3456".
func FormatDecimal(n int64) string { return string(appendDecimal(nil, n)) }

func appendDecimal(b []byte, n int64) []byte {
	u := uint64(n)
	if n < 0 {
		b, u = append(b, '-'), -u
	}
	b = strconv.AppendUint(b, u/DecimalOne, 10)
	point := len(b)
	b = strconv.AppendUint(b, DecimalOne+u%DecimalOne, 10)
	b[point] = '.' // in place of the 1
	for len(b) > point+3 && b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// FormatDuration returns a length of time in the largest units that give it
// exactly, as "45d" or "1d12h30m" or "1.5s".
func FormatDuration(d Millis) string { return string(appendDuration(nil, d)) }

func appendDuration(b []byte, d Millis) []byte {
	if d == 0 {
		return append(b, "0s"...)
	}
	if d < 0 {
		b = append(b, '-')
		if d == math.MinInt64 {
			d++
		}
		d = -d
	}
	for _, u := range [...]struct {
		n    Millis
		name byte
	}{{86_400_000, 'd'}, {3_600_000, 'h'}, {60_000, 'm'}} {
		if d >= u.n {
			b = append(strconv.AppendInt(b, int64(d/u.n), 10), u.name)
			d %= u.n
		}
	}
	if d > 0 {
		b = append(strconv.AppendFloat(b, float64(d)/1000, 'f', -1, 64), 's')
	}
	return b
}

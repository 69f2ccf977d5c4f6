// Package aggregate holds the mergeable summaries of a customer's events: counts,
// sums, extremes, first and last values, windowed lists, distinct values and the
// cart.
//
// The one rule: every summary is a commutative, associative fold of the set of
// events. Folding events in any order, or folding two halves and merging, gives
// the same summary (compared after Prune to one instant, and below the caps).
package aggregate

import (
	"errors"
	"math"
	"strings"

	"github.com/segmill/segmill/engine/expr"
)

// Millis is an instant or a length of time in milliseconds.
type Millis = expr.Millis

// None is an instant earlier than every real one: "not yet" or "complete since
// ever".
const None Millis = math.MinInt64

// ErrFormat is returned for bytes that are not a summary of the asked family.
var ErrFormat = errors.New("aggregate: malformed summary")

// Stamp places an event in the total order that first and last go by: event
// time, then event id, source and stream.
type Stamp struct {
	At     Millis
	ID     string
	Source string
	Stream uint8
}

// Compare orders two stamps: -1, 0 or 1.
func (s *Stamp) Compare(o *Stamp) int {
	switch {
	case s.At < o.At:
		return -1
	case s.At > o.At:
		return 1
	}
	if c := strings.Compare(s.ID, o.ID); c != 0 {
		return c
	}
	if c := strings.Compare(s.Source, o.Source); c != 0 {
		return c
	}
	return int(s.Stream) - int(o.Stream)
}

// Sample is what one event gives to one summary.
type Sample struct {
	Stamp
	// Value is the field's value as stored (Decimal for money), Absent if the
	// summary reads no field.
	Value expr.Value
	// Num is Value as a scaled integer (see Scaled), negated where the rule says
	// so; 0 if the summary reads no number.
	Num int64
	// Cart is the id of the cart that the event is about, "" if it names none. Clear marks a
	// completed purchase, Replace an event that says what the whole cart is. Lines are what
	// the event adds and removes.
	Cart           string
	Clear, Replace bool
	Lines          []Line
	// Unmatched is how many of the removals matched nothing in the cart: Cart.Fold sets it.
	Unmatched int
}

// Shared is an event that both sides of a merge remember.
type Shared struct {
	At   Millis
	Hash uint64
}

// Cell is one summary of one customer.
type Cell interface {
	// Fold adds one event.
	Fold(s *Sample)
	// Merge adds a summary of the same family over a disjoint set of events,
	// disjoint but for the shared ones, which are counted once where entries
	// allow it. It reports whether they did.
	Merge(o Cell, shared []Shared) (exact bool)
	// Prune drops what no window of length reach can see at now or later.
	Prune(now, reach Millis)
	// Append appends the summary's bytes; times as their distance to at.
	Append(b []byte, at Millis) []byte
	// Compute returns what op makes of the events with now - w < t <= now, 0 for
	// all time, whose field's values are of kind k. A summary that one op alone is
	// computed from takes nil.
	Compute(op *Op, k expr.Kind, now, w Millis) expr.Value
	// decode reads what Append wrote; the reader remembers what was wrong.
	decode(r *Reader)
}

// Scale returns what a field's values are multiplied by to be summed as
// integers: 10^4 for money, 10^9 for doubles (rounded once per value), 1 for
// integers.
func Scale(k expr.Kind) float64 {
	switch k {
	case expr.Decimal:
		return expr.DecimalOne
	case expr.Double:
		return 1e9
	}
	return 1
}

// Scaled returns v as an integer of its kind's Scale; ok is false if v is no
// number or out of range (a double of 9.2e9 or more).
func Scaled(v expr.Value) (n int64, ok bool) {
	switch v.K {
	case expr.Int, expr.Decimal:
		return v.N, true
	case expr.Double:
		f := math.RoundToEven(expr.FloatOf(v.K, v.N) * 1e9)
		if f > -0x1p63 && f < 0x1p63 {
			return int64(f), true
		}
	}
	return 0, false
}

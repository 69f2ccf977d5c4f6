// Package engine is the pure core: customers, the folding of events into them,
// the evaluation of rules, and what the outside must hear of it. It does no I/O,
// reads no clock, starts no goroutine, and knows neither Kafka nor Pebble. The
// same calls give the same effects and the same bytes, whenever they are made.
package engine

import (
	"github.com/segmill/segmill/engine/dedup"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Millis is an instant in milliseconds since 1970, or a length of time.
type Millis = expr.Millis

// Never is later than every instant.
const Never = expr.Never

// Event is one fact about one customer. Identity is (Stream, Source, ID).
type Event struct {
	Stream plan.Stream
	// Customer is who the event is about, already resolved: customer_id, else
	// "anon:" + anonymous_id, else the Kafka key. Never empty.
	Customer string
	// ID is unique per stream and source. Never empty.
	ID string
	// Source is the producing system, "/unknown" if the event names none.
	Source string
	// At is the event time.
	At Millis
	// Lag is how much later than At the record was written to Kafka, in ms: the id is
	// remembered longer by that. 0 if it was not later, or there is no record.
	Lag Millis
	// Fields are the values of the paths in the engine's Layout of the stream,
	// in its order. A field that the event lacks is Absent.
	Fields []expr.Value
}

// idOf returns what is remembered of the event.
func (e *Engine) idOf(ev *Event) dedup.ID {
	d := dedup.Event{Stream: ev.Stream, Source: ev.Source, ID: ev.ID, At: ev.At, Lag: ev.Lag}
	if ev.Stream >= plan.NumBuiltin {
		d.Key = e.ownKeys[ev.Stream-plan.NumBuiltin]
	}
	return dedup.Of(&d)
}

// Derived returns about how many bytes c takes for what is not in its encoded form.
func (c *Customer) Derived() int { return c.seen.Derived() }

// duplicate reports whether an event with this id was folded before and is
// remembered, and counts it.
func (e *Engine) duplicate(c *Customer, id dedup.ID, out *Output) bool {
	v := c.seen.Judge(id, c.instant, &e.dedup)
	if v.Duplicate {
		out.Stats.Duplicates++
	}
	if v.Conflict {
		out.Stats.Conflicts++
	}
	if v.Prolonged {
		out.Stats.Prolonged++
	}
	return v.Duplicate
}

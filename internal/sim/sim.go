// Package sim judges the engine: it makes random rules and random histories, and
// it holds an Oracle that says what must come of them.
//
// The oracle keeps every event of a customer in a plain slice and computes every
// value by walking over all of them, at every instant at which anything could
// change. It shares with the engine the types that calls are made of, and no
// code: a misreading of the specification can then hide in one of the two only.
// It is meant to be obviously right and is as slow as that takes.
//
// The tests of this package run each property on random input for SIM_TIME
// (default 3s). A failure prints its SEED, with which it can be run again, and
// the smallest rules and calls that were found to fail.
package sim

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Millis is an instant or a length of time, in milliseconds.
type Millis = engine.Millis

// Lengths of time.
const (
	Second Millis = 1000
	Minute        = 60 * Second
	Hour          = 60 * Minute
	Day           = 24 * Hour
)

// Record is one event as a source sends it: its values by path, before any rule
// set has decided which of them are read. A field that is missing has no key.
type Record struct {
	Stream   plan.Stream
	Customer string
	ID       string
	Source   string
	At       Millis
	Lag      Millis // how much later the record came into Kafka
	Fields   map[string]expr.Value
}

// Event returns r with its fields in the slots of a layout.
func (r *Record) Event(l *plan.Layout) *engine.Event {
	ev := &engine.Event{
		Stream: r.Stream, Customer: r.Customer, ID: r.ID, Source: r.Source, At: r.At, Lag: r.Lag,
		Fields: make([]expr.Value, len(l.Paths)),
	}
	for i, path := range l.Paths {
		ev.Fields[i] = r.Fields[path]
	}
	return ev
}

// Erasure returns what r requests as an erasure: its id stands for its place.
func (r *Record) Erasure() engine.Erasure { return engine.Erasure{At: r.At, Place: r.ID} }

// String returns r on one line.
func (r *Record) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %s", r.At, r.Customer, r.Stream)
	fmt.Fprintf(&b, " id=%s", r.ID)
	if r.Lag != 0 {
		fmt.Fprintf(&b, " lag=%d", r.Lag)
	}
	if r.Source != "/unknown" {
		fmt.Fprintf(&b, " source=%s", r.Source)
	}
	for _, k := range slices.Sorted(maps.Keys(r.Fields)) {
		fmt.Fprintf(&b, " %s=%q", k, r.Fields[k].String())
	}
	return b.String()
}

// Before reports whether r is before o in the order that decides what is
// first and what is last: event time, then id, source and stream.
func (r *Record) Before(o *Record) bool {
	switch {
	case r.At != o.At:
		return r.At < o.At
	case r.ID != o.ID:
		return r.ID < o.ID
	case r.Source != o.Source:
		return r.Source < o.Source
	}
	return r.Stream < o.Stream
}

// same reports whether r and o are the same event sent twice.
func (r *Record) same(o *Record) bool {
	return r.Stream == o.Stream && r.Source == o.Source && r.ID == o.ID
}

// Package importing writes the events of files into the topic <app>.history of an
// application (see consumer/imports), in two steps: [Sort] reads the files and sorts what they
// hold on disk, and [Write] writes it in transactions.
//
// The one rule it keeps: of the same files come the same records in the same order. A second
// run therefore goes on where the last transaction of the first one ended, each event is
// written once, and an import that is complete is known again. Everything that decides about a
// record is part of the import's ID: other files, another order of them or other mappings are
// another import.
package importing

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"io"

	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// File is a file of events.
type File struct {
	Name string
	// Topic is the input whose records the lines are.
	Topic string
	// In is what the file holds; it may be compressed with gzip or zstd.
	In io.Reader
}

// Options are how files become an import.
type Options struct {
	App string
	// Partitions are those of the topic.
	Partitions int32
	// Reader makes events of lines as the application does of records of the inputs.
	Reader  *schemas.Reader
	Streams *plan.Streams // that its events are of
	// Latest is the greatest event time that is believed: the wall clock and
	// max_future_skew.
	Latest engine.Millis
	// Dir is where what is sorted is kept until it is written, about as much as the files
	// are when they are not compressed. It is in a file without a name, which is gone when
	// the process ends in whatever way. "" is the system's directory for such files.
	Dir string
	// Refused is called with what can't be read, in the order of the files; an error ends
	// the import.
	Refused func(*Refused) error
	// KeepRest imports the rest if something is refused. Otherwise the files are only read
	// to their end, so that all that is wrong with them is said at once.
	KeepRest bool
	// Progress is called from time to time, by one goroutine; nil: nobody looks.
	Progress func(Progress)
	// OnPanic is deferred in each goroutine; nil: nothing is.
	OnPanic func()

	memory int64 // of the events that one goroutine sorts at once; 0: runBytes
	fanIn  int   // how many runs are merged at once; 0: mostRuns
}

// Progress is how far an import is.
type Progress struct {
	Lines, Refused int64
	// Events are those that were read, Written those of them that are in the topic, and
	// Before those that an earlier run had written.
	Events, Written, Before int64
}

// Refused is a line, or an event of one that has several, that can't be imported.
type Refused struct {
	File   string `json:"file"`
	Line   int    `json:"line"` // from 1
	Cause  string `json:"cause"`
	Reason string `json:"reason"`
	// Imported is how many other events of the line are imported all the same.
	Imported int `json:"imported,omitempty"`
	// Text is the line; of one that is longer than a line may be, its start.
	Text string `json:"text"`
}

// Counts says what became of the lines.
type Counts struct {
	Lines    int64 // without empty ones
	Events   int64 // to be imported
	NoEvents int64 // messages of types that are no events
	Refused  map[string]int64
}

// Bad returns how much was refused.
func (c *Counts) Bad() (n int64) {
	for _, of := range c.Refused {
		n += of
	}
	return n
}

// Kind is what events are counted by.
type Kind struct{ Topic, Stream string }

// add counts an event.
func add[K comparable](m map[K]imports.Range, k K, at engine.Millis) {
	r, ok := m[k]
	if !ok {
		r = imports.Range{First: at, Last: at}
	}
	m[k] = imports.Range{Records: r.Records + 1, First: min(r.First, at), Last: max(r.Last, at)}
}

// merged adds what was counted elsewhere.
func merged[K comparable](m, more map[K]imports.Range) {
	for k, r := range more {
		if old, ok := m[k]; ok {
			r = imports.Range{Records: r.Records + old.Records, First: min(r.First, old.First), Last: max(r.Last, old.Last)}
		}
		m[k] = r
	}
}

// identity makes the ID of an import, of the hashes of what was made of its chunks, in order.
type identity struct{ hash.Hash }

func newIdentity(app string, partitions int32, topics []string) identity {
	i := identity{sha256.New()}
	fmt.Fprintf(i, "%q %d %q", app, partitions, topics)
	return i
}

func (i identity) id() string { return imports.ID(binary.BigEndian.Uint64(i.Sum(nil))) }

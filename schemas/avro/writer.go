package avro

import (
	"sync/atomic"

	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
)

// Writer is a schema that records are written with, and the programs for it.
type Writer struct {
	schema   *Schema
	programs []atomic.Pointer[compiled] // by the number of the target
}

// NewWriter returns a writer whose records are read into so many targets.
func NewWriter(s *Schema, targets int) *Writer {
	return &Writer{s, make([]atomic.Pointer[compiled], targets)}
}

type compiled struct {
	op      *Op
	refused *bad.Input
}

// Program returns the program that reads the writer's records into t. Two
// goroutines may compile the same one; they come to the same.
func (w *Writer) Program(t *frame.Target) (*Op, *bad.Input) {
	p := w.programs[t.Number].Load()
	if p == nil {
		p = &compiled{}
		p.op, p.refused = compile(w.schema, t)
		w.programs[t.Number].Store(p)
	}
	return p.op, p.refused
}

package schemas

import (
	"sync/atomic"
)

// writer is a schema that records are written with, and the programs for it.
type writer struct {
	schema   *schema
	programs []atomic.Pointer[compiled] // by the number of the target
}

// newWriter returns a writer whose records are read into so many targets.
func newWriter(s *schema, targets int) *writer {
	return &writer{s, make([]atomic.Pointer[compiled], targets)}
}

type compiled struct {
	op      *op
	refused *BadInput
}

// program returns the program that reads the writer's records into t. Two
// goroutines may compile the same one; they come to the same.
func (w *writer) program(t *target) (*op, *BadInput) {
	p := w.programs[t.number].Load()
	if p == nil {
		p = &compiled{}
		p.op, p.refused = compile(w.schema, t)
		w.programs[t.number].Store(p)
	}
	return p.op, p.refused
}

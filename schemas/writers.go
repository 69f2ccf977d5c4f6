package schemas

import (
	"fmt"
	"sync/atomic"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine/plan"
)

// writer is a schema that records are written with, and the programs for it.
type writer struct {
	schema   *schema
	programs [plan.NumStreams]atomic.Pointer[program]
}

type program struct {
	op      *op
	refused *BadInput
}

// program returns the program that reads the writer's records into t. Two
// goroutines may compile the same one; they come to the same.
func (w *writer) program(t *target) (*op, *BadInput) {
	p := w.programs[t.stream].Load()
	if p == nil {
		p = &program{}
		p.op, p.refused = compile(w.schema, t)
		w.programs[t.stream].Store(p)
	}
	return p.op, p.refused
}

// ownWriters returns every version of our schemas by its fingerprint. That they parse
// is a property of the program, so the opposite is a panic.
func ownWriters() map[uint64]*writer {
	own := map[uint64]*writer{}
	for _, name := range inputNames {
		for _, path := range historyFiles(name) {
			text, err := files.ReadFile(path)
			if err != nil {
				panic(err)
			}
			codec, err := goavro.NewCodec(string(text))
			if err != nil {
				panic(fmt.Sprintf("schema %s: %v", path, err))
			}
			s, err := parseSchema(text)
			if err != nil {
				panic(fmt.Sprintf("schema %s: %v", path, err))
			}
			own[codec.Rabin] = &writer{schema: s}
		}
	}
	return own
}

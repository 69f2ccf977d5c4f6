package schemas

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine/plan"
)

// Registry knows the schemas that records name by number. It is called from
// several goroutines.
type Registry interface {
	// Schema returns the Avro schema with an id and the subjects that it is
	// registered under, none if the registry cannot tell. The error is
	// ErrUnknownSchema if there is no schema with that id; any other error means
	// that the registry could not be asked.
	Schema(id int) (text string, subjects []string, err error)
}

// Limits on what is remembered of schemas.
const (
	maxSchemas   = 1000  // schemas of other writers
	maxUnknown   = 1000  // ids that the registry did not have
	unknownReads = 1_000 // records with such an id before it is asked for again
)

// writer is a schema that records are written with, and the programs for it.
type writer struct {
	schema   *schema
	refused  *BadInput // not nil: the gate refused it
	programs [plan.NumStreams]atomic.Pointer[program]
}

type program struct {
	op      *op
	refused *BadInput
}

// program returns the program that reads the writer's records into t. Two
// goroutines may compile the same one; they come to the same.
func (w *writer) program(t *target) (*op, *BadInput) {
	if w.refused != nil {
		return nil, w.refused
	}
	p := w.programs[t.stream].Load()
	if p == nil {
		p = &program{}
		p.op, p.refused = compile(w.schema, t)
		w.programs[t.stream].Store(p)
	}
	return p.op, p.refused
}

// writers are the schemas met so far: those of the registry by id, our own by
// fingerprint.
type writers struct {
	registry Registry
	subjects []string
	own      map[uint64]*writer

	byID atomic.Pointer[map[uint32]*writer] // never changed, only replaced: every record reads it

	mu      sync.Mutex               // of writing byID, and of unknown
	unknown map[uint32]*atomic.Int64 // reads left before the registry is asked again
}

func newWriters(registry Registry, subjects []string) *writers {
	w := &writers{registry: registry, subjects: subjects, own: map[uint64]*writer{},
		unknown: map[uint32]*atomic.Int64{}}
	w.byID.Store(&map[uint32]*writer{})
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
			w.own[codec.Rabin] = &writer{schema: s}
		}
	}
	return w
}

// get returns the writer with an id of the registry. The error is a *BadInput or
// wraps ErrRegistry.
func (w *writers) get(id uint32) (*writer, error) {
	known := *w.byID.Load()
	if n := known[id]; n != nil {
		return n, nil
	}
	w.mu.Lock()
	unknown := w.unknown[id]
	w.mu.Unlock()
	switch {
	case w.registry == nil:
		return nil, bad(CauseSchema, "", "the record names schema %d of a registry, and none is configured", id)
	case unknown != nil && unknown.Add(-1) > 0:
		return nil, unknownSchema(id, ErrUnknownSchema)
	case len(known) >= maxSchemas:
		return nil, bad(CauseSchema, "", "schema %d is one more than the %d that are kept", id, maxSchemas)
	}
	text, subjects, err := w.registry.Schema(int(id))
	if errors.Is(err, ErrUnknownSchema) {
		w.remember(id)
		return nil, unknownSchema(id, err)
	}
	if err != nil {
		return nil, fmt.Errorf("schema %d: %w: %w", id, ErrRegistry, err)
	}
	return w.add(id, text, subjects), nil
}

func unknownSchema(id uint32, err error) *BadInput {
	return bad(CauseSchema, "", "schema %d: %v; was the record written for another registry?", id, err)
}

// remember keeps in mind that the registry does not have an id.
func (w *writers) remember(id uint32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.unknown) >= maxUnknown {
		clear(w.unknown)
	}
	n := new(atomic.Int64)
	n.Store(unknownReads)
	w.unknown[id] = n
}

// add puts a schema through the gate and keeps it, or that it was refused.
func (w *writers) add(id uint32, text string, subjects []string) *writer {
	n := &writer{}
	if !w.allowed(subjects) {
		n.refused = bad(CauseSchema, "", "schema %d belongs to %q, none of them an input subject", id, subjects)
	} else if s, err := gate(text); err != nil {
		n.refused = bad(CauseSchema, "", "schema %d is refused: %v", id, err)
	} else {
		n.schema = s
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	known := *w.byID.Load()
	if w := known[id]; w != nil {
		return w
	}
	known = maps.Clone(known)
	known[id] = n
	w.byID.Store(&known)
	return n
}

// allowed reports whether one of the subjects is an input. A registry that cannot
// tell is trusted.
func (w *writers) allowed(subjects []string) bool {
	return len(subjects) == 0 || len(w.subjects) == 0 ||
		slices.ContainsFunc(subjects, func(s string) bool { return slices.Contains(w.subjects, s) })
}

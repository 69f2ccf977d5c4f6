// Package mapping makes events of the records of producers who write their own: it runs
// the expressions of a mapping over a record that is JSON, and writes what comes out as
// JSON with the names of our schemas.
//
// The one rule it keeps: what comes out is text that is read like any other event. So a
// mapped event means what the same event would mean if its producer had written it, and
// what was made of a record can be shown, kept and forwarded.
package mapping

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/jsontext"
)

// Limits on what is made of one record.
const (
	MaxSteps  = 100_000 // looks at members and elements, of all expressions together
	MaxEvents = 1_000
	maxOut    = 4 << 20 // bytes of all events together
)

// Record is a record as expressions see it.
type Record struct {
	Value   []byte // JSON
	Key     []byte
	Headers func(yield func(key string, value []byte) bool)
	Topic   string
	ID      string // where the record is: topic/partition/offset
	Time    expr.Millis
}

// Verdict says what a mapping makes of a part of a record.
type Verdict uint8

// The verdicts.
const (
	Event     Verdict = iota + 1 // an event
	Filtered                     // when is false
	Undecided                    // when is neither true nor false
	Refused                      // the expressions cannot be worked out
)

// Part is what became of a record, or of one element of it.
type Part struct {
	Verdict Verdict
	Number  int    // which element; 0 of a record that is one event
	Text    []byte // of an event; valid until the next record
	Err     *bad.Input
}

// Runner runs mappings. It belongs to one goroutine.
type Runner struct {
	streams  *plan.Streams
	zones    expr.Zones
	docs     documents
	env      expr.Env
	rec      *Record
	top      expr.Value // the value of the record
	compiled map[*plan.Mapping]*program
	out      []byte
	room     []byte // of what surrounds the record
}

// program is a mapping whose expressions are compiled. Their functions look into the
// documents of the runner.
type program struct {
	when, each, key expr.Fn // nil where the mapping has none
	perElement      bool    // when reads the element
	headers, record bool    // some expression reads them
	fields          []field
	source          string
}

// field is a field of the event.
type field struct {
	name  string
	value expr.Fn
	clear bool // null clears it
	text  string
}

// NewRunner returns a runner. zones are for functions that take a time zone.
func NewRunner(streams *plan.Streams, zones expr.Zones) *Runner {
	r := &Runner{streams: streams, zones: zones, compiled: map[*plan.Mapping]*program{}}
	r.docs.objects = map[int64]span{}
	r.env = expr.Env{Fields: make([]expr.Value, plan.NumDocs), Member: r.docs.member}
	return r
}

// Check reports whether a mapping can be run; one that engine/rule has made can.
func Check(m *plan.Mapping, streams *plan.Streams, zones expr.Zones) error {
	_, err := NewRunner(streams, zones).program(m)
	return err
}

// program returns the compiled mapping.
func (r *Runner) program(m *plan.Mapping) (*program, error) {
	if p := r.compiled[m]; p != nil {
		return p, nil
	}
	p := &program{source: "/" + m.Name, perElement: reads(m.When, plan.DocIt)}
	c := expr.Compiler{Slot: plan.DocSlot, Zones: r.zones, Document: &expr.Document{Calls: r.calls()}}
	var failed error
	compile := func(e *plan.Expression) expr.Fn {
		if e == nil {
			return nil
		}
		p.headers = p.headers || reads(e, plan.DocHeaders)
		p.record = p.record || reads(e, plan.DocRecord)
		f, err := c.Compile(e.Node)
		if err != nil && failed == nil {
			failed = fmt.Errorf("mapping %s: %s: %w", m.Name, e.Text, err)
		}
		return f
	}
	p.when, p.each, p.key = compile(m.When), compile(m.Each), compile(m.Key)
	attributes := r.streams.Info(m.Stream).Attributes && m.ClearNulls
	for i := range m.Fields {
		f := &m.Fields[i]
		p.fields = append(p.fields, field{f.Name, compile(f.Is), attributes && !head[f.Name], f.Is.Text})
		if f.Name == "source" {
			p.source = ""
		}
	}
	if failed != nil {
		return nil, failed
	}
	r.compiled[m] = p
	return p, nil
}

// head are the fields that null does not clear.
var head = map[string]bool{
	"event_id": true, "customer_id": true, "anonymous_id": true, "occurred_at": true, "received_at": true, "source": true, "merge_from": true,
}

// reads reports whether an expression reads one of the parts of a record.
func reads(e *plan.Expression, slot int) bool {
	return e != nil && readsNode(e.Node, plan.DocumentNames[slot])
}

func readsNode(n *expr.Node, name string) bool {
	if n == nil {
		return false
	}
	if n.Op == expr.OpField && n.Path == name {
		return true
	}
	for _, a := range n.Args {
		if readsNode(a, name) {
			return true
		}
	}
	if f := n.Fold; f != nil {
		return readsNode(f.Range, name) || readsNode(f.Init, name) || readsNode(f.While, name) || readsNode(f.Step, name) || readsNode(f.Result, name)
	}
	return false
}

// Begin begins a record. Its value must be JSON; notes are told what is strange about it.
func (r *Runner) Begin(rec *Record, note func(bad.Note)) *bad.Input {
	r.End()
	r.rec, r.docs.note = rec, note
	var err error
	if r.top, err = r.docs.add(rec.Value); err != nil {
		return malformed(err)
	}
	if k := r.top.K; k != expr.Object && k != expr.List {
		return bad.New(bad.Format, "", "neither a JSON object nor an array: it begins with %s", bad.Clip(rec.Value[:min(len(rec.Value), 16)]))
	}
	r.env.Steps = MaxSteps
	r.key(rec)
	r.env.Fields[plan.DocMsg] = r.top
	return nil
}

// End forgets the record.
func (r *Runner) End() {
	r.docs.reset()
	clear(r.env.Fields)
	r.rec, r.out, r.room, r.top = nil, r.out[:0], r.room[:0], expr.Value{}
	if cap(r.out) > maxKept {
		r.out = nil
	}
}

// maxKept is how much memory is kept for the next record.
const maxKept = 64 << 10

// key gives expressions the key of the record: a text, absent if there is none.
func (r *Runner) key(rec *Record) {
	if len(rec.Key) > 0 && utf8.Valid(rec.Key) {
		r.env.Fields[plan.DocKey] = expr.StringValue(string(rec.Key))
	}
}

func malformed(err error) *bad.Input {
	var s *jsontext.SyntaxError
	if errors.As(err, &s) {
		return bad.New(bad.Format, "", "%s", s.Text).AtByte(s.At)
	}
	return bad.New(bad.Format, "", "%v", err)
}

// surround gives expressions what surrounds the value.
func (r *Runner) surround(p *program) {
	rec := r.rec
	if p.headers && !r.env.Fields[plan.DocHeaders].Present() {
		from := len(r.room)
		r.room = append(r.room, '{')
		for key, value := range rec.Headers {
			if len(r.room) > from+1 {
				r.room = append(r.room, ',')
			}
			r.room = append(jsontext.AppendQuoted(r.room, key), ':')
			r.room = jsontext.AppendQuoted(r.room, string(value))
		}
		r.room = append(r.room, '}')
		r.env.Fields[plan.DocHeaders], _ = r.docs.add(r.room[from:])
	}
	if p.record && !r.env.Fields[plan.DocRecord].Present() {
		from := len(r.room)
		r.room = append(r.room, `{"topic":`...)
		r.room = jsontext.AppendQuoted(r.room, rec.Topic)
		r.room = jsontext.AppendQuoted(append(r.room, `,"id":`...), rec.ID)
		r.room = jsontext.AppendQuoted(append(r.room, `,"time":`...), rec.Time.String())
		r.room = append(r.room, '}')
		r.env.Fields[plan.DocRecord], _ = r.docs.add(r.room[from:])
	}
}

// Erases returns whom a record without a value erases, as the mapping's key says, or as
// the record's key is. The record needs no Begin.
func (r *Runner) Erases(m *plan.Mapping, rec *Record) (string, *bad.Input) {
	p, err := r.program(m)
	if err != nil {
		return "", bad.New(bad.Mapping, "key", "%v", err)
	}
	if p.key == nil {
		return string(rec.Key), nil
	}
	r.End()
	r.rec, r.docs.note = rec, func(bad.Note) {}
	r.env.Steps = MaxSteps
	r.key(rec)
	r.surround(p)
	defer r.End()
	id, ok := digits(p.key(&r.env))
	if !ok || id == "" {
		return "", bad.New(bad.Mapping, "key", "the mapping %s finds no customer in the key: %s has no value", m.Name, m.Key.Text)
	}
	return id, nil
}

// Run runs a mapping over the record that Begin has begun, and calls part for each part of
// it.
func (r *Runner) Run(m *plan.Mapping, part func(Part)) {
	p, err := r.program(m)
	if err != nil {
		part(Part{Verdict: Refused, Err: bad.New(bad.Mapping, "", "%v", err)})
		return
	}
	r.surround(p)
	if p.when != nil && !p.perElement {
		if v := r.wanted(p); v != Event {
			part(r.spent(m, Part{Verdict: v}, m.When))
			return
		}
	}
	if p.each == nil {
		part(r.one(m, p, 0))
		return
	}
	list := p.each(&r.env)
	switch {
	case list.K == expr.Absent:
		part(r.spent(m, Part{Verdict: Undecided}, m.Each))
		return
	case list.K != expr.List:
		part(Part{Verdict: Refused, Err: bad.New(bad.Mapping, "each", "the mapping %s: %s is no list", m.Name, m.Each.Text)})
		return
	case len(list.L) > MaxEvents:
		part(Part{Verdict: Refused, Err: bad.New(bad.Size, "each", "the mapping %s: %s has %d elements, more than %d", m.Name, m.Each.Text, len(list.L), MaxEvents)})
		return
	}
	for i, it := range list.L {
		r.env.Fields[plan.DocIt] = it
		if p.perElement {
			if v := r.wanted(p); v != Event {
				part(r.spent(m, Part{Verdict: v, Number: i}, m.When))
				continue
			}
		}
		part(r.one(m, p, i))
	}
	r.env.Fields[plan.DocIt] = expr.Value{}
}

// spent returns the part, or that it is refused because the steps ran out: then what an
// expression says is of no use.
func (r *Runner) spent(m *plan.Mapping, p Part, e *plan.Expression) Part {
	if r.env.Steps < 0 {
		return Part{Verdict: Refused, Number: p.Number, Err: bad.New(bad.Mapping, "", "the mapping %s takes more than %d steps over this record: %s", m.Name, MaxSteps, e.Text)}
	}
	return p
}

// wanted evaluates when.
func (r *Runner) wanted(p *program) Verdict {
	switch v := p.when(&r.env); {
	case v.K != expr.Bool:
		return Undecided
	case v.N == 0:
		return Filtered
	}
	return Event
}

// one makes an event.
func (r *Runner) one(m *plan.Mapping, p *program, number int) Part {
	from := len(r.out)
	b := append(r.out, '{')
	for i := range p.fields {
		f := &p.fields[i]
		v := f.value(&r.env)
		if r.env.Steps < 0 {
			return Part{Verdict: Refused, Number: number, Err: bad.New(bad.Mapping, f.name, "the mapping %s takes more than %d steps over this record: %s", m.Name, MaxSteps, f.text)}
		}
		switch {
		case f.clear && v.K == expr.Object:
			b = r.docs.cleared(key(b, from, f.name), v)
		case f.clear && v.K == expr.String && v.S == unavailable:
		case v.Present():
			b = r.docs.append(key(b, from, f.name), v)
		case f.clear && v.Null():
			b = append(key(b, from, f.name), `""`...)
		}
		if len(b) > maxOut {
			return Part{Verdict: Refused, Number: number, Err: bad.New(bad.Size, f.name, "the mapping %s makes more than %d bytes of this record: %s", m.Name, maxOut, f.text)}
		}
	}
	if p.source != "" {
		b = jsontext.AppendQuoted(key(b, from, "source"), p.source)
	}
	r.out = append(b, '}')
	return Part{Verdict: Event, Number: number, Text: r.out[from:]}
}

// key appends the name of a member of the object that begins at from.
func key(b []byte, from int, name string) []byte {
	if len(b) > from+1 {
		b = append(b, ',')
	}
	return append(jsontext.AppendQuoted(b, name), ':')
}

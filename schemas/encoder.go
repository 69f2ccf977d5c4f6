package schemas

import (
	"encoding/binary"
	"fmt"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
)

// Format is how outputs are written.
type Format uint8

// The formats.
const (
	Avro Format = iota // Confluent's: 00 | schema id uint32 | Avro
	JSON               // the same field names; see docs of [Encoder]
)

// contentType returns the media type of values.
func (f Format) contentType() string {
	if f == JSON {
		return "application/json"
	}
	return "application/avro"
}

// IDs are the numbers of the output schemas in the registry, as [Register] returns
// them. JSON has no use for them.
type IDs struct {
	Change  int // membership_change
	Trigger int // trigger_fired
}

// Encoder makes bytes of effects. It is compiled from the output schemas: what
// stands where in the bytes is looked up once. In JSON, instants are RFC 3339 with
// milliseconds, dates YYYY-MM-DD, amounts strings such as "12.50", and what does
// not apply is null. It is safe for use by several goroutines.
type Encoder struct {
	format          Format
	app             string
	change, trigger outRecord
}

// outRecord is an output schema with the source of each field's value.
type outRecord struct {
	schema *schema
	prefix []byte // what stands before the Avro
	gets   []func(*outEffect) expr.Value
	item   []func(*engine.Item) expr.Value
}

// NewEncoder returns an encoder for the application app, whose name is part of
// the ids of effects. It is an error if a schema has a field that the encoder
// cannot fill.
func NewEncoder(f Format, app string, ids IDs) (*Encoder, error) {
	e := &Encoder{format: f, app: app}
	var err error
	if e.change, err = compileOutput(mustSchema(MembershipChange), changeFields, ids.Change); err != nil {
		return nil, err
	}
	if e.trigger, err = compileOutput(mustSchema(TriggerFired), triggerFields, ids.Trigger); err != nil {
		return nil, err
	}
	return e, nil
}

// compileOutput finds the source of every field of an output schema.
func compileOutput(s *schema, sources map[string]outField, id int) (outRecord, error) {
	r := outRecord{schema: s, prefix: binary.BigEndian.AppendUint32([]byte{0}, uint32(id))}
	for _, f := range s.fields {
		src, ok := sources[f.name]
		if !ok {
			return r, fmt.Errorf("schema %s: nothing fills the field %q", s.name, f.name)
		}
		t, err := typeOf(f.typ)
		if err != nil {
			return r, fmt.Errorf("schema %s: field %q: %w", s.name, f.name, err)
		}
		if t.Map {
			t.Kind = expr.List
		}
		if t.Kind != src.kind {
			return r, fmt.Errorf("schema %s: field %q has another type than what fills it", s.name, f.name)
		}
		r.gets = append(r.gets, src.get)
		if f.typ.wire == wireArray {
			if r.item, err = compileItem(f.typ.items); err != nil {
				return r, err
			}
		}
	}
	return r, nil
}

func compileItem(s *schema) ([]func(*engine.Item) expr.Value, error) {
	var l []func(*engine.Item) expr.Value
	for _, f := range s.fields {
		get, ok := itemFields[f.name]
		if !ok {
			return nil, fmt.Errorf("schema %s: nothing fills the field %q", s.name, f.name)
		}
		l = append(l, get)
	}
	return l, nil
}

// AppendChange appends a membership change or an erasure to b. emittedAt is the
// wall clock.
func (e *Encoder) AppendChange(b []byte, eff *engine.Effect, emittedAt expr.Millis) []byte {
	return e.append(b, &e.change, eff, emittedAt)
}

// AppendTrigger appends a trigger that fired to b. emittedAt is the wall clock.
func (e *Encoder) AppendTrigger(b []byte, eff *engine.Effect, emittedAt expr.Millis) []byte {
	return e.append(b, &e.trigger, eff, emittedAt)
}

func (e *Encoder) append(b []byte, r *outRecord, eff *engine.Effect, emittedAt expr.Millis) []byte {
	o := outEffect{Effect: eff, id: eff.ID(e.app), emittedAt: emittedAt, item: r.item}
	if e.format == JSON {
		for i, get := range r.gets {
			b = appendKey(b, i, '{', r.schema.fields[i].name)
			b = appendJSON(b, r.schema.fields[i].typ, get(&o))
		}
		return append(b, '}')
	}
	b = append(b, r.prefix...)
	for i, get := range r.gets {
		b = appendAvro(b, r.schema.fields[i].typ, get(&o))
	}
	return b
}

// Headers returns the headers of the record that carries an effect: CloudEvents
// in binary mode, and the content type. Readers that know nothing of the schemas
// can route by ce_type and drop copies by ce_id, which is the change_id or
// trigger_id.
func (e *Encoder) Headers(eff *engine.Effect) []Header {
	typ := "segmill.segment." + eff.Action.String() + ".v1"
	switch eff.Action {
	case engine.Erased:
		typ = "segmill.customer.erased.v1"
	case engine.Fired:
		typ = "segmill.trigger.fired.v1"
	}
	return []Header{
		{"content-type", []byte(e.format.contentType())},
		{"ce_specversion", []byte("1.0")},
		{"ce_id", []byte(eff.ID(e.app))},
		{"ce_type", []byte(typ)},
		{"ce_source", []byte("/segmill/" + e.app)},
		{"ce_subject", []byte(eff.Customer)},
		{"ce_time", []byte(eff.At.String())},
	}
}

package encode

import (
	"encoding/binary"
	"fmt"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/jsontext"
)

// outRecord is an output schema with the source of each field's value.
type outRecord struct {
	fields []outField
	prefix []byte // what precedes the Avro
}

// outField is a field of an output schema.
type outField struct {
	source
	typ      *avro.Schema
	plain    *avro.Schema // typ without null
	optional bool         // typ is a union of null and plain
	key      []byte       // what precedes the value in JSON
}

// compileOutput finds the source of every field of an output schema: in a table, or
// else by other, which may be nil.
func compileOutput(s *avro.Schema, sources map[string]source, other func(string, expr.Type) (source, bool), id int) (outRecord, error) {
	r := outRecord{prefix: binary.BigEndian.AppendUint32([]byte{0}, uint32(id))}
	for i, f := range s.Fields {
		t, err := avro.TypeOf(f.Type)
		if err != nil {
			return r, fmt.Errorf("schema %s: field %q: %w", s.Name, f.Name, err)
		}
		src, ok := sources[f.Name]
		if !ok && other != nil {
			src, ok = other(f.Name, t)
		}
		if !ok {
			return r, fmt.Errorf("schema %s: nothing fills the field %q", s.Name, f.Name)
		}
		if t.Map {
			t.Kind = expr.List
		}
		if t.Kind != src.kind || t.Map != (src.pairs != nil) {
			return r, fmt.Errorf("schema %s: field %q has another type than what fills it", s.Name, f.Name)
		}
		o := outField{source: src, typ: f.Type, plain: f.Type, optional: t.Optional, key: appendKey(nil, i, '{', f.Name)}
		if t.Optional {
			o.plain = f.Type.Union[1]
		}
		r.fields = append(r.fields, o)
	}
	return r, nil
}

// appendAvro appends o in Avro.
func (r *outRecord) appendAvro(b []byte, o *outEffect) []byte {
	b = append(b, r.prefix...)
	for i := range r.fields {
		b = r.fields[i].appendAvro(b, o)
	}
	return b
}

// appendAvro appends the field of o in Avro.
func (f *outField) appendAvro(b []byte, o *outEffect) []byte {
	switch {
	case f.text != nil:
		t := f.text(o)
		if f.optional {
			if t == "" {
				return append(b, 0)
			}
			b = append(b, 2)
		}
		if f.plain.Wire == avro.Enum {
			return binary.AppendVarint(b, int64(f.plain.Symbol(t)))
		}
		return appendText(b, t)
	case f.number != nil:
		n, has := f.number(o)
		if f.optional {
			if !has {
				return append(b, 0)
			}
			b = append(b, 2)
		}
		if f.kind == expr.Decimal {
			return appendDecimal(b, n)
		}
		if f.kind == expr.Bool {
			return append(b, byte(n))
		}
		return appendInt(b, n)
	case f.pairs != nil:
		return appendPairs(b, f.pairs(o))
	case f.id != nil:
		return append(append(b, 2*idLen), f.id(o)...)
	}
	return appendAvro(b, f.typ, f.value(o))
}

// appendJSON appends the field of o in JSON.
func (f *outField) appendJSON(b []byte, o *outEffect) []byte {
	switch {
	case f.text != nil:
		t := f.text(o)
		if f.optional && t == "" {
			return append(b, "null"...)
		}
		if f.plain.Wire == avro.Enum {
			t = f.plain.Symbols[f.plain.Symbol(t)]
		}
		return jsontext.AppendQuoted(b, t)
	case f.number != nil:
		n, has := f.number(o)
		if f.optional && !has {
			return append(b, "null"...)
		}
		return appendScalar(b, f.plain, expr.Value{K: f.kind, N: n})
	case f.pairs != nil:
		b = append(b, '{')
		for i, p := range f.pairs(o) {
			if i > 0 {
				b = append(b, ',')
			}
			b = jsontext.AppendQuoted(append(jsontext.AppendQuoted(b, p.Name), ':'), p.Value)
		}
		return append(b, '}')
	case f.id != nil:
		return append(append(append(b, '"'), f.id(o)...), '"')
	}
	return appendJSON(b, f.typ, f.value(o))
}

// Package encode makes bytes of effects and of events, in Avro or JSON.
//
// The one rule it keeps: the schema decides. The layout of the bytes is
// compiled from the schema that is handed in, and a field that nothing fills is an
// error when the encoder is made, not when the first effect is written.
package encode

import (
	"bytes"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/avro"
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

// Encoder makes bytes of effects. It is compiled from the output schemas, so
// the layout of the bytes is looked up once. In JSON, instants are RFC 3339 with
// milliseconds, dates YYYY-MM-DD, amounts strings such as "12.50", and what does
// not apply is null. It is safe for use by several goroutines.
type Encoder struct {
	format          Format
	app             string
	change, trigger outRecord
	actions         [engine.Renamed + 1]byte      // the code of each in the Avro of a change
	causes          [engine.CauseErasure + 1]byte // the same
}

// Config is what an Encoder is made of.
type Config struct {
	Format          Format
	App             string // the application, whose name is part of the ids of effects
	IDs             IDs
	Change, Trigger *avro.Schema // of the outputs
}

// NewEncoder returns an encoder. It is an error if a schema has a field that the
// encoder cannot fill.
func NewEncoder(cfg Config) (*Encoder, error) {
	e := &Encoder{format: cfg.Format, app: cfg.App}
	change := cfg.Change
	var err error
	if e.change, err = compileOutput(change, changeFields, nil, cfg.IDs.Change); err != nil {
		return nil, err
	}
	if e.trigger, err = compileOutput(cfg.Trigger, triggerFields, messageField, cfg.IDs.Trigger); err != nil {
		return nil, err
	}
	for a := range e.actions {
		e.actions[a] = change.Code("action", engine.Action(a).String())
	}
	for c := range e.causes {
		e.causes[c] = change.Code("cause", engine.Cause(c).String())
	}
	return e, nil
}

// Output is the record of an effect: its key and value, and what [Headers] makes
// its headers of.
type Output struct {
	Key, Value []byte

	action engine.Action
	id     []byte
	eff    outEffect // in the making
}

// Append makes o the record of an effect: a membership change, an erasure or a
// trigger that fired, as its action says. emittedAt is the wall clock. Key, value
// and the effect's id are appended to b; they are parts of what is returned, and of
// each other, so no byte of o may be changed.
func (e *Encoder) Append(b []byte, o *Output, eff *engine.Effect, emittedAt expr.Millis) []byte {
	o.action = eff.Action
	if e.format == Avro && eff.Action != engine.Fired {
		return e.appendChange(b, o, eff, emittedAt)
	}
	r := &e.change
	if eff.Action == engine.Fired {
		r = &e.trigger
	}
	id := len(b)
	b = eff.AppendID(b, e.app)
	key := len(b)
	b = append(b, eff.Customer...)
	value := len(b)
	o.eff = outEffect{Effect: eff, id: b[id:key], emittedAt: emittedAt}
	if e.format == JSON {
		for i := range r.fields {
			b = r.fields[i].appendJSON(append(b, r.fields[i].key...), &o.eff)
		}
		b = append(b, '}')
	} else {
		b = r.appendAvro(b, &o.eff)
	}
	o.eff = outEffect{}
	o.id, o.Key, o.Value = b[id:key:key], b[key:value:value], b[value:len(b):len(b)]
	return b
}

// appendChange does what [outRecord.appendAvro] does for a change, which nearly all
// effects are, in the order of its schema. The id and the key are those in the value.
func (e *Encoder) appendChange(b []byte, o *Output, eff *engine.Effect, emittedAt expr.Millis) []byte {
	value := len(b)
	b = append(append(b, e.change.prefix...), 2*idLen)
	id := len(b)
	b = appendText(eff.AppendID(b, e.app), eff.Customer)
	key := len(b)
	b = append(appendText(b, eff.Name), e.actions[eff.Action])
	b = appendInt(appendInt(b, int64(eff.At)), int64(emittedAt))
	b = append(appendInt(b, int64(eff.Sequence)), e.causes[eff.Cause])
	b = appendText(appendOptional(b, eff.CauseEvent), eff.Version)
	b = appendOptional(appendOptional(b, eff.Group), eff.From)
	if eff.Action == engine.Exited {
		b = appendInt(append(b, 2), int64(eff.MemberFor))
	} else {
		b = append(b, 0)
	}
	b = appendPairs(b, eff.Evidence)
	switch {
	case eff.Action != engine.Erased:
		b = append(b, 0)
	case eff.Known:
		b = append(b, 2, 1)
	default:
		b = append(b, 2, 0)
	}
	o.id, o.Key, o.Value = b[id:id+idLen:id+idLen], b[key-len(eff.Customer):key:key], b[value:len(b):len(b)]
	return b
}

// Made reports whether a value begins as those of this encoder do. A nil encoder,
// of who writes no outputs, has made none.
func (e *Encoder) Made(value []byte) bool {
	if e == nil {
		return false
	}
	for _, r := range []*outRecord{&e.change, &e.trigger} {
		begin := r.prefix
		if e.format == JSON {
			begin = r.fields[0].key
		}
		if bytes.HasPrefix(value, begin) {
			return true
		}
	}
	return false
}

// idLen is how many bytes the id of an effect has.
const idLen = 32

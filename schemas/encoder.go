package schemas

import (
	"slices"

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
	headers         [engine.Fired + 1][numHeaders]Header // by action; what differs between effects is nil
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
	for a := range e.headers {
		e.headers[a] = e.headersOf(engine.Action(a))
	}
	return e, nil
}

// Output is the record of an effect: its key and value, and its headers for
// [AppendHeaders].
type Output struct {
	Key, Value []byte

	headers  *[numHeaders]Header // shared by all effects of the action
	id, time []byte              // of headers
	eff      outEffect           // in the making
}

// The headers of a record: CloudEvents in binary mode, and the content type.
// Readers that know nothing of the schemas can route by ce_type and drop copies by
// ce_id, which is the change_id or trigger_id.
const (
	headerContentType = iota
	headerVersion
	headerID
	headerType
	headerSource
	headerSubject
	headerTime
	numHeaders
)

// headersOf returns the headers of all effects of an action, as far as they are
// the same.
func (e *Encoder) headersOf(a engine.Action) [numHeaders]Header {
	typ := "segmill.segment." + a.String() + ".v1"
	switch a {
	case engine.Erased:
		typ = "segmill.customer.erased.v1"
	case engine.Fired:
		typ = "segmill.trigger.fired.v1"
	}
	return [...]Header{
		headerContentType: {"content-type", []byte(e.format.contentType())},
		headerVersion:     {"ce_specversion", []byte("1.0")},
		headerID:          {"ce_id", nil},
		headerType:        {"ce_type", []byte(typ)},
		headerSource:      {"ce_source", []byte("/segmill/" + e.app)},
		headerSubject:     {"ce_subject", nil},
		headerTime:        {"ce_time", nil},
	}
}

// Append makes o the record of an effect: a membership change, an erasure or a
// trigger that fired, as its action says. emittedAt is the wall clock. Key, value
// and what is particular to the effect in the headers are appended to b; they are
// parts of what is returned. The other headers are shared by all records, so no
// byte of o may be changed.
func (e *Encoder) Append(b []byte, o *Output, eff *engine.Effect, emittedAt expr.Millis) []byte {
	r := &e.change
	if eff.Action == engine.Fired {
		r = &e.trigger
	}
	id := len(b)
	b = eff.AppendID(b, e.app)
	key := len(b)
	b = append(b, eff.Customer...)
	at := len(b)
	b = appendInstant(b, eff.At)
	value := len(b)
	o.eff = outEffect{Effect: eff, id: b[id:key], emittedAt: emittedAt, itemGets: r.item}
	if e.format == JSON {
		for i := range r.fields {
			b = r.fields[i].appendJSON(append(b, r.fields[i].key...), &o.eff)
		}
		b = append(b, '}')
	} else {
		b = append(b, r.prefix...)
		for i := range r.fields {
			b = r.fields[i].appendAvro(b, &o.eff)
		}
	}
	o.eff = outEffect{}
	o.Key, o.Value = b[key:at:at], b[value:len(b):len(b)]
	o.headers, o.id, o.time = &e.headers[eff.Action], b[id:key:key], b[at:value:value]
	return b
}

// AppendHeaders appends the headers of o to h, which are of the Kafka client's type.
func AppendHeaders[H ~struct {
	Key   string
	Value []byte
}](h []H, o *Output) []H {
	n := len(h)
	h = slices.Grow(h, numHeaders)[:n+numHeaders]
	for i, x := range o.headers {
		switch i {
		case headerID:
			x.Value = o.id
		case headerSubject:
			x.Value = o.Key
		case headerTime:
			x.Value = o.time
		}
		h[n+i] = H(x)
	}
	return h
}

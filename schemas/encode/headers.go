package encode

import "github.com/segmill/segmill/engine"

// HeaderSet says which headers outputs carry.
type HeaderSet uint8

// The sets.
const (
	// CloudEventsHeaders are CloudEvents in binary mode: ce_id, ce_source,
	// ce_specversion, ce_type and content-type. Readers that know nothing of the schemas
	// can route by ce_type and drop copies by ce_id, which is the change_id or
	// trigger_id. Time and subject are left out: they are fields, and the key.
	CloudEventsHeaders HeaderSet = iota
	// IDHeaders is one header: change_id or trigger_id, as the field is called.
	IDHeaders
	// NoHeaders is none.
	NoHeaders
)

// ReceiptType is the header ce_type of the receipt of an erasure.
const ReceiptType = "segmill.customer.erased.v1"

// header is a header of a Kafka record.
type header struct {
	Key   string
	Value []byte
}

// Headers makes the headers of outputs, in the type of the Kafka client. What does
// not differ between the effects of an action is shared by all of them.
type Headers[H ~struct {
	Key   string
	Value []byte
}] struct {
	of [engine.Renamed + 1][]H // by action; the id, which differs, is first, and nil
}

// HeadersOf returns what makes the headers of e's outputs.
func HeadersOf[H ~struct {
	Key   string
	Value []byte
}](e *Encoder, set HeaderSet) *Headers[H] {
	t := &Headers[H]{}
	for a := range t.of {
		for _, h := range e.headersOf(engine.Action(a), set) {
			t.of[a] = append(t.of[a], H(h))
		}
	}
	return t
}

// headersOf returns the headers of all effects of an action, the id first and without
// its value.
func (e *Encoder) headersOf(a engine.Action, set HeaderSet) []header {
	id, typ := "change_id", "segmill.segment."+a.String()+".v1"
	switch a {
	case engine.Erased:
		typ = ReceiptType
	case engine.Fired:
		id, typ = "trigger_id", "segmill.trigger.fired.v1"
	default: // the others need nothing here
	}
	switch set {
	case NoHeaders:
		return nil
	case IDHeaders:
		return []header{{id, nil}}
	default: // the others need nothing here
	}
	return []header{
		{"ce_id", nil},
		{"ce_source", []byte("/segmill/" + e.app)},
		{"ce_specversion", []byte("1.0")},
		{"ce_type", []byte(typ)},
		{"content-type", []byte(e.format.contentType())},
	}
}

// Append appends the headers of o to h. No byte of them may be changed.
func (t *Headers[H]) Append(h []H, o *Output) []H {
	n := len(h)
	h = append(h, t.of[o.action]...)
	if len(h) > n {
		h[n] = H(header{header(h[n]).Key, o.id})
	}
	return h
}

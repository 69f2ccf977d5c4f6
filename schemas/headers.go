package schemas

import "github.com/segmill/segmill/engine"

// The headers of an output record: CloudEvents in binary mode, and the content type.
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

// Headers makes the headers of outputs, in the type of the Kafka client. What does
// not differ between the effects of an action is shared by all of them.
type Headers[H ~struct {
	Key   string
	Value []byte
}] struct {
	of [engine.Fired + 1][]H // by action; what differs is nil
}

// HeadersOf returns what makes the headers of e's outputs.
func HeadersOf[H ~struct {
	Key   string
	Value []byte
}](e *Encoder) *Headers[H] {
	t := &Headers[H]{}
	for a := range t.of {
		for _, h := range e.headersOf(engine.Action(a)) {
			t.of[a] = append(t.of[a], H(h))
		}
	}
	return t
}

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

// Append appends the headers of o to h. No byte of them may be changed.
func (t *Headers[H]) Append(h []H, o *Output) []H {
	n := len(h)
	h = append(h, t.of[o.action]...)
	l := h[n : n+numHeaders]
	l[headerID] = H(Header{"ce_id", o.id})
	l[headerSubject] = H(Header{"ce_subject", o.Key})
	l[headerTime] = H(Header{"ce_time", o.time})
	return h
}

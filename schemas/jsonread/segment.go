package jsonread

import (
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
)

// A Segment (and RudderStack) message becomes one of our events:
//
//	track     by its event name: a purchase, an email event, else a web event whose
//	          name is the event's in snake_case
//	page      web, page_viewed
//	screen    web, screen_viewed
//	identify  profile, with traits
//	alias     profile, merge_from is previousId
//	group     profile, traits.group_id is groupId
//
// Properties (traits) go to the fields of the same name; what has none goes to
// attributes (traits). The message decides the stream, not the topic, since
// producers send all types to one topic.

// segmentType is the type of a message.
type segmentType uint8

const (
	segmentTrack segmentType = iota + 1
	segmentPage
	segmentScreen
	segmentIdentify
	segmentAlias
	segmentGroup
)

var segmentTypes = map[string]segmentType{
	"track": segmentTrack, "page": segmentPage, "screen": segmentScreen,
	"identify": segmentIdentify, "alias": segmentAlias, "group": segmentGroup,
}

// segmentEvent is what the name of a track event, or a type, means: a stream,
// and the value of the field that says what happened.
type segmentEvent struct {
	stream       plan.Stream
	field, value string
}

var segmentEvents = map[string]segmentEvent{
	"Order Completed":      {plan.Purchase, "kind", "completed"},
	"Order Refunded":       {plan.Purchase, "kind", "refunded"},
	"Order Cancelled":      {plan.Purchase, "kind", "cancelled"},
	"Email Sent":           {plan.Email, "action", "sent"},
	"Email Delivered":      {plan.Email, "action", "delivered"},
	"Email Opened":         {plan.Email, "action", "opened"},
	"Email Link Clicked":   {plan.Email, "action", "clicked"},
	"Email Bounced":        {plan.Email, "action", "bounced"},
	"Email Marked as Spam": {plan.Email, "action", "complained"},
	"Unsubscribed":         {plan.Email, "action", "unsubscribed"},
}

// segmentAliases are the names of properties and traits that differ from ours.
var segmentAliases = [plan.NumStreams]map[string]string{
	plan.Web:      {"products": "items"},
	plan.Purchase: {"products": "items"},
	plan.Profile: {
		"createdAt": "signed_up_at", "created_at": "signed_up_at", "birthday": "birth_date",
		"timezone": "time_zone", "locale": "language",
	},
}

// segmentHead are the members of a message that fill the head of the event, the
// better one first.
var segmentHead = [...]struct {
	head int
	key  string
}{
	{frame.HeadEventID, "messageId"},
	{frame.HeadCustomer, "userId"},
	{frame.HeadAnonymous, "anonymousId"},
	{frame.HeadAt, "timestamp"},
	{frame.HeadAt, "originalTimestamp"},
	{frame.HeadAt, "sentAt"},
}

// segmentContext are the parts of the context that fill fields which the
// properties leave empty.
var segmentContext = [...]struct{ object, key, field string }{
	{"campaign", "source", "utm_source"},
	{"campaign", "medium", "utm_medium"},
	{"campaign", "name", "utm_campaign"},
	{"page", "url", "url"},
	{"page", "referrer", "referrer"},
	{"", "timezone", "time_zone"},
	{"", "locale", "language"},
}

// readSegment reads a message whose members are l.
func (d *Decoder) readSegment(typ segmentType, l []member) *bad.Input {
	what, e := d.segmentEvent(typ, l)
	if e != nil {
		return e
	}
	t := d.targets[what.stream]
	d.frame.Reset(t)
	for _, h := range segmentHead {
		if m := find(l, h.key); m.from >= 0 && !d.frame.Head[h.head].Present() {
			if e := d.member(t.Head[h.head], m); e != nil {
				return e
			}
		}
	}
	if e := d.fillText("received_at", l, "receivedAt"); e != nil {
		return e
	}
	if fd := t.Find([]byte(what.field)); fd != nil && fd.Used() {
		if e := d.frame.Text(fd, &d.frame.Vals[fd.Place], []byte(what.value)); e != nil {
			return e
		}
	}
	return d.segmentBody(typ, what, l)
}

// segmentEvent returns what a message means.
func (d *Decoder) segmentEvent(typ segmentType, l []member) (segmentEvent, *bad.Input) {
	switch typ {
	case segmentPage:
		return segmentEvent{plan.Web, "name", "page_viewed"}, nil
	case segmentScreen:
		return segmentEvent{plan.Web, "name", "screen_viewed"}, nil
	case segmentIdentify, segmentAlias, segmentGroup:
		return segmentEvent{stream: plan.Profile}, nil
	default: // the others need nothing here
	}
	m := find(l, "event")
	if m.from < 0 || d.json.ByteAt(m.from) != '"' {
		return segmentEvent{}, bad.New(bad.Missing, "event", "a track message needs its event, a string")
	}
	name := d.string(m)
	if e, ok := segmentEvents[string(name)]; ok {
		return e, nil
	}
	if len(name) > frame.MaxText {
		return segmentEvent{}, bad.New(bad.Size, "event", "%d bytes long, more than %d", len(name), frame.MaxText)
	}
	return segmentEvent{plan.Web, "name", snake(name)}, nil
}

// segmentBody reads everything but the head.
func (d *Decoder) segmentBody(typ segmentType, what segmentEvent, l []member) *bad.Input {
	switch typ {
	case segmentAlias:
		return d.fillText("merge_from", l, "previousId")
	case segmentGroup:
		if k := extraKey(d.frame.Target, "group_id"); k != nil {
			if m := find(l, "groupId"); m.from >= 0 {
				return d.member(k, m)
			}
		}
		return nil
	default: // the others need nothing here
	}
	body := "properties"
	if typ == segmentIdentify {
		body = "traits"
	}
	if m := find(l, body); m.from >= 0 && d.json.ByteAt(m.from) == '{' {
		d.json.Seek(m.from)
		inner, err := d.index()
		if err != nil {
			return malformed(body, err)
		}
		for _, m := range inner {
			if e := d.segmentProperty(what, m); e != nil {
				return e
			}
		}
		if e := d.segmentProduct(inner); e != nil {
			return e
		}
	}
	return d.segmentContext(l)
}

// extraKey returns the field for a key of the stream's free-form map, nil if
// nobody reads it.
func extraKey(t *frame.Target, name string) *frame.Field {
	if t.Extra == nil {
		return nil
	}
	return t.Extra.Key([]byte(name))
}

// segmentProperty reads one property or trait.
func (d *Decoder) segmentProperty(what segmentEvent, m member) *bad.Input {
	t := d.frame.Target
	name := m.key
	if a, ok := segmentAliases[t.Number][string(m.key)]; ok {
		name = []byte(a)
	}
	fd := t.Find(name)
	if fd != nil && string(name) != what.field && !inHead(t, fd) {
		return d.member(fd, m)
	}
	if t.Extra != nil {
		return d.extra(t.Extra, m)
	}
	return nil
}

// inHead reports whether the field is one that the message itself fills.
func inHead(t *frame.Target, f *frame.Field) bool {
	return f.Name == "received_at" || f.Place >= t.Slots && f.Place < t.Slots+frame.HeadZone
}

// segmentProduct makes the product of a "Product …" event, whose properties are
// the product's, the only item.
func (d *Decoder) segmentProduct(props []member) *bad.Input {
	t := d.frame.Target
	fd := t.Find([]byte("items"))
	if t.Number != int(plan.Web) || fd == nil || !fd.Used() || d.frame.Vals[fd.Place].N != 0 ||
		find(props, "product_id").from < 0 {
		return nil
	}
	from := len(d.frame.Cells)
	cells := d.frame.AddRecord(fd.Elem)
	for _, m := range props {
		if p := fd.Elem.Find(m.key); p != nil {
			d.json.Seek(m.from)
			if e := d.field(p, cells); e != nil {
				return e
			}
		}
	}
	if e := fd.Elem.Missing(cells); e != nil {
		return e
	}
	d.frame.EndList(&d.frame.Vals[fd.Place], fd.Elem, from)
	return nil
}

// segmentContext fills fields from the context of the message.
func (d *Decoder) segmentContext(l []member) *bad.Input {
	m := find(l, "context")
	if m.from < 0 || d.json.ByteAt(m.from) != '{' {
		return nil
	}
	sc := &d.json
	sc.Seek(m.from)
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if sc.Peek() != '{' {
			if e := d.contextValue(nil, key); e != nil {
				return e
			}
			continue
		}
		if e := d.contextObject(d.keep(key)); e != nil {
			return e
		}
	}
}

// contextObject reads an object in the context.
func (d *Decoder) contextObject(object []byte) *bad.Input {
	sc := &d.json
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if e := d.contextValue(object, key); e != nil {
			return e
		}
	}
}

// contextValue reads or skips the next value.
func (d *Decoder) contextValue(object, key []byte) *bad.Input {
	for _, c := range segmentContext {
		if c.object != string(object) || c.key != string(key) {
			continue
		}
		fd := d.frame.Target.Find([]byte(c.field))
		if fd == nil || !fd.Used() || d.frame.Vals[fd.Place].Present() || d.json.Peek() != '"' {
			break
		}
		return d.field(fd, d.frame.Vals)
	}
	_ = d.json.Skip()
	return nil
}

// fillText reads the member key into the field, if somebody reads that.
func (d *Decoder) fillText(name string, l []member, key string) *bad.Input {
	fd, m := d.frame.Target.Find([]byte(name)), find(l, key)
	if fd == nil || m.from < 0 {
		return nil
	}
	return d.member(fd, m)
}

// snake returns a name such as "Product Added" or "productAdded" as product_added.
func snake(name []byte) string {
	b := make([]byte, 0, len(name)+4)
	for i, c := range name {
		switch {
		case c == ' ' || c == '-' || c == '_':
			if len(b) > 0 && b[len(b)-1] != '_' {
				b = append(b, '_')
			}
			continue
		case 'A' <= c && c <= 'Z':
			if i > 0 && 'a' <= name[i-1] && name[i-1] <= 'z' {
				b = append(b, '_')
			}
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return string(b)
}

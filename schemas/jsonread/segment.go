package jsonread

import (
	"bytes"
	"slices"

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
//	group     profile, traits.group_id is groupId, traits are traits["company.…"]
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
	machine      bool // a mail that no person opened
}

// segmentEvents are the events that are none of the web, by their name in snake_case. Of
// mails it is what Segment's specification and its mail sources have; what mail servers
// do among themselves is of no known action, and no visit.
var segmentEvents = map[string]segmentEvent{
	"order_completed":      {stream: plan.Purchase, field: "kind", value: "completed"},
	"order_refunded":       {stream: plan.Purchase, field: "kind", value: "refunded"},
	"order_cancelled":      {stream: plan.Purchase, field: "kind", value: "cancelled"},
	"order_canceled":       {stream: plan.Purchase, field: "kind", value: "cancelled"},
	"email_sent":           {stream: plan.Email, field: "action", value: "sent"},
	"email_delivered":      {stream: plan.Email, field: "action", value: "delivered"},
	"email_opened":         {stream: plan.Email, field: "action", value: "opened"},
	"email_machine_opened": {stream: plan.Email, field: "action", value: "opened", machine: true},
	"email_link_clicked":   {stream: plan.Email, field: "action", value: "clicked"},
	"email_clicked":        {stream: plan.Email, field: "action", value: "clicked"},
	"email_bounced":        {stream: plan.Email, field: "action", value: "bounced"},
	"email_marked_as_spam": {stream: plan.Email, field: "action", value: "complained"},
	"email_unsubscribed":   {stream: plan.Email, field: "action", value: "unsubscribed"},
	"unsubscribed":         {stream: plan.Email, field: "action", value: "unsubscribed"},
	"email_processed":      {stream: plan.Email, field: "action", value: "unknown"},
	"email_deferred":       {stream: plan.Email, field: "action", value: "unknown"},
	"email_dropped":        {stream: plan.Email, field: "action", value: "unknown"},
	"email_failed":         {stream: plan.Email, field: "action", value: "unknown"},
}

// segmentFirst are the names that the first version of the specification had, in
// snake_case, with those of today.
var segmentFirst = map[string]string{
	"completed_order": "order_completed", "added_product": "product_added", "removed_product": "product_removed",
	"viewed_product": "product_viewed", "viewed_product_category": "product_list_viewed",
}

// segmentAliases are the names of properties and traits that differ from ours.
var segmentAliases = [plan.NumBuiltin]map[string]string{
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
	l, e := d.distinct(l, heads[5:11])
	if e != nil {
		return e
	}
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
	if e := d.segmentBody(typ, what, l); e != nil {
		return e
	}
	if fd := t.Find([]byte("machine_open")); what.machine && fd.Used() {
		if e := d.frame.Bool(fd, &d.frame.Vals[fd.Place], true); e != nil {
			return e
		}
	}
	if fd := t.Find([]byte(what.field)); fd != nil && fd.Used() {
		return d.frame.Text(fd, &d.frame.Vals[fd.Place], []byte(what.value))
	}
	return nil
}

// segmentEvent returns what a message means.
func (d *Decoder) segmentEvent(typ segmentType, l []member) (segmentEvent, *bad.Input) {
	switch typ {
	case segmentPage:
		return segmentEvent{stream: plan.Web, field: "name", value: "page_viewed"}, nil
	case segmentScreen:
		return segmentEvent{stream: plan.Web, field: "name", value: "screen_viewed"}, nil
	case segmentIdentify, segmentAlias, segmentGroup:
		return segmentEvent{stream: plan.Profile}, nil
	default: // the others need nothing here
	}
	m := find(l, "event")
	if m.from < 0 || d.json.ByteAt(m.from) != '"' {
		return segmentEvent{}, bad.New(bad.Missing, "event", "a track message needs its event, a string")
	}
	name := snake(d.string(m))
	if now, ok := segmentFirst[name]; ok {
		name = now
	}
	if e, ok := segmentEvents[name]; ok {
		return e, nil
	}
	return segmentEvent{stream: plan.Web, field: "name", value: name}, nil
}

// segmentBody reads everything but the head.
func (d *Decoder) segmentBody(typ segmentType, what segmentEvent, l []member) *bad.Input {
	switch typ {
	case segmentAlias:
		return d.fillText("merge_from", l, "previousId")
	case segmentGroup:
		return d.segmentCompany(l)
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
		inner, _ = d.distinct(inner, nil)
		for _, m := range inner {
			if e := d.segmentProperty(what, m); e != nil {
				return e
			}
		}
		if e := d.ownProduct(inner, true); e != nil {
			return e
		}
	}
	return d.segmentContext(l)
}

// segmentCompany reads a group message: its traits are company.… of the customer.
func (d *Decoder) segmentCompany(l []member) *bad.Input {
	t := d.frame.Target
	if m := find(l, "groupId"); m.from >= 0 {
		for _, fd := range []*frame.Field{extraKey(t, "group_id"), t.Find([]byte("group_id"))} {
			if fd == nil {
				continue
			}
			if e := d.member(fd, m); e != nil {
				return e
			}
		}
	}
	m := find(l, "traits")
	if t.Extra == nil || m.from < 0 || d.json.ByteAt(m.from) != '{' {
		return nil
	}
	d.json.Seek(m.from)
	return d.freeObject(t.Extra, []byte("company"), 2)
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
	fd := t.Find(name)
	if a, ok := segmentAliases[t.Stream][string(m.key)]; ok && fd == nil {
		name = []byte(a)
		fd = t.Find(name)
	}
	if fd != nil && string(name) != what.field && !inHead(t, fd) {
		if e := d.member(fd, m); e != nil || t.Extra == nil || !fd.Declared && t.Extra.Key(m.key) == nil {
			return e
		}
	}
	if string(name) == "address" && t.Attributes {
		if e := d.segmentCountry(m); e != nil {
			return e
		}
	}
	if t.Extra != nil {
		return d.extra(t.Extra, m)
	}
	return nil
}

// segmentCountry reads the country of an address, which the specification has there, if
// it is nowhere else.
func (d *Decoder) segmentCountry(m member) *bad.Input {
	fd := d.frame.Target.Find([]byte("country"))
	if !fd.Used() || d.frame.Vals[fd.Place].Present() || d.json.ByteAt(m.from) != '{' {
		return nil
	}
	sc := &d.json
	sc.Seek(m.from)
	last := d.lastOf()
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		switch {
		case !ok:
			return nil
		case string(key) != "country" || !last.counts(sc, key):
			_ = sc.Skip()
		default:
			if e := d.field(fd, d.frame.Vals); e != nil {
				return e
			}
		}
	}
}

// inHead reports whether the field is one that the message itself fills.
func inHead(t *frame.Target, f *frame.Field) bool {
	return f.Name == "received_at" || f.Place >= t.Slots && f.Place < t.Slots+frame.HeadZone
}

// segmentContext fills fields from the context of the message.
func (d *Decoder) segmentContext(l []member) *bad.Input {
	m := find(l, "context")
	if m.from < 0 || d.json.ByteAt(m.from) != '{' {
		return nil
	}
	sc := &d.json
	sc.Seek(m.from)
	last := d.lastOf()
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if !last.counts(sc, key) {
			_ = sc.Skip()
			continue
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
	last := d.lastOf()
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if !last.counts(sc, key) {
			_ = sc.Skip()
			continue
		}
		if e := d.contextValue(object, key); e != nil {
			return e
		}
	}
}

// contextValue reads or skips the next value: it may go to a field, to the free-form map
// of an event with its name there, such as device.type, or to both.
func (d *Decoder) contextValue(object, key []byte) *bad.Input {
	t, sc := d.frame.Target, &d.json
	key = d.keep(key)
	from := sc.Pos()
	if fd := d.contextField(object, key); fd != nil && sc.Peek() == '"' {
		if e := d.field(fd, d.frame.Vals); e != nil {
			return e
		}
	} else {
		_ = sc.Skip()
	}
	if t.Extra == nil || t.Attributes || !slices.Contains(contextObjects, string(object)) {
		return nil
	}
	sc.Seek(from)
	name := append(append(append(make([]byte, 0, 64), object...), '.'), key...)
	return d.free(t.Extra, name, freely{2, true})
}

// contextObjects are the objects of the context whose members are attributes of events.
var contextObjects = []string{"device", "campaign", "page"}

// contextField returns the field that a part of the context fills, nil if there is none,
// or it has a value.
func (d *Decoder) contextField(object, key []byte) *frame.Field {
	for _, c := range segmentContext {
		if c.object != string(object) || c.key != string(key) {
			continue
		}
		if fd := d.frame.Target.Find([]byte(c.field)); fd != nil && fd.Used() && !d.frame.Vals[fd.Place].Present() {
			return fd
		}
	}
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
	return string(bytes.TrimSuffix(b, []byte("_")))
}

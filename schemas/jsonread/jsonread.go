// Package jsonread reads events that are JSON: with the names of our schemas, as
// Segment messages, or inside CloudEvents.
//
// The one rule it keeps: all of the text is checked before any of it is believed, so
// that half a record never becomes an event, and what it is does not depend on what is
// read of it.
package jsonread

import (
	"errors"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/jsontext"
)

// Limits on the text of a record.
//
// JSON is read in two passes. The first checks all of the text and notes where
// the members of the outermost object are; from their keys follows what kind of
// JSON it is. The second reads the members that somebody wants.

// Limits of messages.
const (
	MaxDepth   = 64             // of arrays and objects within each other
	maxMembers = frame.MaxItems // of an object that is looked into
)

// Decoder reads JSON into a frame, and the attributes of CloudEvents.
type Decoder struct {
	streams *plan.Streams
	targets []*frame.Target // of the record
	frame   *frame.Frame
	json    jsontext.Scanner
	holds   bool // json and members hold parts of a record
	utf8    bool // the record is UTF-8
	ce      cloudEvent
	names   []byte // keys that had escapes, and CloudEvents attributes
	// members are those of the objects that are looked into, each object's
	// together.
	members []member
	orders  map[*frame.FieldSet]frame.Order // of all records, for speed alone
}

// NewDecoder returns a decoder that reads records of the streams into f.
func NewDecoder(f *frame.Frame, streams *plan.Streams) Decoder {
	return Decoder{frame: f, streams: streams, orders: map[*frame.FieldSet]frame.Order{}}
}

// Attribute notes an attribute of a CloudEvent in binary mode, which is a header
// "ce_" and its name.
func (d *Decoder) Attribute(name string, value []byte) {
	for _, a := range ceAttributes {
		if a.name == name {
			d.ce.set(a.head, value)
		}
	}
}

// FillIn gives the frame what its record lacks and the CloudEvent says.
func (d *Decoder) FillIn() *bad.Input { return d.ce.fill(d.frame) }

// Forget lets go of the record. It returns how many bytes and how many entries of
// its lists are kept for the next one.
func (d *Decoder) Forget() (bytes, entries int) {
	d.ce.reset()
	if d.holds {
		d.holds = false
		d.json.Reset(nil, 0)
		clear(d.members) // their keys are parts of the record
	}
	bytes, entries = d.json.Kept()
	return bytes + cap(d.names), entries + cap(d.members)
}

// member is a key and where its value begins.
type member struct {
	key  []byte
	from int
}

// find returns the member of that name, the last one if it is there twice; from is -1 if
// there is none.
func find(l []member, key string) member {
	for i := len(l) - 1; i >= 0; i-- {
		if string(l[i].key) == key {
			return l[i]
		}
	}
	return member{from: -1}
}

// ErrSkipped is the answer to a message of a type that is no event.
var ErrSkipped = bad.New(bad.Format, "type", "the message is no event")

// Read reads JSON text into the frame. The targets are those of all streams; t is that
// of the record, nil if the text has to say which stream it is of.
func (d *Decoder) Read(targets []*frame.Target, t *frame.Target, b []byte) *bad.Input {
	d.holds, d.targets = true, targets
	d.json.Reset(b, MaxDepth)
	d.names = d.names[:0]
	d.utf8 = utf8.Valid(b)
	if d.json.Peek() != '{' {
		return bad.New(bad.Format, "", "neither Avro nor a JSON object: it begins with %s", bad.Clip(b[:min(len(b), 16)]))
	}
	d.members = d.members[:0]
	top, err := d.index()
	if err == nil {
		err = d.json.End()
	}
	if err != nil {
		return malformed("", err)
	}
	if n := d.json.Elements(); n > frame.MaxItems {
		return bad.New(bad.Size, "", "lists of the record hold %d elements, more than %d", n, frame.MaxItems)
	}
	d.json.Trust()
	if d.json.Doubled() > 0 {
		d.frame.Note(bad.Note{Kind: bad.Doubled, Detail: "an object has a key twice; the last one counts"})
	}
	if find(top, "specversion").from >= 0 {
		return d.readCloudEvent(t, top)
	}
	return d.readObject(t, top)
}

// distinct returns the members without those whose key comes again. A key of head that
// comes again is an error: nobody knows who, when or what is meant.
func (d *Decoder) distinct(l []member, head []string) ([]member, *bad.Input) {
	if d.json.Doubled() == 0 {
		return l, nil
	}
	last := make(map[string]int, len(l))
	for i, m := range l {
		if _, again := last[string(m.key)]; again && slices.Contains(head, string(m.key)) {
			return nil, bad.New(bad.Format, string(m.key), "the record has it twice").AtByte(m.from)
		}
		last[string(m.key)] = i
	}
	kept := l[:0]
	for i, m := range l {
		if last[string(m.key)] == i {
			kept = append(kept, m)
		}
	}
	return kept, nil
}

// index reads the object that comes next and returns its members, which are valid
// until the next record.
func (d *Decoder) index() ([]member, error) {
	start := len(d.members)
	o, err := d.json.Object()
	for err == nil {
		key, ok, kerr := d.json.Key(&o)
		if kerr != nil || !ok {
			return d.members[start:], kerr
		}
		if len(d.members)-start == maxMembers {
			return nil, d.json.ErrAt("more than %d members", maxMembers)
		}
		key = d.keep(key)
		d.json.Peek()
		d.members = append(d.members, member{key, d.json.Pos()})
		err = d.json.Skip()
	}
	return nil, err
}

// keep returns a key that was just read in a form that outlives the next string.
func (d *Decoder) keep(key []byte) []byte {
	if !d.json.HadEscapes() {
		return key
	}
	from := len(d.names)
	d.names = append(d.names, key...)
	return d.names[from:]
}

// heads are the names of the members that say who, when and what an event is, in all
// kinds of JSON.
var heads = []string{
	"event_id", "customer_id", "anonymous_id", "occurred_at", "source",
	"messageId", "userId", "anonymousId", "timestamp", "originalTimestamp", "sentAt",
	"id", "time", "subject",
}

// readObject reads an event that is JSON with our names, or a Segment message.
func (d *Decoder) readObject(t *frame.Target, l []member) *bad.Input {
	if find(l, "messageId").from >= 0 {
		if m := find(l, "type"); m.from >= 0 && d.json.ByteAt(m.from) == '"' {
			if typ, ok := segmentTypes[string(d.string(m))]; ok {
				return d.readSegment(typ, l)
			}
			if find(l, "event_id").from < 0 {
				d.frame.Note(bad.Note{Kind: bad.Skipped, Detail: "type " + bad.Clip(d.string(m))})
				return ErrSkipped
			}
		}
	}
	l, e := d.distinct(l, heads[:5])
	if e != nil {
		return e
	}
	lines := t == nil
	if lines {
		if t, e = d.stream(l); e != nil {
			return e
		}
	}
	d.frame.Reset(t)
	order, at := d.order(&t.FieldSet), 0
	for _, m := range l {
		fd := t.FindNext(m.key, order, &at)
		if fd == nil {
			if t.Extra != nil && !(lines && string(m.key) == "stream") {
				if e := d.extra(t.Extra, m); e != nil {
					return e
				}
			}
			continue
		}
		if e := d.member(fd, m); e != nil {
			return e
		}
		if t.Extra != nil && (fd.Declared || t.Extra.Key(m.key) != nil) {
			// A rule reads it under the name that it had before the schema had it.
			if e := d.extra(t.Extra, m); e != nil {
				return e
			}
		}
	}
	return d.ownProduct(l, false)
}

// order returns the order of fields that the last record had.
func (d *Decoder) order(s *frame.FieldSet) frame.Order {
	o := d.orders[s]
	if o == nil {
		o = s.NewOrder()
		d.orders[s] = o
	}
	return o
}

// stream returns the target of the stream that a line says it is of.
func (d *Decoder) stream(l []member) (*frame.Target, *bad.Input) {
	m := find(l, "stream")
	if m.from < 0 || d.json.ByteAt(m.from) != '"' {
		return nil, bad.New(bad.Missing, "stream", `a line needs one, such as "stream": "web"`)
	}
	name := d.string(m)
	s, ok := d.streams.ByName(string(name))
	if !ok {
		return nil, bad.New(bad.Range, "stream", "%s is none of %s", bad.Clip(name), strings.Join(d.streams.Names(), ", "))
	}
	return d.targets[s], nil
}

// ownProduct reads the fields of an event's own product, if it has no items. segment
// says that l are the properties of a Segment message, all of which are the product's.
func (d *Decoder) ownProduct(l []member, segment bool) *bad.Input {
	t := d.frame.Target
	if len(t.Own) == 0 || d.frame.HasItems() {
		return nil
	}
	for _, m := range l {
		fd := t.OwnField(m.key, segment)
		if fd == nil {
			continue
		}
		if e := d.member(fd, m); e != nil {
			return e
		}
	}
	return nil
}

// string returns the text at m, which is a string. It is valid until the next one.
func (d *Decoder) string(m member) []byte {
	d.json.Seek(m.from)
	b, _ := d.json.Text() // the first pass has read it
	return b
}

// member reads the value at m into the field fd.
func (d *Decoder) member(fd *frame.Field, m member) *bad.Input {
	if !fd.Used() {
		return nil
	}
	d.json.Seek(m.from)
	return d.field(fd, d.frame.Vals)
}

// field reads the next value into the field fd; vals are the places of the record
// that it belongs to.
func (d *Decoder) field(fd *frame.Field, vals []frame.Cell) *bad.Input {
	sc := &d.json
	at := sc.Pos()
	var none frame.Cell
	dst := &none
	if fd.Place >= 0 {
		dst = &vals[fd.Place]
	}
	var e *bad.Input
	switch c := sc.Peek(); {
	case c == 'n': // null is the same as not there
		_ = sc.Skip()
		if d.json.Doubled() > 0 {
			*dst = fd.Default
		}
		return nil
	case fd.LooksInto() && c == '{':
		return d.readMap(fd)
	case fd.Elem != nil && c == '[':
		return d.readList(fd, dst)
	case fd.Item != nil && c == '[':
		e = d.readTexts(fd, dst)
	case c == '{' || c == '[' || fd.LooksInto() || fd.Elem != nil:
		_ = sc.Skip()
		e = d.frame.Wrong(fd, dst, jsonKind(c))
	case c == '"':
		b, _ := sc.Text()
		if sc.Broken() || !d.utf8 && !utf8.Valid(b) {
			e = d.frame.Broken(fd, dst, b)
		} else {
			e = d.frame.Text(fd, dst, b)
		}
	case c == 't' || c == 'f':
		_ = sc.Skip()
		e = d.frame.Bool(fd, dst, c == 't')
	default:
		b, _ := sc.Number()
		e = d.frame.Number(fd, dst, b)
	}
	return e.AtByte(at)
}

// jsonKind names what begins with c.
func jsonKind(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// readList reads an array of records. An element that is no object is an item of
// nothing.
func (d *Decoder) readList(fd *frame.Field, dst *frame.Cell) *bad.Input {
	sc := &d.json
	from := d.frame.BeginList()
	order := d.order(fd.Elem)
	for a, _ := sc.Array(); ; {
		if ok, _ := sc.Elem(&a); !ok {
			break
		}
		item := len(d.frame.Cells)
		cells := d.frame.AddRecord(fd.Elem)
		if sc.Peek() != '{' {
			_ = sc.Skip()
		} else if e := d.readRecord(fd.Elem, order, cells); e != nil {
			return e
		}
		d.frame.EndItem(fd, item)
	}
	d.frame.EndList(dst, fd.Elem, from)
	return nil
}

// readTexts reads an array of texts.
func (d *Decoder) readTexts(fd *frame.Field, dst *frame.Cell) *bad.Input {
	sc := &d.json
	d.frame.BeginTexts()
	var text [1]frame.Cell
	for a, _ := sc.Array(); ; {
		if ok, _ := sc.Elem(&a); !ok {
			return d.frame.EndTexts(fd, dst)
		}
		text[0] = frame.Cell{}
		if e := d.field(fd.Item, text[:]); e != nil {
			return e
		}
		d.frame.AddText(fd, text[0])
	}
}

// readRecord reads the object that comes next into the cells of a record.
func (d *Decoder) readRecord(s *frame.FieldSet, order frame.Order, cells []frame.Cell) *bad.Input {
	sc := &d.json
	at := 0
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if fd := s.FindNext(key, order, &at); fd == nil {
			_ = sc.Skip()
		} else if e := d.field(fd, cells); e != nil {
			return e
		}
	}
}

// malformed returns bad input for the error of a scanner, which is at a byte
// of the record.
func malformed(field string, err error) *bad.Input {
	var s *jsontext.SyntaxError
	if errors.As(err, &s) {
		return bad.New(bad.Format, field, "%s", s.Text).AtByte(s.At)
	}
	return bad.New(bad.Format, field, "%v", err)
}

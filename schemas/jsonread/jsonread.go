// Package jsonread reads events that are JSON: with the names of our schemas, as
// Segment messages, or inside CloudEvents.
//
// The one rule it keeps: all of the text is checked before any of it is believed, so
// that half a record never becomes an event.
package jsonread

import (
	"errors"
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
	MaxDepth   = 64   // of arrays and objects within each other
	maxMembers = 4096 // of an object that is looked into
)

// Decoder reads JSON into a frame, and the attributes of CloudEvents.
type Decoder struct {
	targets *[plan.NumStreams]*frame.Target
	frame   *frame.Frame
	json    jsontext.Scanner
	holds   bool // json and members hold parts of a record
	ce      cloudEvent
	names   []byte // keys that had escapes, and CloudEvents attributes
	// members are those of the objects that are looked into, each object's
	// together.
	members []member
}

// NewDecoder returns a decoder that reads records of the streams into f.
func NewDecoder(targets *[plan.NumStreams]*frame.Target, f *frame.Frame) Decoder {
	return Decoder{targets: targets, frame: f}
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

// find returns the member of that name; from is -1 if there is none.
func find(l []member, key string) member {
	for _, m := range l {
		if string(m.key) == key {
			return m
		}
	}
	return member{from: -1}
}

// Read reads JSON text into the frame. t is nil if the text has to say which stream it is of.
func (d *Decoder) Read(t *frame.Target, b []byte) *bad.Input {
	if !utf8.Valid(b) {
		return bad.New(bad.Format, "", "not UTF-8, so not JSON, and it does not begin like Avro").AtByte(bad.InvalidUTF8(b))
	}
	d.holds = true
	d.json.Reset(b, MaxDepth)
	d.names = d.names[:0]
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
	d.json.Trust()
	if find(top, "specversion").from >= 0 {
		return d.readCloudEvent(t, top)
	}
	return d.readObject(t, top)
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

// readObject reads an event that is JSON with our names, or a Segment message.
func (d *Decoder) readObject(t *frame.Target, l []member) *bad.Input {
	if m := find(l, "messageId"); m.from >= 0 {
		if m = find(l, "type"); m.from >= 0 && d.json.ByteAt(m.from) == '"' {
			if typ, ok := segmentTypes[string(d.string(m))]; ok {
				return d.readSegment(typ, l)
			}
		}
	}
	lines := t == nil
	if lines {
		m := find(l, "stream")
		if m.from < 0 || d.json.ByteAt(m.from) != '"' {
			return bad.New(bad.Missing, "stream", `a line needs one, such as "stream": "web"`)
		}
		name := d.string(m)
		s, ok := plan.StreamByName(string(name))
		if !ok {
			return bad.New(bad.Range, "stream", "%s is none of web, email, purchase, profile, consent", bad.Clip(name))
		}
		t = d.targets[s]
	}
	d.frame.Reset(t)
	next := 0
	for _, m := range l {
		fd := t.FindNext(m.key, &next)
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

// extra takes a field that the schema does not have for one of its free-form map,
// if it is a scalar and the map itself does not have it.
func (d *Decoder) extra(fm *frame.Field, m member) *bad.Input {
	for i := range fm.Keys {
		k := &fm.Keys[i]
		if k.Name != string(m.key) || d.frame.Vals[k.Place].Present() {
			continue
		}
		if c := d.json.ByteAt(m.from); c != '{' && c != '[' {
			return d.member(k, m)
		}
	}
	return nil
}

// field reads the next value into the field fd; vals are the places of the record
// that it belongs to.
func (d *Decoder) field(fd *frame.Field, vals []frame.Cell) *bad.Input {
	sc := &d.json
	at := sc.Pos()
	var e *bad.Input
	switch c := sc.Peek(); {
	case c == 'n': // null is the same as not there
		_ = sc.Skip()
		return nil
	case len(fd.Keys) > 0:
		if c != '{' {
			return frame.WrongType(fd, jsonKind(c)).AtByte(at)
		}
		return d.readMap(fd, vals)
	case fd.Elem != nil:
		if c != '[' {
			return frame.WrongType(fd, jsonKind(c)).AtByte(at)
		}
		return d.readList(fd, &vals[fd.Place])
	case c == '"':
		b, _ := sc.Text()
		e = d.frame.Text(fd, &vals[fd.Place], b)
	case c == 't' || c == 'f':
		_ = sc.Skip()
		e = d.frame.Bool(fd, &vals[fd.Place], c == 't')
	case c == '{' || c == '[':
		e = frame.WrongType(fd, jsonKind(c))
	default:
		b, _ := sc.Number()
		e = d.frame.Number(fd, &vals[fd.Place], b)
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

// readMap reads the keys of a map that rules read. A key in the map
// wins over a field of the same name outside of it.
func (d *Decoder) readMap(fd *frame.Field, vals []frame.Cell) *bad.Input {
	sc := &d.json
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		k := fd.Key(key)
		if k == nil {
			_ = sc.Skip()
		} else if e := d.field(k, vals); e != nil {
			return e
		}
	}
}

// readList reads an array of records.
func (d *Decoder) readList(fd *frame.Field, dst *frame.Cell) *bad.Input {
	sc := &d.json
	from := len(d.frame.Cells)
	for a, _ := sc.Array(); ; {
		if ok, _ := sc.Elem(&a); !ok {
			break
		}
		at := sc.Pos()
		if e := d.frame.Element(fd.Path); e != nil {
			return e.AtByte(at)
		}
		if c := sc.Peek(); c != '{' {
			return bad.New(bad.Type, fd.Path, "an element of the list is %s and not an object", jsonKind(c)).AtByte(at)
		}
		cells := d.frame.AddRecord(fd.Elem)
		if e := d.readRecord(fd.Elem, cells); e != nil {
			return e
		}
		if e := fd.Elem.Missing(cells); e != nil {
			return e.AtByte(at)
		}
	}
	d.frame.EndList(dst, fd.Elem, from)
	return nil
}

// readRecord reads the object that comes next into the cells of a record.
func (d *Decoder) readRecord(s *frame.FieldSet, cells []frame.Cell) *bad.Input {
	sc := &d.json
	next := 0
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			return nil
		}
		if fd := s.FindNext(key, &next); fd == nil {
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

package jsonread

import (
	"unicode/utf8"

	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/scalar"
)

// cloudEvent is the attributes of a CloudEvents envelope. They fill in what the
// payload does not say itself: a payload is nearer to its source.
type cloudEvent struct {
	some  bool                  // there are any
	attrs [frame.NumHead][]byte // by the head field that each can fill

	broken [frame.NumHead]bool // the text held half of a surrogate pair
}

// set notes an attribute.
func (c *cloudEvent) set(head int, b []byte) { c.some, c.attrs[head] = true, b }

// reset forgets all.
func (c *cloudEvent) reset() {
	if c.some {
		*c = cloudEvent{}
	}
}

// ceAttributes are the attributes that are read, with the field that each fills.
var ceAttributes = [...]struct {
	name string
	head int
}{{"id", frame.HeadEventID}, {"source", frame.HeadSource}, {"time", frame.HeadAt}, {"subject", frame.HeadCustomer}}

// fill gives the frame what its record lacks.
func (c *cloudEvent) fill(f *frame.Frame) *bad.Input {
	if !c.some {
		return nil
	}
	for h, b := range c.attrs {
		if len(b) == 0 || !c.lacks(f, h) {
			continue
		}
		fd, v := f.Target.Head[h], &f.Head[h]
		var e *bad.Input
		if c.broken[h] || !utf8.Valid(b) {
			e = f.Broken(fd, v, b)
		} else {
			e = f.Text(fd, v, b)
		}
		if e != nil {
			return e
		}
	}
	f.DropPlaceholders()
	return nil
}

// lacks reports whether the record does not say itself what the attribute for the head
// field h would say.
func (c *cloudEvent) lacks(f *frame.Frame, h int) bool {
	v := &f.Head[h]
	switch h {
	case frame.HeadAt:
		return !v.Present()
	case frame.HeadCustomer:
		return v.N <= 0 && f.Head[frame.HeadAnonymous].N == 0
	}
	return v.N <= 0 // below: the default
}

// readCloudEvent reads the structured mode: an object with the attributes, and the
// payload in "data".
func (d *Decoder) readCloudEvent(t *frame.Target, l []member) *bad.Input {
	l, e := d.distinct(l, heads)
	if e != nil {
		return e
	}
	for _, a := range ceAttributes {
		m := find(l, a.name)
		if m.from < 0 || d.json.ByteAt(m.from) == 'n' {
			continue
		}
		from := len(d.names)
		if e := d.attribute(a.name, m); e != nil {
			return e.AtByte(m.from)
		}
		d.ce.set(a.head, d.names[from:])
		d.ce.broken[a.head] = d.json.Broken()
	}
	m := find(l, "data")
	if m.from < 0 || d.json.ByteAt(m.from) != '{' {
		return bad.New(bad.Format, "data", "a CloudEvent must carry its payload as a JSON object in data")
	}
	d.json.Seek(m.from)
	inner, err := d.index()
	if err != nil {
		return malformed("data", err)
	}
	return d.readObject(t, inner)
}

// attribute appends the text of an attribute to the names.
func (d *Decoder) attribute(name string, m member) *bad.Input {
	switch c := d.json.ByteAt(m.from); c {
	case '"':
		d.names = append(d.names, d.string(m)...)
		return nil
	case '{', '[', 't', 'f':
		return bad.New(bad.Identity, name, "%s where the attribute is a text", jsonKind(c))
	}
	d.json.Seek(m.from)
	number, _ := d.json.Number()
	b, err := scalar.AppendWhole(d.names, number)
	if err != nil && name != "time" {
		return bad.New(bad.Identity, name, "the number %s %v", bad.Clip(number), err)
	}
	if d.names = b; err != nil {
		d.names = append(d.names, number...)
	}
	return nil
}

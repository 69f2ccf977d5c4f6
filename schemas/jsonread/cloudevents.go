package jsonread

import (
	"unicode/utf8"

	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
)

// cloudEvent is the attributes of a CloudEvents envelope. They fill in what the
// payload does not say itself: a payload is nearer to its source.
type cloudEvent struct {
	some  bool                  // there are any
	attrs [frame.NumHead][]byte // by the head field that each can fill
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
		if len(b) == 0 {
			continue
		}
		v := &f.Head[h]
		lacks := v.N <= 0 // below: the default
		switch h {
		case frame.HeadAt:
			lacks = !v.Present()
		case frame.HeadCustomer:
			lacks = lacks && f.Head[frame.HeadAnonymous].N == 0
		}
		if !lacks {
			continue
		}
		fd := f.Target.Head[h]
		if !utf8.Valid(b) {
			return bad.New(bad.Format, fd.Path, "byte %d of the CloudEvents attribute is not UTF-8", bad.InvalidUTF8(b))
		}
		if e := f.Text(fd, v, b); e != nil {
			return e
		}
	}
	return nil
}

// readCloudEvent reads the structured mode: an object with the attributes, and the
// payload in "data".
func (d *Decoder) readCloudEvent(t *frame.Target, l []member) *bad.Input {
	for _, a := range ceAttributes {
		m := find(l, a.name)
		if m.from < 0 || d.json.ByteAt(m.from) != '"' {
			continue
		}
		from := len(d.names)
		d.names = append(d.names, d.string(m)...)
		d.ce.set(a.head, d.names[from:])
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

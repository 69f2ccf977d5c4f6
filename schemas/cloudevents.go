package schemas

import "unicode/utf8"

// cloudEvent is the attributes of a CloudEvents envelope. They fill in what the
// payload does not say itself: a payload is nearer to its source.
type cloudEvent struct {
	some  bool            // there are any
	attrs [numHead][]byte // by the head field that each can stand for
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
}{{"id", headEventID}, {"source", headSource}, {"time", headAt}, {"subject", headCustomer}}

// fill gives the frame what its record lacks.
func (c *cloudEvent) fill(f *frame) *BadInput {
	if !c.some {
		return nil
	}
	for h, b := range c.attrs {
		if len(b) == 0 {
			continue
		}
		v := &f.head[h]
		lacks := v.N <= 0 // below: the default
		switch h {
		case headAt:
			lacks = !v.Present()
		case headCustomer:
			lacks = lacks && f.head[headAnonymous].N == 0
		}
		if !lacks {
			continue
		}
		fd := f.t.head[h]
		if !utf8.Valid(b) {
			return bad(CauseFormat, fd.path, "byte %d of the CloudEvents attribute is not UTF-8", invalidUTF8(b))
		}
		if e := f.text(fd, v, b); e != nil {
			return e
		}
	}
	return nil
}

// readCloudEvent reads the structured mode: an object with the attributes, and the
// payload in "data".
func (d *jsonDecoder) readCloudEvent(t *target, l []member) *BadInput {
	for _, a := range ceAttributes {
		m := find(l, a.name)
		if m.from < 0 || d.json.byteAt(m.from) != '"' {
			continue
		}
		from := len(d.names)
		d.names = append(d.names, d.string(m)...)
		d.ce.set(a.head, d.names[from:])
	}
	m := find(l, "data")
	if m.from < 0 || d.json.byteAt(m.from) != '{' {
		return bad(CauseFormat, "data", "a CloudEvent must carry its payload as a JSON object in data")
	}
	d.json.seek(m.from)
	inner, err := d.index()
	if err != nil {
		return malformed("data", err)
	}
	return d.readObject(t, inner)
}

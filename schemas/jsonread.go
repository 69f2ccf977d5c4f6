package schemas

import (
	"errors"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/plan"
)

// JSON is read in two passes. The first checks all of the text and notes where
// the members of the outermost object are; from their keys follows what kind of
// JSON it is. The second reads the members that somebody wants.

const (
	maxJSONDepth = 64
	maxMembers   = 4096 // of an object that is looked into
)

// jsonDecoder reads JSON into a frame, and the attributes of CloudEvents.
type jsonDecoder struct {
	targets *[plan.NumStreams]*target
	frame   *frame
	json    scanner
	ce      cloudEvent
	names   []byte // keys that had escapes, and CloudEvents attributes
	// members are those of the objects that are looked into, each object's
	// together.
	members []member
}

// newJSONDecoder returns a decoder that reads records of the streams into f.
func newJSONDecoder(targets *[plan.NumStreams]*target, f *frame) jsonDecoder {
	return jsonDecoder{targets: targets, frame: f}
}

// attribute notes an attribute of a CloudEvent in binary mode, which is a header
// "ce_" and its name.
func (d *jsonDecoder) attribute(name string, value []byte) {
	for _, a := range ceAttributes {
		if a.name == name {
			d.ce.set(a.head, value)
		}
	}
}

// fillIn gives the frame what its record lacks and the CloudEvent says.
func (d *jsonDecoder) fillIn() *BadInput { return d.ce.fill(d.frame) }

// forget lets go of the record. It returns how many bytes and how many entries of
// its lists are kept for the next one.
func (d *jsonDecoder) forget() (bytes, entries int) {
	d.json.reset(nil, 0)
	d.ce.reset()
	clear(d.members) // their keys are parts of the record
	bytes, entries = d.json.kept()
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

// read reads JSON text into the frame. t is nil if the text has to say which stream it is of.
func (d *jsonDecoder) read(t *target, b []byte) *BadInput {
	if !utf8.Valid(b) {
		return bad(CauseFormat, "", "not UTF-8, so not JSON, and it does not begin like Avro").atByte(invalidUTF8(b))
	}
	d.json.reset(b, maxJSONDepth)
	d.names = d.names[:0]
	if d.json.peek() != '{' {
		return bad(CauseFormat, "", "neither Avro nor a JSON object: it begins with %s", clip(b[:min(len(b), 16)]))
	}
	d.members = d.members[:0]
	top, err := d.index()
	if err == nil {
		err = d.json.end()
	}
	if err != nil {
		return malformed("", err)
	}
	d.json.trust()
	if find(top, "specversion").from >= 0 {
		return d.readCloudEvent(t, top)
	}
	return d.readObject(t, top)
}

// index reads the object that comes next and returns its members, which are valid
// until the next record.
func (d *jsonDecoder) index() ([]member, error) {
	start := len(d.members)
	o, err := d.json.object()
	for err == nil {
		key, ok, kerr := d.json.key(&o)
		if kerr != nil || !ok {
			return d.members[start:], kerr
		}
		if len(d.members)-start == maxMembers {
			return nil, d.json.errAt("more than %d members", maxMembers)
		}
		key = d.keep(key)
		d.json.peek()
		d.members = append(d.members, member{key, d.json.pos()})
		err = d.json.skip()
	}
	return nil, err
}

// keep returns a key that was just read in a form that outlives the next string.
func (d *jsonDecoder) keep(key []byte) []byte {
	if !d.json.hadEscapes() {
		return key
	}
	from := len(d.names)
	d.names = append(d.names, key...)
	return d.names[from:]
}

// readObject reads an event that is JSON with our names, or a Segment message.
func (d *jsonDecoder) readObject(t *target, l []member) *BadInput {
	if m := find(l, "messageId"); m.from >= 0 {
		if m = find(l, "type"); m.from >= 0 && d.json.byteAt(m.from) == '"' {
			if typ, ok := segmentTypes[string(d.string(m))]; ok {
				return d.readSegment(typ, l)
			}
		}
	}
	lines := t == nil
	if lines {
		m := find(l, "stream")
		if m.from < 0 || d.json.byteAt(m.from) != '"' {
			return bad(CauseMissing, "stream", `a line needs one, such as "stream": "web"`)
		}
		name := d.string(m)
		s, ok := plan.StreamByName(string(name))
		if !ok {
			return bad(CauseRange, "stream", "%s is none of web, email, purchase, profile, consent", clip(name))
		}
		t = d.targets[s]
	}
	d.frame.reset(t)
	next := 0
	for _, m := range l {
		fd := t.findNext(m.key, &next)
		if fd == nil {
			if t.extra != nil && !(lines && string(m.key) == "stream") {
				if e := d.extra(t.extra, m); e != nil {
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
func (d *jsonDecoder) string(m member) []byte {
	d.json.seek(m.from)
	b, _ := d.json.str() // the first pass has read it
	return b
}

// member reads the value at m into the field fd.
func (d *jsonDecoder) member(fd *field, m member) *BadInput {
	if !fd.used() {
		return nil
	}
	d.json.seek(m.from)
	return d.field(fd, d.frame.vals)
}

// extra takes a field that the schema does not have for one of its free-form map,
// if it is a scalar and the map itself does not have it.
func (d *jsonDecoder) extra(fm *field, m member) *BadInput {
	for i := range fm.keys {
		k := &fm.keys[i]
		if k.name != string(m.key) || d.frame.vals[k.dst].Present() {
			continue
		}
		if c := d.json.byteAt(m.from); c != '{' && c != '[' {
			return d.member(k, m)
		}
	}
	return nil
}

// field reads the next value into the field fd; vals are the places of the record
// that it belongs to.
func (d *jsonDecoder) field(fd *field, vals []cell) *BadInput {
	sc := &d.json
	at := sc.pos()
	var e *BadInput
	switch c := sc.peek(); {
	case c == 'n': // null is the same as not there
		_ = sc.skip()
		return nil
	case len(fd.keys) > 0:
		if c != '{' {
			return wrongType(fd, jsonKind(c)).atByte(at)
		}
		return d.readMap(fd, vals)
	case fd.elem != nil:
		if c != '[' {
			return wrongType(fd, jsonKind(c)).atByte(at)
		}
		return d.readList(fd, &vals[fd.dst])
	case c == '"':
		b, _ := sc.str()
		e = d.frame.text(fd, &vals[fd.dst], b)
	case c == 't' || c == 'f':
		_ = sc.skip()
		e = d.frame.bool(fd, &vals[fd.dst], c == 't')
	case c == '{' || c == '[':
		e = wrongType(fd, jsonKind(c))
	default:
		b, _ := sc.num()
		e = d.frame.number(fd, &vals[fd.dst], b)
	}
	return e.atByte(at)
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

// readMap reads the keys of a map that somebody wants. A key that stands in the
// map wins over a field of the same name outside of it.
func (d *jsonDecoder) readMap(fd *field, vals []cell) *BadInput {
	sc := &d.json
	for o, _ := sc.object(); ; {
		key, ok, _ := sc.key(&o)
		if !ok {
			return nil
		}
		k := fd.key(key)
		if k == nil {
			_ = sc.skip()
		} else if e := d.field(k, vals); e != nil {
			return e
		}
	}
}

// readList reads an array of records.
func (d *jsonDecoder) readList(fd *field, dst *cell) *BadInput {
	sc := &d.json
	from := len(d.frame.cells)
	for a, _ := sc.array(); ; {
		if ok, _ := sc.elem(&a); !ok {
			break
		}
		at := sc.pos()
		if e := d.frame.element(fd.path); e != nil {
			return e.atByte(at)
		}
		if c := sc.peek(); c != '{' {
			return bad(CauseType, fd.path, "an element of the list is %s and not an object", jsonKind(c)).atByte(at)
		}
		cells := d.frame.addRecord(fd.elem)
		if e := d.readRecord(fd.elem, cells); e != nil {
			return e
		}
		if e := fd.elem.missing(cells); e != nil {
			return e.atByte(at)
		}
	}
	d.frame.endList(dst, fd.elem, from)
	return nil
}

// readRecord reads the object that comes next into the cells of a record.
func (d *jsonDecoder) readRecord(s *fieldSet, cells []cell) *BadInput {
	sc := &d.json
	next := 0
	for o, _ := sc.object(); ; {
		key, ok, _ := sc.key(&o)
		if !ok {
			return nil
		}
		if fd := s.findNext(key, &next); fd == nil {
			_ = sc.skip()
		} else if e := d.field(fd, cells); e != nil {
			return e
		}
	}
}

// malformed returns a BadInput for the error of a scanner, which stands at a byte
// of the record.
func malformed(field string, err error) *BadInput {
	var s *syntaxError
	if errors.As(err, &s) {
		return bad(CauseFormat, field, "%s", s.text).atByte(s.at)
	}
	return bad(CauseFormat, field, "%v", err)
}

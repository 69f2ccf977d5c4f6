package schemas

import (
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

// readJSON reads JSON text. t is nil if the text has to say which stream it is of.
func (d *decoder) readJSON(t *target, b []byte) *BadInput {
	if !utf8.Valid(b) {
		return bad(CauseFormat, "", "not UTF-8, so not JSON, and it does not begin like Avro").atByte(invalidUTF8(b))
	}
	d.json = scanner{b: b, maxDepth: maxJSONDepth, keys: d.json.keys[:0], text: d.json.text}
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
	d.json.checked = true
	if find(top, "specversion").from >= 0 {
		return d.readCloudEvent(t, top)
	}
	return d.readObject(t, top)
}

// index reads the object that comes next and returns its members, which are valid
// until the next record.
func (d *decoder) index() ([]member, error) {
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
		d.members = append(d.members, member{key, d.json.i})
		err = d.json.skip()
	}
	return nil, err
}

// keep returns a key that was just read in a form that outlives the next string.
func (d *decoder) keep(key []byte) []byte {
	if !d.json.inText {
		return key
	}
	from := len(d.names)
	d.names = append(d.names, key...)
	return d.names[from:]
}

// readObject reads an event that is JSON with our names, or a Segment message.
func (d *decoder) readObject(t *target, l []member) *BadInput {
	if m := find(l, "messageId"); m.from >= 0 {
		if m = find(l, "type"); m.from >= 0 && d.json.b[m.from] == '"' {
			if typ, ok := segmentTypes[string(d.string(m))]; ok {
				return d.readSegment(typ, l)
			}
		}
	}
	lines := t == nil
	if lines {
		m := find(l, "stream")
		if m.from < 0 || d.json.b[m.from] != '"' {
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
func (d *decoder) string(m member) []byte {
	d.json.i = m.from
	b, _ := d.json.str() // the first pass has read it
	return b
}

// member reads the value at m into the field fd.
func (d *decoder) member(fd *field, m member) *BadInput {
	if !fd.used() {
		return nil
	}
	d.json.i = m.from
	return d.field(fd, d.frame.vals)
}

// extra takes a field that the schema does not have for one of its free-form map,
// if it is a scalar and the map itself does not have it.
func (d *decoder) extra(fm *field, m member) *BadInput {
	for i := range fm.keys {
		k := &fm.keys[i]
		if k.name != string(m.key) || d.frame.vals[k.dst].Present() {
			continue
		}
		if c := d.json.b[m.from]; c != '{' && c != '[' {
			return d.member(k, m)
		}
	}
	return nil
}

// field reads the next value into the field fd; vals are the places of the record
// that it belongs to.
func (d *decoder) field(fd *field, vals []cell) *BadInput {
	sc := &d.json
	at := sc.i
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
		return "a text"
	case 't', 'f':
		return "a truth value"
	case 'n':
		return "null"
	}
	return "a number"
}

// readMap reads the keys of a map that somebody wants. A key that stands in the
// map wins over a field of the same name outside of it.
func (d *decoder) readMap(fd *field, vals []cell) *BadInput {
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

// key returns the field for a key of a map, nil if nobody wants it.
func (f *field) key(name []byte) *field {
	for i := range f.keys {
		if f.keys[i].name == string(name) {
			return &f.keys[i]
		}
	}
	return nil
}

// readList reads an array of records.
func (d *decoder) readList(fd *field, dst *cell) *BadInput {
	sc := &d.json
	from := len(d.frame.cells)
	for a, _ := sc.array(); ; {
		if ok, _ := sc.elem(&a); !ok {
			break
		}
		at := sc.i
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
func (d *decoder) readRecord(s *fieldSet, cells []cell) *BadInput {
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

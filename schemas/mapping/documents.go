package mapping

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/jsontext"
)

// maxDepth is how deep a document may be nested, as every record.
const maxDepth = 64

// documents are the JSON texts that expressions look into: the record itself, what
// surrounds it, and texts in it that are JSON. An object of theirs is an [expr.Value]
// whose N is its document and the byte at which it begins. Only those objects are
// indexed that somebody looks into, once.
type documents struct {
	list    []document
	objects map[int64]span
	members []member
	note    func(bad.Note)
}

// document is one text.
type document struct {
	text []byte
	scan jsontext.Scanner
	utf8 bool
}

// member is a member of an object: where its value begins.
type member struct {
	key  string
	from int
}

// span is where the members of an object are.
type span struct{ from, n int }

// reset forgets all documents.
func (d *documents) reset() {
	for i := range d.list {
		d.list[i].text = nil
		d.list[i].scan.Reset(nil, 0)
	}
	d.list, d.members = d.list[:0], d.members[:0]
	clear(d.objects)
}

// add checks a text and returns its value.
func (d *documents) add(text []byte) (expr.Value, error) {
	if len(d.list) < cap(d.list) {
		d.list = d.list[:len(d.list)+1]
	} else {
		d.list = append(d.list, document{})
	}
	n := len(d.list) - 1
	doc := &d.list[n]
	doc.text, doc.utf8 = text, utf8.Valid(text)
	sc := &doc.scan
	sc.Reset(text, maxDepth)
	err := sc.Skip()
	if err == nil {
		err = sc.End()
	}
	if err != nil {
		return expr.Value{}, err
	}
	if sc.Elements() > frame.MaxItems {
		return expr.Value{}, sc.ErrAt("lists hold %d elements, more than %d", sc.Elements(), frame.MaxItems)
	}
	if sc.Doubled() > 0 {
		d.note(bad.Note{Kind: bad.Doubled, Detail: "an object has a key twice; the last one counts"})
	}
	sc.Trust()
	sc.Seek(0)
	return d.value(n), nil
}

// place packs the place of a value.
func place(doc, at int) int64 { return int64(doc)<<32 | int64(at) }

// at returns the document of a place and puts its scanner there.
func (d *documents) at(place int64) (doc int, sc *jsontext.Scanner) {
	doc = int(place >> 32)
	sc = &d.list[doc].scan
	sc.Seek(int(place & (1<<32 - 1)))
	return doc, sc
}

// value reads the value that comes next in a document.
func (d *documents) value(doc int) expr.Value {
	sc := &d.list[doc].scan
	switch sc.Peek() {
	case '{':
		v := expr.Value{K: expr.Object, N: place(doc, sc.Pos())}
		_ = sc.Skip()
		return v
	case '[':
		l := []expr.Value{}
		for a, _ := sc.Array(); ; {
			if ok, _ := sc.Elem(&a); !ok {
				return expr.ListValue(l)
			}
			l = append(l, d.value(doc))
		}
	case '"':
		b, _ := sc.Text()
		if !d.list[doc].utf8 {
			b = bytes.ToValidUTF8(b, []byte("\ufffd"))
		}
		return expr.StringValue(string(b))
	case 't', 'f':
		is := sc.Peek() == 't'
		_ = sc.Skip()
		return expr.BoolValue(is)
	case 'n':
		_ = sc.Skip()
		return expr.Null()
	}
	b, _ := sc.Number()
	return expr.NumberValue(string(b))
}

// member looks up a member of an object: the last one of that name.
func (d *documents) member(of expr.Value, name string) expr.Value {
	if of.K != expr.Object {
		return expr.Value{}
	}
	s, known := d.objects[of.N]
	if !known {
		s = d.index(of.N)
	}
	for i := s.from + s.n - 1; i >= s.from; i-- {
		if d.members[i].key == name {
			doc := int(of.N >> 32)
			d.list[doc].scan.Seek(d.members[i].from)
			return d.value(doc)
		}
	}
	return expr.Value{}
}

// index finds the members of an object.
func (d *documents) index(at int64) span {
	_, sc := d.at(at)
	s := span{from: len(d.members)}
	for o, _ := sc.Object(); ; {
		key, ok, _ := sc.Key(&o)
		if !ok {
			break
		}
		name := string(key)
		sc.Peek()
		d.members = append(d.members, member{name, sc.Pos()})
		_ = sc.Skip()
	}
	s.n = len(d.members) - s.from
	d.objects[at] = s
	return s
}

// text returns the text of an object as it is written.
func (d *documents) text(v expr.Value) []byte {
	doc, sc := d.at(v.N)
	from := sc.Pos()
	_ = sc.Skip()
	return d.list[doc].text[from:sc.Pos()]
}

// unavailable is what Debezium writes for a value that was not read because it has not
// changed.
const unavailable = "__debezium_unavailable_value"

// cleared appends an object whose members that are null clear what they are the names of,
// as "" does.
func (d *documents) cleared(b []byte, v expr.Value) []byte {
	d.member(v, "") // so that it is indexed
	s := d.objects[v.N]
	doc := int(v.N >> 32)
	b = append(b, '{')
	first := true
	for _, m := range d.members[s.from : s.from+s.n] {
		d.list[doc].scan.Seek(m.from)
		value := d.value(doc)
		switch {
		case value.K == expr.String && value.S == unavailable:
			continue
		case value.Null():
			value = expr.StringValue("")
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(jsontext.AppendQuoted(b, m.key), ':')
		b = d.append(b, value)
	}
	return append(b, '}')
}

// append appends a value as JSON.
func (d *documents) append(b []byte, v expr.Value) []byte {
	switch v.K {
	case expr.Absent:
		return append(b, "null"...)
	case expr.Bool, expr.Int, expr.Decimal, expr.Double, expr.Number:
		return append(b, v.Digits()...)
	case expr.Object:
		return append(b, bytes.ToValidUTF8(d.text(v), []byte("\ufffd"))...)
	case expr.List:
		b = append(b, '[')
		for i, e := range v.L {
			if i > 0 {
				b = append(b, ',')
			}
			b = d.append(b, e)
		}
		return append(b, ']')
	case expr.Record: // of OpObject: its values, then their names
		b = append(b, '{')
		n := len(v.L) / 2
		first := true
		for i, e := range v.L[:n] {
			if !e.Present() {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = append(jsontext.AppendQuoted(b, v.L[n+i].S), ':')
			b = d.append(b, e)
		}
		return append(b, '}')
	}
	return jsontext.AppendQuoted(b, strings.ToValidUTF8(v.String(), "\ufffd"))
}

package file

import (
	"slices"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Own is what the files declare beside rules: fields and streams of their own.
type Own struct {
	Fields  []OwnField
	Streams []OwnStream
}

// OwnField is a declared field as written; Type is its type in plan's terms.
type OwnField struct {
	Stream, Name, Word *Passage
	Type               expr.Type
}

// OwnStream is a declared stream as written. Its fields are in [Own].
type OwnStream struct {
	Name     *Passage
	Activity bool
}

var ownStreamWords = words{known: []string{"activity", "fields"}, later: []string{"dedup", "schema", "topic"}}

// moreFields reads the fields of the streams that there are.
func (r *reader) moreFields(n *yaml.Node) {
	s, ok := r.section(n, "fields", words{any: true})
	if !ok {
		return
	}
	for _, stream := range s.order {
		r.ownFields(stream, s.vals[stream.Text])
	}
}

// ownFields reads a mapping of names to types.
func (r *reader) ownFields(stream *Passage, n *yaml.Node) {
	s, ok := r.section(n, "the fields of "+stream.Text, words{any: true})
	if !ok {
		return
	}
	for _, name := range s.order {
		if !NameForm.MatchString(name.Text) {
			r.FailHint(name, "use letters, digits and _", "%s is not a valid field name", strconv.Quote(name.Text))
			continue
		}
		word := r.scalar(s, name.Text)
		if word == nil {
			continue
		}
		typ, ok := plan.OwnType(word.Text)
		if !ok {
			r.FailHint(word, typeHint(word.Text), "%s.%s has the unknown type %s", stream.Text, name.Text, strconv.Quote(word.Text))
			continue
		}
		r.doc.Own.Fields = append(r.doc.Own.Fields, OwnField{stream, name, word, typ})
	}
}

// otherTypes are the words that other languages have for our types.
var otherTypes = map[string][]string{
	"text":   {"string", "str", "varchar", "char", "enum", "uuid"},
	"number": {"int", "integer", "long", "float", "double", "decimal", "numeric"},
	"money":  {"amount", "price", "currency"},
	"time":   {"timestamp", "datetime", "instant"},
	"truth":  {"bool", "boolean", "flag"},
	"list":   {"array", "strings", "texts", "set"},
}

// typeHint names the type that a word most likely means.
func typeHint(word string) string {
	for _, t := range plan.OwnTypes() {
		if slices.Contains(otherTypes[t], word) {
			return "write " + t
		}
	}
	return DidYouMean(word, plan.OwnTypes())
}

// ownStreams reads the streams that the file declares.
func (r *reader) ownStreams(n *yaml.Node) {
	s, ok := r.section(n, "streams", words{any: true})
	if !ok {
		return
	}
	for _, name := range s.order {
		if !plan.StreamForm.MatchString(name.Text) {
			r.FailHint(name, "use a-z, 0-9 and _", "%s is not a valid name of a stream", strconv.Quote(name.Text))
			continue
		}
		st := OwnStream{Name: name}
		if n := s.vals[name.Text]; n != nil && n.Tag != "!!null" {
			st.Activity = r.ownStream(name, n)
		}
		r.doc.Own.Streams = append(r.doc.Own.Streams, st)
	}
}

// ownStream reads what there is to say of a stream.
func (r *reader) ownStream(name *Passage, n *yaml.Node) (activity bool) {
	s, ok := r.section(n, "stream "+strconv.Quote(name.Text), ownStreamWords)
	if !ok {
		return false
	}
	if n := s.vals["fields"]; n != nil {
		r.ownFields(name, n)
	}
	p := r.scalar(s, "activity")
	if p != nil && p.Text != "true" && p.Text != "false" {
		r.FailHint(p, "write true or false", "activity must be true or false, not %s", strconv.Quote(p.Text))
	}
	return p != nil && p.Text == "true"
}

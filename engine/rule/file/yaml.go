// Package file reads rule files: YAML, checked for its form. What needs no expression
// is complete afterwards; expressions stay texts that know where each character stands.
//
// The one rule it keeps: every problem has its place in the file that a person edited,
// and all problems of all files come at once.
package file

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// reader reads the YAML of one file into a document.
type reader struct {
	*Log
	file  *source
	doc   *Document
	kinds []*plan.Kind
	zones expr.Zones
	noun  string // what errors call the file: "rule"
	// all is what is allowed in the whole file.
	all *Allow
}

// Read adds what f holds to doc.
func Read(f File, doc *Document, kinds []*plan.Kind, zones expr.Zones, l *Log) {
	r := &reader{Log: l, file: newSource(f), doc: doc, kinds: kinds, zones: zones, noun: "rule"}
	if !r.acceptable() {
		return
	}
	var root yaml.Node
	if err := yaml.Load(f.Data, &root); err != nil {
		r.yamlError(err)
		return
	}
	if len(root.Content) == 1 && r.plain(root.Content[0], 0) {
		r.top(root.Content[0])
	}
}

// starts says how a file of each kind begins.
var starts = map[string]string{"rule": "start with version: 1", "test": "start with tests: a list of tests"}

// acceptable checks what must hold before a YAML parser sees the bytes.
func (r *reader) acceptable() bool {
	data := r.file.data
	if len(data) > MaxFileSize {
		r.FailHint(Offset{r.file, 0}, "split it into several files", "a %s file can have at most %d bytes, but this one has %d", r.noun, MaxFileSize, len(data))
		return false
	}
	for i, start := range r.file.lines {
		end := len(data)
		if i+1 < len(r.file.lines) {
			end = r.file.lines[i+1]
		}
		if end-start > maxLine {
			r.Fail(Offset{r.file, start}, "a line can have at most %d bytes, but this one has %d", maxLine, end-start)
			return false
		}
	}
	for i := 0; i < len(data); {
		c, n := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && n == 1 {
			r.Fail(Offset{r.file, i}, "the file is not UTF-8 text: byte %#02x", data[i])
			return false
		}
		i += n
	}
	return true
}

// plain reports whether the tree below n uses only plain YAML: no anchors,
// aliases, merge keys or tags, and no deep nesting.
func (r *reader) plain(n *yaml.Node, depth int) bool {
	at := Offset{r.file, r.file.offset(n.Line, n.Column)}
	switch {
	case depth > maxDepth:
		r.Fail(at, "nested too deeply")
		return false
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.FailHint(at, "name a shared condition under define instead", "%s files have no YAML anchors and aliases", r.noun)
		return false
	case n.Tag == "!!merge":
		r.Fail(at, "%s files have no YAML merge keys", r.noun)
		return false
	case n.Style&yaml.TaggedStyle != 0:
		r.FailHint(at, tagHint, "YAML reads %s as a tag", n.Tag)
		return false
	}
	ok := true
	for _, c := range n.Content {
		ok = r.plain(c, depth+1) && ok
	}
	return ok
}

// section is a YAML mapping whose keys have been checked.
type section struct {
	what string // "segment", for errors
	at   Place
	// vals holds nil for a value that an error has been told of.
	vals map[string]*yaml.Node
	// order holds the keys as they stand in the file.
	order []*Passage
}

// words are the keys that a mapping may have.
type words struct {
	known []string
	// later are keys of later versions of the language.
	later []string
	// nearest says of some of those what to do today.
	nearest map[string]string
	// elsewhere are keys of other kinds of the same thing.
	elsewhere []string
	any       bool // every key is good
}

// section reads the mapping n. A key that must not be there is an error; the
// others are kept.
func (r *reader) section(n *yaml.Node, what string, w words) (*section, bool) {
	at := Offset{r.file, r.file.offset(n.Line, n.Column)}
	if n.Kind != yaml.MappingNode {
		r.FailHint(at, "write it as key: value lines", "%s must be a mapping, but this is %s", what, kindOf(n))
		return nil, false
	}
	s := &section{what: what, at: at, vals: make(map[string]*yaml.Node, len(n.Content)/2)}
	seen := make(map[string]*Passage)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, val := newPassage(r.file, n.Content[i]), n.Content[i+1]
		if n.Content[i].Kind != yaml.ScalarNode {
			r.Fail(Offset{r.file, r.file.offset(n.Content[i].Line, n.Content[i].Column)}, "a key must be a name")
			continue
		}
		if prev := seen[key.Text]; prev != nil {
			r.Fail(key, "duplicate key %q, already set in line %d", key.Text, prev.node.Line)
			continue
		}
		seen[key.Text] = key
		switch {
		case !w.any && isCutOff(key, val, n.Style) && len(s.order) > 0:
			// What stands before the comma is half an expression.
			s.vals[s.order[len(s.order)-1].Text] = nil
			r.FailHint(key, `put a condition that contains a comma in quotes: when: "…"`, "inside { } a comma ends the value")
		case n.Style&yaml.FlowStyle != 0 && val.Tag == "!!null" && gluedForm.MatchString(key.Text):
			// The key is there, and its value is not known.
			s.vals[key.Text[:strings.IndexByte(key.Text, ':')]] = nil
			r.FailHint(key, "put a blank behind the colon", "%q is one word to YAML", key.Text)
		case r.key(key, what, w):
			s.vals[key.Text] = val
			s.order = append(s.order, key)
		}
	}
	return s, true
}

// gluedForm finds a key and a value without a blank behind the colon.
var gluedForm = regexp.MustCompile(`^[a-z_]+:[^\s:]`)

// isCutOff reports whether a key is the rest of an expression that a comma cut in
// two.
func isCutOff(key *Passage, val *yaml.Node, style yaml.Style) bool {
	return style&yaml.FlowStyle != 0 && val.Tag == "!!null" && strings.ContainsAny(key.Text, "()=<>")
}

// meantKeys are keys that people write who know other tools.
var meantKeys = map[string]string{
	"if": "when", "condition": "when", "where": "when", "filter": "when", "rule": "when", "title": "name", "delay": "after", "wait": "after", "type": "kind",
}

// key reports whether a mapping may have the key, and says why not.
func (r *reader) key(key *Passage, what string, w words) bool {
	has := func(names []string) bool {
		for _, n := range names {
			if n == key.Text {
				return true
			}
		}
		return false
	}
	switch {
	case w.any || has(w.known):
		return true
	case has(w.elsewhere):
		r.FailHint(key, OneOf(w.known), "%s does not take %q", what, key.Text)
	case has(w.later):
		r.FailHint(key, cmp.Or(w.nearest[key.Text], "remove it; ignoring it could change what the rule does"), "this version does not have %q in %s", key.Text, what)
	case key.Text == "tests" && slices.Contains(w.known, "segments"):
		r.FailHint(key, "tests of rules are in files whose names end in _test.yaml, such as loyal_test.yaml", "unknown key %q in %s", key.Text, what)
	case meantKeys[key.Text] != "" && slices.Contains(w.known, meantKeys[key.Text]):
		r.FailHint(key, "write "+meantKeys[key.Text], "unknown key %q in %s", key.Text, what)
	default:
		r.FailHint(key, DidYouMean(key.Text, w.known), "unknown key %q in %s", key.Text, what)
	}
	return false
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
		if n.Tag == "!!null" {
			return "empty"
		}
		return "a single value"
	}
}

// scalar returns the text of the key, nil if the section has none. A value that
// is no text is an error.
func (r *reader) scalar(s *section, key string) *Passage {
	n := s.vals[key]
	if n == nil {
		return nil
	}
	at := Offset{r.file, r.file.offset(n.Line, n.Column)}
	switch {
	case n.Kind != yaml.ScalarNode:
		r.Fail(at, "%s must be a single value, but this is %s", key, kindOf(n))
		return nil
	case n.Tag == "!!null" || strings.TrimSpace(n.Value) == "":
		r.Fail(at, "%s is empty", key)
		return nil
	}
	return newPassage(r.file, n)
}

// required is scalar for a key that must be there.
func (r *reader) required(s *section, key, hint string) *Passage {
	if _, ok := s.vals[key]; !ok {
		r.FailHint(s.at, hint, "%s has no %s", s.what, key)
		return nil
	}
	return r.scalar(s, key)
}

// list returns the elements of a list.
func (r *reader) list(n *yaml.Node, what string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		r.FailHint(Offset{r.file, r.file.offset(n.Line, n.Column)}, "start each element with -", "%s must be a list, but this is %s", what, kindOf(n))
		return nil
	}
	return n.Content
}

// texts returns the elements of a list of texts.
func (r *reader) texts(n *yaml.Node, what string) []*Passage {
	var out []*Passage
	for _, e := range r.list(n, what) {
		if e.Kind != yaml.ScalarNode || e.Tag == "!!null" {
			r.Fail(Offset{r.file, r.file.offset(e.Line, e.Column)}, "an element of %s must be a single value, but this is %s", what, kindOf(e))
			continue
		}
		out = append(out, newPassage(r.file, e))
	}
	return out
}

// id checks an identifier.
func (r *reader) id(p *Passage, what string) bool {
	if p == nil {
		return false
	}
	switch idFlaw(p.Text) {
	case "letters":
		r.FailHint(p, "use a-z, 0-9, _ and -", "%s cannot have the id %s", what, strconv.Quote(p.Text))
	case "length":
		r.Fail(p, "an id can have at most 100 characters, but this one has %d", len(p.Text))
	default:
		return true
	}
	return false
}

// idFlaw says what is wrong with an id: its letters, its length, or nothing ("").
func idFlaw(id string) string {
	for _, c := range id {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return "letters"
		}
	}
	if len(id) > 100 {
		return "length"
	}
	return ""
}

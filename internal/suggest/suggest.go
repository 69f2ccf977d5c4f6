// Package suggest guesses a mapping from records, for people who have a topic and no
// mapping yet.
//
// Its one rule: a guess is text to be read and corrected, and says where it found nothing.
package suggest

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/segmill/segmill/schemas/scalar"
)

// sampled is what records have at one path, such as msg.customer.id.
type sampled struct {
	names  []string       // from msg or it; of an element of a list, from the element
	list   string         // the expression of the list that it is in, "" if it is in none
	values map[string]int // of texts and numbers, the first of them
	n      int
	times  int // values that are a time
	mails  int // values that are an e-mail address
	isList bool
}

// maxSampled bounds how many records are looked at, and maxValues how many values of one
// path.
const (
	maxSampled = 1_000
	maxValues  = 1_000
)

// sample is what was seen, by path.
type sample struct {
	paths   map[string]*sampled
	records int
	each    bool // records are lists of events
}

// Mapping looks at records, JSON values, and returns a mapping to begin with, as the text
// of a rule file.
func Mapping(in io.Reader) (string, error) {
	s := &sample{paths: map[string]*sampled{}}
	values := json.NewDecoder(bufio.NewReader(in))
	values.UseNumber()
	for read := 0; read < maxSampled; read++ {
		var v any
		if err := values.Decode(&v); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return "", fmt.Errorf("record %d is no JSON: %w", read+1, err)
		}
		if l, ok := v.([]any); ok {
			s.each = true
			for _, e := range l {
				s.records++
				s.look([]string{"it"}, "", e)
			}
			continue
		}
		s.records++
		s.look([]string{"msg"}, "", v)
	}
	if len(s.paths) == 0 {
		return "", errors.New("there is no JSON object to look at")
	}
	return s.suggestion(), nil
}

// look takes in a value with all that is in it, lists in lists excepted.
func (s *sample) look(names []string, list string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for name, e := range v {
			s.look(append(slices.Clone(names), name), list, e)
		}
	case []any:
		at := s.at(names, list)
		at.isList = true
		if list != "" {
			return
		}
		for _, e := range v {
			s.look([]string{element}, at.String(), e)
		}
	case string, json.Number:
		s.at(names, list).value(fmt.Sprint(v))
	}
}

// element is the variable for an element of a list.
const element = "i"

// at returns what there is at a path, once more.
func (s *sample) at(names []string, list string) *sampled {
	key := list + " " + expression(names)
	at := s.paths[key]
	if at == nil {
		at = &sampled{names: names, list: list, values: map[string]int{}}
		s.paths[key] = at
	}
	at.n++
	return at
}

// value takes in a value.
func (p *sampled) value(text string) {
	if _, known := p.values[text]; known || len(p.values) < maxValues {
		p.values[text]++
	}
	if isTime(text) {
		p.times++
	}
	if strings.Contains(text, "@") {
		p.mails++
	}
}

// String is the path as an expression.
func (p *sampled) String() string { return expression(p.names) }

// last is the name at the end of the path.
func (p *sampled) last() string { return p.names[len(p.names)-1] }

// above is the name of the object that it is in, "" for the record itself.
func (p *sampled) above() string {
	if len(p.names) < 3 {
		return ""
	}
	return p.names[len(p.names)-2]
}

// word is the form of a name that can be written after a dot.
var word = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// reserved are the words that CEL does not take as names.
var reserved = strings.Fields("in true false null as break const continue else for function if import let loop package namespace return var void while")

// expression writes a path.
func expression(names []string) string {
	var b strings.Builder
	b.WriteString(names[0])
	for _, name := range names[1:] {
		if word.MatchString(name) && !slices.Contains(reserved, name) {
			b.WriteString("." + name)
		} else {
			fmt.Fprintf(&b, "[%q]", name)
		}
	}
	return b.String()
}

// isTime reports whether a text is an instant of our days.
func isTime(text string) bool {
	if _, ok := scalar.ParseCivil([]byte(text)); ok {
		return len(text) > len("2026-01-01")
	}
	n, ok, err := scalar.ParseNumber([]byte(text))
	if !ok || err != nil || len(text) < 10 {
		return false
	}
	at, err := scalar.InstantOfNumber(n)
	return err == nil && at.Time().Year() > 2000 && at.Time().Year() < 2100
}

// suggestion writes a rule file with a mapping.
func (s *sample) suggestion() string {
	id := s.best("", s.asID)
	when := s.best("", s.asTime)
	who := s.best("", func(p *sampled) int {
		if p == id {
			return no
		}
		return asCustomer(p)
	})
	stream, sure := s.stream()
	var b strings.Builder
	fmt.Fprintf(&b, "# A guess from %d records: read it, correct it, and try it with segmill map.\nversion: 1\nmappings:\n  name_it:\n", s.records)
	if !sure {
		b.WriteString("    # Nothing shows which stream it is: web, email, purchase, profile or consent.\n")
	}
	fmt.Fprintf(&b, "    stream: %s\n", stream)
	if s.each {
		b.WriteString("    each: msg\n")
	}
	b.WriteString("    map:\n")
	line := func(name string, p *sampled, otherwise string) {
		if p == nil {
			fmt.Fprintf(&b, "      # %s: nothing looks like it; %s\n", name, otherwise)
			return
		}
		fmt.Fprintf(&b, "      %s: %s\n", name, quoted(p.String()))
	}
	if id != nil && !id.unique() {
		b.WriteString("      # Some records have the same event_id: if they are different events, combine it, such as id(msg.id, msg.status).\n")
	}
	line("event_id", id, "it must be the same when the record comes again")
	line("customer_id", who, "say who the customer is, perhaps key")
	line("occurred_at", when, "record.time is when the record was written")
	if stream == "purchase" {
		s.order(&b)
	}
	return b.String()
}

// quoted writes an expression as a YAML value.
func quoted(text string) string {
	if strings.ContainsAny(text, `:#{}'[]"`) {
		return "'" + strings.ReplaceAll(text, "'", "''") + "'"
	}
	return text
}

// no is the rank of what cannot be it.
const no = -1

// best returns the path in a list, "" for outside of all lists, whose rank is lowest; of
// several, the one that is least deep. nil: there is none.
func (s *sample) best(list string, rank func(*sampled) int) *sampled {
	var best *sampled
	least := 0
	for _, key := range slices.Sorted(maps.Keys(s.paths)) {
		p := s.paths[key]
		if p.list != list {
			continue
		}
		r := rank(p)
		if r == no {
			continue
		}
		if r = 10*r + min(len(p.names), 9); best == nil || r < least {
			best, least = p, r
		}
	}
	return best
}

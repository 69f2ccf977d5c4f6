package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
)

// Members counts members of events that are probably misspelt: unknown ones whose name is
// near that of a field which the event does not have. Other members are free. Events of
// other vocabularies than that of the schemas have no such members.
type Members struct {
	catalog *plan.Catalog
	known   map[of][]string
	near    map[member]string // what a name is near, "" if nothing
	counts  map[member]int
	seen    []member // of the line
}

// of is what has members: events of a stream, or the elements of a field of them.
type of struct {
	stream plan.Stream
	field  string // "" of the event itself
}

// member is a member by its name.
type member struct {
	of
	name string
}

// shortest is how many bytes a name has that is taken for another one misspelt, and
// mostNames of how many names it is known whether they are.
const (
	shortest  = 4
	mostNames = 10_000
)

// NewMembers returns a count of nothing.
func NewMembers(c *plan.Catalog) *Members {
	return &Members{catalog: c, known: map[of][]string{}, near: map[member]string{}, counts: map[member]int{}}
}

// take takes the line of an event.
func (m *Members) take(stream plan.Stream, line []byte) {
	m.seen = m.seen[:0]
	named, doubtful := false, false
	eachName(line, func(depth int, top, name []byte) {
		x := member{of{stream, ""}, string(name)}
		switch {
		case depth == 1:
			named = named || string(name) == "stream"
		case depth == 3 && m.names(of{stream, string(top)}) != nil:
			x.field = string(top)
		default:
			return
		}
		m.seen = append(m.seen, x)
		doubtful = doubtful || m.nearest(x) != ""
	})
	if !named || !doubtful {
		return
	}
	for _, x := range m.seen {
		if n := m.nearest(x); n != "" && !slices.Contains(m.seen, member{x.of, n}) {
			m.counts[x]++
		}
	}
}

// names returns the names of the members of something, nil if it has none.
func (m *Members) names(o of) []string {
	names, ok := m.known[o]
	if ok || len(m.known) > mostNames {
		return names
	}
	if o.field == "" {
		names = append(names, "stream")
		for _, f := range m.catalog.Fields[o.stream] {
			names = append(names, f.Name)
		}
	} else if t := m.catalog.TypeOf(o.stream, o.field); t != nil && t.Elem != nil {
		for _, f := range t.Elem.Fields {
			names = append(names, f.Name)
		}
	}
	m.known[o] = names
	return names
}

// nearest returns the name that a member was most likely meant to have, "" if it is known
// or near nothing.
func (m *Members) nearest(x member) string {
	n, ok := m.near[x]
	if ok || len(m.near) >= mostNames {
		return n
	}
	names := m.names(x.of)
	if len(x.name) >= shortest && !slices.Contains(names, x.name) {
		n = file.Misspelt(x.name, names)
	}
	m.near[x] = n
	return n
}

// Lines says what was counted, by stream and name.
func (m *Members) Lines() (l []string) {
	byName := func(a, b member) int {
		return cmp.Or(cmp.Compare(a.stream, b.stream), cmp.Compare(a.field, b.field), cmp.Compare(a.name, b.name))
	}
	for _, x := range slices.SortedFunc(maps.Keys(m.counts), byName) {
		name := x.name
		if x.field != "" {
			name = x.field + "." + name
		}
		l = append(l, fmt.Sprintf("%s: %d × unknown member %q, did you mean %q?", m.catalog.Table().Name(x.stream), m.counts[x], name, m.near[x]))
	}
	return l
}

// eachName calls f with the names of the members of a JSON object and of all objects in
// it: how deep each is, from 1, and the member of the outermost object that it is in.
// line is JSON.
func eachName(line []byte, f func(depth int, top, name []byte)) {
	depth := 0
	var top []byte
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		case '"':
			end := i + 1
			for end < len(line) && line[end] != '"' {
				if line[end] == '\\' {
					end++
				}
				end++
			}
			text := line[i+1 : min(end, len(line))]
			i = end
			if rest := bytes.TrimLeft(line[min(end+1, len(line)):], " \t\r\n"); len(rest) == 0 || rest[0] != ':' {
				continue
			}
			text = unescaped(text)
			if depth == 1 {
				top = text
			}
			f(depth, top, text)
		}
	}
}

// hasMember reports whether a JSON object has a member.
func hasMember(line []byte, member string) (has bool) {
	eachName(line, func(depth int, _, name []byte) { has = has || depth == 1 && string(name) == member })
	return has
}

// StreamOf returns the stream that a line says it is of, as lines of several streams do; "" if
// it names none. line is JSON.
func StreamOf(line []byte) string {
	var of struct {
		Stream any `json:"stream"`
	}
	if json.Unmarshal(line, &of) != nil {
		return ""
	}
	name, _ := of.Stream.(string)
	return name
}

// unescaped returns what is between the quotes of a JSON text.
func unescaped(text []byte) []byte {
	if bytes.IndexByte(text, '\\') < 0 {
		return text
	}
	var s string
	if json.Unmarshal(slices.Concat([]byte{'"'}, text, []byte{'"'}), &s) != nil {
		return nil
	}
	return []byte(s)
}

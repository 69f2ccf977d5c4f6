package shapes

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/sim"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/schemas/bad"
	maprun "github.com/segmill/segmill/schemas/mapping"
)

// docs/semantics.md, 12.1 and 12.2: what random expressions make of random records is what
// a naive reading of them makes.
func TestExpressions(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		x := &expressions{r: r}
		m := randomMapping(x)
		set, err := rule.Parse([]rule.File{{Name: "r.yaml", Data: []byte("version: 1\nmappings:\n" + m.text)}}, schemas.Catalog(), nil, sim.Zones)
		if err != nil {
			t.Fatalf("%v\n%s", err, m.text)
		}
		runner := maprun.NewRunner(set.Spec.Streams(), sim.Zones)
		for range 30 {
			value, err := json.Marshal(randomObject(r, 3))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			if e := runner.Begin(&maprun.Record{Value: value}, func(bad.Note) {}); e != nil {
				t.Fatal(e)
			}
			runner.Run(&set.Spec.Mappings[0], func(p maprun.Part) {
				switch p.Verdict {
				case maprun.Event:
					got = append(got, text(decoded(p.Text)))
				case maprun.Refused:
					got = append(got, "refused")
				default:
					got = append(got, map[maprun.Verdict]string{maprun.Filtered: "filtered", maprun.Undecided: "undecided"}[p.Verdict])
				}
			})
			runner.End()
			if d := cmp.Diff(m.run(decoded(value)), got); d != "" {
				t.Fatalf("%s\n%s\n(-naive +mapping)\n%s", m.text, value, d)
			}
		}
	})
}

// naive is a mapping.
type naive struct {
	text       string
	when, each *node
	names      []string
	fields     []node
}

// randomMapping makes one whose fields are random expressions.
func randomMapping(x *expressions) *naive {
	m := &naive{}
	var b strings.Builder
	b.WriteString("  m:\n    stream: web\n")
	if chance(x.r, 50) {
		each := x.list(x.r.IntN(2))
		m.each = &each
		if chance(x.r, 50) {
			each.text, each.eval = "msg.l", func(s scope) any { o, _ := s["msg"].(Object); return o["l"] }
		}
		each.text = strings.ReplaceAll(each.text, "it.", "msg.")
		each.text = strings.ReplaceAll(each.text, "it[", "msg[")
		fmt.Fprintf(&b, "    each: %s\n", quoted(each.text))
	}
	if chance(x.r, 60) {
		when := x.truth(3)
		m.when = &when
	}
	for _, name := range []string{"event_id", "customer_id", "occurred_at", "name", "session_id", "url"} {
		m.names, m.fields = append(m.names, name), append(m.fields, x.value(1+x.r.IntN(3)))
	}
	m.names, m.fields = append(m.names, "referrer"), append(m.fields, x.list(2))
	at := func(n *node) string {
		if m.each == nil { // there is no element
			return strings.NewReplacer("it.", "msg.", "it[", "msg[").Replace(n.text)
		}
		return n.text
	}
	if m.when != nil {
		fmt.Fprintf(&b, "    when: %s\n", quoted(at(m.when)))
	}
	b.WriteString("    map:\n")
	for i, name := range m.names {
		is := at(&m.fields[i])
		if name == "event_id" && m.each != nil { // which has to read the element
			is = "orElse(" + is + ", it.none)"
		}
		fmt.Fprintf(&b, "      %s: %s\n", name, quoted(is))
	}
	m.text = b.String()
	return m
}

// run returns what becomes of a record: a line for each part.
func (m *naive) run(msg any) (lines []string) {
	s := scope{"msg": msg, "it": msg}
	// Where the filter does not read the element, it is about the whole record.
	perElement := m.when != nil && (strings.Contains(m.when.text, "it.") || strings.Contains(m.when.text, "it["))
	if m.when != nil && (m.each == nil || !perElement) {
		if line := verdict(m.when.eval(s)); line != "" {
			return []string{line}
		}
	}
	if m.each == nil {
		return []string{m.event(s)}
	}
	list := m.each.eval(s)
	l, ok := list.([]any)
	switch {
	case list == nil:
		return []string{"undecided"}
	case !ok:
		return []string{"refused"}
	}
	for _, e := range l {
		in := scope{"msg": msg, "it": e}
		if perElement {
			if line := verdict(m.when.eval(in)); line != "" {
				lines = append(lines, line)
				continue
			}
		}
		lines = append(lines, m.event(in))
	}
	return lines
}

// verdict is what becomes of what a filter says this of, "" for an event.
func verdict(v any) string {
	switch v {
	case true:
		return ""
	case false:
		return "filtered"
	}
	return "undecided"
}

// event writes an event down.
func (m *naive) event(s scope) string {
	o := Object{"source": "/m"}
	for i, name := range m.names {
		if v := m.fields[i].eval(s); v != nil {
			o[name] = v
		}
	}
	return text(o)
}

// text writes a value down: numbers by what they are, objects in order of their keys.
func text(v any) string {
	switch v := v.(type) {
	case num:
		return v.is.RatString()
	case []any:
		l := []string{}
		for _, e := range v {
			l = append(l, text(e))
		}
		return "[" + strings.Join(l, " ") + "]"
	case Object:
		l := []string{}
		for k, e := range v {
			l = append(l, k+": "+text(e))
		}
		slices.Sort(l)
		return "{" + strings.Join(l, ", ") + "}"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

// randomObject makes an object in which anything may be missing, null or of another kind.
func randomObject(r *rand.Rand, depth int) Object {
	o := Object{}
	for _, name := range scalars {
		if chance(r, 75) {
			o[name] = randomScalar(r)
		}
	}
	for _, name := range arrays {
		if depth > 0 && chance(r, 80) {
			l := []any{}
			for range r.IntN(4) {
				if chance(r, 60) {
					l = append(l, randomObject(r, depth-1))
				} else {
					l = append(l, randomScalar(r))
				}
			}
			o[name] = l
		}
		if chance(r, 5) {
			o[name] = randomScalar(r)
		}
	}
	for _, name := range []string{"o", "o p"} {
		if depth > 0 && chance(r, 60) {
			o[name] = randomObject(r, depth-1)
		}
	}
	return o
}

func randomScalar(r *rand.Rand) any {
	return pick[any](r, nil, true, false, json.Number("0"), json.Number("1"), json.Number("2"), json.Number("2.5"), json.Number("-4"), json.Number("1.0"),
		"", "a", "b", "ab", "AB", "a:b", "1", "ß", Object{}, Object{"a": 1})
}

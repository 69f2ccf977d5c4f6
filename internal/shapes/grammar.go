package shapes

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/plan"
)

// grammar makes mappings, and their text.
type grammar struct {
	r      *rand.Rand
	spec   *plan.Spec
	known  vocabulary
	joined bool
	text   strings.Builder
	serial int
	lines  map[*mapping][]string // of its text
	head   map[*topic]string     // the line that each of its mappings has
}

// name returns the name of a member that nothing else has.
func (g *grammar) name() string {
	g.serial++
	return pick(g.r, "f", "g", "field") + strconv.Itoa(g.serial)
}

// topic makes a topic that carries nothing yet.
func (g *grammar) topic(name string) *topic {
	t := &topic{name: name, mappings: map[plan.Stream]*mapping{}}
	if g.lines == nil {
		g.lines, g.head = map[*mapping][]string{}, map[*topic]string{}
	}
	each := ""
	switch g.r.IntN(6) {
	case 0, 1: // one event
		t.onTime, t.byType = chance(g.r, 20), chance(g.r, 30)
		return t
	case 2:
		each, t.each = "msg.rows", func(l []Object) any { return Object{"rows": l, "n": len(l)} }
	case 3:
		each, t.each = "msg", func(l []Object) any { return l }
	case 4:
		each, t.each = `msg.body["the rows"]`, func(l []Object) any { return Object{"body": Object{"the rows": l}} }
	default:
		each, t.each = "json(msg.payload).rows.filter(x, has(x.drop) == false)", func(l []Object) any {
			b, err := json.Marshal(Object{"rows": append([]Object{{"drop": 1}}, l...)})
			if err != nil {
				panic(err)
			}
			return Object{"payload": string(b)}
		}
	}
	g.head[t] = "each: " + quoted(each)
	return t
}

// root is what the expressions of a topic read.
func (t *topic) root() string {
	if t.each != nil {
		return "it"
	}
	return "msg"
}

// carry makes a topic carry a stream.
func (g *grammar) carry(t *topic, stream plan.Stream) {
	m := &mapping{name: fmt.Sprintf("m_%s_%s", t.name, g.spec.Streams().Name(stream))}
	t.mappings[stream] = m
	if stream == plan.Profile {
		m.clears = chance(g.r, 50)
	}
	names := map[string]bool{}
	for name := range g.known[stream] {
		if !strings.Contains(name, ".") {
			names[name] = true
		}
	}
	m.ownSource = chance(g.r, 20)
	if delete(names, "source"); !m.ownSource {
		names["source"] = true
	}
	for _, n := range []string{"event_id", "customer_id", "occurred_at"} {
		names[n] = true
	}
	add := func(name string, w way) {
		m.fields = append(m.fields, field{name, w.put})
		g.lines[m] = append(g.lines[m], "      "+name+": "+quoted(w.text))
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		add(name, g.field(t, m, stream, name))
	}
}

// field makes a way to write a field.
func (g *grammar) field(t *topic, m *mapping, stream plan.Stream, name string) way {
	known := g.known[stream][name]
	w := writer{g, t.root(), m.clears, stream == plan.Profile}
	switch {
	case name == "event_id" && g.joined:
		return w.joined()
	case name == "occurred_at" && t.onTime:
		return way{"record.time", func(Object, any) {}}
	case name == "customer_id" && t.each == nil && t.key != nil:
		return way{"orElse(" + t.keyText + ", msg.nobody)", func(Object, any) {}}
	case name == "customer_id" && t.each == nil && len(t.mappings) == 1 && chance(g.r, 40):
		t.keyText, t.key = "key", func(customer string) string { return customer }
		if chance(g.r, 40) {
			t.keyText, t.key = "json(key).id", func(customer string) string { return fmt.Sprintf(`{"id":%q}`, customer) }
		}
		return way{t.keyText, func(Object, any) {}}
	case name == "event_id" || name == "customer_id" || name == "occurred_at" || name == "source":
		w.clears, w.empty = false, false
		return w.of(known)
	case name == "attributes" || name == "traits":
		return w.object(g.known[stream], name)
	}
	return w.of(known)
}

// write writes the mappings of a topic.
func (g *grammar) write(t *topic) {
	whens := g.whens(t)
	for _, stream := range slices.Sorted(maps.Keys(t.mappings)) {
		m := t.mappings[stream]
		fmt.Fprintf(&g.text, "  %s:\n    stream: %s\n", m.name, g.spec.Streams().Name(stream))
		if head := g.head[t]; head != "" {
			fmt.Fprintf(&g.text, "    %s\n", head)
		}
		if when := whens[stream]; when != "" {
			fmt.Fprintf(&g.text, "    when: %s\n", quoted(when))
		}
		if m.clears {
			g.text.WriteString("    nulls: clear\n")
		}
		fmt.Fprintf(&g.text, "    map:\n%s\n", strings.Join(g.lines[m], "\n"))
	}
}

// whens makes the filters of a topic's mappings: one at most is true of an element.
func (g *grammar) whens(t *topic) map[plan.Stream]string {
	l := map[plan.Stream]string{}
	if len(t.mappings) == 1 && chance(g.r, 50) {
		return l
	}
	root := t.root()
	for stream, m := range t.mappings {
		name := g.spec.Streams().Name(stream)
		put := func(member string, v any) func(Object) { return func(el Object) { el[member] = v } }
		if t.byType {
			l[stream], m.choose = fmt.Sprintf(`headers["type"] == %q`, name), func(Object) {}
			continue
		}
		switch g.r.IntN(8) {
		case 0:
			l[stream], m.choose = fmt.Sprintf("%s.type == %q", root, name), put("type", name)
		case 1:
			l[stream], m.choose = fmt.Sprintf("%s.type in [%q, %q]", root, name, name+"2"), put("type", name+pick(g.r, "", "2"))
		case 2:
			l[stream], m.choose = fmt.Sprintf("has(%s.%s_body)", root, name), put(name+"_body", Object{})
		case 3:
			l[stream], m.choose = fmt.Sprintf("%s.type.startsWith(%q)", root, name+"."), put("type", name+".x")
		case 4:
			l[stream] = fmt.Sprintf("%s.kind.of == %q && %s.v != 2", root, name, root)
			m.choose = func(el Object) { el["kind"], el["v"] = Object{"of": name}, pick(g.r, 1, 3) }
		case 5: // what decides is enough: the other side may be unknown
			l[stream] = fmt.Sprintf("%s.type == %q || %s.is_%s == true", root, name, root, name)
			m.choose = func(el Object) {
				if chance(g.r, 50) {
					el["type"] = name
				} else {
					el["is_"+name] = true
				}
			}
		case 6:
			l[stream], m.choose = fmt.Sprintf("!(%s.type != %q)", root, name), put("type", name)
		case 7:
			l[stream] = fmt.Sprintf(`%s.tags.exists(x, x == %q)`, root, name)
			m.choose = func(el Object) { el["tags"] = []any{1, name, nil} }
		}
	}
	return l
}

// quoted writes a text for YAML.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

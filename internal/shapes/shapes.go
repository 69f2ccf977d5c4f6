// Package shapes writes events as producers do who have records of their own: a random
// mapping, and with it what turns an event into a record of which the mapping makes the
// event again.
//
// The one rule it keeps: it knows the events that it began with, and nothing of how
// mappings are run. What an expression means is written down once more, by the value that
// goes into the record.
package shapes

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/sim"
)

// Object is a JSON object.
type Object = map[string]any

// Written is a record of a topic, and what it is.
type Written struct {
	Topic   string
	Key     string
	Type    string // the header of that name, "" if it has none
	Value   []byte
	Time    sim.Millis
	Events  []sim.Record // in order of time
	Refused int          // elements that are no events and cannot be read
}

// Shape is how the producers of one history write.
type Shape struct {
	// Text is the part of a rule file that has the mappings.
	Text string
	// Topics are the names of the mappings of each topic.
	Topics map[string][]string

	r      *rand.Rand
	spec   *plan.Spec
	topics []*topic
	joined bool // event ids have two parts
}

// topic is an input.
type topic struct {
	name     string
	each     func(list []Object) any // makes the value of elements; nil: a record is one event
	mappings map[plan.Stream]*mapping
	onTime   bool // occurred_at is the record's own time
	byType   bool // the header says of which stream the record is
	// key makes the record's key, and keyText finds the customer in it; nil: the key is
	// nobody's.
	key     func(customer string) string
	keyText string
}

// mapping says how events of a stream are written to a topic.
type mapping struct {
	name      string
	fields    []field
	choose    func(el Object) // makes when true; nil: there is none
	clears    bool            // null clears
	ownSource bool            // the source is not written
}

// field is a field of the event: put writes its value, nil for none, such that the
// expression gives it.
type field struct {
	name string
	put  func(el Object, v any)
}

// Random makes a shape for the events of a history.
func Random(r *rand.Rand, s *plan.Spec, events []sim.Record) *Shape {
	sh := &Shape{r: r, spec: s, Topics: map[string][]string{}, joined: chance(r, 50)}
	known := vocabulary{}
	for i := range events {
		known.add(events[i].Stream, Canonical(s, &events[i]))
	}
	g := &grammar{r: r, spec: s, known: known, joined: sh.joined}
	g.text.WriteString("mappings:\n")
	for i := range 1 + r.IntN(3) {
		sh.topics = append(sh.topics, g.topic(fmt.Sprintf("t%d", i)))
	}
	for stream := range s.Streams().All() { // each is in some topic, and may be in several
		carried := slices.ContainsFunc(sh.topics, func(t *topic) bool { return t.mappings[stream] != nil })
		for _, t := range sh.topics {
			if !carried || chance(r, 40) {
				g.carry(t, stream)
				carried = true
			}
		}
	}
	for _, t := range sh.topics {
		g.write(t)
		for _, m := range t.mappings {
			sh.Topics[t.name] = append(sh.Topics[t.name], m.name)
		}
	}
	sh.Text = g.text.String()
	return sh
}

// Write makes records of the calls that fold an event: one call, or the first ones of calls, which must be
// such, as far as one record can hold them. It returns how many that are.
func (sh *Shape) Write(calls []sim.Call) (w Written, n int) {
	first := &calls[0].Record
	var carriers []*topic
	for _, t := range sh.topics {
		if t.mappings[first.Stream] != nil {
			carriers = append(carriers, t)
		}
	}
	t := carriers[sh.r.IntN(len(carriers))]
	n = 1
	for t.each != nil && n < len(calls) && n < 6 && t.mappings[calls[n].Record.Stream] != nil && chance(sh.r, 70) {
		n++
	}
	for i := range calls[:n] {
		w.Events = append(w.Events, sh.identity(calls[i].Record, t))
	}
	slices.SortStableFunc(w.Events, func(a, b sim.Record) int { return int(a.At - b.At) })
	last := &w.Events[n-1]
	w.Topic, w.Time = t.name, last.At+last.Lag
	if t.onTime {
		w.Time = last.At
	}
	for i := range w.Events {
		w.Events[i].Lag = max(0, w.Time-w.Events[i].At)
	}
	sh.fill(t, &w)
	return w, n
}

// identity returns a record with the id and source that it has in a topic.
func (sh *Shape) identity(r sim.Record, t *topic) sim.Record {
	if sh.joined {
		a, b := halves(r.ID)
		r.ID = strings.ReplaceAll(a, ":", "::") + ":" + b
	}
	if m := t.mappings[r.Stream]; m.ownSource {
		r.Source = "/" + m.name
	}
	return r
}

// halves are the parts of a joined id; the first has a colon.
func halves(id string) (a, b string) { return id[:1] + ":x", id[1:] }

// fill writes the record.
func (sh *Shape) fill(t *topic, w *Written) {
	var list []Object
	for i := range w.Events {
		list = append(list, sh.element(t, &w.Events[i]))
	}
	var value any = list[0]
	if t.each != nil {
		list = sh.strangers(t, list, w)
		sh.r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		value = t.each(list)
	}
	b, err := json.Marshal(value)
	if err != nil {
		panic(err) // of what is written here
	}
	w.Value, w.Key = b, "nobody"
	if t.key != nil {
		w.Key = t.key(w.Events[0].Customer)
	}
	if t.byType {
		w.Type = sh.spec.Streams().Name(w.Events[0].Stream)
	}
}

// element writes one event.
func (sh *Shape) element(t *topic, r *sim.Record) Object {
	m, el := t.mappings[r.Stream], Object{}
	values := Canonical(sh.spec, r)
	if sh.joined {
		a, b, _ := strings.Cut(strings.ReplaceAll(r.ID, "::", "\x00"), ":")
		values["event_id"] = [2]string{strings.ReplaceAll(a, "\x00", ":"), b}
	}
	if m.choose != nil {
		m.choose(el)
	}
	for _, f := range m.fields {
		f.put(el, values[f.name])
	}
	return el
}

// strangers adds elements that are no events: such as no filter wants, of which one is
// unknown, and, where there is no filter, such as nobody can read.
func (sh *Shape) strangers(t *topic, list []Object, w *Written) []Object {
	for range sh.r.IntN(3) {
		el := Object{"type": "stranger", "v": 1, "kind": Object{"of": "stranger"}}
		if chance(sh.r, 50) {
			el = Object{}
		}
		list = append(list, el)
		for _, m := range t.mappings {
			if m.choose == nil {
				w.Refused++
			}
		}
	}
	return list
}

// Canonical returns an event as JSON with the names of the schemas: texts, truths,
// numbers, lists and objects.
func Canonical(s *plan.Spec, r *sim.Record) Object {
	o := Object{"event_id": r.ID, "customer_id": r.Customer, "occurred_at": r.At}
	if r.Source != "/unknown" {
		o["source"] = r.Source
	}
	for path, v := range r.Fields {
		if group, name, ok := strings.Cut(path, "."); ok {
			if o[group] == nil {
				o[group] = Object{}
			}
			o[group].(Object)[name] = plainOf(s, v)
			continue
		}
		o[path] = plainOf(s, v)
	}
	return o
}

// plainOf returns a value as JSON has it.
func plainOf(s *plan.Spec, v expr.Value) any {
	switch v.K {
	case expr.Bool:
		return v.N != 0
	case expr.Int:
		return json.Number(fmt.Sprint(v.N))
	case expr.Decimal:
		return json.Number(expr.FormatDecimal(v.N))
	case expr.Time:
		return sim.Millis(v.N)
	case expr.List:
		l := []any{}
		for _, e := range v.L {
			l = append(l, plainOf(s, e))
		}
		return l
	case expr.Record:
		o := Object{}
		for i, name := range itemFields(s) {
			if v.L[i].Present() {
				o[name] = plainOf(s, v.L[i])
			}
		}
		return o
	}
	return v.String()
}

// itemFields are the names of the fields of an item, in their order.
func itemFields(s *plan.Spec) (names []string) {
	for _, f := range s.Catalog.Fields[plan.Web] {
		if f.Name == "items" {
			for _, part := range f.Type.Elem.Fields {
				names = append(names, part.Name)
			}
		}
	}
	return names
}

// vocabulary is every value that a field of a stream has in a history.
type vocabulary map[plan.Stream]map[string][]any

func (v vocabulary) add(s plan.Stream, event Object) {
	if v[s] == nil {
		v[s] = map[string][]any{}
	}
	for name, value := range event {
		v[s][name] = append(v[s][name], value)
		if o, ok := value.(Object); ok {
			for key, value := range o {
				v[s][name+"."+key] = append(v[s][name+"."+key], value)
			}
		}
	}
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func pick[T any](r *rand.Rand, l ...T) T { return l[r.IntN(len(l))] }

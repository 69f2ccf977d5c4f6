package ruletest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/schemas"
)

// Keys is short for the keys of a mapping.
type Keys = file.Keys

// events reads the events and returns when the last of them is.
func (b *binder) events(k *Keys) engine.Millis {
	latest := b.test.start
	if !k.Has("events") {
		b.log.FailHint(k.At(), "add events: a list of at, stream and fields", "a test has no events")
		return latest
	}
	for i, n := range b.form.List(k.Node("events"), "events") {
		ev, ok := b.event(n, i+1)
		if !ok {
			continue
		}
		b.test.events = append(b.test.events, ev)
		latest = max(latest, ev.At)
	}
	return latest
}

// Keys of an event that are no fields of its stream, and the fields that they stand for.
var eventKeys = []string{"at", "customer", "stream"}

// instead is what to write for a field that an event of a test cannot have.
var instead = map[string]string{"customer_id": "customer", "occurred_at": "at"}

func (b *binder) event(n *yaml.Node, number int) (ev engine.Event, ok bool) {
	k, ok := b.form.Keys(n, "an event")
	if !ok {
		return ev, false
	}
	errors := b.log.Errors()
	at := k.Required("at", "add at: when it happens, as the time since the start: 0s, 1h30m, 90d")
	name := k.Required("stream", "add stream: one of "+strings.Join(b.rules.streams().Names(), ", "))
	if at == nil || name == nil {
		for _, p := range k.Order() {
			if hint := file.Meant(p.Text, eventKeys); hint != "" && !slices.Contains(eventKeys, p.Text) {
				b.log.FailHint(p, hint, "unknown key %q in an event", p.Text)
			}
		}
		return ev, false
	}
	stream, ok := b.rules.streams().ByName(name.Text)
	if !ok {
		b.log.FailHint(name, file.DidYouMean(name.Text, b.rules.streams().Names()), "there is no stream %q", name.Text)
		return ev, false
	}
	record := map[string]any{
		"stream": name.Text, "event_id": fmt.Sprint("event ", number), "customer_id": someone,
		"occurred_at": b.instant(at).String(),
	}
	if k.Has("anonymous_id") {
		delete(record, "customer_id")
	}
	if p := k.Text("customer"); p != nil {
		record["customer_id"] = p.Text
	}
	b.fields(k, stream, record)
	if b.log.Errors() > errors {
		return ev, false
	}
	return b.read(k, stream, record)
}

// fields puts the fields of an event into its record.
func (b *binder) fields(k *Keys, stream plan.Stream, record map[string]any) {
	name := b.rules.streams().Name(stream)
	var known []string
	for _, f := range b.rules.fields(stream) {
		if instead[f.Name] == "" {
			known = append(known, f.Name)
		}
	}
	for _, p := range k.Order() {
		n := k.Node(p.Text)
		switch {
		case slices.Contains(eventKeys, p.Text) || n == nil:
		case instead[p.Text] != "":
			b.log.FailHint(p, "write "+instead[p.Text], "an event of a test has no %q", p.Text)
		case !slices.Contains(known, p.Text):
			b.log.FailHint(p, b.fieldHint(stream, p.Text, known), "no field %q in stream %s", p.Text, name)
		default:
			record[p.Text] = document(n)
			b.word(p, n, stream)
		}
	}
}

// fieldHint says what was meant by a field that a stream does not have.
func (b *binder) fieldHint(stream plan.Stream, name string, known []string) string {
	own := b.rules.streams().Name(stream) + "."
	if field, ok := strings.CutPrefix(rule.Instead(own+name), own); ok && slices.Contains(known, field) {
		return "write " + field
	}
	if hint := file.Meant(name, append(slices.Clone(known), eventKeys...)); hint != "" {
		return hint
	}
	for _, f := range b.rules.fields(stream) {
		if f.Type.Map {
			return "declare it under fields, or write it as " + f.Name + ": {" + name + ": …}"
		}
	}
	return file.OneOf(known)
}

// word checks a value of a closed list, which the reader would take as unknown.
func (b *binder) word(p *file.Passage, n *yaml.Node, stream plan.Stream) {
	t := b.rules.Engine.Catalog().TypeOf(stream, p.Text)
	if t == nil || len(t.Symbols) == 0 || n.Kind != yaml.ScalarNode || slices.Contains(t.Symbols, n.Value) {
		return
	}
	b.log.FailHint(b.form.At(n), file.DidYouMean(n.Value, t.Symbols), "%s cannot be %q", p.Text, n.Value)
}

// document returns a YAML value as JSON has it.
func document(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		m := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			m[n.Content[i].Value] = document(n.Content[i+1])
		}
		return m
	case yaml.SequenceNode:
		l := make([]any, len(n.Content))
		for i, c := range n.Content {
			l[i] = document(c)
		}
		return l
	default: // a scalar
	}
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
	}
	return n.Value
}

// read makes an event of a record, as a replay does. What the engine would note and
// leave out is an error here: a test means what it says.
func (b *binder) read(k *Keys, stream plan.Stream, record map[string]any) (ev engine.Event, ok bool) {
	line, err := json.Marshal(record)
	if err != nil {
		b.log.Fail(k.At(), "the event cannot be written as JSON: %v", err)
		return ev, false
	}
	errors := b.log.Errors()
	noted := func(n *schemas.Note) {
		switch n.Kind {
		case schemas.NoteRefused, schemas.NoteLeftOut, schemas.NoteUnknown, schemas.NoteNoRate:
			b.log.Fail(b.placeOf(k, n.Name, n.Field), "%s", noteText(n))
		default: // nothing is lost
		}
	}
	if err := b.rules.read(line, &ev, noted); err != nil {
		b.log.Fail(k.At(), "not an event of stream %s: %v", b.rules.streams().Name(stream), err)
		return ev, false
	}
	return ev, b.log.Errors() == errors
}

func noteText(n *schemas.Note) string {
	switch n.Kind {
	case schemas.NoteNoRate:
		return "there is no rate of the currency " + n.Field
	case schemas.NoteLeftOut:
		return "an item would be left out: " + n.Detail
	default:
		return n.Field + " cannot be read: " + n.Detail
	}
}

// placeOf returns where a field of an event is, as exactly as that is known.
func (b *binder) placeOf(k *Keys, names ...string) file.Place {
	for _, name := range names {
		top, _, _ := strings.Cut(name, ".")
		if n := k.Node(top); n != nil {
			return b.form.At(n)
		}
	}
	return k.At()
}

// fields are the fields of a stream.
func (r *Rules) fields(s plan.Stream) []expr.Field { return r.Engine.Catalog().Fields[s] }

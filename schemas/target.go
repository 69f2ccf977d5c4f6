package schemas

import (
	"fmt"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// The head of every event: fields that are read whatever the rules are. They have
// the places after the slots of the layout, see frame.
const (
	headEventID = iota
	headCustomer
	headAnonymous
	headAt
	headSource
	headZone // time_zone, which is checked; only of profiles
	numHead
)

var headNames = [numHead]string{"event_id", "customer_id", "anonymous_id", "occurred_at", "source", "time_zone"}

// idNames are the fields that name customers, events and sources: they are bounded
// in length and hold no 0x00.
var idNames = map[string]bool{"event_id": true, "customer_id": true, "anonymous_id": true,
	"source": true, "merge_from": true}

// field is a field of one of our schemas, with the place that its value goes to.
type field struct {
	name     string // in its record or map
	path     string // in the event, for errors
	kind     expr.Kind
	symbols  [][]byte // of an enum
	values   []cell   // the same as values
	required bool     // neither optional nor with a default
	id       bool
	int32    bool
	loose    bool      // numbers and truth values are taken as text
	dst      int       // index of the place; -1: nobody reads it
	keys     []field   // of a map: the keys that rules read
	elem     *fieldSet // of a list of records
}

// used reports whether anything in the field is read.
func (f *field) used() bool { return f.dst >= 0 || len(f.keys) > 0 }

// fieldSet is the fields of a record.
type fieldSet struct {
	fields   []field
	byName   map[string]int
	template []cell   // the defaults, by place
	needed   []*field // those that are read and required
}

// find returns the field of that name, nil if there is none.
func (s *fieldSet) find(name []byte) *field {
	if i, ok := s.byName[string(name)]; ok {
		return &s.fields[i]
	}
	return nil
}

// findNext is find for fields that mostly come in the order of the schema: next is
// the one to try first.
func (s *fieldSet) findNext(name []byte, next *int) *field {
	i, ok := *next, true
	if i == len(s.fields) || s.fields[i].name != string(name) {
		if i, ok = s.byName[string(name)]; !ok {
			return nil
		}
	}
	*next = i + 1
	return &s.fields[i]
}

// target is what a stream's records are read into for one rule set.
type target struct {
	fieldSet
	stream plan.Stream
	name   string // full name of the stream's schema
	extra  *field // the map that takes fields the schema does not have; nil: none
	slots  int    // of the layout
	head   [numHead]*field
	copies []copyPair
	lists  []*field // those that are read and lists
	texts  []string // those known beforehand: symbols and defaults
}

// copyPair says that a slot shows the same field as another place.
type copyPair struct{ slot, of int }

// newTarget returns the target of a stream. layout may be nil: nothing but the
// head is read.
func newTarget(stream plan.Stream, layout *plan.Layout) (*target, error) {
	rec := mustSchema(inputNames[stream])
	t := &target{stream: stream, name: rec.name}
	t.fieldSet = t.newFieldSet(rec, "")
	if layout != nil {
		t.slots = len(layout.Paths)
	}
	t.template = make([]cell, t.slots+numHead)
	for h, name := range headNames {
		if i, ok := t.byName[name]; ok {
			t.head[h] = &t.fields[i]
			t.place(rec, i, t.slots+h)
		}
	}
	for slot := range t.slots {
		if err := t.read(rec, layout.Paths[slot], slot); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{"attributes", "traits"} {
		if f := t.find([]byte(name)); f != nil && len(f.keys) > 0 {
			t.extra = f
		}
	}
	t.needs()
	for i := range t.fields {
		if f := &t.fields[i]; f.kind == expr.List && f.dst >= 0 {
			t.lists = append(t.lists, f)
		}
	}
	return t, nil
}

// read gives the field at path the place slot.
func (t *target) read(rec *schema, path string, slot int) error {
	name, key, isKey := strings.Cut(path, ".")
	i, ok := t.byName[name]
	isMap := ok && rec.fields[i].typ.wire == wireMap
	if !ok || isMap != isKey || key == "" && isKey {
		return fmt.Errorf("stream %v has no field %q that a rule could read", t.stream, path)
	}
	f := &t.fields[i]
	switch {
	case isMap:
		f.keys = append(f.keys, field{name: key, path: path, kind: expr.String, loose: true, dst: slot})
	case f.dst >= 0:
		t.copies = append(t.copies, copyPair{slot, f.dst})
	default:
		t.place(rec, i, slot)
	}
	return nil
}

// place gives field i the place dst, with its default in the template.
func (t *target) place(rec *schema, i, dst int) {
	t.fields[i].dst = dst
	t.template[dst] = t.constant(defaultOf(&rec.fields[i]))
}

// newFieldSet returns the fields of a record, none of them read.
func (t *target) newFieldSet(rec *schema, prefix string) fieldSet {
	s := fieldSet{byName: make(map[string]int, len(rec.fields))}
	for i, sf := range rec.fields {
		typ := sf.typ
		if typ.wire == wireUnion {
			typ = typ.union[1]
		}
		f := field{name: sf.name, path: prefix + sf.name, dst: -1, id: idNames[sf.name], int32: typ.wire == wireInt}
		f.required = sf.typ.wire != wireUnion && !sf.hasDef
		if typ.wire == wireArray {
			f.kind = expr.List
			elem := t.newFieldSet(typ.items, f.path+".")
			elem.template = make([]cell, len(elem.fields))
			for j := range elem.fields {
				elem.fields[j].dst = j
				elem.template[j] = t.constant(defaultOf(&typ.items.fields[j]))
			}
			elem.needs()
			f.elem = &elem
		} else {
			f.kind = kinds[kindKey{typ.wire, typ.logical}]
		}
		for _, sym := range typ.symbols {
			f.symbols = append(f.symbols, []byte(sym))
			f.values = append(f.values, t.constant(expr.StringValue(sym)))
		}
		s.fields = append(s.fields, f)
		s.byName[sf.name] = i
	}
	return s
}

// constant returns the cell of a value that is known beforehand.
func (t *target) constant(v expr.Value) cell {
	if v.K != expr.String || v.S == "" {
		return cellOf(v)
	}
	i := slices.Index(t.texts, v.S)
	if i < 0 {
		i = len(t.texts)
		t.texts = append(t.texts, v.S)
	}
	return cell{expr.String, ^int64(i)}
}

// needs notes which fields a record must have, once it is known which are read.
func (s *fieldSet) needs() {
	for i := range s.fields {
		if f := &s.fields[i]; f.required && f.dst >= 0 {
			s.needed = append(s.needed, f)
		}
	}
}

// defaultOf returns the Avro default of a field as a value; Absent for null, for
// none, and for a map.
func defaultOf(f *schemaField) expr.Value {
	switch d := f.def.(type) {
	case string:
		return expr.StringValue(d)
	case bool:
		return expr.BoolValue(d)
	case float64:
		return expr.IntValue(int64(d))
	case []any:
		return expr.ListValue(nil)
	}
	return expr.Value{}
}

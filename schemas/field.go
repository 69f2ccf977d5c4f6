package schemas

import (
	"slices"

	"github.com/segmill/segmill/engine/expr"
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
	number int    // which of the reader's targets it is
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

// missing returns an error if a required field of the record has no value.
func (s *fieldSet) missing(vals []cell) *BadInput {
	for _, fd := range s.needed {
		if !vals[fd.dst].Present() {
			return bad(CauseMissing, fd.path, "not in the record, and %s", fd.why())
		}
	}
	return nil
}

func (fd *field) why() string {
	if fd.name == "event_id" || fd.name == "occurred_at" {
		return "every event needs it"
	}
	return "a rule reads it"
}

// key returns the field for a key of a map, nil if nobody wants it.
func (f *field) key(name []byte) *field {
	for i := range f.keys {
		if f.keys[i].name == string(name) {
			return &f.keys[i]
		}
	}
	return nil
}

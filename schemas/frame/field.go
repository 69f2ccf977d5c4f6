package frame

import (
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
)

// The head of every event: fields that are read whatever the rules are. They have
// the places after the slots of the layout, see [Frame].
const (
	HeadEventID = iota
	HeadCustomer
	HeadAnonymous
	HeadAt
	HeadSource
	HeadZone // time_zone, which is checked; only of profiles
	NumHead
)

// HeadNames are the names of the fields of the head.
var HeadNames = [NumHead]string{"event_id", "customer_id", "anonymous_id", "occurred_at", "source", "time_zone"}

// IDNames are the fields that name customers, events and sources: they are bounded
// in length and hold no 0x00.
var IDNames = map[string]bool{
	"event_id": true, "customer_id": true, "anonymous_id": true,
	"source": true, "merge_from": true,
}

// Field is a field of one of our schemas, with the place that its value goes to.
type Field struct {
	Name     string // in its record or map
	Path     string // in the event, for errors
	Kind     expr.Kind
	Symbols  [][]byte  // of an enum
	Values   []Cell    // the same as values
	Required bool      // neither optional nor with a default
	IsID     bool      // one of IDNames
	Int32    bool      // whole numbers of 32 bits only
	Loose    bool      // numbers and truth values are taken as text
	Place    int       // index of the place; -1: nobody reads it
	Keys     []Field   // of a map: the keys that rules read
	Elem     *FieldSet // of a list of records
}

// Used reports whether anything in the field is read.
func (f *Field) Used() bool { return f.Place >= 0 || len(f.Keys) > 0 }

// FieldSet is the fields of a record.
type FieldSet struct {
	Fields   []Field        // in the order of the schema
	ByName   map[string]int // their indexes in Fields
	Template []Cell         // the defaults, by place
	needed   []*Field       // those that are read and required
}

// Find returns the field of that name, nil if there is none.
func (s *FieldSet) Find(name []byte) *Field {
	if i, ok := s.ByName[string(name)]; ok {
		return &s.Fields[i]
	}
	return nil
}

// FindNext is Find for fields that mostly come in the order of the schema: next is
// the one to try first.
func (s *FieldSet) FindNext(name []byte, next *int) *Field {
	i := *next
	if i == len(s.Fields) || s.Fields[i].Name != string(name) {
		var ok bool
		if i, ok = s.ByName[string(name)]; !ok {
			return nil
		}
	}
	*next = i + 1
	return &s.Fields[i]
}

// Target is what a stream's records are read into for one rule set.
type Target struct {
	FieldSet
	Number int             // which of the reader's targets it is
	Name   string          // full name of the stream's schema
	Extra  *Field          // the map that takes fields the schema does not have; nil: none
	Slots  int             // of the layout
	Head   [NumHead]*Field // nil where the stream has no such field
	Copies []CopyPair
	Lists  []*Field // those that are read and lists
	texts  []string // those known beforehand: symbols and defaults
}

// CopyPair says that a slot shows the same field as another place.
type CopyPair struct{ Slot, Of int }

// Constant returns the cell of a value that is known beforehand.
func (t *Target) Constant(v expr.Value) Cell {
	if v.K != expr.String || v.S == "" {
		return cellOf(v)
	}
	i := slices.Index(t.texts, v.S)
	if i < 0 {
		i = len(t.texts)
		t.texts = append(t.texts, v.S)
	}
	return Cell{expr.String, ^int64(i)}
}

// Needs notes which fields a record must have, once it is known which are read.
func (s *FieldSet) Needs() {
	for i := range s.Fields {
		if f := &s.Fields[i]; f.Required && f.Place >= 0 {
			s.needed = append(s.needed, f)
		}
	}
}

// Missing returns an error if a required field of the record has no value.
func (s *FieldSet) Missing(vals []Cell) *bad.Input {
	for _, fd := range s.needed {
		if !vals[fd.Place].Present() {
			return bad.New(bad.Missing, fd.Path, "not in the record, and %s", fd.why())
		}
	}
	return nil
}

func (f *Field) why() string {
	if f.Name == "event_id" || f.Name == "occurred_at" {
		return "every event needs it"
	}
	return "a rule reads it"
}

// Key returns the field for a key of a map, nil if nobody wants it.
func (f *Field) Key(name []byte) *Field {
	for i := range f.Keys {
		if f.Keys[i].Name == string(name) {
			return &f.Keys[i]
		}
	}
	return nil
}

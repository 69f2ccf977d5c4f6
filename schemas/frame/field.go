package frame

import (
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
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
	Name       string // in its record or map
	Path       string // in the event, for errors
	Label      string // what it is counted as
	Kind       expr.Kind
	Symbols    [][]byte  // of an enum
	Values     []Cell    // the same as values
	Words      [][]byte  // of an enum: what else producers write
	WordValues []Cell    // what they mean
	Default    Cell      // what it is in a record that does not have it
	Vital      bool      // no event can be without it, or with a bad one
	IsID       bool      // one of IDNames
	EventID    bool      // the id of the event: an empty one is not the same as none
	Loose      bool      // a key of a free-form map
	Role       Role      // in an item
	Place      int       // index of the place; -1: nobody reads it
	Keys       []Field   // of a map: the keys that rules read
	Typed      []Field   // of a map: the keys that declared fields are taken from
	Elem       *FieldSet // of a list of records
	Item       *Field    // of a list of texts
	Declared   bool      // a rule file declares it
	Plain      bool      // a decimal that is no amount of money
}

// Used reports whether anything in the field is read.
func (f *Field) Used() bool { return f.Place >= 0 || f.LooksInto() }

// LooksInto reports whether keys of a map are read.
func (f *Field) LooksInto() bool { return len(f.Keys)+len(f.Typed) > 0 }

// TypedKey returns what a declared field is read into from a key of a map, nil if none is
// taken from it.
func (f *Field) TypedKey(name []byte) *Field {
	for i := range f.Typed {
		if f.Typed[i].Name == string(name) {
			return &f.Typed[i]
		}
	}
	return nil
}

// FieldSet is the fields of a record.
type FieldSet struct {
	Fields   []Field        // in the order of the schema
	ByName   map[string]int // their indexes in Fields
	Template []Cell         // the defaults, by place
	Shown    int            // of an item: how many of the fields are the schema's
	Item     *ItemPlaces    // of an item
}

// Find returns the field of that name, nil if there is none.
func (s *FieldSet) Find(name []byte) *Field {
	if i, ok := s.ByName[string(name)]; ok {
		return &s.Fields[i]
	}
	return nil
}

// Order is the order of a record's fields in the records before: for the beginning, and
// behind for each field, the field that came next. Mostly it comes next again.
type Order []int

// NewOrder returns the order of the schema.
func (s *FieldSet) NewOrder() Order {
	o := make(Order, len(s.Fields)+1)
	for i := range s.Fields {
		o[i] = i
	}
	return o
}

// FindNext is Find for the fields of a record one after the other: at is 0 before the
// first, and is moved on.
func (s *FieldSet) FindNext(name []byte, o Order, at *int) *Field {
	i := o[*at]
	if s.Fields[i].Name != string(name) {
		var ok bool
		if i, ok = s.ByName[string(name)]; !ok {
			return nil
		}
		o[*at] = i
	}
	*at = i + 1
	return &s.Fields[i]
}

// Target is what a stream's records are read into for one rule set.
type Target struct {
	FieldSet
	Number int             // which of the reader's targets it is
	Stream int             // which stream it is of
	Name   string          // full name of the stream's schema
	Extra  *Field          // the map that takes fields the schema does not have; nil: none
	Slots  int             // of the layout
	Head   [NumHead]*Field // nil where the stream has no such field
	Copies []CopyPair
	// Otherwise are slots of declared fields that are copied from another place if the
	// event has no value in them.
	Otherwise []CopyPair
	Lists     []*Field // those that rules read and that are lists
	texts     []string // those known beforehand: symbols and defaults

	Items      *Field  // the list of items, nil if it is not read
	Own        []Field // the fields of the only item of an event that has no items
	Attributes bool    // the fields are attributes, which an empty text clears
	IDs        []int   // the places of ids
	Money      *Money  // nil: neither an amount nor a currency is read
	Signs      *Signs  // nil: no event of the stream takes anything back
	Revenue    Revenue // of orders
	Derives    bool    // the revenue is derived where there is none
	Careful    *Target // the twin of an order's target that derives; nil: there is no use for one
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

// isOwn reports whether a field is one of the event's own product.
func (t *Target) isOwn(fd *Field) bool { return len(t.Own) > 0 && fd.Place >= t.Own[0].Place }

// OwnField returns the field of an event's own product of that name, nil if there is
// none. all includes the names that mean something else of an event as such.
func (t *Target) OwnField(name []byte, all bool) *Field {
	for i := range t.Own {
		if f := &t.Own[i]; f.Name == string(name) && (all || f.Role != FirstID && !t.means(name)) {
			return f
		}
	}
	return nil
}

// means reports whether a name is that of a field of the schema.
func (t *Target) means(name []byte) bool {
	f := t.Find(name)
	return f != nil && !f.Declared
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

// HasBelow reports whether a key of a map that somebody wants is below the path, as
// address.city is below address.
func (f *Field) HasBelow(path string) bool {
	for i := range f.Keys {
		if k := f.Keys[i].Name; len(k) > len(path) && k[len(path)] == '.' && k[:len(path)] == path {
			return true
		}
	}
	return false
}

// Reads reports whether somebody wants the key of a map, or one below it.
func (f *Field) Reads(path string) bool { return f.Key([]byte(path)) != nil || f.HasBelow(path) }

// Below returns the names that an object of a map has to have for a key that somebody
// wants, where the object is at the path, "" for the map itself: of address.geo.city
// below address, they are geo.city and geo.
func (f *Field) Below(path string) (names []string) {
	if path == "" {
		for i := range f.Typed {
			names = append(names, f.Typed[i].Name)
		}
	}
	for i := range f.Keys {
		rest := f.Keys[i].Name
		if path != "" {
			if !f.HasBelow(path) || !strings.HasPrefix(rest, path+".") {
				continue
			}
			rest = rest[len(path)+1:]
		}
		for at := len(rest); at >= 0; at = strings.LastIndexByte(rest[:at], '.') {
			if !slices.Contains(names, rest[:at]) {
				names = append(names, rest[:at])
			}
		}
	}
	return names
}

package plan

import "github.com/segmill/segmill/engine/expr"

// Catalog lists the streams and the fields of each, as the schemas define them. The
// rule compiler checks rules against it.
type Catalog struct {
	Streams *Streams
	Fields  [][]expr.Field // by stream
}

// Layout says which fields of one stream a rule set reads, and in which slot of
// Event.Fields each is put: the path at index i goes to slot i. A path is a
// field name ("revenue", "items") or, for a map, field and key ("attributes.plan").
// Paths are sorted.
type Layout struct {
	Stream Stream
	Paths  []string
	// Cart is where a cart finds what it reads of an event, nil if no cart reads
	// the stream.
	Cart *CartSlots
}

// CartSlots are the places of what a cart reads, compiled from the names of the
// fields, so that a schema may gain fields and have them in any order. A place is -1 if
// the stream's schema has no such field.
type CartSlots struct {
	ID                    int // slot of the cart's id in Event.Fields
	Name, Items, Currency int // slots of what changes a cart; -1: the stream is that of purchases
	// Places in a record of the list of items.
	Product, Variant, SKU, Quantity, Amount, Price int
	Size                                           int // how many fields such a record has
}

// Slot returns the slot of a path, or -1.
func (l *Layout) Slot(path string) int {
	for i, p := range l.Paths {
		if p == path {
			return i
		}
	}
	return -1
}

package plan

import (
	"fmt"
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// The web events that change a cart.
const (
	CartAdded   = "product_added"
	CartRemoved = "product_removed"
	CartUpdated = "cart_updated" // says what the whole cart is
)

// The fields that a cart reads of the events that change it.
const (
	cartName     = "name"
	cartID       = "cart_id"
	cartItems    = "items"
	cartCurrency = "currency"
)

// cartText is what carts are stored under. It is made of what they read at first.
const cartText = `cart|web[name == "product_added" || name == "product_removed"][name == "product_removed"]|purchase[kind == "completed"][]|`

// Cart is the customer's carts, as far as a trigger that waits so long after their last
// change has to know them: what was added, removed and bought.
func Cart(after expr.Millis) Fact {
	const day = 86_400_000
	names := []expr.Value{expr.StringValue(CartUpdated), expr.StringValue(CartAdded), expr.StringValue(CartRemoved)}
	change := &expr.Node{Op: expr.OpIn, Type: expr.Bool, Args: []*expr.Node{
		{Op: expr.OpField, Type: expr.String, Path: cartName},
		{Op: expr.OpConst, Type: expr.List, Const: expr.ListValue(names)},
	}}
	return Fact{Family: aggregate.FamCart, Reach: max(aggregate.CartReach, after+day), Text: cartText, Sources: []Source{
		{Stream: Web, Cond: change},
		{Stream: Purchase, Cond: FieldIs("kind", "completed")},
	}}
}

// FieldIs is the condition that a field of an event equals a text.
func FieldIs(path, text string) *expr.Node {
	return &expr.Node{Op: expr.OpEq, Type: expr.Bool, Args: []*expr.Node{
		{Op: expr.OpField, Type: expr.String, Path: path},
		{Op: expr.OpConst, Type: expr.String, Const: expr.StringValue(text)},
	}}
}

// cartPaths enters the fields that a cart reads, after checking that there is a schema
// that has what it cannot do without.
func (c *compiler) cartPaths(s *Summary) error {
	if c.Spec.Catalog == nil {
		return fmt.Errorf("the rules have a cart, and come without the schema of its line items")
	}
	for _, src := range s.sources {
		st := src.Stream
		c.carts[st] = true
		if c.Spec.Catalog.TypeOf(st, cartID) != nil {
			c.paths[st][cartID] = true
		}
		if st == Purchase {
			continue
		}
		c.paths[st][cartItems], c.paths[st][cartCurrency] = true, true
		t := c.Spec.Catalog.TypeOf(st, cartItems)
		if t == nil || t.Kind != expr.List || t.Elem == nil || t.Elem.Kind != expr.Record {
			return fmt.Errorf("a cart needs %s.%s, a list of records, which the schema does not have", st, cartItems)
		}
		for _, f := range lineParts(&CartSlots{}) {
			if f.needed && f.place(t.Elem.Fields) < 0 {
				return fmt.Errorf("a cart needs the field %q in the records of %s.%s, which the schema does not have", f.name, st, cartItems)
			}
		}
	}
	return nil
}

// linePart is a field of a line item that a cart reads.
type linePart struct {
	name   string
	kind   expr.Kind
	needed bool
	at     *int // where its place is noted
}

func lineParts(s *CartSlots) []linePart {
	return []linePart{
		{"product_id", expr.String, true, &s.Product},
		{"quantity", expr.Int, true, &s.Quantity},
		{"price", expr.Decimal, true, &s.Price},
		{"variant_id", expr.String, false, &s.Variant},
		{"sku", expr.String, false, &s.SKU},
		{"amount", expr.Decimal, false, &s.Amount},
	}
}

// place returns the place of the field in a record, -1 if it has none of that name and kind.
func (f *linePart) place(record []expr.Field) int {
	return slices.IndexFunc(record, func(x expr.Field) bool { return x.Name == f.name && x.Type.Kind == f.kind })
}

// cartSlots finds what a cart reads in the events of a stream, all of whose paths
// are in the layout.
func (c *compiler) cartSlots(l *Layout) *CartSlots {
	s := &CartSlots{ID: l.Slot(cartID), Name: -1, Items: -1, Currency: -1}
	if l.Stream == Purchase {
		return s
	}
	s.Name, s.Items, s.Currency = l.Slot(cartName), l.Slot(cartItems), l.Slot(cartCurrency)
	record := c.Spec.Catalog.TypeOf(l.Stream, cartItems).Elem.Fields
	s.Size = len(record)
	for _, f := range lineParts(s) {
		*f.at = f.place(record)
	}
	return s
}

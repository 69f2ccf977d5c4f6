package plan

import (
	"fmt"
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// The fields that a cart reads of the events that change it, and of a line item.
const (
	cartItems    = "items"
	cartCurrency = "currency"
	lineProduct  = "product_id"
	lineQuantity = "quantity"
	linePrice    = "price"
)

// Cart is the customer's cart: what was added, removed and bought. At most one
// condition holds for an event.
func Cart() Fact {
	const added, removed = "product_added", "product_removed"
	either := &expr.Node{Op: expr.OpOr, Type: expr.Bool, Args: []*expr.Node{FieldIs("name", added), FieldIs("name", removed)}}
	return Fact{Family: aggregate.FamCart, Reach: aggregate.CartReach, Sources: []Source{
		{Stream: Web, Cond: either, Negate: FieldIs("name", removed)},
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

// cartSlots finds what a cart reads in the events of a stream, all of whose paths
// are in the layout.
func (c *compiler) cartSlots(l *Layout) (*CartSlots, error) {
	if c.Spec.Catalog == nil {
		return nil, fmt.Errorf("the rules have a cart, and come without the schema of its line items")
	}
	fields := c.Spec.Catalog.Streams[l.Stream]
	i := slices.IndexFunc(fields, func(f expr.Field) bool { return f.Name == cartItems })
	if i < 0 || fields[i].Type.Kind != expr.List || fields[i].Type.Elem == nil || fields[i].Type.Elem.Kind != expr.Record {
		return nil, fmt.Errorf("a cart needs %s.%s, a list of records, which the schema does not have", l.Stream, cartItems)
	}
	line := fields[i].Type.Elem.Fields
	s := &CartSlots{Items: l.Slot(cartItems), Currency: l.Slot(cartCurrency), Size: len(line)}
	for _, f := range []struct {
		name string
		kind expr.Kind
		at   *int
	}{{lineProduct, expr.String, &s.Product}, {lineQuantity, expr.Int, &s.Quantity}, {linePrice, expr.Decimal, &s.Price}} {
		*f.at = slices.IndexFunc(line, func(x expr.Field) bool { return x.Name == f.name && x.Type.Kind == f.kind })
		if *f.at < 0 {
			return nil, fmt.Errorf("a cart needs the field %q in the records of %s.%s, which the schema does not have", f.name, l.Stream, cartItems)
		}
	}
	return s, nil
}

package plan

import (
	"fmt"
	"slices"

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

// cartSources are what a cart is made of; the conditions are tested in this
// order and at most one holds for an event.
func cartSources() []Source {
	is := func(path, v string) *expr.Node {
		return &expr.Node{Op: expr.OpEq, Type: expr.Bool, Args: []*expr.Node{
			{Op: expr.OpField, Type: expr.String, Path: path},
			{Op: expr.OpConst, Type: expr.String, Const: expr.StringValue(v)},
		}}
	}
	either := &expr.Node{Op: expr.OpOr, Type: expr.Bool, Args: []*expr.Node{is("name", "product_added"), is("name", "product_removed")}}
	return []Source{
		{Stream: Web, Cond: either, Negate: is("name", "product_removed")},
		{Stream: Purchase, Cond: is("kind", "completed")},
	}
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

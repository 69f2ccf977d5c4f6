package triggers

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// cart is the kind abandoned_cart.
//
//   - Each cart is due `after` its last change, as long as it holds something. What it
//     holds, and what clears it, is in aggregate.Cart.
//   - It fires once for one last change; a later change starts the wait again. Carts wait
//     for themselves: what happens to one does not delay another.
//   - The message carries the cart's id, the items left, their value and currency, and the
//     event and time of the last change.
type cart struct{ after engine.Millis }

// abandonedCart is the kind's registration.
func abandonedCart() kind {
	after := delay(aggregate.CartReach)
	after.Default = always(expr.DurationValue(30 * 60_000))
	return kind{
		Kind: plan.Kind{
			Name:     "abandoned_cart",
			Settings: []plan.Setting{after},
			Fact: func(t *plan.Trigger) plan.Fact {
				return plan.Cart(engine.Millis(t.Setting("after").N))
			},
			Message: []expr.Field{
				{Name: "cart_id", Type: expr.Type{Kind: expr.String, Optional: true}},
				{Name: "items", Type: expr.Type{Kind: expr.List, Elem: &expr.Type{Kind: expr.Record, Fields: []expr.Field{
					{Name: "product_id", Type: expr.Type{Kind: expr.String}},
					{Name: "quantity", Type: expr.Type{Kind: expr.Int}},
					{Name: "price", Type: expr.Type{Kind: expr.Decimal, Optional: true}},
					{Name: "variant_id", Type: expr.Type{Kind: expr.String, Optional: true}},
					{Name: "sku", Type: expr.Type{Kind: expr.String, Optional: true}},
					{Name: "amount", Type: expr.Type{Kind: expr.Decimal, Optional: true}},
				}}}},
				{Name: "value", Type: expr.Type{Kind: expr.Decimal, Optional: true}},
				{Name: "currency", Type: expr.Type{Kind: expr.String, Optional: true}},
			},
		},
		meaning: func(t *plan.Trigger) engine.Trigger { return cart{after: engine.Millis(t.Setting("after").N)} },
		why:     whyCart,
	}
}

// Due returns the earliest last change + after of the carts that hold something then, or
// now if that is later. It does not ask for a cart as it is before that: the answer
// would depend on when it was asked.
func (t cart) Due(v *engine.View, m *engine.Memory, later engine.Millis) engine.Millis {
	c, reach := v.Cart()
	if c == nil {
		return engine.Never
	}
	earliest := engine.Never
	for i := range c.Carts {
		s := &c.Carts[i]
		due := s.Last.At + t.after
		if s.Last.At == aggregate.None || due <= later || due >= earliest || isMarked(m, s) {
			continue
		}
		if c.Holds(s.ID, max(due, v.Now()), reach) {
			earliest = due
		}
	}
	return earliest
}

// Fire fires for the first cart by id that is due then and still holds something.
func (t cart) Fire(v *engine.View, m *engine.Memory, due engine.Millis, f *engine.Effect) bool {
	c, reach := v.Cart()
	if c == nil {
		return false
	}
	for i := range c.Carts {
		s := &c.Carts[i]
		if s.Last.At == aggregate.None || s.Last.At+t.after != due || isMarked(m, s) {
			continue
		}
		if items := c.Held(s.ID, v.Now(), reach); len(items) > 0 {
			mark(c, m, s)
			f.AnchorID, f.AnchorAt = s.Last.ID, s.Last.At
			f.Fields = message(s.ID, items)
			return true
		}
	}
	return false
}

// message returns the fields of a message.
func message(id string, items []aggregate.Line) (l []engine.Field) {
	if id != "" {
		l = append(l, engine.Field{Name: "cart_id", Value: expr.StringValue(id)})
	}
	l = append(l, engine.Field{Name: "items", Value: lines(items)})
	value, currency := aggregate.Worth(items)
	if value.Present() {
		l = append(l, engine.Field{Name: "value", Value: value})
	}
	if currency != "" {
		l = append(l, engine.Field{Name: "currency", Value: expr.StringValue(currency)})
	}
	return l
}

// isMarked reports whether the trigger fired for the last change of a cart or passed over it.
// The cart without an id has the memory's mark.
func isMarked(m *engine.Memory, s *aggregate.CartState) bool {
	if s.ID == "" {
		return m.Mark == s.Last.At
	}
	return slices.ContainsFunc(m.Fired, func(o engine.Occurrence) bool { return o.Date.S == s.ID && o.Years == int64(s.Last.At) })
}

// mark marks the last change of a cart. Marks of carts of which nothing is left are dropped.
func mark(c *aggregate.Cart, m *engine.Memory, s *aggregate.CartState) {
	if s.ID == "" {
		m.Mark = s.Last.At
		return
	}
	m.Fired = slices.DeleteFunc(m.Fired, func(o engine.Occurrence) bool {
		return o.Date.S == s.ID || !slices.ContainsFunc(c.Carts, func(x aggregate.CartState) bool { return x.ID == o.Date.S && x.Last.At != aggregate.None })
	})
	m.Fired = append(m.Fired, engine.Occurrence{Date: expr.StringValue(s.ID), Years: int64(s.Last.At)})
}

// lines returns items as a list of records. A quantity that is not whole is rounded up:
// what is left is at least one. The schema has 32 bits for it, the amount is exact.
func lines(items []aggregate.Line) expr.Value {
	const parts = 6
	l := make([]expr.Value, len(items))
	all := make([]expr.Value, 0, parts*len(items))
	for i := range items {
		it := &items[i]
		pieces := min((it.Quantity+aggregate.Unit-1)/aggregate.Unit, math.MaxInt32)
		all = append(all, expr.StringValue(it.Product), expr.IntValue(pieces), it.Price,
			known(it.Variant), known(it.SKU), expr.DecimalValue(it.Quantity))
		l[i] = expr.RecordValue(all[parts*i : parts*(i+1) : parts*(i+1)])
	}
	return expr.ListValue(l)
}

// known returns a text, Absent if it is empty.
func known(s string) expr.Value {
	if s == "" {
		return expr.Value{}
	}
	return expr.StringValue(s)
}

// Settle treats the last changes that the trigger is due for as emitted. A cart that is
// empty now is not: a late addition may still make it due.
func (t cart) Settle(v *engine.View, m *engine.Memory) {
	c, reach := v.Cart()
	if c == nil {
		return
	}
	for i := range c.Carts {
		s := &c.Carts[i]
		if s.Last.At != aggregate.None && s.Last.At+t.after <= v.Now() && c.Holds(s.ID, v.Now(), reach) {
			mark(c, m, s)
		}
	}
}

func whyCart(m *engine.Message) string {
	s := plural(int64(len(m.Field("items").L)), "product") + " left"
	if v := m.Field("value"); v.Present() {
		s += strings.TrimRight(fmt.Sprintf(", worth %s %s", v, m.Field("currency")), " ")
	}
	return s
}

package triggers

import (
	"math/big"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// cart is the kind abandoned_cart.
//
//   - It is due `after` the last addition or removal, as long as the cart holds
//     something. A completed purchase clears what is at or before it.
//   - It fires once for one last change; a later change starts anew.
//   - The message carries the items left, their value and currency, and the
//     event and time of the last change.
type cart struct{ after engine.Millis }

// Due returns last change + after, if the cart holds something then, or now if
// that is later. It does not ask for the cart as it is before that: the answer
// would depend on when it was asked.
func (t cart) Due(v *engine.View, m *engine.Memory) engine.Millis {
	c := v.Cart()
	if c == nil || c.Last.At == aggregate.None || c.Last.At == m.Mark {
		return engine.Never
	}
	due := c.Last.At + t.after
	if items, _ := c.Held(max(due, v.Now())); len(items) == 0 {
		return engine.Never
	}
	return due
}

// Fire fires if the cart still holds something.
func (t cart) Fire(v *engine.View, m *engine.Memory, _ engine.Millis, f *engine.Effect) bool {
	c := v.Cart()
	items, currency := c.Held(v.Now())
	if len(items) == 0 {
		return false
	}
	m.Mark = c.Last.At
	f.AnchorID, f.AnchorAt, f.Currency = c.Last.ID, c.Last.At, currency
	for _, it := range items {
		f.Items = append(f.Items, engine.Item{Product: it.Product, Quantity: it.Quantity, Price: it.Price})
	}
	f.Value = value(items)
	return true
}

// Settle takes the last change as told if the trigger is due for it. A cart that
// is empty now is not: a late addition may still make it due.
func (t cart) Settle(v *engine.View, m *engine.Memory) {
	if t.Due(v, m) <= v.Now() {
		m.Mark = v.Cart().Last.At
	}
}

// value returns the sum of quantity times price over the items that have a
// price; Absent if none has, or if it does not fit a decimal.
func value(items []aggregate.Held) expr.Value {
	var sum, x big.Int
	priced := false
	for _, it := range items {
		if it.Price.Present() {
			priced = true
			sum.Add(&sum, x.Mul(big.NewInt(it.Quantity), big.NewInt(it.Price.N)))
		}
	}
	if !priced || !sum.IsInt64() {
		return expr.Value{}
	}
	return expr.DecimalValue(sum.Int64())
}

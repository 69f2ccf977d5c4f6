package triggers

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// cart is the kind abandoned_cart.
//
//   - It is due `after` the last addition or removal, as long as the cart holds
//     something. A completed purchase clears what is at or before it.
//   - It fires once for one last change; a later change starts the wait again.
//   - The message carries the items left, their value and currency, and the
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
			Fact:     func(*plan.Trigger) plan.Fact { return plan.Cart() },
			Message: []expr.Field{
				{Name: "items", Type: expr.Type{Kind: expr.List, Elem: &expr.Type{Kind: expr.Record, Fields: []expr.Field{
					{Name: "product_id", Type: expr.Type{Kind: expr.String}},
					{Name: "quantity", Type: expr.Type{Kind: expr.Int}},
					{Name: "price", Type: expr.Type{Kind: expr.Decimal, Optional: true}},
				}}}},
				{Name: "value", Type: expr.Type{Kind: expr.Decimal, Optional: true}},
				{Name: "currency", Type: expr.Type{Kind: expr.String, Optional: true}},
			},
		},
		meaning: func(t *plan.Trigger) engine.Trigger { return cart{after: engine.Millis(t.Setting("after").N)} },
		why:     whyCart,
	}
}

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
	f.AnchorID, f.AnchorAt = c.Last.ID, c.Last.At
	f.Fields = []engine.Field{{Name: "items", Value: lines(items)}}
	if v := value(items); v.Present() {
		f.Fields = append(f.Fields, engine.Field{Name: "value", Value: v})
	}
	if currency != "" {
		f.Fields = append(f.Fields, engine.Field{Name: "currency", Value: expr.StringValue(currency)})
	}
	return true
}

// lines returns items as a list of records.
func lines(items []aggregate.Held) expr.Value {
	l := make([]expr.Value, len(items))
	parts := make([]expr.Value, 0, 3*len(items))
	for i, it := range items {
		parts = append(parts, expr.StringValue(it.Product), expr.IntValue(it.Quantity), it.Price)
		l[i] = expr.RecordValue(parts[3*i : 3*i+3 : 3*i+3])
	}
	return expr.ListValue(l)
}

// Settle treats the last change as emitted if the trigger is due for it. A cart that
// is empty now is not: a late addition may still make it due.
func (t cart) Settle(v *engine.View, m *engine.Memory) {
	if t.Due(v, m) <= v.Now() {
		m.Mark = v.Cart().Last.At
	}
}

func whyCart(m *engine.Message) string {
	s := plural(int64(len(m.Field("items").L)), "product") + " left"
	if v := m.Field("value"); v.Present() {
		s += strings.TrimRight(fmt.Sprintf(", worth %s %s", v, m.Field("currency")), " ")
	}
	return s
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

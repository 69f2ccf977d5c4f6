package sim

import (
	"math/big"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// cartMonth is how long an entry stays in a cart.
const cartMonth = 30 * Day

// change is one entry of a cart: so many units more or fewer of a product.
type change struct {
	record   *Record
	product  string
	quantity int64
	price    expr.Value
}

// changes returns the entries of the cart at m in the order in which they count:
// by time, additions first.
func (m moment) changes() []change {
	bought := Millis(-1 << 62)
	for i := range m.p.events {
		if r := &m.p.events[i]; completed(r) {
			bought = max(bought, r.At)
		}
	}
	var l []change
	for i := range m.p.events {
		r := &m.p.events[i]
		if r.Stream == plan.Web && r.At > bought && r.At > m.now-cartMonth {
			l = append(l, m.o.line.changes(r)...)
		}
	}
	slices.SortStableFunc(l, func(a, b change) int {
		switch {
		case a.record.At != b.record.At:
			return int(a.record.At - b.record.At)
		}
		return int(b.quantity - a.quantity)
	})
	return l
}

func completed(r *Record) bool {
	return r.Stream == plan.Purchase && r.Fields["kind"].S == "completed"
}

// lineItem says where the fields of a line item are in a record of it.
type lineItem struct{ product, quantity, price, size int }

// lineItemOf reads the places off the schema of web.items, by name.
func lineItemOf(s *plan.Spec) lineItem {
	var at lineItem
	if s.Catalog == nil {
		return at
	}
	for _, f := range s.Catalog.Streams[plan.Web] {
		if f.Name != "items" {
			continue
		}
		for i, part := range f.Type.Elem.Fields {
			at.size++
			switch part.Name {
			case "product_id":
				at.product = i
			case "quantity":
				at.quantity = i
			case "price":
				at.price = i
			}
		}
	}
	return at
}

// changes returns what one web event does to the cart.
func (at lineItem) changes(r *Record) []change {
	var direction int64
	switch r.Fields["name"].S {
	case "product_added":
		direction = 1
	case "product_removed":
		direction = -1
	default:
		return nil
	}
	items := r.Fields["items"].L
	if len(items) == 0 {
		return []change{{record: r, quantity: direction}}
	}
	var l []change
	for _, it := range items {
		l = append(l, change{r, it.L[at.product].S, direction * it.L[at.quantity].N, it.L[at.price]})
	}
	return l
}

// cart is what is in a cart and since when nothing has changed in it.
type cart struct {
	last     *Record      // the latest change
	items    []expr.Value // records of product, quantity and price
	value    expr.Value
	currency string
}

// cart replays the entries: no product ever goes below zero.
func (m moment) cart() cart {
	var c cart
	units, price := map[string]int64{}, map[string]expr.Value{}
	for _, e := range m.changes() {
		units[e.product] = max(0, units[e.product]+e.quantity)
		if e.price.Present() {
			price[e.product] = e.price
		}
		if v := e.record.Fields["currency"]; v.S != "" {
			c.currency = v.S
		}
		if c.last == nil || c.last.Before(e.record) {
			c.last = e.record
		}
	}
	value, priced := new(big.Int), false
	for product, n := range units {
		if n == 0 {
			continue
		}
		c.items = append(c.items, expr.RecordValue([]expr.Value{expr.StringValue(product), expr.IntValue(n), price[product]}))
		if v := price[product]; v.Present() {
			priced = true
			value.Add(value, new(big.Int).Mul(big.NewInt(n), big.NewInt(v.N)))
		}
	}
	slices.SortFunc(c.items, func(a, b expr.Value) int { return strings.Compare(a.L[0].S, b.L[0].S) })
	if priced {
		c.value = expr.DecimalValue(value.Int64())
	}
	return c
}

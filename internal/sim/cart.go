package sim

import (
	"cmp"
	"math/big"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// The web events that change a cart.
const (
	added   = "product_added"
	removed = "product_removed"
	updated = "cart_updated"
)

// changesCart reports whether an event adds to a cart or takes from it.
func changesCart(r *Record) bool {
	return r.Stream == plan.Web && slices.Contains([]string{added, removed, updated}, r.Fields["name"].S)
}

func completed(r *Record) bool {
	return r.Stream == plan.Purchase && r.Fields["kind"].S == "completed"
}

// cartOf returns the id of the cart that an event names, "" if it names none.
func cartOf(r *Record) string { return r.Fields["cart_id"].S }

// ends reports whether an event ends what another one did to its cart.
func ends(by, what *Record) bool {
	switch {
	case completed(by):
		of := cartOf(by)
		return what.At <= by.At && (of == "" || cartOf(what) == of || cartOf(what) == "")
	case changesCart(by) && by.Fields["name"].S == updated && by.Fields["items"].Present():
		return what.At < by.At && cartOf(what) == cartOf(by)
	}
	return false
}

// remembered is how long carts are remembered: 30 days, or a day longer than the longest
// wait for one.
func (o *Oracle) remembered() Millis {
	most := 29 * Day
	for i := range o.spec.Triggers {
		if t := &o.spec.Triggers[i]; t.Kind.Name == abandonedCart {
			most = max(most, delayOf(t))
		}
	}
	return most + Day
}

// change is one line of an event: so much more or less of something.
type change struct {
	record   *Record
	ids      [3]string // product, variant, stock unit
	amount   *big.Rat  // below zero: a removal
	price    expr.Value
	currency string
}

// live returns the events whose changes of a cart still count at m.
func (m moment) live(id string) (l []*Record) {
	for i := range m.p.events {
		r := &m.p.events[i]
		gone := !changesCart(r) || cartOf(r) != id || r.At <= m.now-m.o.remembered()
		for j := 0; j < len(m.p.events) && !gone; j++ {
			gone = ends(&m.p.events[j], r)
		}
		if !gone {
			l = append(l, r)
		}
	}
	return l
}

// lineItem says where the fields of a line item are in a record of it, -1 for one that the
// schema does not have.
type lineItem struct{ product, variant, sku, quantity, amount, price, size int }

// lineItemOf reads the places off the schema of web.items, by name.
func lineItemOf(s *plan.Spec) lineItem {
	at := lineItem{-1, -1, -1, -1, -1, -1, 0}
	if s.Catalog == nil {
		return at
	}
	places := map[string]*int{
		"product_id": &at.product, "variant_id": &at.variant, "sku": &at.sku, "quantity": &at.quantity, "amount": &at.amount, "price": &at.price,
	}
	for _, f := range s.Catalog.Fields[plan.Web] {
		if f.Name != "items" {
			continue
		}
		for i, part := range f.Type.Elem.Fields {
			at.size++
			if place := places[part.Name]; place != nil {
				*place = i
			}
		}
	}
	return at
}

// changes returns what one web event does to its cart.
func (at lineItem) changes(r *Record) (l []change) {
	name, currency, items := r.Fields["name"].S, r.Fields["currency"].S, r.Fields["items"].L
	one := big.NewRat(1, 1)
	if len(items) == 0 && r.Fields["items"].Present() && name != updated {
		l = append(l, change{record: r, amount: one, currency: currency})
	}
	for _, it := range items {
		part := func(i int) expr.Value {
			if i < 0 {
				return expr.Value{}
			}
			return it.L[i]
		}
		c := change{record: r, ids: [3]string{part(at.product).S, part(at.variant).S, part(at.sku).S}, currency: currency}
		c.amount, c.price = big.NewRat(part(at.quantity).N, 1), part(at.price)
		if a := part(at.amount); a.Present() {
			c.amount = exact(a)
		}
		if c.amount.Sign() != 0 {
			l = append(l, c)
		}
	}
	if name == removed {
		for i := range l {
			l[i].amount = new(big.Rat).Neg(new(big.Rat).Abs(l[i].amount))
		}
	}
	return l
}

// order is the order in which changes count: by time, additions first, then by what they
// are of.
func order(a, b change) int {
	ids := slices.Compare(a.ids[:], b.ids[:])
	return cmp.Or(cmp.Compare(a.record.At, b.record.At), b.amount.Sign()-a.amount.Sign(), ids,
		cmp.Compare(a.price.K, b.price.K), cmp.Compare(a.price.N, b.price.N), strings.Compare(a.currency, b.currency), a.amount.Cmp(b.amount))
}

// remove takes a removal out of what was added, oldest first: out of the latest of the line
// that it names, if there is one, else out of the latest that have an id in common with it.
func remove(cart []change, r change) {
	nameless := r.ids == [3]string{}
	grade := func(c *change) int { // 2: it is what r names; 1: they have something in common
		common, clash := nameless && c.ids == r.ids, false
		for i, id := range r.ids {
			common = common || id != "" && id == c.ids[i]
			clash = clash || id != "" && c.ids[i] != "" && id != c.ids[i]
		}
		switch {
		case c.amount.Sign() == 0 || !common:
			return 0
		case clash:
			return 1
		}
		return 2
	}
	best := 0
	for i := range cart {
		best = max(best, grade(&cart[i]))
	}
	want := new(big.Rat).Neg(r.amount)
	for i := len(cart) - 1; i >= 0 && best > 0; i-- {
		c := &cart[i]
		if grade(c) != best {
			continue
		}
		taken := want
		if c.amount.Cmp(want) < 0 {
			taken = c.amount
		}
		c.amount, want = new(big.Rat).Sub(c.amount, taken), new(big.Rat).Sub(want, taken)
		if want.Sign() == 0 {
			return
		}
	}
}

// cart is what is in a cart and since when nothing has changed in it.
type cart struct {
	last     *Record      // the latest change
	items    []expr.Value // records of product, quantity, price, variant, stock unit and amount
	value    expr.Value
	currency string
}

// cart replays the changes of one cart.
func (m moment) cart(id string) (c cart) {
	var all, left []change
	for _, r := range m.live(id) {
		if c.last == nil || c.last.Before(r) {
			c.last = r
		}
		all = append(all, m.o.line.changes(r)...)
	}
	slices.SortFunc(all, order)
	for _, e := range all {
		if e.amount.Sign() > 0 {
			left = append(left, e)
		} else {
			remove(left, e)
		}
	}
	left = slices.DeleteFunc(left, func(e change) bool { return e.amount.Sign() == 0 })
	c.value, c.currency = worth(left)
	c.items = itemsOf(left)
	return c
}

// worth returns the value of lines, and their currency: neither if there are several.
func worth(l []change) (value expr.Value, currency string) {
	sum, priced, currencies := new(big.Rat), false, map[string]bool{}
	for _, e := range l {
		if e.currency != "" {
			currencies[e.currency], currency = true, e.currency
		}
		if e.price.Present() {
			priced = true
			sum.Add(sum, new(big.Rat).Mul(e.amount, exact(e.price)))
		}
	}
	if len(currencies) > 1 {
		return expr.Value{}, ""
	}
	if !priced {
		return expr.Value{}, currency
	}
	return expr.DecimalValue(nearest(sum.Mul(sum, big.NewRat(expr.DecimalOne, 1)))), currency
}

// nearest returns the nearest whole number, the even one of two.
func nearest(r *big.Rat) int64 {
	half := new(big.Rat).Add(r, big.NewRat(1, 2))
	n := new(big.Int).Div(half.Num(), half.Denom())
	if half.IsInt() && n.Bit(0) == 1 {
		n.Sub(n, big.NewInt(1))
	}
	return n.Int64()
}

// itemsOf joins lines that differ in nothing but their amount, and sorts them.
func itemsOf(l []change) (items []expr.Value) {
	var kinds []change
	for _, e := range l {
		i := slices.IndexFunc(kinds, func(k change) bool {
			return k.ids == e.ids && k.currency == e.currency && expr.Identical(k.price, e.price)
		})
		if i < 0 {
			e.amount = new(big.Rat).Set(e.amount)
			kinds = append(kinds, e)
			continue
		}
		kinds[i].amount.Add(kinds[i].amount, e.amount)
	}
	slices.SortFunc(kinds, func(a, b change) int {
		return cmp.Or(slices.Compare(a.ids[:], b.ids[:]), cmp.Compare(a.price.K, b.price.K), cmp.Compare(a.price.N, b.price.N), strings.Compare(a.currency, b.currency))
	})
	for _, k := range kinds {
		pieces := new(big.Int).Neg(new(big.Int).Div(new(big.Int).Neg(k.amount.Num()), k.amount.Denom())) // rounded up
		amount := new(big.Rat).Mul(k.amount, big.NewRat(expr.DecimalOne, 1))
		items = append(items, expr.RecordValue([]expr.Value{
			expr.StringValue(k.ids[0]), expr.IntValue(pieces.Int64()), k.price, ifAny(k.ids[1]), ifAny(k.ids[2]), expr.DecimalValue(amount.Num().Int64()),
		}))
	}
	return items
}

// ifAny returns a text, Absent if it is empty.
func ifAny(s string) expr.Value {
	if s == "" {
		return expr.Value{}
	}
	return expr.StringValue(s)
}

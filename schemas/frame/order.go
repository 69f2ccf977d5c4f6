package frame

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
)

// Signs says which events of a stream take something back, and where their amounts
// are: what they take back is said by what they are, so that signs mean nothing there.
type Signs struct {
	Kind      int    // the place of the kind of an order, or of the name of a web event
	Back      []Cell // the kinds that take back
	Removed   string // the name that takes back; "" if it is a matter of Kind
	Completed Cell   // the kind that has no amount below 0
	Refunded  Cell
	Money     []*Field // the amounts that are read
	Items     *Field   // nil: not read
}

// Revenue is where an order says what it is worth; -1 where it has no such field.
type Revenue struct {
	Revenue, Subtotal, Total, Tax, Shipping, Value int
}

// back reports whether the event takes something back.
func (f *Frame) back(s *Signs) bool {
	kind := f.Vals[s.Kind]
	if s.Removed != "" {
		return kind.K == expr.String && string(f.bytesOf(kind)) == s.Removed
	}
	for _, c := range s.Back {
		if c == kind {
			return true
		}
	}
	return false
}

// signs gives amounts the signs that they may have.
func (f *Frame) signs() *bad.Input {
	s := f.Target.Signs
	if s == nil || !f.anyNegative(s) {
		return nil
	}
	back, completed := f.back(s), s.Removed == "" && f.Vals[s.Kind] == s.Completed
	if !back && !completed {
		return nil
	}
	for _, fd := range s.Money {
		if e := f.sign(fd, &f.Vals[fd.Place], back); e != nil {
			return e
		}
	}
	if s.Items == nil {
		return nil
	}
	width, at := len(s.Items.Elem.Fields), s.Items.Elem.Item
	from, n := unspan(f.Vals[s.Items.Place].N)
	for i := range n {
		cells := f.Cells[from+i*width : from+(i+1)*width]
		if e := f.sign(&s.Items.Elem.Fields[at[Price]], &cells[at[Price]], back); e != nil {
			return e
		}
		for _, r := range [...]Role{Quantity, Amount} {
			if p := at[r]; back && p >= 0 && cells[p].K != expr.Absent {
				cells[p].N = max(cells[p].N, -cells[p].N)
			}
		}
	}
	return nil
}

// anyNegative reports whether an amount, a price or a quantity is below 0.
func (f *Frame) anyNegative(s *Signs) bool {
	for _, fd := range s.Money {
		if c := f.Vals[fd.Place]; c.K == expr.Decimal && c.N < 0 {
			return true
		}
	}
	return f.negative
}

// sign takes the sign off an amount, or refuses one below 0.
func (f *Frame) sign(fd *Field, c *Cell, back bool) *bad.Input {
	if c.K != expr.Decimal || c.N >= 0 {
		return nil
	}
	if !back {
		return f.Refuse(fd, c, bad.New(bad.Range, fd.Path, "%s is below zero on a completed order", expr.FormatDecimal(c.N)))
	}
	if c.N = -c.N; c.N < 0 { // the least number has no counterpart
		return f.Refuse(fd, c, bad.New(bad.Range, fd.Path, "the value is out of range"))
	}
	return nil
}

// LacksRevenue reports whether the event is a completed or refunded order whose revenue
// is read and absent, or will be, and whose other amounts are not read: it is to be read into the
// careful target.
func (f *Frame) LacksRevenue() bool {
	t := f.Target
	if t.Careful == nil {
		return false
	}
	if c := f.Vals[t.Revenue.Revenue]; c.Present() && c.N >= 0 { // as most have
		return false
	}
	return f.asksRevenue() || f.losesRevenue()
}

// losesRevenue reports whether the event has a revenue that [Frame.signs] will refuse.
func (f *Frame) losesRevenue() bool {
	t := f.Target
	if t.Signs == nil || t.Revenue.Revenue < 0 {
		return false
	}
	c := f.Vals[t.Revenue.Revenue]
	return c.K == expr.Decimal && c.N < 0 && f.Vals[t.Signs.Kind] == t.Signs.Completed
}

// asksRevenue reports whether the event is one that a revenue is derived for.
func (f *Frame) asksRevenue() bool {
	t := f.Target
	if t.Signs == nil || t.Revenue.Revenue < 0 || f.Vals[t.Revenue.Revenue].Present() {
		return false
	}
	kind := f.Vals[t.Signs.Kind]
	return kind == t.Signs.Completed || kind == t.Signs.Refunded
}

// derive gives an order without a revenue that of its other amounts.
func (f *Frame) derive() *bad.Input {
	if !f.Target.Derives || !f.asksRevenue() {
		return nil
	}
	r := &f.Target.Revenue
	n, from := f.derived(f.Vals[f.Target.Signs.Kind] == f.Target.Signs.Refunded)
	if from == "" {
		return nil
	}
	fd := f.Target.Find([]byte("revenue"))
	if n < 0 {
		return f.Refuse(fd, &f.Vals[r.Revenue], bad.New(bad.Range, fd.Path, "the revenue derived from %s, %s, is below zero", from, expr.FormatDecimal(n)))
	}
	f.Vals[r.Revenue] = cellOf(expr.DecimalValue(n))
	f.Note(bad.Note{Kind: bad.Derived, Field: from, Detail: expr.FormatDecimal(n)})
	return nil
}

// derived returns what an order is worth, and what that was derived from: "" if it has
// nothing of the kind.
func (f *Frame) derived(back bool) (n int64, from string) {
	r := &f.Target.Revenue
	amount := func(place int) (int64, bool) { return f.Vals[place].N, f.Vals[place].K == expr.Decimal }
	if n, ok := f.worth.sum(back); ok {
		return n, "items"
	}
	if n, ok := amount(r.Subtotal); ok {
		return n, "subtotal"
	}
	if n, ok := amount(r.Total); ok {
		tax, _ := amount(r.Tax)
		shipping, _ := amount(r.Shipping)
		if n -= tax; n >= 0 { // none is below 0, and all three may be great
			n -= shipping
		}
		return n, "total"
	}
	if n, ok := amount(r.Value); ok {
		return n, "value"
	}
	return 0, ""
}

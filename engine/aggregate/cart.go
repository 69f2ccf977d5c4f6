package aggregate

import (
	"cmp"
	"math"
	"math/big"
	"slices"

	"github.com/segmill/segmill/engine/expr"
)

// CartReach is how long a cart remembers at least.
const CartReach Millis = 30 * 24 * 3_600_000

// The bounds of a customer's carts.
const (
	MaxCarts         = 8   // carts with lines or changes, those changed last
	MaxCartClearings = 32  // carts of which it is known that they were bought or replaced
	MaxCartEntries   = 200 // entries of all carts together, the newest
)

// Unit is the quantity of one whole piece: quantities have four digits after the point.
const Unit int64 = expr.DecimalOne

// Line is a product of a cart event.
type Line struct {
	Product, Variant, SKU string     // "" if unknown
	Quantity              int64      // in Units of 10^-4; below zero: a removal
	Price                 expr.Value // Decimal, or Absent
	Currency              string     // "" if unknown
}

// CartEntry is one addition, or one removal.
type CartEntry struct {
	At   Millis
	Cart string // the cart's id, "" if it has none
	Line
}

// CartState is what is known of one cart besides its entries.
type CartState struct {
	ID      string
	Cleared Millis // what is at or before it is gone, None if nothing was cleared
	Last    Stamp  // the latest change after that, At None if there is none
}

// Cart holds a customer's carts: what was added and removed since the purchases that
// cleared it. What has no cart id is in a cart of its own, whose id is empty.
type Cart struct {
	Cleared Millis      // in all carts, what is at or before it is gone; None if nothing was cleared
	Carts   []CartState // sorted by id; those with a clearing later than Cleared or a change
	Entries []CartEntry // sorted; all after what cleared their cart
}

// Fold takes a change of a cart or a completed purchase.
//
//   - A purchase with a cart's id clears that cart and the lines without one, up to its
//     own time; one without an id clears all.
//   - An event that replaces a cart clears it up to the millisecond before its own time,
//     and adds its lines.
func (c *Cart) Fold(s *Sample) {
	s.Unmatched = 0
	switch {
	case s.Clear && s.Cart == "":
		c.clearAll(s.At)
		return
	case s.Clear:
		c.clear(s.Cart, s.At)
		c.clear("", s.At)
		return
	case s.Replace:
		c.clear(s.Cart, s.At-1)
	}
	if s.At <= c.clearedAt(s.Cart) {
		return
	}
	for i := range s.Lines {
		if s.Lines[i].Quantity > 0 {
			c.insert(CartEntry{At: s.At, Cart: s.Cart, Line: s.Lines[i]})
		}
	}
	for i := range s.Lines {
		if l := &s.Lines[i]; l.Quantity < 0 {
			if !c.fits(s.Cart, s.At, l) {
				s.Unmatched++
			}
			c.insert(CartEntry{At: s.At, Cart: s.Cart, Line: *l})
		}
	}
	c.touch(s.Cart, &s.Stamp)
}

// fits reports whether something is left in a cart that a removal at an instant can be of.
func (c *Cart) fits(id string, at Millis, removal *Line) bool {
	var buf [32]lot
	const everything = math.MaxInt64 / 2
	return slices.ContainsFunc(c.lots(buf[:0], id, at, everything), func(l lot) bool {
		return l.left > 0 && c.Entries[l.entry].shares(removal)
	})
}

// state returns what is known of a cart, adding it.
func (c *Cart) state(id string) *CartState {
	i, ok := c.find(id)
	if !ok {
		c.Carts = slices.Insert(c.Carts, i, CartState{ID: id, Cleared: None, Last: Stamp{At: None}})
	}
	return &c.Carts[i]
}

func (c *Cart) find(id string) (int, bool) {
	return slices.BinarySearchFunc(c.Carts, id, func(s CartState, id string) int { return cmp.Compare(s.ID, id) })
}

// clearedAt returns the instant up to which a cart was cleared.
func (c *Cart) clearedAt(id string) Millis {
	if i, ok := c.find(id); ok {
		return max(c.Cleared, c.Carts[i].Cleared)
	}
	return c.Cleared
}

func (c *Cart) clearAll(t Millis) {
	if t > c.Cleared {
		c.Cleared = t
		c.sweep()
	}
}

// clear clears one cart. Of more carts than MaxCartClearings, the oldest clearing becomes
// one of all carts: nobody is reminded of what was bought.
func (c *Cart) clear(id string, t Millis) {
	if t <= c.clearedAt(id) {
		return
	}
	c.state(id).Cleared = t
	oldest, n := 0, 0
	for i := range c.Carts {
		s := &c.Carts[i]
		if s.ID == "" || s.Cleared == None {
			continue
		}
		if n++; n == 1 || s.Cleared < c.Carts[oldest].Cleared {
			oldest = i
		}
	}
	if n > MaxCartClearings {
		c.Cleared = max(c.Cleared, c.Carts[oldest].Cleared)
	}
	c.sweep()
}

// sweep drops what was cleared.
func (c *Cart) sweep() {
	c.Entries = slices.DeleteFunc(c.Entries, func(e CartEntry) bool { return e.At <= c.clearedAt(e.Cart) })
	c.Carts = slices.DeleteFunc(c.Carts, func(s CartState) bool {
		return max(s.Cleared, s.Last.At) <= c.Cleared
	})
	for i := range c.Carts {
		s := &c.Carts[i]
		if s.Cleared <= c.Cleared {
			s.Cleared = None
		}
		if s.Last.At <= s.Cleared {
			s.Last = Stamp{At: None}
		}
	}
}

// touch notes a change of a cart. Of more carts than MaxCarts, the one that was changed
// first is forgotten.
func (c *Cart) touch(id string, s *Stamp) {
	if s.At <= c.clearedAt(id) {
		return
	}
	of := c.state(id)
	if s.Compare(&of.Last) > 0 {
		of.Last = *s
	}
	oldest, n := 0, 0
	for i := range c.Carts {
		if c.Carts[i].Last.At == None {
			continue
		}
		if n++; n == 1 || c.Carts[i].Last.Compare(&c.Carts[oldest].Last) < 0 {
			oldest = i
		}
	}
	if n <= MaxCarts {
		return
	}
	id = c.Carts[oldest].ID
	c.Entries = slices.DeleteFunc(c.Entries, func(e CartEntry) bool { return e.Cart == id })
	if c.Carts[oldest].Last = (Stamp{At: None}); c.Carts[oldest].Cleared == None {
		c.Carts = slices.Delete(c.Carts, oldest, oldest+1)
	}
}

func (c *Cart) insert(e CartEntry) {
	if e.At <= c.clearedAt(e.Cart) {
		return
	}
	i, _ := slices.BinarySearchFunc(c.Entries, e, compareCart)
	c.Entries = slices.Insert(c.Entries, i, e)
	if n := len(c.Entries) - MaxCartEntries; n > 0 {
		c.Entries = slices.Delete(c.Entries, 0, n)
	}
}

// compareCart orders entries by time, additions before removals; then by what they are of.
func compareCart(a, b CartEntry) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(sign(b.Quantity), sign(a.Quantity)), cmp.Compare(a.Cart, b.Cart),
		a.compare(&b.Line), cmp.Compare(a.Quantity, b.Quantity))
}

func sign(n int64) int { return cmp.Compare(n, 0) }

// compare orders lines by product, variant, stock unit, price and currency.
func (l *Line) compare(o *Line) int {
	return cmp.Or(cmp.Compare(l.Product, o.Product), cmp.Compare(l.Variant, o.Variant), cmp.Compare(l.SKU, o.SKU),
		cmp.Compare(l.Price.K, o.Price.K), cmp.Compare(l.Price.N, o.Price.N), cmp.Compare(l.Currency, o.Currency))
}

// Merge adds the entries of a disjoint cart; of a shared event's equal entries
// one is kept.
func (c *Cart) Merge(o Cell, shared []Shared) bool {
	x := o.(*Cart)
	c.clearAll(x.Cleared)
	for i := range x.Carts {
		if s := &x.Carts[i]; s.Cleared != None {
			c.clear(s.ID, s.Cleared)
		}
	}
	both := make(map[Millis]bool, len(shared))
	for _, s := range shared {
		both[s.At] = true
	}
	mine := slices.Clone(c.Entries)
	for _, e := range x.Entries {
		if both[e.At] {
			if i, ok := slices.BinarySearchFunc(mine, e, compareCart); ok {
				mine = slices.Delete(mine, i, i+1)
				continue
			}
		}
		c.insert(e)
	}
	for i := range x.Carts {
		if s := &x.Carts[i]; s.Last.At != None {
			c.touch(s.ID, &s.Last)
		}
	}
	return true
}

// Prune drops what is older than the reach.
func (c *Cart) Prune(now, reach Millis) {
	old := now - reach
	c.Entries = slices.DeleteFunc(c.Entries, func(e CartEntry) bool { return e.At <= old })
	if c.Cleared <= old {
		c.Cleared = None
	}
	for i := range c.Carts {
		s := &c.Carts[i]
		if s.Last.At <= old {
			s.Last = Stamp{At: None}
		}
		if s.Cleared <= old {
			s.Cleared = None
		}
	}
	c.Carts = slices.DeleteFunc(c.Carts, func(s CartState) bool { return s.Last.At == None && s.Cleared == None })
}

// Compute returns nothing: only triggers look into a cart.
func (c *Cart) Compute(*Op, expr.Kind, Millis, Millis) expr.Value { return expr.Value{} }

// lot is what is left of an addition.
type lot struct {
	entry int
	left  int64
}

// Holds reports whether a cart that remembers for so long holds something at now.
func (c *Cart) Holds(id string, now, reach Millis) bool {
	var buf [32]lot
	return slices.ContainsFunc(c.lots(buf[:0], id, now, reach), func(l lot) bool { return l.left > 0 })
}

// Held returns what a cart that remembers for so long holds at now, sorted: each product,
// variant and stock unit at the price and in the currency at which it was added.
func (c *Cart) Held(id string, now, reach Millis) (items []Line) {
	var buf [32]lot
	for _, l := range c.lots(buf[:0], id, now, reach) {
		if l.left == 0 {
			continue
		}
		line := c.Entries[l.entry].Line
		i, ok := slices.BinarySearchFunc(items, line, func(a, b Line) int { return a.compare(&b) })
		if !ok {
			line.Quantity = 0
			items = slices.Insert(items, i, line)
		}
		items[i].Quantity += l.left
	}
	return items
}

// lots runs through the entries of a cart in their order. A removal takes from the latest
// additions of the very line that it names, or where there is none, from the latest that
// share a product, variant or stock unit with it; never more than there is.
func (c *Cart) lots(l []lot, id string, now, reach Millis) []lot {
	for i := range c.Entries {
		e := &c.Entries[i]
		switch {
		case e.Cart != id || e.At <= now-reach || e.At > now:
		case e.Quantity > 0:
			l = append(l, lot{i, e.Quantity})
		case !c.take(l, &e.Line, (*Line).matches):
			c.take(l, &e.Line, (*Line).shares)
		}
	}
	return l
}

// take takes a removal from the latest lots that it fits, and reports whether it fits any.
func (c *Cart) take(l []lot, removal *Line, fits func(of, removal *Line) bool) bool {
	want, fit := -removal.Quantity, false
	for i := len(l) - 1; i >= 0 && want > 0; i-- {
		if l[i].left == 0 || !fits(&c.Entries[l[i].entry].Line, removal) {
			continue
		}
		n := min(want, l[i].left)
		l[i].left, want, fit = l[i].left-n, want-n, true
	}
	return fit
}

// shares reports whether a removal shares a product, variant or stock unit with a line. What
// names none of them is of one nameless product.
func (l *Line) shares(o *Line) bool {
	if o.Product == "" && o.Variant == "" && o.SKU == "" {
		return l.Product == "" && l.Variant == "" && l.SKU == ""
	}
	return o.Product != "" && o.Product == l.Product || o.Variant != "" && o.Variant == l.Variant || o.SKU != "" && o.SKU == l.SKU
}

// matches reports whether a removal shares something with a line and nothing says that it is
// of another one.
func (l *Line) matches(o *Line) bool {
	differ := func(a, b string) bool { return a != "" && b != "" && a != b }
	return l.shares(o) && !differ(l.Product, o.Product) && !differ(l.Variant, o.Variant) && !differ(l.SKU, o.SKU)
}

// Worth returns the value and the currency of lines: the sum of price times quantity over
// those that have a price, rounded half to even to four digits. Both are unknown if the
// lines name different currencies; the value also if no line has a price, or if it does
// not fit a decimal.
func Worth(lines []Line) (value expr.Value, currency string) {
	var sum, x big.Int
	priced := false
	for i := range lines {
		l := &lines[i]
		switch {
		case l.Currency == "" || l.Currency == currency:
		case currency != "":
			return expr.Value{}, ""
		default:
			currency = l.Currency
		}
		if l.Price.Present() {
			priced = true
			sum.Add(&sum, x.Mul(big.NewInt(l.Quantity), big.NewInt(l.Price.N)))
		}
	}
	n, ok := perUnit(&sum)
	if !priced || !ok {
		return expr.Value{}, currency
	}
	return expr.DecimalValue(n), currency
}

// perUnit divides by Unit, half to even; false if the result does not fit.
func perUnit(sum *big.Int) (int64, bool) {
	var n, rest big.Int
	unit := big.NewInt(Unit)
	n.DivMod(sum, unit, &rest)
	if twice := rest.Lsh(&rest, 1).Cmp(unit); twice > 0 || twice == 0 && n.Bit(0) == 1 {
		n.Add(&n, big.NewInt(1))
	}
	return n.Int64(), n.IsInt64()
}

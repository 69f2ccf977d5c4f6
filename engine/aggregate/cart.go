package aggregate

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/wire"
)

// CartReach is how long an entry stays in a cart.
const CartReach Millis = 30 * 24 * 3_600_000

// MaxCartEntries is how many entries, the newest, a cart keeps.
const MaxCartEntries = 200

// Line is one product of a cart event.
type Line struct {
	Product  string
	Quantity int64      // as sent, at least 1
	Price    expr.Value // Decimal, or Absent
	Currency string     // "" if unknown
}

// CartEntry is one addition (positive quantity) or removal.
type CartEntry struct {
	At Millis
	Line
}

// Cart holds the additions and removals since the latest completed purchase.
type Cart struct {
	Cleared Millis      // time of the latest completed purchase, None if none
	Last    Stamp       // the latest addition or removal, At None if there is none
	Entries []CartEntry // sorted; all after Cleared
}

// Fold takes an addition, a removal, or a completed purchase, which clears what
// is at or before its own time.
func (c *Cart) Fold(s *Sample) {
	if s.Clear {
		c.clear(s.At)
		return
	}
	c.touch(&s.Stamp)
	for _, l := range s.Lines {
		if s.Remove {
			l.Quantity = -l.Quantity
		}
		c.insert(CartEntry{At: s.At, Line: l})
	}
}

func (c *Cart) clear(t Millis) {
	c.Cleared = max(c.Cleared, t)
	c.Entries = slices.DeleteFunc(c.Entries, func(e CartEntry) bool { return e.At <= c.Cleared })
	if c.Last.At <= c.Cleared {
		c.Last = Stamp{At: None}
	}
}

func (c *Cart) touch(s *Stamp) {
	if s.At > c.Cleared && s.Compare(&c.Last) > 0 {
		c.Last = *s
	}
}

func (c *Cart) insert(e CartEntry) {
	if e.At <= c.Cleared {
		return
	}
	i, _ := slices.BinarySearchFunc(c.Entries, e, compareCart)
	c.Entries = slices.Insert(c.Entries, i, e)
	if n := len(c.Entries) - MaxCartEntries; n > 0 {
		c.Entries = slices.Delete(c.Entries, 0, n)
	}
}

// compareCart orders entries by time, additions before removals.
func compareCart(a, b CartEntry) int {
	return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(b.Quantity, a.Quantity), cmp.Compare(a.Product, b.Product),
		cmp.Compare(a.Price.K, b.Price.K), cmp.Compare(a.Price.N, b.Price.N), cmp.Compare(a.Currency, b.Currency))
}

// Merge adds the entries of a disjoint cart; of a shared event's equal entries
// one is kept.
func (c *Cart) Merge(o Cell, shared []Shared) bool {
	x := o.(*Cart)
	c.clear(x.Cleared)
	if x.Last.At != None {
		c.touch(&x.Last)
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
	return true
}

// Prune drops what is older than CartReach, whatever the given reach.
func (c *Cart) Prune(now, _ Millis) {
	old := now - CartReach
	c.Entries = slices.DeleteFunc(c.Entries, func(e CartEntry) bool { return e.At <= old })
	if c.Last.At <= old {
		c.Last = Stamp{At: None}
	}
	if c.Cleared <= old {
		c.Cleared = None
	}
}

// Held is a product in the cart.
type Held struct {
	Product  string
	Quantity int64
	Price    expr.Value
}

// Held returns what the cart holds at now, sorted by product, and its currency:
// that of the latest entry that names one. Quantities run in time order and never
// fall below zero.
func (c *Cart) Held(now Millis) (items []Held, currency string) {
	for _, e := range c.Entries {
		if e.At <= now-CartReach || e.At > now {
			continue
		}
		i, ok := slices.BinarySearchFunc(items, e.Product, func(h Held, p string) int { return cmp.Compare(h.Product, p) })
		if !ok {
			items = slices.Insert(items, i, Held{Product: e.Product})
		}
		h := &items[i]
		h.Quantity = max(0, h.Quantity+e.Quantity)
		if e.Price.Present() {
			h.Price = e.Price
		}
		if e.Currency != "" {
			currency = e.Currency
		}
	}
	return slices.DeleteFunc(items, func(h Held) bool { return h.Quantity == 0 }), currency
}

// Append appends clearing, last change and entries.
func (c *Cart) Append(b []byte, at Millis) []byte {
	b = appendInstant(b, c.Cleared, at)
	b = appendInstant(b, c.Last.At, at)
	if c.Last.At != None {
		b = append(b, c.Last.Stream)
		b = wire.AppendText(b, c.Last.Source)
		b = wire.AppendText(b, c.Last.ID)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Entries)))
	for _, e := range c.Entries {
		b = appendTime(b, e.At, at)
		b = binary.AppendVarint(b, e.Quantity)
		b = wire.AppendText(b, e.Product)
		b = AppendValue(b, e.Price)
		b = wire.AppendText(b, e.Currency)
	}
	return b
}

// Compute returns nothing: only triggers look into a cart.
func (c *Cart) Compute(*Op, expr.Kind, Millis, Millis) expr.Value { return expr.Value{} }

func (c *Cart) decode(r *Reader) {
	c.Cleared = r.instant()
	c.Last.At = r.instant()
	if c.Last.At != None {
		c.Last.Stream = r.Byte()
		c.Last.Source = r.Text()
		c.Last.ID = r.Text()
	}
	n := r.Count(5)
	if n > 0 {
		c.Entries = make([]CartEntry, n)
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		e.At, e.Quantity = r.Time(), r.Varint()
		e.Product, e.Price, e.Currency = r.Text(), r.Value(), r.Text()
		r.Check(i == 0 || compareCart(*e, c.Entries[i-1]) >= 0)
	}
}

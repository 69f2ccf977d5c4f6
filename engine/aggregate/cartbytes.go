package aggregate

import (
	"encoding/binary"
	"slices"

	"github.com/segmill/segmill/internal/wire"
)

// The bytes of a customer's carts. Instants are their distance to the customer's, "instant"
// one that may be missing.
//
// Of products alone, in whole pieces, in no cart with an id:
//
//	+---------+---------------------------------------------------+
//	| cleared | last: instant, [stream, source, id]               |
//	+---------+---------------------------------------------------+
//	| n | n x ( time, pieces, product, price, currency )          |
//	+-------------------------------------------------------------+
//
// Of anything else, which begins with a byte that no instant begins with:
//
//	+------+---------+---+----------------------------------------+
//	| 0x02 | cleared | n | n x ( cart, cleared, last )            |
//	+------+---------+---+----------------------------------------+
//	| n | n x ( time, flags, [cart], quantity, product, [variant],|
//	|                                [sku], price, currency )     |
//	+-------------------------------------------------------------+
//
// flags say which of the parts in brackets there are, that the stock unit is the product,
// and that the quantity is in pieces and not in 10^-4 of one. cart is the number of the cart
// in the list above it.
const cartLayout = 2

// Flags of an entry.
const (
	lineInCart = 1 << iota
	lineVariant
	lineSKU
	lineSKUIsProduct
	lineFraction
)

// maxPieces bounds what is read of a quantity in pieces.
const maxPieces = 1 << 40

// isPlain reports whether the first layout can hold c.
func (c *Cart) isPlain() bool {
	for i := range c.Carts {
		if s := &c.Carts[i]; s.ID != "" || s.Cleared != None {
			return false
		}
	}
	return !slices.ContainsFunc(c.Entries, func(e CartEntry) bool {
		return e.Cart != "" || e.Variant != "" || e.SKU != "" || e.Quantity%Unit != 0
	})
}

// Append appends clearings, last changes and entries.
func (c *Cart) Append(b []byte, at Millis) []byte {
	if !c.isPlain() {
		return c.appendAll(append(b, cartLayout), at)
	}
	b = appendInstant(b, c.Cleared, at)
	last := Stamp{At: None}
	if len(c.Carts) > 0 {
		last = c.Carts[0].Last
	}
	b = appendStamp(b, &last, at)
	b = binary.AppendUvarint(b, uint64(len(c.Entries)))
	for i := range c.Entries {
		e := &c.Entries[i]
		b = appendTime(b, e.At, at)
		b = binary.AppendVarint(b, e.Quantity/Unit)
		b = wire.AppendText(b, e.Product)
		b = AppendValue(b, e.Price)
		b = wire.AppendText(b, e.Currency)
	}
	return b
}

// appendStamp appends the stamp of an event, if there is one.
func appendStamp(b []byte, s *Stamp, at Millis) []byte {
	b = appendInstant(b, s.At, at)
	if s.At == None {
		return b
	}
	b = append(b, s.Stream)
	b = wire.AppendText(b, s.Source)
	return wire.AppendText(b, s.ID)
}

func (c *Cart) appendAll(b []byte, at Millis) []byte {
	b = appendInstant(b, c.Cleared, at)
	b = binary.AppendUvarint(b, uint64(len(c.Carts)))
	for i := range c.Carts {
		s := &c.Carts[i]
		b = appendInstant(wire.AppendText(b, s.ID), s.Cleared, at)
		b = appendStamp(b, &s.Last, at)
	}
	b = binary.AppendUvarint(b, uint64(len(c.Entries)))
	for i := range c.Entries {
		b = c.appendEntry(b, &c.Entries[i], at)
	}
	return b
}

func (c *Cart) appendEntry(b []byte, e *CartEntry, at Millis) []byte {
	flags, quantity := e.flags(), e.Quantity
	if flags&lineFraction == 0 {
		quantity /= Unit
	}
	b = append(appendTime(b, e.At, at), flags)
	if flags&lineInCart != 0 {
		i, _ := c.find(e.Cart)
		b = binary.AppendUvarint(b, uint64(i))
	}
	b = wire.AppendText(binary.AppendVarint(b, quantity), e.Product)
	if flags&lineVariant != 0 {
		b = wire.AppendText(b, e.Variant)
	}
	if flags&lineSKU != 0 {
		b = wire.AppendText(b, e.SKU)
	}
	return wire.AppendText(AppendValue(b, e.Price), e.Currency)
}

func (e *CartEntry) flags() (f byte) {
	if e.Cart != "" {
		f |= lineInCart
	}
	if e.Variant != "" {
		f |= lineVariant
	}
	switch {
	case e.SKU == "":
	case e.SKU == e.Product:
		f |= lineSKUIsProduct
	default:
		f |= lineSKU
	}
	if e.Quantity%Unit != 0 {
		f |= lineFraction
	}
	return f
}

func (c *Cart) decode(r *Reader) {
	if b := r.Left(); len(b) > 0 && b[0] == cartLayout {
		r.Byte()
		c.decodeAll(r)
		return
	}
	c.Cleared = r.instant()
	if last := r.stamp(); last.At != None {
		c.Carts = []CartState{{Cleared: None, Last: last}}
	}
	n := r.Count(5)
	if n > 0 {
		c.Entries = make([]CartEntry, n)
	}
	for i := range c.Entries {
		e := &c.Entries[i]
		e.At = r.Time()
		e.Quantity = r.pieces() * Unit
		e.Product, e.Price, e.Currency = r.Text(), r.Value(), r.Text()
	}
	// They were sorted in another way once.
	slices.SortStableFunc(c.Entries, compareCart)
}

func (r *Reader) stamp() (s Stamp) {
	if s.At = r.instant(); s.At != None {
		s.Stream, s.Source, s.ID = r.Byte(), r.Text(), r.Text()
	}
	return s
}

// pieces reads a quantity in pieces.
func (r *Reader) pieces() int64 {
	n := r.Varint()
	r.Check(n > -maxPieces && n < maxPieces)
	return n
}

func (c *Cart) decodeAll(r *Reader) {
	c.Cleared = r.instant()
	if n := r.Count(3); n > 0 {
		c.Carts = make([]CartState, n)
	}
	for i := range c.Carts {
		s := &c.Carts[i]
		s.ID, s.Cleared, s.Last = r.Text(), r.instant(), r.stamp()
		r.Check(i == 0 || s.ID > c.Carts[i-1].ID)
	}
	if n := r.Count(6); n > 0 {
		c.Entries = make([]CartEntry, n)
	}
	for i := range c.Entries {
		c.decodeEntry(r, &c.Entries[i])
		r.Check(i == 0 || compareCart(c.Entries[i], c.Entries[i-1]) >= 0)
	}
	r.Check(!c.isPlain())
}

func (c *Cart) decodeEntry(r *Reader, e *CartEntry) {
	e.At = r.Time()
	flags := r.Byte()
	if flags&lineInCart != 0 {
		i := r.Uvarint()
		if i >= uint64(len(c.Carts)) {
			r.Check(false)
			return
		}
		e.Cart = c.Carts[i].ID
	}
	if flags&lineFraction != 0 {
		e.Quantity = r.Varint()
		r.Check(e.Quantity > -maxPieces*Unit && e.Quantity < maxPieces*Unit)
	} else {
		e.Quantity = r.pieces() * Unit
	}
	e.Product = r.Text()
	if flags&lineVariant != 0 {
		e.Variant = r.Text()
	}
	switch {
	case flags&lineSKU != 0:
		e.SKU = r.Text()
	case flags&lineSKUIsProduct != 0:
		e.SKU = e.Product
	}
	e.Price, e.Currency = r.Value(), r.Text()
	r.Check(flags == e.flags())
}

package frame

import (
	"bytes"
	"math/big"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/scalar"
)

// Role is what a field of an item is to its list.
type Role uint8

// The roles.
const (
	NoRole Role = iota
	Product
	SKU
	Variant
	FirstID // the id of Segment's first specification; our schema does not have it
	ItemName
	Quantity
	Amount // the quantity in fractions; it wins over Quantity
	Price
	Element // a text of a list of texts
	numRoles
)

// Roles are the fields of an item that have one, by their names.
var Roles = map[string]Role{
	"product_id": Product, "sku": SKU, "variant_id": Variant, "id": FirstID, "name": ItemName,
	"quantity": Quantity, "amount": Amount, "price": Price,
}

// ItemPlaces are the places in an item of the fields with a role, -1 of those that the
// items do not have.
type ItemPlaces [numRoles]int

// names are the fields that name an item that has no product, the best one first.
var names = [...]Role{SKU, Variant, FirstID, ItemName}

// EndItem ends the item of the list fd whose cells are those from from on. One that
// nothing names, or that has no quantity, is left out.
func (f *Frame) EndItem(fd *Field, from int) {
	cells, at := f.Cells[from:], fd.Elem.Item
	named := f.isID(cells[at[Product]]) || f.name(cells, at)
	quantity, known := f.quantity(cells, at)
	if quantity < 0 || cells[at[Price]].N < 0 {
		f.negative = true
	}
	if f.Target.Derives {
		f.price(cells[at[Price]], quantity, known)
	}
	cause := bad.Cause("")
	switch {
	case !named:
		cause = bad.Missing
	case quantity == 0:
		cause = bad.Range
	default:
		return
	}
	f.Cells, f.leftOut = f.Cells[:from], true
	detail := "an item has neither a product_id nor anything else to name it"
	if named {
		detail = "an item has no quantity that can be read, or none at all"
	}
	f.Note(bad.Note{Kind: bad.LeftOut, Field: fd.Path, Cause: cause, Detail: detail})
}

// HasItems reports whether the event has items.
func (f *Frame) HasItems() bool { return f.Vals[f.Target.Items.Place].N != 0 }

// ownItem gives an event without items its own product as the only one. What an event
// is about is certain if it has a product_id; anything else that could name a product
// does so only in an event that is about a product.
func (f *Frame) ownItem() *bad.Input {
	t := f.Target
	if len(t.Own) == 0 || f.HasItems() {
		return nil
	}
	own := f.Vals[t.Own[0].Place:][:len(t.Own)]
	at := t.Items.Elem.Item
	if !f.isID(own[at[Product]]) && !f.aboutProduct(own, at) {
		return nil
	}
	if e := f.noteOwn(); e != nil {
		return e
	}
	from := len(f.Cells)
	f.Cells = append(f.Cells, own...)
	f.EndItem(t.Items, from)
	f.EndList(&f.Vals[t.Items.Place], t.Items.Elem, from)
	return nil
}

// noItems makes the items absent if all of them were left out: what the event was about is
// then not known, which is not the same as an event without items.
func (f *Frame) noItems() {
	if t := f.Target; f.leftOut && t.Items != nil && !f.HasItems() {
		f.Vals[t.Items.Place] = Cell{}
	}
}

// aboutProduct reports whether the event is about a product that something names.
func (f *Frame) aboutProduct(own []Cell, at *ItemPlaces) bool {
	name := f.Vals[f.Target.Signs.Kind]
	if name.K != expr.String || !bytes.HasPrefix(f.bytesOf(name), []byte("product_")) {
		return false
	}
	for _, r := range names {
		if i := at[r]; i >= 0 && f.isID(own[i]) {
			return true
		}
	}
	return false
}

// isID reports whether a cell is a text that is an id.
func (f *Frame) isID(c Cell) bool {
	return c.K == expr.String && c.N != 0 && !f.placeholder(f.bytesOf(c))
}

// placeholder reports whether an id is none.
func (f *Frame) placeholder(id []byte) bool {
	return (!scalar.PlainlyID(id) || len(f.settings.NotIDs) > 0) && scalar.Placeholder(id, f.settings.NotIDs)
}

// name gives an item without a product the next best name for one.
func (f *Frame) name(cells []Cell, at *ItemPlaces) bool {
	for _, r := range names {
		if i := at[r]; i >= 0 && f.isID(cells[i]) {
			cells[at[Product]] = cells[i]
			return true
		}
	}
	return false
}

// quantity returns the quantity of an item in units of 10^-4, 0 and false if it was
// refused, and puts a fraction where it belongs.
func (f *Frame) quantity(cells []Cell, at *ItemPlaces) (n int64, known bool) {
	q := &cells[at[Quantity]]
	if i := at[Amount]; i >= 0 {
		switch a := &cells[i]; {
		case a.K == expr.Decimal:
			if q.K == expr.Decimal {
				*q = cellOf(expr.IntValue(wholeUnits(q.N)))
			}
			return a.N, true
		case a.N == refused:
			return 0, false
		case q.K == expr.Decimal:
			*a = *q
		}
	}
	switch q.K {
	case expr.Int:
		return q.N * expr.DecimalOne, true
	case expr.Decimal:
		n = q.N
		*q = cellOf(expr.IntValue(wholeUnits(n)))
		return n, true
	}
	return 0, false // the item is left out
}

// wholeUnits returns a quantity of 10^-4 units as whole ones: what is begun counts.
func wholeUnits(n int64) int64 {
	if n < 0 {
		return -wholeUnits(-n)
	}
	return (n + expr.DecimalOne - 1) / expr.DecimalOne
}

// worth is what the items of an order add up to.
type worth struct {
	signed, unsigned *big.Int // in units of 10^-8
	lines            int
	unpriced         bool // of an item, price or quantity is not known
	negative         bool // a price is below 0
}

// price adds an item to what the order is worth.
func (f *Frame) price(price Cell, quantity int64, known bool) {
	w := &f.worth
	if w.lines++; price.K != expr.Decimal || !known {
		w.unpriced = true
		return
	}
	w.negative = w.negative || price.N < 0
	x := new(big.Int).Mul(big.NewInt(price.N), big.NewInt(quantity))
	if w.signed == nil {
		w.signed, w.unsigned = new(big.Int), new(big.Int)
	}
	w.signed.Add(w.signed, x)
	w.unsigned.Add(w.unsigned, x.Abs(x))
}

// sum returns what the items add up to in units of 10^-4, rounded half to even; false
// if there are none, or not each has a price and a quantity. back ignores signs.
func (w *worth) sum(back bool) (int64, bool) {
	if w.lines == 0 || w.unpriced || w.negative && !back {
		return 0, false
	}
	sum := w.signed
	if back {
		sum = w.unsigned
	}
	n := scalar.HalfToEven(sum, big.NewInt(expr.DecimalOne))
	return n.Int64(), n.IsInt64()
}

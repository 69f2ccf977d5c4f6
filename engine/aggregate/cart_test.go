package aggregate

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/expr"
)

func changeOf(cart string, at Millis, lines ...Line) *Sample {
	return &Sample{Stamp: Stamp{At: at, ID: fmt.Sprint("e", int64(at)), Source: "/shop"}, Cart: cart, Lines: lines}
}

func newCart() *Cart { return FamCart.New().(*Cart) }

func held(c *Cart, id string) string {
	var b strings.Builder
	for _, l := range c.Held(id, 10_000, 10_000) {
		fmt.Fprintf(&b, "%s/%s#%s*%d ", l.Product, l.Variant, l.SKU, l.Quantity)
	}
	return strings.TrimSpace(b.String())
}

// docs/semantics.md, 8.12: a customer has the 8 carts that were changed last.
func TestCartsAreBounded(t *testing.T) {
	c := newCart()
	for i := range 10 {
		c.Fold(changeOf(fmt.Sprint("k", i), Millis(100+i), Line{Product: "p", Quantity: Unit}))
	}
	// One that is older than all of them is forgotten at once.
	c.Fold(changeOf("late", 50, Line{Product: "p", Quantity: Unit}))
	if len(c.Carts) != MaxCarts || len(c.Entries) != MaxCarts || c.Carts[0].ID != "k2" {
		t.Errorf("%d carts from %s, %d entries", len(c.Carts), c.Carts[0].ID, len(c.Entries))
	}
	// A change makes an old cart one of the newest.
	c.Fold(changeOf("k2", 200, Line{Product: "q", Quantity: Unit}))
	c.Fold(changeOf("new", 201, Line{Product: "q", Quantity: Unit}))
	if held(c, "k2") == "" || held(c, "k3") != "" || held(c, "new") == "" {
		t.Errorf("carts %+v", c.Carts)
	}
	for i := range 3 * MaxCartEntries {
		c.Fold(changeOf("k2", Millis(300+i), Line{Product: fmt.Sprint("p", i), Quantity: Unit}))
	}
	if len(c.Entries) != MaxCartEntries || c.Entries[0].Product != fmt.Sprint("p", 2*MaxCartEntries) {
		t.Errorf("%d entries from %+v", len(c.Entries), c.Entries[0])
	}
}

// docs/semantics.md, 8.12: of more than 32 carts that were bought or replaced, the oldest
// clearing becomes one of all carts, so that nobody is reminded of what was bought.
func TestClearingsAreBounded(t *testing.T) {
	c := newCart()
	for i := range MaxCartClearings {
		c.Fold(&Sample{Stamp: Stamp{At: Millis(100 + i)}, Cart: fmt.Sprint("k", i), Clear: true})
	}
	if c.Cleared != None || len(c.Carts) != MaxCartClearings+1 { // and the lines without a cart
		t.Fatalf("cleared %v, %d carts", c.Cleared, len(c.Carts))
	}
	c.Fold(&Sample{Stamp: Stamp{At: 500}, Cart: "another", Clear: true})
	if c.Cleared != 100 {
		t.Fatalf("cleared %v", c.Cleared)
	}
	c.Fold(changeOf("k0", 100, Line{Product: "bought", Quantity: Unit}))
	c.Fold(changeOf("k1", 101, Line{Product: "bought", Quantity: Unit}))
	c.Fold(changeOf("k0", 101, Line{Product: "later", Quantity: Unit}))
	if held(c, "k0") != "later/#*10000" || held(c, "k1") != "" {
		t.Errorf("k0 holds %q, k1 %q", held(c, "k0"), held(c, "k1"))
	}
}

// docs/semantics.md, 8.9: lines that contradict a removal come last, in each of the three
// ids.
func TestRemovals(t *testing.T) {
	for _, tc := range []struct {
		name      string
		lines     []Line
		removal   Line
		want      string
		unmatched bool
	}{
		{"of a variant", []Line{{Product: "p", Variant: "a"}, {Product: "p", Variant: "b"}}, Line{Product: "p", Variant: "a"}, "p/b#*10000", false},
		{"of a stock unit", []Line{{Product: "p", SKU: "a"}, {Product: "p", SKU: "b"}}, Line{Product: "p", SKU: "a"}, "p/#b*10000", false},
		{"of a variant of another product", []Line{{Product: "p", Variant: "a"}, {Product: "q", Variant: "a"}}, Line{Product: "p", Variant: "a"}, "q/a#*10000", false},
		{"by the variant alone", []Line{{Product: "p", Variant: "a"}, {Product: "q", Variant: "b"}}, Line{Variant: "a"}, "q/b#*10000", false},
		{"by the stock unit, of another product", []Line{{Product: "p", SKU: "s"}, {Product: "q"}}, Line{Product: "s", SKU: "s"}, "q/#*10000", false},
		{"of a variant that is not there", []Line{{Product: "p", Variant: "a"}, {Product: "p", Variant: "b"}}, Line{Product: "p", Variant: "c"}, "p/a#*10000", false},
		{"of something else", []Line{{Product: "p"}}, Line{Product: "q"}, "p/#*10000", true},
		{"of what has no name", []Line{{Product: "p"}, {}}, Line{}, "p/#*10000", false},
	} {
		c := newCart()
		for i, l := range tc.lines {
			l.Quantity = Unit
			c.Fold(changeOf("", Millis(10+i), l))
		}
		tc.removal.Quantity = -Unit
		s := changeOf("", 20, tc.removal)
		if c.Fold(s); (s.Unmatched > 0) != tc.unmatched {
			t.Errorf("%s: %d matched nothing", tc.name, s.Unmatched)
		}
		if got := held(c, ""); got != tc.want {
			t.Errorf("%s leaves %q, want %q", tc.name, got, tc.want)
		}
	}
}

// Carts of products alone are written as they always were, and those of former versions
// are read: in pieces, in the cart without an id, in whatever order they are in.
func TestCartLayouts(t *testing.T) {
	price := expr.DecimalValue(99_000)
	plain := newCart()
	plain.Fold(&Sample{Stamp: Stamp{At: 1000}, Clear: true})
	plain.Fold(changeOf("", 1400, Line{Product: "p", Quantity: 2 * Unit, Price: price, Currency: "EUR"}, Line{Product: "q", Quantity: -Unit}))
	full := newCart()
	full.Fold(&Sample{Stamp: Stamp{At: 1000}, Cart: "k", Clear: true})
	full.Fold(changeOf("k", 1400, Line{Product: "p", Variant: "red", SKU: "p", Quantity: 15_000, Price: price, Currency: "EUR"}))
	full.Fold(changeOf("", 1450, Line{Product: "q", SKU: "s", Quantity: -Unit}))
	for name, tc := range map[string]struct {
		cart *Cart
		want string
	}{
		"plain": {plain, "01e80701c80100052f73686f70056531343030" + "02" + "c801040170" + "04f08a0c03455552" + "c801010171" + "0000"},
		"full":  {full, "020002" + "0001e807016400052f73686f70056531343530" + "016b01e80701c80100052f73686f70056531343030" + "02" + "c8011b01b0ea01017003726564" + "04f08a0c03455552" + "64040101710173" + "0000"},
	} {
		b := tc.cart.Append(nil, testAt)
		if got := hex.EncodeToString(b); got != tc.want {
			t.Errorf("%s: the bytes of a cart changed: former customers would not be read\n got %s\nwant %s", name, got, tc.want)
		}
		raw, err := hex.DecodeString(tc.want)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := decode(FamCart, raw); err != nil || !reflect.DeepEqual(c, tc.cart) {
			t.Errorf("%s: read as %+v (%v), want %+v", name, c, err, tc.cart)
		}
	}
	// Entries of one instant were once sorted by quantity, the largest first.
	former := newCart()
	former.Fold(changeOf("", 1400, Line{Product: "a", Quantity: Unit}, Line{Product: "b", Quantity: 3 * Unit}))
	text := "0001c80100052f73686f70056531343030" + "02" + "c8010601620000" + "c8010201610000"
	raw, _ := hex.DecodeString(text)
	if c, err := decode(FamCart, raw); err != nil || !reflect.DeepEqual(c, former) {
		t.Errorf("read as %+v (%v), want %+v", c, err, former)
	}
	for _, bad := range []string{"0200", "020000", "02000000", "0200000001" + "c8010100" + "0201700000"} {
		raw, _ := hex.DecodeString(bad)
		if c, err := decode(FamCart, raw); err == nil {
			t.Errorf("%s is read as %+v", bad, c)
		}
	}
}

// docs/semantics.md, 8.11: a value that does not fit a decimal is unknown.
func TestWorthOfMuch(t *testing.T) {
	much := Line{Quantity: maxPieces, Price: expr.DecimalValue(1 << 62), Currency: "EUR"}
	if v, currency := Worth([]Line{much, much}); v.Present() || currency != "EUR" {
		t.Errorf("worth %v %s", v, currency)
	}
	if v, _ := Worth([]Line{{Quantity: 5_000, Price: expr.DecimalValue(-1)}}); v.N != 0 || !v.Present() {
		t.Errorf("half of -0.0001 is %v", v)
	}
}

package schemas

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
)

// moneyReader reads purchases and web events with what the rules say of money.
func moneyReader(t *testing.T, reading plan.Reading) (r *Reader, notes *[]Note) {
	t.Helper()
	notes = new([]Note)
	r, err := NewReader(Config{
		Catalog: readingCatalog(),
		Layouts: func(s plan.Stream) *plan.Layout { return &plan.Layout{Stream: s, Paths: readingPaths(s)} },
		Topics:  topics, Reading: reading,
		Noted: func(_ string, n *Note) { *notes = append(*notes, *n) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return r, notes
}

// docs/semantics.md, 10.11 and 10.12: random events are converted as exact fractions say.
func TestMoneyIsConverted(t *testing.T) {
	rates := map[string]string{"USD": "0.9237", "JPY": "0.0061", "KWD": "3.0712345678"}
	reading := plan.Reading{Currency: "EUR", Rates: map[string]expr.Rate{}}
	for code, text := range rates {
		reading.Rates[code], _ = expr.ParseRate(text)
	}
	r, notes := moneyReader(t, reading)
	rnd := rand.New(rand.NewPCG(7, 7))
	pick := func(l ...string) string { return l[rnd.IntN(len(l))] }
	for i := range 2_000 {
		code := pick("", "EUR", "eur", "USD", "usd", "Jpy", "KWD", "CHF", "null")
		revenue, price := rnd.Int64N(1e9), rnd.Int64N(1e7)
		js := fmt.Sprintf(`{"event_id":"e%d","customer_id":"c","occurred_at":"2026-03-01T12:00:00Z","kind":%q,"revenue":%s,`+
			`"items":[{"product_id":"p","quantity":2,"price":%s},{"product_id":"q","amount":1.5}],"currency":%q}`,
			i, pick("completed", "refunded"), fraction(revenue), fraction(price), code)
		*notes = nil
		var ev engine.Event
		if _, err := r.Read(&Record{Topic: topicOf(plan.Purchase), Value: []byte(js)}, &ev); err != nil {
			t.Fatal(err)
		}
		is, upper := "EUR", strings.ToUpper(code)
		rate, ok := rates[upper]
		if upper == "" || upper == "EUR" || upper == "NULL" {
			rate, ok = "1", true
		}
		want := func(n int64) expr.Value {
			if !ok {
				return expr.Value{}
			}
			return expr.DecimalValue(exactly(n, rate))
		}
		if !ok {
			is = upper
		}
		items := slotOf(&ev, "items").L
		got := []expr.Value{slotOf(&ev, "revenue"), lineField(items[0], "price"), lineField(items[1], "price"), slotOf(&ev, "currency"), lineField(items[1], "amount")}
		for j, w := range []expr.Value{want(revenue), want(price), {}, expr.StringValue(is), expr.DecimalValue(15_000)} {
			if !expr.Identical(got[j], w) {
				t.Fatalf("%s: %d is %v, want %v", js, j, got[j], w)
			}
		}
		if counted := len(*notes) == 1 && (*notes)[0].Kind == bad.NoRate && (*notes)[0].Field == "CHF"; counted == ok || len(*notes) > 1 {
			t.Fatalf("%s: %v", js, *notes)
		}
	}
}

// fraction writes units of 10^-4.
func fraction(n int64) string { return fmt.Sprintf("%d.%04d", n/10_000, n%10_000) }

// exactly returns an amount times a rate, rounded half to even.
func exactly(n int64, rate string) int64 {
	x, _ := new(big.Rat).SetString(rate)
	x.Mul(x, new(big.Rat).SetInt64(n))
	below := new(big.Int).Div(x.Num(), x.Denom())
	if c := new(big.Rat).Sub(x, new(big.Rat).SetInt(below)).Cmp(big.NewRat(1, 2)); c > 0 || c == 0 && below.Bit(0) == 1 {
		below.Add(below, big.NewInt(1))
	}
	return below.Int64()
}

// docs/semantics.md, 10.13: without a default currency amounts are as they are, and what
// is not in the currency of a topic's first ones is counted.
func TestMixedCurrencies(t *testing.T) {
	r, notes := moneyReader(t, plan.Reading{})
	read := func(s plan.Stream, rest string) string {
		var ev engine.Event
		js := `{"event_id":"e","customer_id":"c","occurred_at":"2026-03-01T12:00:00Z",` + rest + `}`
		*notes = nil
		if _, err := r.Read(&Record{Topic: topicOf(s), Value: []byte(js)}, &ev); err != nil {
			t.Fatal(err)
		}
		mixed := ""
		for _, n := range *notes {
			if n.Kind == bad.Mixed {
				mixed = " mixed"
			}
		}
		return amountsOf(&ev) + mixed
	}
	for i, c := range []struct {
		stream     plan.Stream
		rest, want string
	}{
		{plan.Purchase, `"currency":"CHF"`, "CHF"}, // no amount
		{plan.Purchase, `"revenue":1`, "1.00 "},
		{plan.Purchase, `"revenue":1,"currency":"EUR"`, "1.00 EUR"},
		{plan.Purchase, `"revenue":1,"currency":"eur"`, "1.00 EUR"},
		{plan.Purchase, `"revenue":1,"currency":"USD"`, "1.00 USD mixed"},
		{plan.Purchase, `"revenue":1,"currency":"USD"`, "1.00 USD mixed"},
		{plan.Purchase, `"currency":"USD"`, "USD"},
		{plan.Web, `"name":"n","value":1,"currency":"USD"`, "1.00 USD"}, // another topic
		{plan.Web, `"name":"n","items":[{"product_id":"p","price":2}],"currency":"EUR"`, "1x2.00 EUR mixed"},
	} {
		if got := read(c.stream, c.rest); got != c.want {
			t.Errorf("%d: %q, want %q", i, got, c.want)
		}
	}
}

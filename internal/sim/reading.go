package sim

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// reading says how records are read. It begins the text of the rules.
func (g *grammar) reading() {
	to := &g.spec.Reading
	currency, rates, dedup := "", []string{}, []string{}
	if chance(g.r, 50) {
		to.Currency = pick(g.r, "EUR", "EUR", "USD")
		currency = ", currency: " + to.Currency
	}
	for _, code := range []string{"EUR", "USD", "JPY"} { // of others there is no rate
		text := pick(g.r, "0.92", "1", "0.5", "0.0061", "1.0869565217", "2.5")
		rate, _ := expr.ParseRate(text)
		if to.Currency == "" || code == to.Currency || chance(g.r, 20) {
			continue
		}
		if to.Rates == nil {
			to.Rates = map[string]expr.Rate{}
		}
		to.Rates[code] = rate
		rates = append(rates, code+": "+text)
	}
	if chance(g.r, 40) {
		to.Dedup = map[string]Millis{}
		for _, s := range []plan.Stream{plan.Web, plan.Email, plan.Purchase} {
			d := pick(g.r, 6*Hour, Day, 2*Day, 10*Day, 60*Day)
			to.Dedup[s.String()] = d
			dedup = append(dedup, s.String()+": "+expr.FormatDuration(d))
		}
	}
	fmt.Fprintf(&g.text, "version: 1\ndefaults: {timezone: %s%s}\n", g.spec.Zone, currency)
	if len(rates)+len(dedup) > 0 {
		fmt.Fprintf(&g.text, "readings: {rates: {%s}, dedup: {%s}}\n", strings.Join(rates, ", "), strings.Join(dedup, ", "))
	}
}

// amounts are the fields that are money, beside the prices of items.
var amounts = []string{"revenue", "total", "discount", "subtotal", "tax", "shipping", "value"}

// AsRead returns what a record means under a rule set: revenue is derived, amounts are
// converted, and items of nothing are left out. The record shares nothing with r that
// changes.
func AsRead(s *plan.Spec, r Record) Record {
	fields := map[string]expr.Value{}
	for path, v := range r.Fields {
		fields[path] = v
	}
	r.Fields = fields
	if r.Stream != plan.Web && r.Stream != plan.Purchase {
		return r
	}
	derive(&r)
	r.leaveOut(lineItemOf(s))
	r.convert(&s.Reading, lineItemOf(s).price)
	return r
}

// derive gives an order without revenue that of its other amounts. Orders have no items
// here.
func derive(r *Record) {
	kind := r.Fields["kind"].S
	if r.Stream != plan.Purchase || r.Fields["revenue"].Present() || kind != "completed" && kind != "refunded" {
		return
	}
	of := r.Fields["subtotal"]
	if total := r.Fields["total"]; !of.Present() && total.Present() {
		of = expr.DecimalValue(total.N - r.Fields["tax"].N - r.Fields["shipping"].N)
	}
	if !of.Present() {
		of = r.Fields["value"]
	}
	if of.Present() {
		r.Fields["revenue"] = of
	}
}

// leaveOut leaves out items whose quantity is 0. If that leaves none, nobody knows what the
// event was about, which is another thing than an event that has none.
func (r *Record) leaveOut(at lineItem) {
	items := r.Fields["items"]
	if len(items.L) == 0 {
		r.Fields["items"] = expr.ListValue(nil)
		return
	}
	kept := slices.DeleteFunc(slices.Clone(items.L), func(it expr.Value) bool {
		quantity := it.L[at.quantity]
		if a := it.L[at.amount]; a.Present() {
			quantity = a
		}
		return quantity.N == 0
	})
	if r.Fields["name"].S == removed { // which says that something is taken back
		for i := range kept {
			kept[i] = expr.RecordValue(slices.Clone(kept[i].L))
			for _, part := range []*expr.Value{&kept[i].L[at.quantity], &kept[i].L[at.amount]} {
				part.N = max(part.N, -part.N)
			}
		}
	}
	if delete(r.Fields, "items"); len(kept) > 0 {
		r.Fields["items"] = expr.ListValue(kept)
	}
}

// convert gives the record's amounts in the default currency, if there is one.
func (r *Record) convert(reading *plan.Reading, price int) {
	code := strings.ToUpper(strings.TrimSpace(r.Fields["currency"].S))
	if delete(r.Fields, "currency"); code != "" {
		r.Fields["currency"] = expr.StringValue(code)
	}
	if reading.Currency == "" {
		return
	}
	rate, known := new(big.Rat).SetInt64(1), true
	if code != "" && code != reading.Currency {
		_, known = reading.Rates[code]
		rate.SetString(reading.Rates[code].String())
	}
	if known {
		r.Fields["currency"] = expr.StringValue(reading.Currency)
	}
	in := func(v expr.Value) expr.Value {
		if !v.Present() || !known {
			return expr.Value{}
		}
		return expr.DecimalValue(nearest(new(big.Rat).Mul(rate, new(big.Rat).SetInt64(v.N))))
	}
	for _, path := range amounts {
		if v, ok := r.Fields[path]; ok {
			if delete(r.Fields, path); in(v).Present() {
				r.Fields[path] = in(v)
			}
		}
	}
	items, ok := r.Fields["items"]
	if !ok {
		return
	}
	own := make([]expr.Value, len(items.L))
	for i, it := range items.L {
		l := slices.Clone(it.L)
		l[price] = in(l[price])
		own[i] = expr.RecordValue(l)
	}
	r.Fields["items"] = expr.ListValue(own)
}

package rule

import (
	"maps"
	"slices"
	"strconv"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/rule/file"
)

// setReading sets how records are read.
func (c *compiler) setReading(r *file.Reading) {
	to := &c.spec.Reading
	if r.Currency != nil {
		to.Currency = r.Currency.Text
	}
	for _, code := range slices.Sorted(maps.Keys(r.Rates)) {
		rate := r.Rates[code]
		switch {
		case to.Currency == "":
			c.FailHint(rate.At, "add defaults: {currency: EUR}, with the currency that amounts are converted to", "there is a rate of %s and no default currency", code)
		case code == to.Currency:
			c.FailHint(rate.At, "remove it", "%s is the default currency, which needs no rate", code)
		}
		if to.Rates == nil {
			to.Rates = map[string]expr.Rate{}
		}
		to.Rates[code] = rate.Value
	}
	names := c.spec.Streams().Names()
	for _, name := range slices.Sorted(maps.Keys(r.Dedup)) {
		d := r.Dedup[name]
		if _, ok := c.spec.Streams().ByName(name); !ok {
			c.FailHint(d.At, file.DidYouMean(name, names), "there is no stream %s", strconv.Quote(name))
			continue
		}
		if to.Dedup == nil {
			to.Dedup = map[string]expr.Millis{}
		}
		to.Dedup[name] = d.Value
	}
	if r.Earliest != nil {
		to.Earliest = &r.Earliest.Value
	}
}

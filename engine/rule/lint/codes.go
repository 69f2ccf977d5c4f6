package lint

import (
	"strconv"
	"strings"

	"golang.org/x/text/currency"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
)

// Code warns of a text that is compared with a field of codes, a country or a currency of
// the schemas, and is none.
func (l *Linter) Code(at file.Place, value string, with *expr.Node, f *expr.Type) {
	path := with.Path
	if with.Op == expr.OpInput {
		path = l.Spec.Inputs[with.Ref].Field
	}
	if f.Own != "" {
		return
	}
	switch path {
	case "country":
		if !isCountry(value) {
			l.Log.Warn(at, file.UnusualValue.Hint(countryHint(value)), "%s is not a country code of ISO 3166", strconv.Quote(value))
		}
	case "currency":
		if _, err := currency.ParseISO(value); err != nil || strings.ToUpper(value) != value {
			l.Log.Warn(at, file.UnusualValue.Hint(`write its code, such as "EUR"`), "%s is not a currency code of ISO 4217", strconv.Quote(value))
		}
	}
}

func isCountry(code string) bool {
	r, err := language.ParseRegion(code)
	return err == nil && len(code) == 2 && r.IsCountry() && r.Canonicalize().String() == code
}

// countryHint finds the code of a country by its English name, or by one in small letters.
func countryHint(value string) string {
	if up := strings.ToUpper(value); isCountry(up) {
		return "write " + strconv.Quote(up)
	}
	if r, err := language.ParseRegion(value); err == nil && isCountry(r.Canonicalize().String()) {
		return "write " + strconv.Quote(r.Canonicalize().String())
	}
	names := display.English.Regions()
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string(a) + string(b)
			if isCountry(code) && strings.EqualFold(names.Name(language.MustParseRegion(code)), value) {
				return "write " + strconv.Quote(code)
			}
		}
	}
	return `write its code of two letters, such as "FR"`
}

// Money warns of amounts in whatever currency that are added or compared as if they were in
// one. in is an aggregate over a field of type t.
func (l *Linter) Money(at file.Place, in *plan.Input, t *expr.Type) {
	if l.Spec.Reading.Currency != "" || !t.IsMoney() || in.Agg.Takes != plan.TakesNumber {
		return
	}
	for _, s := range in.Sources {
		if s.Cond != nil && strings.Contains(s.Cond.Text(nil), ".currency ") {
			return
		}
	}
	l.Log.Warn(at, file.MixedCurrency.Hint("write defaults: {currency: EUR}, with the currency that you sell in"),
		"amounts in different currencies are taken as they are: 100 JPY count as much as 100 EUR")
}

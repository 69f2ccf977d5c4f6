package suggest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/segmill/segmill/schemas/scalar"
)

// numeric reports whether all values of a path are numbers.
func (p *sampled) numeric() bool {
	for text := range p.values {
		if _, ok, err := scalar.ParseNumber([]byte(text)); !ok || err != nil {
			return false
		}
	}
	return len(p.values) > 0
}

// asTotal ranks a path as that of what an order is worth.
func asTotal(p *sampled) int {
	if p.isList || !p.numeric() || p.ofPerson() || isID(p.last()) {
		return no
	}
	last := strings.TrimSuffix(strings.TrimSuffix(squeezed(p.last()), "cents"), "minor")
	if i := slices.Index(totalWords, last); i >= 0 && last != "amount" {
		return i
	}
	if i := slices.Index(totalWords, squeezed(p.above())); i >= 0 && isOf(p.last(), amountWords) {
		return i
	}
	if last == "amount" {
		return len(totalWords)
	}
	return no
}

// asPrice ranks a path in a list as that of a price.
func asPrice(p *sampled) int {
	switch {
	case p.isList || !p.numeric():
	case slices.Contains(priceWords, squeezed(p.last())):
		return 0
	case slices.Contains(priceWords, squeezed(p.above())) && isOf(p.last(), amountWords):
		return 1
	}
	return no
}

// asCount ranks a path in a list as that of how many there are.
func asCount(p *sampled) int {
	if !p.isList && p.numeric() && slices.Contains(countWords, squeezed(p.last())) {
		return 0
	}
	return no
}

// asProduct ranks a path in a list as that of a product.
func asProduct(p *sampled) int {
	last := squeezed(p.last())
	switch {
	case p.isList:
	case isID(p.last()) && isOf(p.last(), goodsWords) && !strings.Contains(last, "variant"):
		return 0
	case slices.Contains(idWords, last) && isOf(p.above(), goodsWords):
		return 1
	case last == "sku" || last == "ean" || last == "gtin":
		return 2
	case slices.Contains(goodsWords, last):
		return 3
	case slices.Contains(idWords, last) && len(p.names) == 2:
		return 4
	}
	return no
}

// code is the form of a currency.
var code = regexp.MustCompile(`^[A-Za-z]{3}$`)

// asCurrency ranks a path as that of a currency.
func asCurrency(p *sampled) int {
	if p.isList || !isOf(p.last(), strings.Fields("currency waehrung währung devise moneda valuta")) {
		return no
	}
	for text := range p.values {
		if !code.MatchString(text) {
			return no
		}
	}
	return 0
}

// lines returns the list of what was ordered, "" if there is none: the first whose
// elements have prices, else one whose elements are products.
func (s *sample) lines() string {
	products := ""
	for _, key := range slices.Sorted(maps.Keys(s.paths)) {
		list := s.paths[key].list
		if list == "" {
			continue
		}
		if s.best(list, asPrice) != nil {
			return list
		}
		if products == "" && s.best(list, asCount) != nil && s.best(list, asProduct) != nil {
			products = list
		}
	}
	return products
}

// stream returns the stream that the records are of; sure is false if nothing shows it.
func (s *sample) stream() (name string, sure bool) {
	list := s.lines()
	seen := func(l ...string) (n int) {
		for _, w := range l {
			if slices.ContainsFunc(slices.Collect(maps.Keys(s.paths)), func(key string) bool { return strings.Contains(strings.ToLower(key), w) }) {
				n++
			}
		}
		return n
	}
	visits := seen("url", "page", "referrer", "session", "user_agent", "useragent", "utm")
	priced := list != "" && s.best(list, asPrice) != nil
	if s.best("", asTotal) != nil && visits < 3 || priced && visits == 0 {
		return "purchase", true
	}
	best, most := "web", visits
	for _, x := range []struct {
		name string
		n    int
	}{
		{"purchase", seen("line_items", "lineitems", "currency", "order", "refund", "payment", "bestell", "rechnung")},
		{"email", seen("email_id", "campaign", "bounce", "open", "click", "subject")},
		{"profile", seen("first_name", "last_name", "birth", "language", "country", "traits", "phone")},
	} {
		if x.n > most {
			best, most = x.name, x.n
		}
	}
	return best, most > 0
}

// inCents reports whether a path says that its amounts are in the smallest unit.
func inCents(p *sampled) bool {
	return slices.ContainsFunc(p.names[1:], func(name string) bool { return isOf(name, []string{"cents", "minor"}) })
}

// money writes an amount.
func money(p, currency *sampled) string {
	switch {
	case !inCents(p):
		return p.String()
	case currency == nil:
		return p.String() + " / 100"
	}
	return fmt.Sprintf("minor(%s, %s)", p, currency)
}

// order writes the fields of an order: what it is worth, and what was bought.
func (s *sample) order(b *strings.Builder) {
	currency := s.best("", asCurrency)
	if total := s.best("", asTotal); total != nil {
		fmt.Fprintf(b, "      revenue: %s # without shipping and tax, if you have that\n", quoted(money(total, currency)))
	}
	if currency != nil {
		fmt.Fprintf(b, "      currency: %s\n", quoted(currency.String()))
	}
	if list := s.lines(); list != "" {
		s.items(b, list, currency)
	}
	if p := s.best("", asStatus); p != nil {
		fmt.Fprintf(b, "      # kind: is an order completed, refunded or cancelled? %s is one of %s\n", p, strings.Join(slices.Sorted(maps.Keys(p.values)), ", "))
	}
}

// items writes what was bought.
func (s *sample) items(b *strings.Builder, list string, currency *sampled) {
	product := s.best(list, asProduct)
	if product == nil {
		fmt.Fprintf(b, "      # items: nothing in %s looks like the id of a product\n", list)
		return
	}
	members := []string{fmt.Sprintf(`"product_id": %s`, product)}
	if p := s.best(list, asPrice); p != nil {
		members = append(members, `"price": `+money(p, currency))
	}
	if p := s.best(list, asCount); p != nil {
		members = append(members, fmt.Sprintf(`"quantity": %s`, p))
	}
	fmt.Fprintf(b, "      items: %s\n", quoted(fmt.Sprintf("%s.map(%s, {%s})", list, element, strings.Join(members, ", "))))
}

// asStatus ranks a path as that of what became of an order.
func asStatus(p *sampled) int {
	const most = 6 // values
	if p.isList || p.ofPerson() || len(p.values) > most || !slices.ContainsFunc(slices.Collect(maps.Keys(p.values)), word.MatchString) {
		return no
	}
	return slices.Index(strings.Fields("status state kind type"), squeezed(p.last()))
}

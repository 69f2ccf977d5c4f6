package suggest

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Words of names by what they are of, in the languages that shops are written in most.
// They are compared with names without case and signs.
var (
	idWords     = strings.Fields("id uuid guid number num no nr nummer numero ref reference")
	eventWords  = strings.Fields("event message msg")
	orderWords  = strings.Fields("order purchase transaction invoice receipt booking ticket bestell auftrag rechnung beleg commande pedido ordine")
	buyerWords  = strings.Fields("customer kunde kunden buyer shopper purchaser kaeufer käufer client cliente klant kd")
	personWords = strings.Fields("user member account contact requester subscriber recipient profile person guest visitor")
	totalWords  = strings.Fields("revenue net subtotal total totalprice totalamount grandtotal ordertotal amount gesamt gesamtpreis gesamtbetrag gesamtsumme summe betrag umsatz")
	amountWords = strings.Fields("amount value net gross netto brutto cents minor betrag wert price")
	priceWords  = strings.Fields("price unitprice unitamount itemprice preis einzelpreis stueckpreis prix precio prezzo cents pricecents priceminor unitpricecents")
	countWords  = strings.Fields("quantity qty pieces menge anzahl count units stueck")
	goodsWords  = strings.Fields("product article item sku artikel produkt produit producto prodotto variant") //nolint:misspell // it is Spanish
	timeWords   = strings.Fields("occurredat timestamp eventtime orderedat ordered placedat placed purchasedat paidat closedat completedat processedat orderdate bestelltam bestelldatum createdat created erstelltam erstellt date datum time zeit zeitpunkt ts updatedat")
)

// squeezed is a name without case and signs: order_No is orderno.
func squeezed(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// hump is where a word begins within a name.
var hump = regexp.MustCompile(`([\p{Ll}\d])(\p{Lu})`)

// words are the words of a name: orderNo is order and no.
func words(name string) []string {
	return strings.FieldsFunc(strings.ToLower(hump.ReplaceAllString(name, "${1}_${2}")), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// isOf reports whether a name has one of words in it.
func isOf(name string, of []string) bool {
	s := squeezed(name)
	return slices.ContainsFunc(of, func(w string) bool { return strings.Contains(s, w) && (len(w) > 3 || strings.HasPrefix(s, w)) })
}

// isID reports whether a name is that of an id: its last word says so, or it is run
// together with a word of what it is an id of.
func isID(name string) bool {
	l := words(name)
	if len(l) == 0 {
		return false
	}
	last := l[len(l)-1]
	if slices.Contains(idWords, last) {
		return true
	}
	return slices.ContainsFunc(idWords, func(w string) bool {
		of, ok := strings.CutSuffix(last, w)
		return ok && (isOf(of, eventWords) || isOf(of, orderWords) || isOf(of, buyerWords) || isOf(of, personWords) || isOf(of, goodsWords))
	})
}

// ofPerson reports whether a path is of a customer, or of something of one.
func (p *sampled) ofPerson() bool {
	return slices.ContainsFunc(p.names[1:], func(name string) bool { return isOf(name, buyerWords) || isOf(name, personWords) })
}

// unique reports whether no value came twice.
func (p *sampled) unique() bool { return len(p.values) == p.n }

// asID ranks a path as that of event_id.
func (s *sample) asID(p *sampled) int {
	if p.isList || p.ofPerson() || !isID(p.last()) {
		return no
	}
	rank := 4 // of something else
	switch last := p.last(); {
	case isOf(last, eventWords) || slices.Contains([]string{"uuid", "guid"}, squeezed(last)):
		rank = 0
	case slices.Contains(idWords, squeezed(last)) && len(p.names) == 2:
		rank = 1
	case isOf(last, orderWords), slices.Contains(idWords, squeezed(last)) && isOf(p.above(), append(orderWords, eventWords...)):
		rank = 2
	}
	switch {
	case p.unique() && p.n >= s.records:
		return rank
	case rank < 4: // records that came twice, or are several of one order
		return rank + 5
	}
	return no
}

// asCustomer ranks a path as that of customer_id.
func asCustomer(p *sampled) int {
	if p.isList || !p.ofPerson() && p.mails == 0 || strings.Contains(squeezed(p.String()), "anonymous") {
		return no
	}
	of := p.above()
	if isOf(p.last(), buyerWords) || isOf(p.last(), personWords) {
		of = p.last()
	}
	rank := 1
	if isOf(of, buyerWords) {
		rank = 0
	}
	known := isOf(of, buyerWords) || isOf(of, personWords)
	switch {
	case p.mails == p.n:
		if of == p.last() || p.ofPerson() {
			return 4
		}
		return 5
	case known && isID(p.last()) && (of == p.last() || slices.Contains(idWords, squeezed(p.last()))):
		return rank
	case known && of == p.last() && (slices.Contains(buyerWords, squeezed(of)) || slices.Contains(personWords, squeezed(of))):
		return 2 + rank
	}
	return no
}

// asTime ranks a path as that of occurred_at.
func (s *sample) asTime(p *sampled) int {
	if p.isList || p.n == 0 || p.times < p.n || p.ofPerson() || isID(p.last()) {
		return no
	}
	rank := len(timeWords)
	if i := slices.Index(timeWords, squeezed(p.last())); i >= 0 {
		rank = i
	}
	if p.n < s.records { // one that every record has is better
		rank += 2 * len(timeWords)
	}
	return rank
}

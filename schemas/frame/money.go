package frame

import (
	"bytes"
	"sort"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/scalar"
)

// Money says where the amounts of a stream are, and the currency that they are in.
// Quantities are no amounts.
type Money struct {
	Currency *Field
	Amounts  []*Field // those that are read, without the prices of items
	Default  Cell     // the code of the default currency, if there is one
}

// convert gives amounts of another currency than the default one in that one. It is done
// last, so that what was derived is rounded once more and not several times.
func (f *Frame) convert() *bad.Input {
	m := f.Target.Money
	if m == nil {
		return nil
	}
	c := &f.Vals[m.Currency.Place]
	code := f.code(c)
	switch {
	case f.settings.Currency == "":
		f.currency = code
		return nil
	case len(code) == 0:
		*c = m.Default
		return nil
	case string(code) == f.settings.Currency:
		return nil
	}
	rate, ok := f.settings.Rates[string(code)]
	if !ok {
		if f.amounts(func(_ *Field, c *Cell) { *c = Cell{} }) > 0 {
			f.Note(bad.Note{Kind: bad.NoRate, Field: label(code), Name: m.Currency.Path, Detail: bad.Clip(code)})
		}
		return nil
	}
	var fault *bad.Input
	f.amounts(func(fd *Field, c *Cell) {
		n, ok := rate.Of(c.N)
		if c.N = n; ok || fault != nil {
			return
		}
		fault = f.Refuse(fd, c, bad.New(bad.Range, fd.Path, "the amount is out of range in %s", f.settings.Currency))
	})
	*c = m.Default
	return fault
}

// amounts calls do with every amount of the event, and returns how many there are.
func (f *Frame) amounts(do func(*Field, *Cell)) (n int) {
	one := func(fd *Field, c *Cell) {
		if c.K != expr.Decimal {
			return
		}
		if n++; do != nil {
			do(fd, c)
		}
	}
	for _, fd := range f.Target.Money.Amounts {
		one(fd, &f.Vals[fd.Place])
	}
	items := f.Target.Items
	if items == nil {
		return n
	}
	width, at := len(items.Elem.Fields), items.Elem.Item[Price]
	from, count := unspan(f.Vals[items.Place].N)
	for i := range count {
		one(&items.Elem.Fields[at], &f.Cells[from+i*width+at])
	}
	return n
}

// code returns the code of the event's currency in capitals, empty if there is none, and
// writes it so to the event.
func (f *Frame) code(c *Cell) []byte {
	if c.K != expr.String || c.N <= 0 {
		*c = Cell{}
		return nil
	}
	from, n := unspan(c.N)
	text := f.buf[from : from+n]
	if isCode(text) { // as most are
		return text
	}
	code := bytes.TrimSpace(text)
	if scalar.Placeholder(code, nil) {
		*c = Cell{}
		return nil
	}
	if len(code) != codeLength || bytes.ContainsFunc(code, notALetter) {
		return text // it has no rate, whatever it is
	}
	for i := range code {
		code[i] &^= 'a' - 'A'
	}
	c.N = span(from+bytes.Index(text, code), len(code))
	return code
}

// isCode reports whether a text is a currency's code in capitals that means something: the
// placeholders NIL and NAN do not.
func isCode(b []byte) bool {
	if len(b) != codeLength || string(b) == "NIL" || string(b) == "NAN" {
		return false
	}
	capital := func(c byte) bool { return c >= 'A' && c <= 'Z' }
	return capital(b[0]) && capital(b[1]) && capital(b[2])
}

// notALetter reports whether a rune is in no code of a currency.
func notALetter(r rune) bool { return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }

// codeLength is how many letters the code of a currency has.
const codeLength = 3

// label returns what a currency is counted as: its code if it may be one. It allocates
// nothing.
func label(code []byte) string {
	if isCode(code) {
		const width = codeLength + 1
		at := func(i int) string { return known[i*width : i*width+codeLength] }
		n := len(known) / width
		if i := sort.Search(n, func(i int) bool { return at(i) >= string(code) }); i < n && at(i) == string(code) {
			return at(i)
		}
	}
	return "other"
}

// Mixed returns the note that amounts are in another currency than those before.
func Mixed(code []byte) bad.Note {
	n := bad.Note{Kind: bad.Mixed, Field: "currency", Name: "currency", Detail: label(code)}
	if n.Detail == "other" {
		n.Detail = bad.Clip(code)
	}
	return n
}

// known are the codes of ISO 4217 that are counted apart: what producers make up does not
// become a label. They are sorted, with a blank after each.
const known = "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLF CLP CNY " +
	"COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK " +
	"JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD " +
	"NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL " +
	"THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG "

// Currency returns the currency of the event where no default is written; empty if it has
// none. It is valid until the next event.
func (f *Frame) Currency() []byte { return f.currency }

// HasAmounts reports whether the event, which has a currency, has any amount.
func (f *Frame) HasAmounts() bool { return f.amounts(nil) > 0 }

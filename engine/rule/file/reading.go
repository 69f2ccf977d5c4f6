package file

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/expr"
)

// Reading is what all files say of how records are read: of each key one value, which
// later files may repeat and not change.
type Reading struct {
	Currency *Passage
	Rates    map[string]Setting[expr.Rate]   // by code in upper case
	Dedup    map[string]Setting[expr.Millis] // by the name of the stream, which is not checked yet
	Earliest *Setting[expr.Millis]
}

// Setting is a value, and the place of its key in the file that sets it.
type Setting[T any] struct {
	At    *Passage
	Value T
}

var readingWords = words{known: []string{"dedup", "rates", "min_event_time"}}

func (r *reader) readings(n *yaml.Node) {
	s, ok := r.section(n, "readings", readingWords)
	if !ok {
		return
	}
	r.rates(s.vals["rates"])
	r.dedup(s.vals["dedup"])
	r.minEventTime(r.scalar(s, "min_event_time"))
}

// codeForm is what an ISO 4217 code looks like.
var codeForm = regexp.MustCompile(`^[A-Za-z]{3}$`)

// code returns a currency's code in upper case, false if the text is none.
func (r *reader) code(p *Passage) (string, bool) {
	if !codeForm.MatchString(p.Text) {
		r.FailHint(p, "write its ISO 4217 code, such as EUR", "%s is not a currency", strconv.Quote(p.Text))
		return "", false
	}
	return strings.ToUpper(p.Text), true
}

// currency reads defaults.currency.
func (r *reader) currency(p *Passage) {
	if p == nil {
		return
	}
	code, ok := r.code(p)
	if !ok {
		return
	}
	p.Text = code
	if prev := r.doc.Reading.Currency; prev != nil && prev.Text != code {
		r.Fail(p, "the default currency is %s here and %s in %s", code, prev.Text, Where(prev))
		return
	}
	r.doc.Reading.Currency = p
}

func (r *reader) rates(n *yaml.Node) {
	r.each(n, "rates", func(key, val *Passage) {
		code, ok := r.code(key)
		if !ok {
			return
		}
		rate, ok := expr.ParseRate(val.Text)
		if !ok {
			r.FailHint(val, "write what one "+code+" is worth in the default currency, such as 0.92", "%s is not a rate: a decimal number above 0, up to %s, with at most ten digits after the point", strconv.Quote(val.Text), expr.MaxRate)
			return
		}
		once(r, &r.doc.Reading.Rates, code, Setting[expr.Rate]{key, rate}, "the rate of "+code)
	})
}

// Bounds of what is remembered of ids.
const (
	minDedup = expr.Millis(3_600_000)
	maxDedup = 90 * 24 * expr.Millis(3_600_000)
)

var dedupForm = regexp.MustCompile(`^([0-9]{1,5})(h|d|w)$`)

func (r *reader) dedup(n *yaml.Node) {
	units := map[string]expr.Millis{"h": minDedup, "d": 24 * minDedup, "w": 7 * 24 * minDedup}
	r.each(n, "dedup", func(key, val *Passage) {
		m := dedupForm.FindStringSubmatch(val.Text)
		if m == nil {
			r.FailHint(val, "write a duration such as 36h, 30d or 2w", "%s is not a duration of hours, days or weeks", strconv.Quote(val.Text))
			return
		}
		count, _ := strconv.Atoi(m[1])
		d := expr.Millis(count) * units[m[2]]
		if d < minDedup || d > maxDedup {
			r.FailHint(val, "write 1h to 90d", "event ids cannot be remembered for %s", val.Text)
			return
		}
		once(r, &r.doc.Reading.Dedup, key.Text, Setting[expr.Millis]{key, d}, "dedup of "+key.Text)
	})
}

func (r *reader) minEventTime(p *Passage) {
	if p == nil {
		return
	}
	day, err := time.Parse(time.DateOnly, p.Text)
	if err != nil {
		r.FailHint(p, "write a date such as 1990-01-01", "%s is not a date", strconv.Quote(p.Text))
		return
	}
	at := expr.MillisOf(day)
	if prev := r.doc.Reading.Earliest; prev != nil && prev.Value != at {
		r.Fail(p, "min_event_time is also set in %s, to another value", Where(prev.At))
		return
	}
	r.doc.Reading.Earliest = &Setting[expr.Millis]{p, at}
}

// each calls do with each key of a mapping and its text.
func (r *reader) each(n *yaml.Node, what string, do func(key, val *Passage)) {
	if n == nil {
		return
	}
	s, ok := r.section(n, what, words{any: true})
	if !ok {
		return
	}
	for _, key := range s.order {
		if val := r.scalar(s, key.Text); val != nil {
			do(key, val)
		}
	}
}

// once sets one entry, unless another file has set it to another value.
func once[T comparable](r *reader, m *map[string]Setting[T], key string, v Setting[T], what string) {
	if prev, ok := (*m)[key]; ok && prev.Value != v.Value {
		r.Fail(v.At, "%s is also set in %s, to another value", what, Where(prev.At))
		return
	}
	if *m == nil {
		*m = map[string]Setting[T]{}
	}
	(*m)[key] = v
}

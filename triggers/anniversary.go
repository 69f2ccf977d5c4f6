package triggers

import (
	"fmt"
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/calendar"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// anniversary is the kind anniversary.
//
//   - The n-th anniversary (n counts from 1) of a date is due at a local time of
//     day, some days before or after it, in the customer's zone.
//   - An occurrence, the date and n, fires at most once, whatever the zone or the
//     profile does later. One that is already past when it becomes known does not
//     fire.
//   - The message carries the date and n.
type anniversary struct {
	at       engine.Millis
	offset   int
	marFirst bool
}

// anniversaryKind is the kind's registration.
func anniversaryKind() kind {
	return kind{
		Kind: plan.Kind{
			Name: "anniversary",
			Settings: []plan.Setting{
				{Word: "date", Form: plan.SetInput, Missing: "add date: such as profile.birth_date or first(purchase)"},
				{Word: "at", Read: readClock, Default: always(expr.DurationValue(9 * 3_600_000))},
				{Word: "offset", Read: readDays, Default: always(expr.IntValue(0))},
				{Word: "feb_29", Read: readFeb29, Default: func(s *plan.Spec) expr.Value { return expr.BoolValue(s.MarFirst) }},
			},
			Zoned: true,
			AsOf:  plan.AsOfInstant, // what is past when a date becomes known is not news
			Message: []expr.Field{
				{Name: "date", Type: expr.Type{Kind: expr.Date}},
				{Name: "years", Type: expr.Type{Kind: expr.Int}},
			},
		},
		meaning: func(t *plan.Trigger) engine.Trigger {
			return anniversary{
				at: engine.Millis(t.Setting("at").N), offset: int(t.Setting("offset").N), marFirst: t.Setting("feb_29").True(),
			}
		},
		why: func(m *engine.Message) string {
			return fmt.Sprintf("%s after %s", plural(m.Field("years").N, "year"), m.Field("date"))
		},
	}
}

// maxFired bounds how many occurrences are remembered.
const maxFired = 8

// maxYears ends the search: no date lies further back.
const maxYears = 10_000

// occurrence returns when the n-th anniversary is due.
func (t anniversary) occurrence(v *engine.View, d calendar.Date, n int) engine.Millis {
	return d.Anniversary(n, t.marFirst).AddDays(t.offset).At(v.Zone(), t.at)
}

// date returns the civil date in the customer's zone, and the value as stored,
// which identifies it whatever the zone does.
func date(v *engine.View) (calendar.Date, expr.Value, bool) {
	id := v.Input()
	d, ok := calendar.Of(id, v.Zone())
	return d, id, ok
}

// Due returns the first occurrence later than after and than the view's instant that has not fired.
func (t anniversary) Due(v *engine.View, m *engine.Memory, after engine.Millis) engine.Millis {
	d, id, ok := date(v)
	if !ok {
		return engine.Never
	}
	// Start two years early: an offset may move an occurrence by a year.
	now, _ := calendar.Of(expr.TimeValue(v.Now()), v.Zone())
	for n := max(1, now.Year-d.Year-2); n < maxYears; n++ {
		due := t.occurrence(v, d, n)
		if due > max(after, v.Now()) && !fired(m, id, int64(n)) {
			return due
		}
	}
	return engine.Never
}

func fired(m *engine.Memory, date expr.Value, years int64) bool {
	return slices.ContainsFunc(m.Fired, func(o engine.Occurrence) bool { return o.Date.K == date.K && o.Date.N == date.N && o.Years == years })
}

// Fire fires the occurrence that is due at due.
func (t anniversary) Fire(v *engine.View, m *engine.Memory, due engine.Millis, f *engine.Effect) bool {
	d, id, ok := date(v)
	if !ok {
		return false
	}
	on, _ := calendar.Of(expr.TimeValue(due), v.Zone())
	for n := max(1, on.Year-d.Year-2); n <= on.Year-d.Year+2; n++ {
		if t.occurrence(v, d, n) != due || fired(m, id, int64(n)) {
			continue
		}
		m.Fired = append(m.Fired, engine.Occurrence{Date: id, Years: int64(n)})
		if len(m.Fired) > maxFired {
			m.Fired = slices.Delete(m.Fired, 0, 1)
		}
		f.Fields = []engine.Field{{Name: "date", Value: expr.DateValue(d.Days())}, {Name: "years", Value: expr.IntValue(int64(n))}}
		return true
	}
	return false
}

// Settle does nothing: an occurrence that is past is not due again.
func (t anniversary) Settle(*engine.View, *engine.Memory) {}

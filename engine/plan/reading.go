package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/segmill/segmill/engine/expr"
)

// Reading is what a rule set says of how records become events and how long those are
// remembered. Its zero value says nothing.
type Reading struct {
	// Currency is the code, in upper case, of the currency that amounts are converted
	// to; "": they are taken as they are.
	Currency string
	// Rates are what amounts of other currencies are multiplied by, by their codes in upper
	// case.
	Rates map[string]expr.Rate
	// Dedup is how far behind a customer's instant the event ids of a stream are
	// remembered, by the name of the stream; else it is that of its [StreamInfo].
	Dedup map[string]expr.Millis
	// Earliest is the earliest event time that is believed; nil: 1990 begins it.
	Earliest *expr.Millis
}

// versions adds to m what the reading says. What is not written has no key, so that a set
// of rules that says nothing has the versions that it always had.
func (r *Reading) versions(m map[string]string) {
	if r.Currency != "" {
		m["defaults:currency"] = r.Currency
	}
	if len(r.Rates) > 0 {
		var l []string
		for _, code := range slices.Sorted(maps.Keys(r.Rates)) {
			l = append(l, fmt.Sprintf("%s %s", code, r.Rates[code]))
		}
		m["reading:rates"] = strings.Join(l, ", ")
	}
	for stream, d := range r.Dedup {
		m["reading:dedup:"+stream] = expr.FormatDuration(d)
	}
	if r.Earliest != nil {
		m["reading:min_event_time"] = time.UnixMilli(int64(*r.Earliest)).UTC().Format(time.DateOnly)
	}
}

package plan

import (
	"time"

	"github.com/segmill/segmill/engine/expr"
)

// Readings are what a rule set says of how all records are read.
type Readings struct {
	// Dedup is for how long the ids of a stream's events are remembered, in ms; of one
	// that is not in it, as long as the table of streams says.
	Dedup map[Stream]expr.Millis
	// Earliest is the earliest event time that is believed.
	Earliest expr.Millis
}

// DefaultEarliest is the earliest event time that is believed unless the rules say
// otherwise: the beginning of 1990.
var DefaultEarliest = expr.MillisOf(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC))

// versions adds what is not the default.
func (r *Readings) versions(streams *Streams, m map[string]string) {
	for s, d := range r.Dedup {
		if info := streams.Info(s); d != info.Dedup {
			m["reading:dedup:"+info.Name] = expr.FormatDuration(d)
		}
	}
	if r.Earliest != DefaultEarliest && r.Earliest != 0 {
		m["reading:min_event_time"] = r.Earliest.String()
	}
}

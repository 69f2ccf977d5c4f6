package schemas

import (
	"cmp"
	"errors"
	"sync/atomic"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
)

// topic is an input topic.
type topic struct {
	name     string
	stream   plan.Stream
	settings *Settings
	mappings []mapped               // nil: its records are events of the stream
	notRead  bool                   // its records are skipped
	first    atomic.Pointer[string] // the currency of its first amounts
}

// way returns how the records of the topic are read.
func (t *topic) way() int { return wayOf(t.settings) }

// utcOnly knows one time zone.
func utcOnly(name string) (*time.Location, bool) { return time.UTC, name == "UTC" }

// asBad returns the bad input that err is.
func asBad(err error) *bad.Input {
	var e *bad.Input
	if errors.As(err, &e) {
		return e
	}
	return bad.New(bad.Format, "", "%v", err)
}

func wayOf(s *Settings) int {
	if s.Strict {
		return strictly
	}
	return byRules
}

// mixes notes that the amounts of an event are in another currency than those of the
// input's first event that had any.
func (t *topic) mixes(f *frame.Frame) {
	code := f.Currency()
	if len(code) == 0 {
		return
	}
	first := t.first.Load()
	if first != nil && string(code) == *first || !f.HasAmounts() {
		return
	}
	if first == nil {
		own := string(code)
		if t.first.CompareAndSwap(nil, &own) {
			return
		}
		first = t.first.Load()
	}
	if string(code) != *first {
		f.Note(frame.Mixed(code))
	}
}

// earliest is the earliest event time that is believed by default.
var earliest = expr.MillisOf(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC))

// DefaultSettings returns how records are read unless something else is said.
func DefaultSettings() *Settings { return &Settings{Earliest: earliest} }

// settingsOf returns the settings of a topic.
func settingsOf(cfg *Config, topic string) *Settings {
	s := *cmp.Or(cfg.Settings[topic], DefaultSettings())
	s.Currency, s.Rates = cfg.Reading.Currency, cfg.Reading.Rates
	if at := cfg.Reading.Earliest; at != nil {
		s.Earliest = *at
	}
	return &s
}

package schemas

import (
	"cmp"
	"errors"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
)

// topic is an input topic.
type topic struct {
	name     string
	stream   plan.Stream
	settings *Settings
	mappings []mapped // nil: its records are events of the stream
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

// earliest is the earliest event time that is believed by default.
var earliest = expr.MillisOf(time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC))

// DefaultSettings returns how records are read unless something else is said.
func DefaultSettings() *Settings { return &Settings{Earliest: earliest} }

// settingsOf returns the settings of a topic.
func settingsOf(cfg *Config, topic string) *Settings {
	s := *cmp.Or(cfg.Settings[topic], DefaultSettings())
	if at := cfg.Reading.Earliest; at != nil {
		s.Earliest = *at
	}
	return &s
}

package schemas

import (
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// topic is an input topic.
type topic struct {
	name     string
	stream   plan.Stream
	settings *Settings
}

// way returns how the records of the topic are read.
func (t *topic) way() int {
	if t.settings.Strict {
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
	if s := cfg.Settings[topic]; s != nil {
		return s
	}
	return DefaultSettings()
}

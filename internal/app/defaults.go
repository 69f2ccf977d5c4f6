package app

import "github.com/segmill/segmill/engine"

// Defaults of settings that decide results.
const (
	// DefaultGrace is how far the task clock stays behind, in ms: silence is
	// judged only when an event may be this late.
	DefaultGrace engine.Millis = 2_000
	// DefaultFutureSkew is how far ahead of the wall clock an event may be, in ms.
	DefaultFutureSkew engine.Millis = 5 * 60_000
)

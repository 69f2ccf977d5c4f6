package app

import (
	"time"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
)

// Defaults of settings that decide results, in ms, for tools that run the engine
// without a consumer.
const (
	DefaultGrace      = engine.Millis(config.DefaultGrace / time.Millisecond)
	DefaultFutureSkew = engine.Millis(config.DefaultFutureSkew / time.Millisecond)
)

package app

import (
	"context"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/schemas"
)

// Tool translates the configuration, with rules that need not be its own, for a command that
// reads topics and writes none. It makes sure that a broker answers. What there is to note
// about records is left to the engine that takes them.
func (c *Config) Tool(ctx context.Context, rules *Rules, opt RunOptions) (config.Config, error) {
	opt.noted = func(string, *schemas.Note) {}
	cfg, _, err := c.reading(rules, opt)
	if err != nil {
		return cfg, err
	}
	return cfg, reachable(ctx, &c.Kafka, cfg.Kafka)
}

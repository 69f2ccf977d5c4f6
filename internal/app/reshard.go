package app

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/reshard"
)

// ReshardOptions are the options of a move of state.
type ReshardOptions struct {
	RunOptions
	DryRun bool // only check
	Undo   bool // take a move back that was not completed
	Unread bool // go on with records that were not taken
}

// Reshard moves the state of one configuration to another one with another number
// of partitions. It uses the state directory of the old configuration.
func Reshard(ctx context.Context, from, to *Config, opt ReshardOptions) (done reshard.Resharded, err error) {
	move := reshard.Reshard{Streams: map[string]string{}, DryRun: opt.DryRun, Unread: opt.Unread}
	for _, c := range []struct {
		conf *Config
		cfg  *config.Config
	}{{from, &move.From}, {to, &move.To}} {
		rules, err := LoadRules(c.conf.Rules)
		if err != nil {
			return done, err
		}
		if *c.cfg, _, err = c.conf.reading(rules, opt.RunOptions); err != nil {
			return done, err
		}
		if err := reachable(ctx, &c.conf.Kafka, c.cfg.Kafka); err != nil {
			return done, err
		}
	}
	for topic, stream := range from.Topics.Inputs() {
		for other, s := range to.Topics.Inputs() {
			if s == stream {
				move.Streams[topic] = other
			}
		}
	}
	for topic := range move.Streams {
		if other := move.Streams[topic]; other != topic && slices.Contains(move.From.Inputs, other) {
			return done, fmt.Errorf("topic %s carries one stream in the old configuration and another in the new one", other)
		}
	}
	store, err := from.openState(opt.Logger)
	if err != nil {
		return done, err
	}
	defer func() { err = explainDisk(errors.Join(err, store.Close()), from.State) }()
	cluster, err := awaitCluster(ctx, &from.Kafka, move.From.Kafka, opt.Logger)
	if err == nil {
		err = store.Claim(cluster)
	}
	if err != nil {
		return done, err
	}
	move.From.Store = store
	if opt.Undo {
		return done, move.Undo(ctx)
	}
	return move.Run(ctx)
}

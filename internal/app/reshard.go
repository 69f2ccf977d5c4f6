package app

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

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

// successors gives for each old input the new one that carries on with it: the topic of
// that name, or the only one that is new in its stream in place of the only one that is
// gone. An input whose stream is not read any more has none.
func successors(from, to map[string]string) (map[string]string, error) {
	only := func(in, notIn map[string]string, s string) (l []string) {
		for topic, stream := range in {
			if other, ok := notIn[topic]; stream == s && (!ok || other != s) {
				l = append(l, topic)
			}
		}
		slices.Sort(l)
		return l
	}
	m := map[string]string{}
	for topic, s := range from {
		if other, ok := to[topic]; ok && other == s {
			m[topic] = topic
			continue
		}
		gone, fresh := only(from, to, s), only(to, from, s)
		switch {
		case len(fresh) == 0:
		case len(gone) == 1 && len(fresh) == 1:
			m[topic] = fresh[0]
		default:
			return nil, fmt.Errorf("%s: it cannot be determined which of the new topics %s carries on with which of the old ones %s; move them one after the other",
				s, strings.Join(fresh, ", "), strings.Join(gone, ", "))
		}
	}
	return m, nil
}

// kinds returns what the records of each input are: events of a stream, or what mappings
// make of them.
func (c *Config) kinds() map[string]string {
	m := c.InputTopics()
	for _, in := range c.Inputs {
		if in.Map != "" {
			m[in.Topic] = strings.TrimPrefix(m[in.Topic]+", mapping "+in.Map, ", ")
		}
	}
	return m
}

// Reshard moves the state of one configuration to another one with another number
// of partitions. It uses the state directory of the old configuration.
func Reshard(ctx context.Context, from, to *Config, opt ReshardOptions) (done reshard.Resharded, err error) {
	move := reshard.Reshard{DryRun: opt.DryRun, Unread: opt.Unread}
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
	if move.Streams, err = successors(from.kinds(), to.kinds()); err != nil {
		return done, err
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

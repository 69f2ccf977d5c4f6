package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// prepareTopics creates the topics that are missing, if that is allowed, and
// checks that all fit together. It returns how many partitions they have.
func (in *Instance) prepareTopics(ctx context.Context) (int32, error) {
	c := &in.cfg
	if c.Create.Partitions > 0 {
		inputs := map[string]map[string]*string{}
		for _, topic := range c.Inputs {
			inputs[topic] = inputSettings(c)
		}
		if err := in.cluster.CreateMissing(ctx, c.Create.Partitions, c.Create.Replication, inputs); err != nil {
			return 0, err
		}
	}
	topics, err := in.cluster.Agreed(ctx, c.Inputs...)
	if err != nil {
		return 0, err
	}
	n, err := sameCount(topics, c.Inputs, 0)
	if err != nil {
		return 0, err
	}
	own := ownTopics(c)
	if c.Create.Topics {
		if err := in.cluster.CreateMissing(ctx, n, c.Create.Replication, own); err != nil {
			return 0, err
		}
	}
	names := slices.Sorted(maps.Keys(own))
	if topics, err = in.cluster.Agreed(ctx, append(slices.Clone(names), c.Inputs...)...); err != nil {
		return 0, err
	}
	if _, err := sameCount(topics, names, n); err != nil {
		return 0, err
	}
	configs := in.cluster.TopicConfigs(ctx, slices.Sorted(maps.Keys(topics)))
	in.messageBytes = map[string]int{}
	for name := range topics {
		if n, err := strconv.Atoi(broker.SettingOf(configs, name, "max.message.bytes")); err == nil {
			in.messageBytes[name] = n
		}
	}
	if err := in.checkChangelog(configs); err != nil {
		return 0, err
	}
	in.ids = map[string]changelog.TopicID{}
	for name, t := range topics {
		in.ids[name] = t.ID
	}
	in.warn(ctx, topics, configs)
	return n, nil
}

// sameCount returns the number of partitions that all of names have. want is what
// the inputs have, 0 if these are the inputs.
func sameCount(topics map[string]broker.Topic, names []string, want int32) (int32, error) {
	first := "the inputs"
	for _, name := range names {
		t := topics[name]
		if kerr.IsRetriable(t.Err) && !errors.Is(t.Err, kerr.UnknownTopicOrPartition) {
			return 0, fmt.Errorf("topic %s: %w", name, t.Err) // it has no leader yet
		}
		if t.Err != nil {
			return 0, fault.Fatal("topic %s: %w", name, t.Err)
		}
		switch n := t.Partitions; {
		case want == 0:
			first, want = name, n
		case n != want:
			return 0, fault.Fatal("%s has %d partitions and %s has %d: a customer's records must be in the same partition of every topic, so the counts must be equal: give each topic the same number; to go over to another number, see segmill state reshard",
				name, n, first, want)
		}
	}
	return want, nil
}

// ownTopics returns the topics that the engine writes with the settings that they
// are created with.
func ownTopics(c *config.Config) map[string]map[string]*string {
	ms := func(d time.Duration) *string { s := strconv.FormatInt(d.Milliseconds(), 10); return &s }
	text := func(s string) *string { return &s }
	log := map[string]*string{
		"cleanup.policy": text("compact"),
		// How long after a deletion a copy on disk can still be brought up to date.
		"delete.retention.ms": ms(replica.TombstonesKept),
		// A restore reads everything that is not compacted yet.
		"min.cleanable.dirty.ratio": text("0.1"),
		"segment.ms":                ms(6 * time.Hour),
	}
	if c.Delivery == config.AtLeastOnce {
		log["min.compaction.lag.ms"] = ms(ledger.CompactionLag)
	}
	copies := text(strconv.Itoa(copiedBytes))
	return map[string]map[string]*string{
		c.Changelog(): log,
		// Forwarded records are the only copy that a rebuild can read of records
		// that came to a wrong partition.
		c.Repartition(): {"cleanup.policy": text("delete"), "retention.ms": text("-1"), "max.message.bytes": copies},
		c.DeadLetters(): {"max.message.bytes": copies},
		c.Changes:       nil,
		c.Triggers:      nil,
	}
}

// inputSettings returns the settings that inputs are created with: they keep events
// for as long as rules look back to, so that state can be made from them again, and not
// for the week that is the broker's default.
func inputSettings(c *config.Config) map[string]*string {
	longest := engine.Millis(0)
	for _, back := range c.LookBack {
		longest = max(longest, back)
	}
	retention := ""
	switch longest {
	case 0:
		return nil // nobody looks back: the broker's own
	case plan.Forever:
		retention = "-1"
	default:
		retention = strconv.FormatInt(int64(max(longest, leastRetention)), 10)
	}
	return map[string]*string{"retention.ms": &retention}
}

// leastRetention is what inputs are created with, in ms, if rules look back less: an
// outage of some days must not cost events.
const leastRetention engine.Millis = 7 * 24 * 3_600_000

// watchTopics ends the run when an input gets more partitions: nobody would read
// the new ones, and the keys of the others would move. When a topic has been
// created anew, tasks acquire again, and see whether they can go on.
func (o *Owner) watchTopics(ctx context.Context) {
	tick := time.NewTicker(o.cfg.Watch)
	defer tick.Stop()
	seen := map[string]changelog.TopicID{} // those created anew
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		topics, err := o.cluster.Describe(ctx, append(o.cfg.Sources(), o.cfg.Changelog())...)
		if err != nil {
			continue
		}
		for name, t := range topics {
			if t.Err == nil && t.ID != o.ids[name] && t.ID != seen[name] {
				seen[name] = t.ID
				o.acquireAgain(fmt.Errorf("%s was created anew", name))
			}
			if t.Err == nil && t.Partitions != o.partitions && slices.Contains(o.cfg.Inputs, name) {
				o.fail(fault.Fatal("%s now has %d partitions and had %d: a customer's records would go to another partition than its state; move the state with segmill state reshard",
					name, t.Partitions, o.partitions))
				return
			}
		}
	}
}

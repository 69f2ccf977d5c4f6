package group

import (
	"context"
	"fmt"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
)

// watchTopics sees when an input gets more partitions: their tasks then take them up.
// When a topic has been recreated, tasks acquire again, and see whether they can go on.
func (o *Owner) watchTopics(ctx context.Context) {
	tick := time.NewTicker(o.Config.Fixed.Watch)
	defer tick.Stop()
	seen := map[string]changelog.TopicID{} // those recreated
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		topics, err := o.Cluster.Describe(ctx, append(o.Sources(), o.Config.Changelog())...)
		if err != nil {
			continue
		}
		for name, t := range topics {
			_, known := o.IDs[name]
			if t.Err == nil && known && t.ID != o.IDs[name] && t.ID != seen[name] {
				seen[name] = t.ID
				o.acquireAgain(fmt.Errorf("%s was recreated", name))
			}
			if t.Err != nil || name == o.Config.Repartition() || name == o.Config.Changelog() {
				continue
			}
			if err := o.grow(ctx, name, t); err != nil {
				o.fail(err)
				return
			}
		}
	}
}

// grow takes takes in how many partitions an input has. More of them than before count only when
// all brokers know of them, and their leaders answer: a task would otherwise wait for one
// that does not. A run that has an end reads what there was when it began.
func (o *Owner) grow(ctx context.Context, name string, t broker.Topic) error {
	before := o.Parts(name)
	switch {
	case t.Partitions == before || o.Until != nil:
		return nil
	case t.Partitions < before && t.ID == o.IDs[name] && t.ID != changelog.TopicID{}:
		return nil // the broker has not heard yet
	}
	all, err := o.Cluster.Agreed(ctx, name)
	n := all[name].Partitions
	switch {
	case err != nil || all[name].Err != nil || n == before:
		return nil //nolint:nilerr // the next round asks again
	case n < before:
		return fault.Fatal("%s now has %d partitions and had %d: it was recreated, and its records would be mistaken for others; begin with another app name", name, n, before)
	}
	var added []broker.Partition
	for p := before; p < n; p++ {
		added = append(added, broker.Partition{Topic: name, Number: p})
	}
	if _, err := o.Cluster.Offsets(ctx, broker.HighWatermark, added); err != nil {
		o.Config.Logger.Warn("an input has more partitions, which can't be read yet", "topic", name, "partitions", n, "before", before, "error", err)
		return nil
	}
	o.Grow(name, n)
	o.Config.Logger.Info("an input has more partitions", "topic", name, "partitions", n, "before", before)
	return nil
}

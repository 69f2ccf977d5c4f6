package group

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
)

// watchTopics ends the run when an input gets more partitions: nobody would read
// the new ones, and the keys of the others would move. When a topic has been
// recreated, tasks acquire again, and see whether they can go on.
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
		topics, err := o.Cluster.Describe(ctx, append(o.Config.Sources(), o.Config.Changelog())...)
		if err != nil {
			continue
		}
		for name, t := range topics {
			if t.Err == nil && t.ID != o.IDs[name] && t.ID != seen[name] {
				seen[name] = t.ID
				o.acquireAgain(fmt.Errorf("%s was recreated", name))
			}
			if t.Err == nil && t.Partitions != o.Partitions && slices.Contains(o.Config.Inputs, name) {
				o.fail(fault.Fatal("%s now has %d partitions and had %d: a customer's records would go to another partition than its state; move the state with segmill state reshard",
					name, t.Partitions, o.Partitions))
				return
			}
		}
	}
}

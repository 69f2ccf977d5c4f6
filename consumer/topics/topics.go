package topics

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

// Set is the topics of an application: those that it reads, and its own.
type Set struct {
	Config  *config.Config
	Cluster *broker.Cluster
}

// Found is what the topics of an application are like.
type Found struct {
	Partitions   int32
	IDs          map[string]changelog.TopicID
	MessageBytes map[string]int // max.message.bytes of topics whose settings may be read
}

// Prepare creates the topics that are missing, if that is allowed, and checks that all
// fit together. An error that is not fault.IsFatal may go away.
func (t *Set) Prepare(ctx context.Context) (Found, error) {
	none := Found{}
	c := t.Config
	if c.Create.Partitions > 0 {
		inputs := map[string]map[string]*string{}
		for _, topic := range c.Inputs {
			inputs[topic] = inputSettings(c)
		}
		if err := t.Cluster.CreateMissing(ctx, c.Create.Partitions, c.Create.Replication, inputs); err != nil {
			return none, err
		}
	}
	topics, err := t.Cluster.Agreed(ctx, c.Inputs...)
	if err != nil {
		return none, err
	}
	n, err := SameCount(topics, c.Inputs, 0)
	if err != nil {
		return none, err
	}
	own := Own(c)
	if c.Create.Topics {
		if err := t.Cluster.CreateMissing(ctx, n, c.Create.Replication, own); err != nil {
			return none, err
		}
	}
	names := slices.Sorted(maps.Keys(own))
	if topics, err = t.Cluster.Agreed(ctx, append(slices.Clone(names), c.Inputs...)...); err != nil {
		return none, err
	}
	if _, err := SameCount(topics, names, n); err != nil {
		return none, err
	}
	configs := t.Cluster.TopicConfigs(ctx, slices.Sorted(maps.Keys(topics)))
	f := Found{Partitions: n, IDs: map[string]changelog.TopicID{}, MessageBytes: map[string]int{}}
	for name := range topics {
		if n, err := strconv.Atoi(broker.SettingOf(configs, name, "max.message.bytes")); err == nil {
			f.MessageBytes[name] = n
		}
	}
	if err := t.CheckChangelog(configs); err != nil {
		return none, err
	}
	for name, info := range topics {
		f.IDs[name] = info.ID
	}
	t.Warn(ctx, topics, configs)
	return f, nil
}

// SameCount returns the number of partitions that all of names have. want is what
// the inputs have, 0 if these are the inputs.
func SameCount(topics map[string]broker.Topic, names []string, want int32) (int32, error) {
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

// Own returns the topics that the engine writes with the settings that they
// are created with.
func Own(c *config.Config) map[string]map[string]*string {
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
	copies := text(strconv.Itoa(CopiedBytes))
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

// CopiedBytes is max.message.bytes of the topics that records are copied to, which must
// hold what the inputs hold, with headers.
const CopiedBytes = 4 << 20

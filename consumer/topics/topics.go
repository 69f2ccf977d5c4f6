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
	Partitions   int32            // of the engine's own topics: how many tasks there are
	Inputs       map[string]int32 // how many partitions each input has
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
	count, err := t.Count(ctx)
	if err != nil {
		return none, err
	}
	own := Own(c)
	names := slices.Sorted(maps.Keys(own))
	if c.Create.Topics {
		have, err := t.Cluster.Agreed(ctx, names...)
		if err != nil {
			return none, err
		}
		if err := count.same(have, names); err != nil {
			return none, err // before a changelog is created that would decide it
		}
		if err := t.Cluster.CreateMissing(ctx, count.Tasks, c.Create.Replication, own); err != nil {
			return none, err
		}
	}
	topics, err := t.Cluster.Agreed(ctx, append(slices.Clone(names), c.Inputs...)...)
	if err != nil {
		return none, err
	}
	for _, name := range names {
		if err := usable(name, topics[name]); err != nil {
			return none, err
		}
	}
	if err := count.same(topics, names); err != nil {
		return none, err
	}
	configs := t.Cluster.TopicConfigs(ctx, slices.Sorted(maps.Keys(topics)))
	f := Found{Partitions: count.Tasks, Inputs: count.Inputs, IDs: map[string]changelog.TopicID{}, MessageBytes: map[string]int{}}
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

// Count is how many tasks there are, what decided that, and how many partitions each
// input has.
type Count struct {
	Tasks  int32
	By     string // what has as many
	Inputs map[string]int32
}

// What Count.By says.
const (
	byChangelog    = "the changelog"
	settingOfTasks = "topics.create.partitions"
)

// Count returns how many tasks there are. It is an error if an input can't be used, or if
// it is not known whether there is a changelog.
func (t *Set) Count(ctx context.Context) (Count, error) {
	c := t.Config
	topics, err := t.Cluster.Agreed(ctx, append(slices.Clone(c.Inputs), c.Changelog())...)
	if err != nil {
		return Count{}, err
	}
	for _, name := range c.Inputs {
		if err := usable(name, topics[name]); err != nil {
			return Count{}, err
		}
	}
	if own := topics[c.Changelog()]; !errors.Is(own.Err, kerr.UnknownTopicOrPartition) {
		if err := usable(c.Changelog(), own); err != nil {
			return Count{}, err
		}
	}
	n := t.CountOf(topics)
	if n.Tasks == 0 {
		return n, fault.Fatal("the rules leave out every input, so nothing says how many tasks there are: set "+settingOfTasks+", or let the rules have one of: %v", c.NotRead)
	}
	if want := c.Create.Partitions; want > 0 && want != n.Tasks {
		t.Cluster.Log.Warn(settingOfTasks+" is not the number of tasks, which is that of the changelog's partitions and stays; segmill state reshard changes it",
			"create_partitions", want, "tasks", n.Tasks)
	}
	return n, nil
}

// CountOf returns how many tasks there are: as many as the changelog has partitions; where
// there is none yet, as settings say, or as many as the input that has most.
func (t *Set) CountOf(topics map[string]broker.Topic) Count {
	n := Count{By: "the largest input", Inputs: map[string]int32{}}
	for _, name := range t.Config.Inputs {
		if in := topics[name]; in.Err == nil {
			n.Inputs[name] = in.Partitions
			n.Tasks = max(n.Tasks, in.Partitions)
		}
	}
	if create := t.Config.Create.Partitions; create > 0 {
		n.Tasks, n.By = create, settingOfTasks
	}
	if own := topics[t.Config.Changelog()]; own.Err == nil && own.Partitions > 0 {
		n.Tasks, n.By = own.Partitions, byChangelog
	}
	return n
}

// usable returns why a topic can't be used, nil if it can.
func usable(name string, t broker.Topic) error {
	switch {
	case t.Err == nil:
		return nil
	case kerr.IsRetriable(t.Err) && !errors.Is(t.Err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("topic %s: %w", name, t.Err) // it has no leader yet
	}
	return fault.Fatal("topic %s: %w", name, t.Err)
}

// same refuses topics of the engine that are there and have another number of partitions
// than there are tasks.
func (n *Count) same(topics map[string]broker.Topic, names []string) error {
	for _, name := range names {
		if t := topics[name]; t.Err == nil && t.Partitions != n.Tasks {
			return fault.Fatal("%s has %d partitions and there are %d tasks, as %s says: each task writes to the partition of its own number: %s", name, t.Partitions, n.Tasks, n.By, n.Remedy())
		}
	}
	return nil
}

// Remedy returns what to do about a topic of the engine that has another number of
// partitions than there are tasks.
func (n *Count) Remedy() string {
	if n.By == byChangelog {
		return "give it that number, or use another topic; to go over to another number of tasks, see segmill state reshard"
	}
	return "set " + settingOfTasks + " to the number of tasks that you want, and give the topics that the engine writes as many partitions, or use other topics"
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

package consumer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// topicInfo is what the brokers say of a topic.
type topicInfo struct {
	id         changelog.TopicID
	partitions int32
	replicas   int // of the partition that has the fewest
	err        error
}

// describe asks one broker about topics. The admin package would answer from a
// cache that can be seconds old. A topic that does not exist has an error.
func (o *Owner) describe(ctx context.Context, topics ...string) (map[string]topicInfo, error) {
	infos, _, err := o.describeBy(ctx, o.admin, topics)
	return infos, err
}

// describeBy asks whoever r is about topics. It also returns who the brokers are.
func (o *Owner) describeBy(ctx context.Context, r kmsg.Requestor, topics []string) (map[string]topicInfo, []int32, error) {
	req := kmsg.NewPtrMetadataRequest()
	for _, topic := range topics {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(topic)
		req.Topics = append(req.Topics, t)
	}
	resp, err := req.RequestWith(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	infos := make(map[string]topicInfo, len(topics))
	for _, topic := range topics {
		infos[topic] = topicInfo{err: kerr.UnknownTopicOrPartition}
	}
	for _, t := range resp.Topics {
		info := topicInfo{id: t.TopicID, partitions: int32(len(t.Partitions)), err: kerr.ErrorForCode(t.ErrorCode)}
		for i, p := range t.Partitions {
			if n := len(p.Replicas); i == 0 || n < info.replicas {
				info.replicas = n
			}
		}
		if t.Topic != nil {
			infos[*t.Topic] = info
		}
	}
	brokers := make([]int32, 0, len(resp.Brokers))
	for _, b := range resp.Brokers {
		brokers = append(brokers, b.NodeID)
	}
	return infos, brokers, nil
}

// errDisagree says that brokers know different things of a topic: it was created,
// deleted or changed a moment ago, and not all of them have heard.
var errDisagree = errors.New("not all brokers have heard of the latest change")

// Brokers hear of a change of topics one after the other, mostly within some ten
// milliseconds. They are asked every settle, and for settleFor before it is said that
// they are waited for. brokerAnswer is how long one of them may take: one that is
// down has no say.
const (
	settle       = 50 * time.Millisecond
	settleFor    = 10 * time.Second
	brokerAnswer = 2 * time.Second
)

// agreed asks every broker about topics, until those that answer agree. The answer
// of one alone proves nothing: the next request may go to one that knows more, or
// less.
func (o *Owner) agreed(ctx context.Context, topics ...string) (map[string]topicInfo, error) {
	for begin := o.cfg.Now(); ; {
		infos, err := o.askAll(ctx, topics)
		if !errors.Is(err, errDisagree) || o.cfg.Now().Sub(begin) > settleFor {
			return infos, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(settle):
		}
	}
}

// askAll asks every broker about topics, once.
func (o *Owner) askAll(ctx context.Context, topics []string) (map[string]topicInfo, error) {
	infos, brokers, err := o.describeBy(ctx, o.admin, topics)
	if err != nil || len(brokers) < 2 {
		return infos, err
	}
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	answers := make([]map[string]topicInfo, len(brokers))
	var asking sync.WaitGroup
	for i, id := range brokers {
		asking.Go(func() { answers[i], _, _ = o.describeBy(ctx, o.admin.Broker(int(id)), topics) })
	}
	asking.Wait()
	for i, answer := range answers {
		for topic, info := range answer {
			if !info.same(infos[topic]) {
				return nil, fmt.Errorf("topic %s: broker %d says %v, another one %v: %w", topic, brokers[i], info, infos[topic], errDisagree)
			}
		}
	}
	return infos, nil
}

// same reports whether two brokers know the same of a topic.
func (t topicInfo) same(o topicInfo) bool {
	return t.id == o.id && t.partitions == o.partitions && errors.Is(t.err, o.err)
}

// String says what is known of a topic.
func (t topicInfo) String() string {
	if t.err != nil {
		return t.err.Error()
	}
	return fmt.Sprintf("%d partitions", t.partitions)
}

// prepareTopics creates the topics that are missing, if that is allowed, and
// checks that all fit together. It returns how many partitions they have.
func (o *Owner) prepareTopics(ctx context.Context) (int32, error) {
	adm := kadm.NewClient(o.admin)
	c := &o.cfg
	if c.Create.Partitions > 0 {
		inputs := map[string]map[string]*string{}
		for _, topic := range c.Inputs {
			inputs[topic] = c.inputSettings()
		}
		if err := o.createMissing(ctx, adm, c.Create.Partitions, inputs); err != nil {
			return 0, err
		}
	}
	topics, err := o.agreed(ctx, c.Inputs...)
	if err != nil {
		return 0, err
	}
	n, err := sameCount(topics, c.Inputs, 0)
	if err != nil {
		return 0, err
	}
	own := ownTopics(c)
	if c.Create.Topics {
		if err := o.createMissing(ctx, adm, n, own); err != nil {
			return 0, err
		}
	}
	names := slices.Sorted(maps.Keys(own))
	if topics, err = o.agreed(ctx, append(slices.Clone(names), c.Inputs...)...); err != nil {
		return 0, err
	}
	if _, err := sameCount(topics, names, n); err != nil {
		return 0, err
	}
	configs := o.topicConfigs(ctx, topics)
	o.messageBytes = map[string]int{}
	for name := range topics {
		if n, err := strconv.Atoi(settingOf(configs, name, "max.message.bytes")); err == nil {
			o.messageBytes[name] = n
		}
	}
	if err := o.checkChangelog(configs); err != nil {
		return 0, err
	}
	o.ids = map[string]changelog.TopicID{}
	for name, t := range topics {
		o.ids[name] = t.id
	}
	o.warn(ctx, topics, configs)
	return n, nil
}

// sameCount returns the number of partitions that all of names have. want is what
// the inputs have, 0 if these are the inputs.
func sameCount(topics map[string]topicInfo, names []string, want int32) (int32, error) {
	first := "the inputs"
	for _, name := range names {
		t := topics[name]
		if kerr.IsRetriable(t.err) && !errors.Is(t.err, kerr.UnknownTopicOrPartition) {
			return 0, fmt.Errorf("topic %s: %w", name, t.err) // it has no leader yet
		}
		if t.err != nil {
			return 0, fatal("topic %s: %w", name, t.err)
		}
		switch n := t.partitions; {
		case want == 0:
			first, want = name, n
		case n != want:
			return 0, fatal("%s has %d partitions and %s has %d: a customer's records must be in the same partition of every topic, so the counts must be equal: give each topic the same number; to go over to another number, see segmill state reshard",
				name, n, first, want)
		}
	}
	return want, nil
}

// ownTopics returns the topics that the engine writes with the settings that they
// are created with.
func ownTopics(c *Config) map[string]map[string]*string {
	ms := func(d time.Duration) *string { s := strconv.FormatInt(d.Milliseconds(), 10); return &s }
	text := func(s string) *string { return &s }
	log := map[string]*string{
		"cleanup.policy": text("compact"),
		// How long after a deletion a copy on disk can still be brought up to date.
		"delete.retention.ms": ms(tombstonesKept),
		// A restore reads everything that is not compacted yet.
		"min.cleanable.dirty.ratio": text("0.1"),
		"segment.ms":                ms(6 * time.Hour),
	}
	if c.Delivery == AtLeastOnce {
		log["min.compaction.lag.ms"] = ms(compactionLag)
	}
	copies := text(strconv.Itoa(copiedBytes))
	return map[string]map[string]*string{
		c.changelog(): log,
		// Forwarded records are the only copy that a rebuild can read of records
		// that came to a wrong partition.
		c.repartition(): {"cleanup.policy": text("delete"), "retention.ms": text("-1"), "max.message.bytes": copies},
		c.deadLetters(): {"max.message.bytes": copies},
		c.Changes:       nil,
		c.Triggers:      nil,
	}
}

// inputSettings returns the settings that inputs are created with: they keep events
// for as long as rules look back to, so that state can be made from them again, and not
// for the week that is the broker's default.
func (c *Config) inputSettings() map[string]*string {
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

// createMissing creates those of the topics that do not exist, and waits until
// they are known. Who may not create topics can still run when they exist.
func (o *Owner) createMissing(ctx context.Context, adm *kadm.Client, n int32, topics map[string]map[string]*string) error {
	names := slices.Sorted(maps.Keys(topics))
	have, err := o.agreed(ctx, names...)
	if err != nil {
		return err
	}
	created := map[string]bool{}
	for _, topic := range names {
		if errors.Is(have[topic].err, kerr.UnknownTopicOrPartition) {
			if err := o.create(ctx, adm, topic, n, topics[topic]); err != nil {
				return err
			}
			created[topic] = true
		}
	}
	for begin := o.cfg.Now(); len(created) > 0; {
		if have, err = o.agreed(ctx, slices.Sorted(maps.Keys(created))...); err != nil {
			return err
		}
		maps.DeleteFunc(created, func(topic string, _ bool) bool { return have[topic].err == nil })
		if o.cfg.Now().Sub(begin) > settleFor {
			break // sameCount says which is missing
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settle):
		}
	}
	return nil
}

func (o *Owner) create(ctx context.Context, adm *kadm.Client, topic string, n int32, configs map[string]*string) error {
	replication := o.cfg.Create.Replication
	if replication == 0 {
		replication = -1
	}
	r, err := adm.CreateTopic(ctx, n, replication, configs, topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil // by another instance
	}
	switch {
	case errors.Is(err, kerr.InvalidReplicationFactor) || errors.Is(err, kerr.PolicyViolation):
		return fatal("create topic %s: %w (%s): set topics.create.replication to what the cluster asks for, or create the topic with %d partitions", topic, err, r.ErrMessage, n)
	case err != nil:
		return fmt.Errorf("create topic %s: %w (%s)", topic, err, r.ErrMessage)
	}
	o.cfg.Logger.Info("topic created", "topic", topic, "partitions", n)
	return nil
}

// watchInterval is how often the topics are looked at while the engine runs.
const watchInterval = 30 * time.Second

// watchTopics ends the run when an input gets more partitions: nobody would read
// the new ones, and the keys of the others would move. When a topic has been
// created anew, tasks acquire again, and see whether they can go on.
func (o *Owner) watchTopics(ctx context.Context) {
	tick := time.NewTicker(o.cfg.watch)
	defer tick.Stop()
	seen := map[string]changelog.TopicID{} // those created anew
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		topics, err := o.describe(ctx, append(o.cfg.sources(), o.cfg.changelog())...)
		if err != nil {
			continue
		}
		for name, t := range topics {
			if t.err == nil && t.id != o.ids[name] && t.id != seen[name] {
				seen[name] = t.id
				o.acquireAgain(fmt.Errorf("%s was created anew", name))
			}
			if t.err == nil && t.partitions != o.partitions && slices.Contains(o.cfg.Inputs, name) {
				o.fail(fatal("%s now has %d partitions and had %d: a customer's records would go to another partition than its state; move the state with segmill state reshard",
					name, t.partitions, o.partitions))
				return
			}
		}
	}
}

package broker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
)

// Topic is what the brokers say of a topic.
type Topic struct {
	ID         changelog.TopicID
	Partitions int32
	Replicas   int // of the partition that has the fewest
	Err        error
}

// Describe asks one broker about topics. The admin package would answer from a
// cache that can be seconds old. A topic that does not exist has an error.
func (c *Cluster) Describe(ctx context.Context, topics ...string) (map[string]Topic, error) {
	infos, _, err := c.describeBy(ctx, c.Admin, topics)
	return infos, err
}

// describeBy asks r about topics. It also returns the ids of the brokers.
func (c *Cluster) describeBy(ctx context.Context, r kmsg.Requestor, topics []string) (map[string]Topic, []int32, error) {
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
	infos := make(map[string]Topic, len(topics))
	for _, topic := range topics {
		infos[topic] = Topic{Err: kerr.UnknownTopicOrPartition}
	}
	for _, t := range resp.Topics {
		info := Topic{ID: t.TopicID, Partitions: int32(len(t.Partitions)), Err: kerr.ErrorForCode(t.ErrorCode)}
		for i, p := range t.Partitions {
			if n := len(p.Replicas); i == 0 || n < info.Replicas {
				info.Replicas = n
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

// ErrDisagree says that brokers know different things of a topic: it was created,
// deleted or changed a moment ago, and not all of them have heard.
var ErrDisagree = errors.New("not all brokers know of the latest change")

// Brokers learn of a change of topics one after the other, mostly within some ten
// milliseconds. They are asked every settle, and for SettleFor before it is said that
// they are waited for. brokerAnswer is how long one of them may take: one that is
// down has no say.
const (
	settle       = 50 * time.Millisecond
	SettleFor    = 10 * time.Second
	brokerAnswer = 2 * time.Second
)

// Agreed asks every broker about topics, until those that answer agree. The answer
// of one alone proves nothing: the next request may go to one that knows more, or
// less.
func (c *Cluster) Agreed(ctx context.Context, topics ...string) (map[string]Topic, error) {
	for begin := c.Now(); ; {
		infos, err := c.askAll(ctx, topics)
		if !errors.Is(err, ErrDisagree) || c.Now().Sub(begin) > SettleFor {
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
func (c *Cluster) askAll(ctx context.Context, topics []string) (map[string]Topic, error) {
	infos, brokers, err := c.describeBy(ctx, c.Admin, topics)
	if err != nil || len(brokers) < 2 {
		return infos, err
	}
	ctx, cancel := context.WithTimeout(ctx, brokerAnswer)
	defer cancel()
	answers := make([]map[string]Topic, len(brokers))
	var asking sync.WaitGroup
	for i, id := range brokers {
		asking.Go(func() { answers[i], _, _ = c.describeBy(ctx, c.Admin.Broker(int(id)), topics) })
	}
	asking.Wait()
	for i, answer := range answers {
		for topic, info := range answer {
			if !info.same(infos[topic]) {
				return nil, fmt.Errorf("topic %s: broker %d says %v, another one %v: %w", topic, brokers[i], info, infos[topic], ErrDisagree)
			}
		}
	}
	return infos, nil
}

// same reports whether two brokers know the same of a topic.
func (t Topic) same(o Topic) bool {
	return t.ID == o.ID && t.Partitions == o.Partitions && errors.Is(t.Err, o.Err)
}

// String says what is known of a topic.
func (t Topic) String() string {
	if t.Err != nil {
		return t.Err.Error()
	}
	return fmt.Sprintf("%d partitions", t.Partitions)
}

// CreateMissing creates those of the topics that do not exist, and waits until
// they are known. Who may not create topics can still run when they exist.
func (c *Cluster) CreateMissing(ctx context.Context, n int32, replication int16, topics map[string]map[string]*string) error {
	names := slices.Sorted(maps.Keys(topics))
	have, err := c.Agreed(ctx, names...)
	if err != nil {
		return err
	}
	created := map[string]bool{}
	for _, topic := range names {
		if errors.Is(have[topic].Err, kerr.UnknownTopicOrPartition) {
			if err := c.create(ctx, topic, n, replication, topics[topic]); err != nil {
				return err
			}
			created[topic] = true
		}
	}
	for begin := c.Now(); len(created) > 0; {
		if have, err = c.Agreed(ctx, slices.Sorted(maps.Keys(created))...); err != nil {
			return err
		}
		maps.DeleteFunc(created, func(topic string, _ bool) bool { return have[topic].Err == nil })
		if c.Now().Sub(begin) > SettleFor {
			break // who asks next says which is missing
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(settle):
		}
	}
	return nil
}

func (c *Cluster) create(ctx context.Context, topic string, n int32, replication int16, configs map[string]*string) error {
	if replication == 0 {
		replication = -1
	}
	r, err := kadm.NewClient(c.Admin).CreateTopic(ctx, n, replication, configs, topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil // by another instance
	}
	switch {
	case errors.Is(err, kerr.InvalidReplicationFactor) || errors.Is(err, kerr.PolicyViolation):
		return fault.Fatal("create topic %s: %w (%s): set topics.create.replication to a value that the cluster accepts, or create the topic with %d partitions", topic, err, r.ErrMessage, n)
	case err != nil:
		return fmt.Errorf("create topic %s: %w (%s)", topic, err, r.ErrMessage)
	}
	c.Log.Info("topic created", "topic", topic, "partitions", n)
	return nil
}

// TopicConfigs returns the settings of topics that exist, of those that may be read.
func (c *Cluster) TopicConfigs(ctx context.Context, topics []string) []kadm.ResourceConfig {
	configs, err := kadm.NewClient(c.Admin).DescribeTopicConfigs(ctx, topics...)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(configs, func(r kadm.ResourceConfig) bool { return r.Err != nil })
}

// SettingOf returns a setting of a topic, "" if it is not known.
func SettingOf(configs []kadm.ResourceConfig, topic, key string) string {
	for _, c := range configs {
		for _, kv := range c.Configs {
			if c.Name == topic && kv.Key == key {
				return kv.MaybeValue()
			}
		}
	}
	return ""
}

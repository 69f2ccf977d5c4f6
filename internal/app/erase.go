package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
)

// eraseTimeout bounds the writing of one tombstone.
const eraseTimeout = 30 * time.Second

// EraseOptions say how customers are erased.
type EraseOptions struct {
	IDs
	// Wait is how long receipts are waited for; 0 does not look for any.
	Wait time.Duration
	// Kafka are further options of every client, for tests.
	Kafka []kgo.Opt
}

// erasureTopic returns the topic that erasures are written to: that of profiles, else one
// whose mapping takes a record without a value, with the id as its key, for an erasure.
func (c *Config) erasureTopic(ctx context.Context) (string, error) {
	if topic := c.topicOf(plan.Profile); topic != "" {
		return topic, nil
	}
	none := errors.New("erasures are written to the topic of profiles, and none is configured: set topics.profile, or add one to inputs, or write tombstone: erase in the mapping of an input whose keys are customer ids")
	if !slices.ContainsFunc(c.Inputs, func(in InputConfig) bool { return in.Map != "" }) {
		return "", none
	}
	rules, err := LoadRulesWithin(ctx, c.Rules)
	if err != nil {
		return "", err
	}
	in, err := c.readInputs(rules.Set.Spec)
	if err != nil {
		return "", err
	}
	for _, topic := range slices.Sorted(maps.Keys(in.streams)) {
		if in.streams[topic] == plan.Profile {
			return topic, nil
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(in.mappings)) {
		if slices.ContainsFunc(in.mappings[topic], func(m *plan.Mapping) bool { return m.Erase && m.Key == nil }) {
			return topic, nil
		}
	}
	return "", none
}

// Erase asks the engine to erase customers: for each it writes a tombstone to the
// profile topic, and its place to out. All ids are checked before the
// first one is written. After an error, those printed have been written. Then it
// waits for the receipts, and says which customers were known.
func Erase(ctx context.Context, conf *Config, ids []string, opt EraseOptions, out io.Writer) (*Erased, error) {
	topic, err := conf.erasureTopic(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := opt.Check(id); err != nil {
			return nil, err
		}
	}
	ids = unique(ids)
	kafka, err := conf.Kafka.options()
	if err != nil {
		return nil, err
	}
	kafka = append(kafka, opt.Kafka...)
	if err := reachable(ctx, &conf.Kafka, kafka); err != nil {
		return nil, err
	}
	e := &Erased{ids: ids, wait: opt.Wait, receipts: map[string]receipt{}}
	if opt.Wait > 0 {
		e.begin(ctx, conf, kafka)
		defer e.close()
	}
	if err := writeTombstones(ctx, topic, ids, opt, kafka, out); err != nil {
		return nil, err
	}
	e.read(ctx)
	return e, nil
}

func writeTombstones(ctx context.Context, topic string, ids []string, opt EraseOptions, kafka []kgo.Opt, out io.Writer) error {
	cl, err := kgo.NewClient(append(kafka[:len(kafka):len(kafka)],
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2, as the engine has it
		kgo.UnknownTopicRetries(1),
		kgo.RecordDeliveryTimeout(eraseTimeout))...)
	if err != nil {
		return fmt.Errorf("kafka: %w", err)
	}
	defer cl.Close()
	for _, id := range ids {
		rec := &kgo.Record{Topic: topic, Key: []byte(id)}
		if opt.Literal {
			rec.Headers = []kgo.RecordHeader{{Key: schemas.HeaderErase, Value: []byte(schemas.EraseLiteral)}}
		}
		r, err := cl.ProduceSync(ctx, rec).First()
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return fmt.Errorf("%s: topic %s does not exist: see topics.profile or inputs", id, topic)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if _, err := fmt.Fprintf(out, "%s: %s/%d offset %d\n", id, r.Topic, r.Partition, r.Offset); err != nil {
			return err
		}
	}
	return nil
}

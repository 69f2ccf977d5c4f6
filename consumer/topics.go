package consumer

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// prepareTopics creates the topics that are missing, if that is allowed, and
// checks that all fit together. It returns how many partitions they have.
func (o *Owner) prepareTopics(ctx context.Context) (int32, error) {
	adm := kadm.NewClient(o.admin)
	c := &o.cfg
	want := c.Create.Partitions
	if want > 0 {
		for _, topic := range c.Inputs {
			if err := o.create(ctx, adm, topic, want, nil); err != nil {
				return 0, err
			}
		}
	}
	topics, err := adm.ListTopics(ctx, c.Inputs...)
	if err != nil {
		return 0, err
	}
	n, err := sameCount(topics, c.Inputs, 0)
	if err != nil {
		return 0, err
	}
	if c.Create.Topics {
		if err := o.createOwn(ctx, adm, n); err != nil {
			return 0, err
		}
	}
	own := []string{c.changelog(), c.repartition(), c.deadLetters(), c.Changes, c.Triggers}
	if topics, err = adm.ListTopics(ctx, append(own, c.Inputs...)...); err != nil {
		return 0, err
	}
	if _, err := sameCount(topics, own, n); err != nil {
		return 0, err
	}
	o.warn(ctx, adm, topics)
	return n, nil
}

// sameCount returns the number of partitions that all of names have. want is what
// the inputs have, 0 if these are the inputs.
func sameCount(topics kadm.TopicDetails, names []string, want int32) (int32, error) {
	first := "the inputs"
	for _, name := range names {
		t, ok := topics[name]
		if !ok || t.Err != nil {
			return 0, fmt.Errorf("topic %s: %w", name, errors.Join(t.Err, kerr.UnknownTopicOrPartition))
		}
		switch n := int32(len(t.Partitions)); {
		case want == 0:
			first, want = name, n
		case n != want:
			return 0, fmt.Errorf("%s has %d partitions and %s has %d: a customer's records must be in the same partition of every topic, so the counts must be equal",
				name, n, first, want)
		}
	}
	return want, nil
}

// createOwn creates the topics that the engine writes.
func (o *Owner) createOwn(ctx context.Context, adm *kadm.Client, n int32) error {
	ms := func(d time.Duration) *string { s := strconv.FormatInt(d.Milliseconds(), 10); return &s }
	text := func(s string) *string { return &s }
	forever := map[string]*string{
		// Forwarded records are the only copy that a rebuild can read of records
		// that came to a wrong partition.
		"cleanup.policy": text("delete"), "retention.ms": text("-1"),
	}
	compacted := map[string]*string{
		"cleanup.policy": text("compact"),
		// How long after a deletion a copy on disk can still be brought up to date.
		"delete.retention.ms": ms(tombstonesKept),
		// A restore reads everything that is not compacted yet.
		"min.cleanable.dirty.ratio": text("0.1"),
		"segment.ms":                ms(6 * time.Hour),
	}
	for _, t := range []struct {
		name    string
		configs map[string]*string
	}{
		{o.cfg.changelog(), compacted},
		{o.cfg.repartition(), forever},
		{o.cfg.deadLetters(), nil},
		{o.cfg.Changes, nil},
		{o.cfg.Triggers, nil},
	} {
		if err := o.create(ctx, adm, t.name, n, t.configs); err != nil {
			return err
		}
	}
	return nil
}

// create creates a topic unless it exists.
func (o *Owner) create(ctx context.Context, adm *kadm.Client, topic string, n int32, configs map[string]*string) error {
	replication := o.cfg.Create.Replication
	if replication == 0 {
		replication = -1
	}
	r, err := adm.CreateTopic(ctx, n, replication, configs, topic)
	if errors.Is(err, kerr.TopicAlreadyExists) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w (%s)", topic, err, r.ErrMessage)
	}
	o.cfg.Logger.Info("topic created", "topic", topic, "partitions", n)
	return nil
}

// warn says which settings of the cluster are weaker than the guarantees assume.
func (o *Owner) warn(ctx context.Context, adm *kadm.Client, topics kadm.TopicDetails) {
	if v, err := o.transactionVersion(ctx); err == nil && v < 2 {
		o.cfg.Logger.Warn("the cluster's transaction.version is below 2: a delayed end of a transaction can reach a later one (KIP-890); raise it with kafka-features",
			"transaction_version", v)
	}
	var few []string
	for _, t := range topics.Sorted() {
		for _, p := range t.Partitions {
			if len(p.Replicas) < 3 {
				few = append(few, t.Topic)
				break
			}
		}
	}
	if len(few) > 0 {
		o.cfg.Logger.Warn("topics with fewer than 3 replicas: losing a broker can lose what was committed", "topics", few)
	}
	configs, err := adm.DescribeTopicConfigs(ctx, topics.Names()...)
	if err != nil {
		return
	}
	var weak, unclean, uncompacted []string
	for _, c := range configs {
		for _, kv := range c.Configs {
			switch v := kv.MaybeValue(); {
			case kv.Key == "min.insync.replicas" && v == "1":
				weak = append(weak, c.Name)
			case kv.Key == "unclean.leader.election.enable" && v == "true":
				unclean = append(unclean, c.Name)
			case kv.Key == "cleanup.policy" && c.Name == o.cfg.changelog() && !strings.Contains(v, "compact"):
				uncompacted = append(uncompacted, c.Name)
			}
		}
	}
	for message, names := range map[string][]string{
		"topics with min.insync.replicas 1: a write is acknowledged by one broker alone":            weak,
		"topics with unclean leader election: a broker that was behind can take over and lose data": unclean,
		"the changelog is not compacted: restoring takes longer the longer the engine runs":         uncompacted,
	} {
		if len(names) > 0 {
			o.cfg.Logger.Warn(message, "topics", names)
		}
	}
}

// transactionVersion returns the cluster's finalized transaction.version.
func (o *Owner) transactionVersion(ctx context.Context) (int16, error) {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "segmill", "0"
	resp, err := req.RequestWith(ctx, o.admin)
	if err != nil {
		return 0, err
	}
	for _, f := range resp.FinalizedFeatures {
		if f.Name == "transaction.version" {
			return f.MaxVersionLevel, nil
		}
	}
	return 0, nil
}

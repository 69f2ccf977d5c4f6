package broker

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Edge is one of the offsets that a partition has at either end. The admin client's
// own calls for them ask for whole topics, and give a request no time.
type Edge struct {
	isolation int8
	at        int64
}

// The edges.
var (
	// Start is where the first record is that the partition still has.
	Start = Edge{0, -2}
	// HighWatermark is behind the last record, of whatever transaction.
	HighWatermark = Edge{0, -1}
	// LastStable is where the first transaction that is still open begins, or the high
	// watermark if none is: what readers of committed records see.
	LastStable = Edge{1, -1}
	// Dated is where the first record is that has a time, below 0 if none is left.
	Dated = Edge{0, 0}
)

// Listed is an offset of a partition, and the epoch of the leader who says so.
type Listed struct {
	Offset int64
	Epoch  int32
	Time   int64 // of the record there, in ms, where Dated was asked for
}

// Partition is a partition of a topic.
type Partition struct {
	Topic  string
	Number int32
}

// Compare orders partitions by topic, and then by number.
func (p Partition) Compare(q Partition) int {
	return cmp.Or(cmp.Compare(p.Topic, q.Topic), cmp.Compare(p.Number, q.Number))
}

// String is topic and number as Kafka's tools write them.
func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Number) }

// List asks for an offset of the same partitions of all topics. It returns what was
// answered, and an error if that is not everything.
func (c *Cluster) List(ctx context.Context, edge Edge, topics []string, parts []int32) (map[string]map[int32]Listed, error) {
	var places []Partition
	for _, topic := range topics {
		for _, p := range parts {
			places = append(places, Partition{topic, p})
		}
	}
	all, err := c.ListAll(ctx, edge, places)
	got := make(map[string]map[int32]Listed, len(topics))
	for place, at := range all {
		if got[place.Topic] == nil {
			got[place.Topic] = map[int32]Listed{}
		}
		got[place.Topic][place.Number] = at
	}
	return got, err
}

// ListAll asks for an offset of partitions. It returns what was answered, and an error
// if that is not everything.
func (c *Cluster) ListAll(ctx context.Context, edge Edge, places []Partition) (map[Partition]Listed, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.IsolationLevel = edge.isolation
	// A connection that has gone dumb is given up this much later than otherwise.
	// Without it that is 30 s, and the clocks would stop for that long.
	req.TimeoutMillis = 1_000
	for _, place := range places {
		if n := len(req.Topics); n == 0 || req.Topics[n-1].Topic != place.Topic {
			t := kmsg.NewListOffsetsRequestTopic()
			t.Topic = place.Topic
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewListOffsetsRequestTopicPartition()
		rp.Partition, rp.Timestamp = place.Number, edge.at
		t := &req.Topics[len(req.Topics)-1]
		t.Partitions = append(t.Partitions, rp)
	}
	got := make(map[Partition]Listed, len(places))
	var failed error
	for _, shard := range c.Admin.RequestSharded(ctx, req) {
		if shard.Err != nil {
			failed = fmt.Errorf("list offsets: %w", shard.Err)
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = fmt.Errorf("list offsets of %s/%d: %w", t.Topic, p.Partition, err)
					continue
				}
				got[Partition{t.Topic, p.Partition}] = Listed{p.Offset, p.LeaderEpoch, p.Timestamp}
			}
		}
	}
	if failed == nil && len(got) < len(places) {
		failed = fmt.Errorf("list offsets: %d of %d partitions answered", len(got), len(places))
	}
	return got, failed
}

// ListOne asks for an offset of one partition of several topics.
func (c *Cluster) ListOne(ctx context.Context, edge Edge, topics []string, part int32) (map[string]int64, error) {
	got, err := c.List(ctx, edge, topics, []int32{part})
	if err != nil {
		return nil, err
	}
	one := make(map[string]int64, len(got))
	for topic, offsets := range got {
		one[topic] = offsets[part].Offset
	}
	return one, nil
}

// Offsets asks for an offset of partitions, all of which must be answered.
func (c *Cluster) Offsets(ctx context.Context, edge Edge, places []Partition) (map[Partition]int64, error) {
	got, err := c.ListAll(ctx, edge, slices.SortedFunc(slices.Values(places), Partition.Compare))
	if err != nil {
		return nil, err
	}
	all := make(map[Partition]int64, len(got))
	for place, at := range got {
		all[place] = at.Offset
	}
	return all, nil
}

package broker

import (
	"context"
	"fmt"

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
)

// Listed is an offset of a partition, and the epoch of the leader who says so.
type Listed struct {
	Offset int64
	Epoch  int32
}

// List asks for an offset of some partitions of topics. It returns what was
// answered, and an error if that is not everything.
func (c *Cluster) List(ctx context.Context, edge Edge, topics []string, parts []int32) (map[string]map[int32]Listed, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	req.IsolationLevel = edge.isolation
	// A connection that has gone dumb is given up this much later than otherwise.
	// Without it that is 30 s, and the clocks would stop for that long.
	req.TimeoutMillis = 1_000
	for _, topic := range topics {
		t := kmsg.NewListOffsetsRequestTopic()
		t.Topic = topic
		for _, p := range parts {
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Partition, rp.Timestamp = p, edge.at
			t.Partitions = append(t.Partitions, rp)
		}
		req.Topics = append(req.Topics, t)
	}
	got := make(map[string]map[int32]Listed, len(topics))
	var failed error
	n := 0
	for _, shard := range c.Admin.RequestSharded(ctx, req) {
		if shard.Err != nil {
			failed = fmt.Errorf("list offsets: %w", shard.Err)
			continue
		}
		for _, t := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			if got[t.Topic] == nil {
				got[t.Topic] = map[int32]Listed{}
			}
			for _, p := range t.Partitions {
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failed = fmt.Errorf("list offsets of %s/%d: %w", t.Topic, p.Partition, err)
					continue
				}
				got[t.Topic][p.Partition] = Listed{p.Offset, p.LeaderEpoch}
				n++
			}
		}
	}
	if failed == nil && n < len(topics)*len(parts) {
		failed = fmt.Errorf("list offsets: %d of %d partitions answered", n, len(topics)*len(parts))
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

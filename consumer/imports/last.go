package imports

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
)

// Last is what is complete in a partition of the topic, and what is not.
type Last struct {
	// Start is the offset of the earliest record.
	Start int64
	// End is the offset behind the last mark; Start if there is none.
	End int64
	// Mark is the last one, nil if there is none.
	Mark *Mark
	// Open is the last record behind it, of an import that is not complete; nil if there is
	// none.
	Open *kgo.Record
}

// LastOf reads the end of a partition. The topic must exist.
func LastOf(ctx context.Context, c *broker.Cluster, topic string, partition int32) (*Last, error) {
	start, err := c.ListOne(ctx, broker.Start, []string{topic}, partition)
	if err != nil {
		return nil, err
	}
	end, err := c.ListOne(ctx, broker.LastStable, []string{topic}, partition)
	if err != nil {
		return nil, err
	}
	for back := int64(1_000); ; back *= 10 {
		l := &Last{Start: start[topic], End: start[topic]}
		from := max(start[topic], end[topic]-back)
		if _, err := c.ReadRange(ctx, topic, partition, from, end[topic], func(r *kgo.Record) error {
			m, err := MarkOf(r)
			if m != nil {
				l.Mark, l.End, l.Open = m, r.Offset+1, nil
			} else if err == nil {
				l.Open = keep(r)
			}
			return err
		}); err != nil {
			return nil, err
		}
		if l.Mark != nil || from == start[topic] {
			return l, nil
		}
	}
}

// Marked is a mark with its offset.
type Marked struct {
	*Mark
	Offset int64
}

// MarksOf returns the marks of a partition up to the last one, in order. It reads everything
// that is there.
func MarksOf(ctx context.Context, c *broker.Cluster, topic string, partition int32, last *Last) (marks []Marked, err error) {
	_, err = c.ReadRange(ctx, topic, partition, last.Start, last.End, func(r *kgo.Record) error {
		m, err := MarkOf(r)
		if m != nil {
			marks = append(marks, Marked{m, r.Offset})
		}
		return err
	})
	return marks, err
}

// RangesOf returns what complete imports have of each input, of all partitions together: that
// the customers of one have none of an input's records does not say that a file had none. It
// reads everything that is there. There is nothing if there is no such topic.
func RangesOf(ctx context.Context, c *broker.Cluster, topic string) (map[string][]Range, error) {
	infos, err := c.Describe(ctx, topic)
	if err != nil {
		return nil, err
	}
	info := infos[topic]
	if errors.Is(info.Err, kerr.UnknownTopicOrPartition) {
		return nil, nil
	}
	if info.Err != nil {
		return nil, fmt.Errorf("topic %s: %w", topic, info.Err)
	}
	all := map[string]map[string]Range{} // by import
	for p := range info.Partitions {
		last, err := LastOf(ctx, c, topic, p)
		if err != nil {
			return nil, err
		}
		marks, err := MarksOf(ctx, c, topic, p, last)
		if err != nil {
			return nil, err
		}
		for _, m := range marks {
			if all[m.Import] == nil {
				all[m.Import] = map[string]Range{}
			}
			Join(all[m.Import], m.Topics)
		}
	}
	ranges := map[string][]Range{}
	for _, of := range all {
		for input, r := range of {
			ranges[input] = append(ranges[input], r)
		}
	}
	return ranges, nil
}

// Join adds what an import has in one partition to what it has in others.
func Join(all, part map[string]Range) {
	for input, r := range part {
		if before, ok := all[input]; ok {
			r = Range{Records: r.Records + before.Records, First: min(r.First, before.First), Last: max(r.Last, before.Last)}
		}
		all[input] = r
	}
}

// keep copies what identifies a record: its bytes belong to a batch.
func keep(r *kgo.Record) *kgo.Record {
	k := *r
	k.Value = nil
	k.Headers = append([]kgo.RecordHeader(nil), r.Headers...)
	return &k
}

package checker

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// History is what stands in the topics: committed records in the order of their
// offsets, by topic and partition.
type History struct {
	Partitions int32
	Topics     map[string]map[int32][]*kgo.Record
	// Ends are the offsets after the last record, committed or not.
	Ends map[string]map[int32]int64
}

func (c *Config) changelog() string   { return c.App + ".changelog" }
func (c *Config) repartition() string { return c.App + ".repartition" }
func (c *Config) deadLetters() string { return c.App + ".dlq" }
func (c *Config) history() string     { return c.App + ".history" }

// loadTimeout is how long topics may give nothing before reading fails.
const loadTimeout = 30 * time.Second

// Load reads all topics from start to end.
func Load(ctx context.Context, cfg Config) (*History, error) {
	topics := append(slices.Clone(cfg.Inputs), cfg.Changes, cfg.Triggers, cfg.changelog(), cfg.repartition(), cfg.deadLetters())
	cl, err := kgo.NewClient(cfg.Kafka...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if cfg.Imported {
		topics = append(topics, cfg.history())
	}
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("checker: %w", err)
	}
	// The end counts what is not committed, too: the last stable offset would hide
	// a transaction that is being decided.
	ends, err := admin.ListEndOffsets(ctx, topics...)
	if err != nil {
		return nil, fmt.Errorf("checker: %w", err)
	}
	if err := ends.Error(); err != nil {
		return nil, fmt.Errorf("checker: %w", err)
	}
	h := &History{Topics: map[string]map[int32][]*kgo.Record{}, Ends: map[string]map[int32]int64{}}
	from := map[string]map[int32]kgo.Offset{}
	for topic, parts := range ends {
		h.Topics[topic], h.Ends[topic] = map[int32][]*kgo.Record{}, map[int32]int64{}
		for p, end := range parts {
			start, _ := starts.Lookup(topic, p)
			h.Ends[topic][p] = end.Offset
			if start.Offset < end.Offset {
				if from[topic] == nil {
					from[topic] = map[int32]kgo.Offset{}
				}
				from[topic][p] = kgo.NewOffset().At(start.Offset)
			}
		}
	}
	h.Partitions = int32(len(ends[cfg.changelog()]))
	return h, h.read(ctx, cfg.Kafka, from)
}

// read reads from some offsets to the ends.
func (h *History) read(ctx context.Context, base []kgo.Opt, from map[string]map[int32]kgo.Offset) error {
	left := 0
	for _, parts := range from {
		left += len(parts)
	}
	if left == 0 {
		return nil
	}
	cl, err := kgo.NewClient(append(slices.Clone(base),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// With control records the end is seen also where the last thing is the end
		// of a transaction.
		kgo.KeepControlRecords(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.DisableFetchSessions(),
		kgo.ConsumePartitions(from))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	at := map[string]map[int32]int64{}
	for topic := range from {
		at[topic] = map[int32]int64{}
	}
	for left > 0 {
		waiting, cancel := context.WithTimeout(ctx, loadTimeout)
		fetches := cl.PollFetches(waiting)
		err := fetches.Err0()
		cancel()
		if err == nil {
			for _, e := range fetches.Errors() {
				err = fmt.Errorf("%s/%d: %w", e.Topic, e.Partition, e.Err)
			}
		}
		if err != nil {
			return fmt.Errorf("checker: %d partitions not read to their end, %s: %w", left, h.behind(from, at), err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				h.Topics[r.Topic][r.Partition] = append(h.Topics[r.Topic][r.Partition], r)
			}
			before := at[r.Topic][r.Partition]
			at[r.Topic][r.Partition] = r.Offset + 1
			if end := h.Ends[r.Topic][r.Partition]; before < end && r.Offset+1 >= end {
				left--
			}
		})
	}
	return nil
}

// behind names a partition that was not read to its end.
func (h *History) behind(from map[string]map[int32]kgo.Offset, at map[string]map[int32]int64) string {
	for _, topic := range slices.Sorted(maps.Keys(from)) {
		for p := range from[topic] {
			if next, end := at[topic][p], h.Ends[topic][p]; next < end {
				return fmt.Sprintf("%s/%d at %d of %d", topic, p, next, end)
			}
		}
	}
	return ""
}

package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// How much is fetched at a time, in bytes.
const (
	MaxFetch          = 8 << 20
	maxPartitionFetch = 1 << 20
)

// ConsumerOptions returns the settings of every client that reads records.
func (c *Cluster) ConsumerOptions() []kgo.Opt {
	return append(c.Options(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// Control records are how the end is seen when the last thing in a
		// partition is the end of a transaction.
		kgo.KeepControlRecords(),
		kgo.FetchMaxWait(500*time.Millisecond),
		kgo.FetchMaxBytes(MaxFetch),
		kgo.FetchMaxPartitionBytes(maxPartitionFetch),
		kgo.MaxDecompressBatchBytes(MaxBatch),
		// A session of KIP-227 saves repeating a long list of partitions; ours is a few,
		// while brokers hold 1,000 sessions for all their clients. And ending it when the
		// client is closed races with a fetch that an answer to a request for metadata
		// begins at that moment: kgo 1.22 writes to the session from both.
		kgo.DisableFetchSessions(),
	)
}

// ReadRange calls visit with the committed records of a partition from one offset
// up to another and returns how many there were.
func (c *Cluster) ReadRange(ctx context.Context, topic string, partition int32, from, to int64, visit func(*kgo.Record) error) (n int64, err error) {
	if from >= to {
		return 0, nil
	}
	cl, err := kgo.NewClient(append(c.ConsumerOptions(), kgo.MaxDecompressBatchBytes(MaxInflated), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {partition: kgo.NewOffset().At(from)},
	}))...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	for from < to {
		waiting, cancel := context.WithTimeout(ctx, RequestTimeout)
		fetches := cl.PollFetches(waiting)
		cancel()
		for _, e := range fetches.Errors() {
			return n, fmt.Errorf("read %s/%d at offset %d of %d: %w", topic, partition, from, to, e.Err)
		}
		for it := fetches.RecordIter(); !it.Done() && from < to; {
			rec := it.Next()
			from = rec.Offset + 1
			if rec.Attrs.IsControl() || rec.Offset >= to {
				continue
			}
			n++
			if err := visit(rec); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

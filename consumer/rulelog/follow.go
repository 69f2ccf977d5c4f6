package rulelog

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
)

// followPause is how long to wait after an error of brokers.
const followPause = time.Second

// Follow reads on from where a view ends, and calls counts with each set that counts, in
// order, until ctx ends, which is no error, or the log cannot be read. Brokers that do not
// answer are waited for.
func (l *Log) Follow(ctx context.Context, v *View, counts func(*Entry)) error {
	cl, err := kgo.NewClient(append(l.Cluster.ConsumerOptions(),
		kgo.MaxDecompressBatchBytes(broker.MaxInflated),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.Topic: {0: kgo.NewOffset().At(v.Next)}}))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Attrs.IsControl() || r.Offset < v.Next {
				continue
			}
			if err := l.take(v, r, counts); err != nil {
				return err
			}
		}
		for _, e := range fetches.Errors() {
			if ctx.Err() != nil {
				break
			}
			if !broker.IsUnreachable(e.Err) {
				return fmt.Errorf("%s: %w", l.Topic, l.explain(e.Err))
			}
			l.Cluster.Log.Warn("the log of rules can't be read; waiting for it", "topic", l.Topic, "error", e.Err)
			pause(ctx, followPause)
		}
	}
	return nil
}

// pause waits, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Package erasure erases customers: nobody is erased by a guess, and who asks hears who was
// known.
package erasure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

// eraseTimeout bounds the writing of one tombstone.
const eraseTimeout = 30 * time.Second

// Options say how customers are erased.
type Options struct {
	IDs
	// Wait is how long receipts are waited for; 0 does not look for any.
	Wait time.Duration
	// Kafka are further options of every client, for tests.
	Kafka []kgo.Opt
}

// Erase asks the engine to erase customers: for each it writes a tombstone to the
// profile topic, and its place to out. All ids are checked before the
// first one is written. After an error, those printed have been written. Then it
// waits for the receipts, and says which customers were known.
func Erase(ctx context.Context, conf *app.Config, ids []string, opt Options, out io.Writer) (*Erased, error) {
	topic, err := conf.ErasureTopic(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range ids {
		if err := opt.Check(id); err != nil {
			return nil, err
		}
	}
	ids = unique(ids)
	kafka, err := conf.Kafka.Reach(ctx, opt.Kafka...)
	if err != nil {
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

func writeTombstones(ctx context.Context, topic string, ids []string, opt Options, kafka []kgo.Opt, out io.Writer) error {
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

// Package ledger commits: it writes the records of a batch so that all of them count
// or none.
//
// The one rule it keeps: what a former owner of the partition writes from now on does
// not count. How that is done is the only difference between the two kinds of
// Ledger; who reads the changelog comes to the same view either way.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/internal/failpoint"
)

// Ledger is where the owner of a partition writes, from the moment on at which it
// keeps former owners out. It is used by one goroutine.
type Ledger interface {
	// Claim is what the records of the changelog carry; zero in transactions.
	Claim() changelog.Claim
	// Begin is a changelog offset: what is below it was written before the partition
	// was taken over, and is to be read. 0 if the end of the changelog says so.
	Begin() int64
	// Commit writes the records of a batch, of which the last is the position, and
	// returns the position's offset. After an error it is not known whether the batch
	// counts: the partition must be acquired again. broker.IsDeterministic says of an
	// error whether the same records would fail again.
	Commit(ctx context.Context, records []*kgo.Record) (position int64, err error)
	// Alive is called each time round the owner's loop. It returns an error once the
	// partition has, or may have, another owner.
	Alive() error
	// TakeVoid adds the keys of the changelog that others have written in vain since
	// it was called last. Their values are to be written again.
	TakeVoid(keys map[string]struct{})
	// Close ends it. What is not committed does not count.
	Close()
}

// Timeout is after how long a transaction is given up, by the brokers and by the
// engine.
const Timeout = 10 * time.Second

// ErrClaimed is returned when another owner has claimed the partition.
var ErrClaimed = errors.New("another instance has claimed the partition")

// errPaused is returned when the owner was suspended for so long that the group may
// have assigned the partition to another instance.
var errPaused = errors.New("the process was suspended for longer than the session timeout")

// IsFenced reports whether another owner has initialised the transactional id, or
// written a claim, or must be expected to.
func IsFenced(err error) bool {
	return errors.Is(err, ErrClaimed) || errors.Is(err, errPaused) || errors.Is(err, kerr.InvalidProducerEpoch) || errors.Is(err, kerr.ProducerFenced)
}

// Options are what both kinds of Ledger need.
type Options struct {
	Cluster    *broker.Cluster
	Topic      string // the changelog
	Partition  int32
	Compressor kgo.Compressor
	// BatchBytes returns how large a batch of a topic is at most.
	BatchBytes func(topic string) int32
	// Dated says that records have timestamps of their own, as the past has. The client counts
	// the time that it has for a record from its timestamp, so only the context of a commit
	// bounds that time then.
	Dated bool
	// Points are where tests let a commit die.
	Points failpoint.Points
}

// at passes a point of the protocol.
func (o *Options) at(point string) error { return o.Points.At(o.Partition, point) }

// producer writes records and waits for all of them.
type producer struct {
	cl *kgo.Client
	Options
}

func newProducer(o Options, more ...kgo.Opt) (producer, error) {
	if !o.Dated {
		more = append(more, kgo.RecordDeliveryTimeout(Timeout))
	}
	cl, err := kgo.NewClient(append(append(o.Cluster.Options(),
		kgo.WithCompressor(o.Compressor),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// Every batch ends with a flush; until then records only gather.
		kgo.ProducerLinger(Timeout),
		kgo.MaxBufferedRecords(1<<20),
		kgo.ProducerBatchMaxBytesFn(o.BatchBytes),
		kgo.ProduceRequestTimeout(Timeout)), more...)...)
	return producer{cl, o}, err
}

// produce writes records. Every one is waited for: the client would commit a
// transaction of which one record could not be produced.
func (p *producer) produce(ctx context.Context, records []*kgo.Record) error {
	var d delivery
	done := d.done
	for _, r := range records {
		p.cl.Produce(ctx, r, done)
	}
	if err := p.cl.Flush(ctx); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	if n, err := d.result(); err != nil {
		return fmt.Errorf("produce: %w", err)
	} else if n != len(records) {
		return fmt.Errorf("produce: %d of %d records were answered", n, len(records))
	}
	return nil
}

// delivery collects the answers to the records of a batch.
type delivery struct {
	mu  sync.Mutex
	n   int
	err error
}

// done is called once for each record. Of several errors, one that would come
// again is the one that counts: the others may be its consequence.
func (d *delivery) done(r *kgo.Record, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	if err != nil && (d.err == nil || broker.IsDeterministic(err) && !broker.IsDeterministic(d.err)) {
		d.err = fmt.Errorf("%s/%d: %w", r.Topic, r.Partition, err)
	}
}

func (d *delivery) result() (answered int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n, d.err
}

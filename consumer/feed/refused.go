package feed

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/schemas"
)

// refused is a batch of records that can't be decoded, however often it is
// fetched, or what is left of one, or one record of it that is too large: it is bad
// input like a record that can't be read. In the queue there is one record without
// contents for it, at its last offset.
type refused struct {
	first   int64 // offset
	records int   // that are refused, as far as is known
	cause   schemas.Cause
	reason  string
}

// CauseBatch is the cause of batches that can't be decoded.
const CauseBatch schemas.Cause = "batch"

func (r *refused) bad(last int64) *schemas.BadInput {
	what := fmt.Sprintf("the records %d to %d of a batch: ", r.first, last)
	if r.first == last {
		what = fmt.Sprintf("the record %d of a batch: ", last)
	}
	return &schemas.BadInput{Cause: r.cause, Detail: what + r.reason}
}

// patience is how long a record that is known to exist may take to come before
// the batch that it is in is looked at: the client says nothing of a batch that
// has fewer records than it claims, and fetches it again and again.
const patience = 4 * time.Second

// How long looking may take: when nothing comes, other topics wait for it; when
// fetching has failed, there is nothing else to do.
const (
	lookBriefly = time.Second
	lookFor     = 10 * time.Second
)

// want returns the offset of the next record of an input that is not in hand.
func (in *Input) want() int64 {
	if n := len(in.queue); n > 0 {
		return in.queue[n-1].Offset + 1
	}
	if in.loaded {
		return in.Head.Rec.Offset + 1
	}
	return in.Next
}

// failed takes in an error of fetching an input. A batch that can't be decoded is
// refused; any other error is returned.
func (f *fetcher) failed(ctx context.Context, e kgo.FetchError) error {
	in := f.inputs[broker.Partition{Topic: e.Topic, Number: e.Partition}]
	err := fmt.Errorf("fetch %s/%d: %w", e.Topic, e.Partition, e.Err)
	var large *kgo.ErrDecompressTooLarge
	var code *kerr.Error
	var lost *kgo.ErrDataLoss
	switch {
	case errors.Is(e.Err, broker.ErrAhead):
		f.decompressor.Polled() // nothing precedes the batch
		return nil
	case in == nil || errors.As(e.Err, &code) || errors.As(e.Err, &lost) || errors.Is(e.Err, kgo.ErrClientClosed):
		return err
	case errors.As(e.Err, &large):
		if lerr := f.open(ctx, in, large); lerr != nil {
			return errors.Join(err, lerr)
		}
		return nil
	}
	if ok, lerr := f.look(ctx, in, lookFor); lerr != nil || !ok {
		return errors.Join(err, lerr)
	}
	return nil
}

// refuse puts a record that represents refused ones into the queue.
func (in *Input) refuse(r *kgo.Record, what *refused) {
	if in.refused == nil {
		in.refused = map[int64]*refused{}
	}
	in.refused[r.Offset] = what
	in.push(r)
}

// refuse refuses what is not read of a batch, and lets the client go on behind it.
func (f *fetcher) refuse(in *Input, b *kmsg.RecordBatch, reason string) {
	last := b.FirstOffset + int64(b.LastOffsetDelta)
	first := in.want()
	in.refuse(&kgo.Record{Topic: in.Topic, Partition: in.Partition, Offset: last},
		&refused{first: first, records: broker.Claimed(b, int32(max(0, first-b.FirstOffset)), first), cause: CauseBatch, reason: reason})
	f.goOn(in, last)
}

// lookAtLate looks at the batches of inputs whose next record does not come. If
// the broker does not answer, that is why, and there is nothing to refuse.
func (f *fetcher) lookAtLate(ctx context.Context) {
	for _, in := range f.inputs {
		switch {
		case in.loaded || len(in.queue) > 0 || !in.unread() || f.paused[in.Place()] || in.large != nil:
			in.late = time.Time{}
		case in.late.IsZero():
			in.late = f.now()
		case f.now().Sub(in.late) > patience:
			in.late = time.Time{}
			_, _ = f.look(ctx, in, lookBriefly)
		}
	}
}

// look fetches the batch of an input's next record as it is. If the batch is
// whole and as it was written, and can't be decoded all the same, it is refused.
func (f *fetcher) look(ctx context.Context, in *Input, limit time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p, err := broker.FetchOne(ctx, f.cl, in.Topic, in.Partition, in.want())
	if err != nil {
		return false, err
	}
	b, ok := broker.FirstBatch(&p)
	last := b.FirstOffset + int64(b.LastOffsetDelta)
	if !ok || last < in.want() {
		return false, nil
	}
	got, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{
		Offset: in.want(), Topic: in.Topic, Partition: in.Partition, KeepControlRecords: true,
	}, &p, f.decompressor.Inner, nil)
	switch {
	case got.Err != nil:
		f.refuse(in, &b, got.Err.Error())
	case next <= last && len(got.Records) == 0:
		f.refuse(in, &b, fmt.Sprintf("it does not have the %d records that it claims", b.NumRecords))
	default:
		return false, nil
	}
	return true, nil
}

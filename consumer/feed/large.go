package feed

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/schemas"
)

// inflateAtOnce is how much is decompressed before the task looks at its other
// inputs, in bytes: some tens of milliseconds.
const inflateAtOnce = 8 << 20

// largeBatch is a batch that an input is reading as a stream. The client does not
// fetch the partition meanwhile.
type largeBatch struct {
	*broker.Stream
	want int64 // records below it were taken before
}

// open begins to read a batch as a stream that is too large for the client, which has
// stopped fetching its partition.
func (f *fetcher) open(ctx context.Context, in *Input, large *kgo.ErrDecompressTooLarge) error {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	last := large.NextOffset - 1
	p, err := broker.FetchOne(ctx, f.cl, in.Topic, in.Partition, max(in.want(), large.Offset))
	if err != nil {
		return err
	}
	b, ok := broker.FirstBatch(&p)
	switch {
	case !ok || b.FirstOffset != large.Offset || b.FirstOffset+int64(b.LastOffsetDelta) != last:
		return errors.New("another batch came than the one that is too large")
	case broker.Aborted(&p, &b):
		f.goOn(in, last)
		return nil
	}
	stream, err := broker.OpenBatch(b)
	in.large = &largeBatch{stream, in.want()}
	if err != nil {
		f.giveUp(in, err)
	}
	return nil
}

// inflate reads records of large batches into the queues that have room for them. It
// reports whether there were any such.
func (f *fetcher) inflate() (some bool) {
	for _, in := range f.inputs {
		if in.large == nil || in.bytes > f.room {
			continue
		}
		some = true
		b := in.large
		for before := b.Inflated(); in.large == b && in.bytes <= f.room && b.Inflated()-before <= inflateAtOnce; {
			f.inflateOne(in)
		}
	}
	return some
}

// inflateOne reads one record, or ends the batch.
func (f *fetcher) inflateOne(in *Input) {
	b := in.large
	r, oversize, err := b.Record(in.Topic, in.Partition)
	switch {
	case errors.Is(err, io.EOF):
		f.goOn(in, b.Last())
	case err != nil:
		f.giveUp(in, err)
	case r.Offset < b.want: // a former session has taken it
	default:
		if oversize > 0 {
			in.refuse(r, &refused{
				first: r.Offset, records: 1, cause: schemas.CauseSize,
				reason: fmt.Sprintf("it is %d bytes, more than %d", oversize, broker.MaxRecord),
			})
			return
		}
		in.push(r)
		in.fetched = f.now()
	}
}

// giveUp refuses what is left of a large batch.
func (f *fetcher) giveUp(in *Input, err error) {
	b := in.large
	cause := CauseBatch
	if errors.Is(err, broker.ErrInflated) {
		cause = schemas.CauseSize
	}
	if b.Last() >= b.want {
		first := max(b.Next(), b.want)
		in.refuse(&kgo.Record{Topic: in.Topic, Partition: in.Partition, Offset: b.Last()},
			&refused{first: first, records: b.Claimed(first), cause: cause, reason: err.Error()})
	}
	f.goOn(in, b.Last())
}

// goOn lets the client go on behind a batch.
func (f *fetcher) goOn(in *Input, last int64) {
	in.endLarge()
	f.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{in.Topic: {in.Partition: {Epoch: -1, Offset: last + 1}}})
}

// endLarge lets go of a large batch.
func (in *Input) endLarge() {
	if in.large != nil {
		in.large.Close()
		in.large = nil
	}
}

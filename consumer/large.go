package consumer

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/schemas"
)

// Limits of a batch that is read as a stream, in bytes once it is decompressed.
const (
	// maxRecord is the length of the largest record: all that is read of a record
	// is in memory at once, and this much is what a whole batch may take otherwise.
	maxRecord = maxBatch
	// maxInflated ends bombs. The largest honest batches are those of gzip, of which
	// a mebibyte, as much as brokers take by default, becomes some 50 of ordinary events.
	maxInflated = 256 << 20
	// inflateAtOnce is how much is decompressed before the task looks at its other
	// inputs: some tens of milliseconds.
	inflateAtOnce = 8 << 20
)

// largeBatch is a batch that is too large to be decompressed as a whole. It is kept
// as it came, and its records are read as the queue of its input has room for them.
// The client does not fetch the partition meanwhile.
type largeBatch struct {
	header kmsg.RecordBatch // without the records
	last   int64            // offset of the last record
	next   int64            // no record that is still to come has an offset below it
	want   int64            // records below it were taken before
	read   int32            // records
	left   io.LimitedReader // of what is decompressed
	in     *bufio.Reader
	close  func()
}

// errSize says that a batch is more than maxInflated.
var errSize = fmt.Errorf("it is more than %d bytes when it is decompressed", maxInflated)

// openBatch begins to read a batch from the record at want.
func openBatch(b kmsg.RecordBatch, want int64) (*largeBatch, error) {
	src, end, err := inflate(kgo.CompressionCodecType(b.Attributes&7), b.Records)
	l := &largeBatch{header: b, last: b.FirstOffset + int64(b.LastOffsetDelta), next: b.FirstOffset, want: want, close: end}
	l.header.Records = nil
	l.left = io.LimitedReader{R: src, N: maxInflated}
	l.in = bufio.NewReaderSize(&l.left, 32<<10)
	return l, err
}

// record reads the next record. One that is too large is passed over; bad says so, and the
// record only has its place. io.EOF ends the batch; any other error means that the
// rest of it can't be read.
func (b *largeBatch) record(topic string, partition int32) (r *kgo.Record, bad *refused, err error) {
	if b.read >= b.header.NumRecords {
		return nil, nil, io.EOF
	}
	length, err := binary.ReadVarint(b.in)
	switch {
	case err == io.EOF && b.left.N > 0:
		return nil, nil, fmt.Errorf("it does not have the %d records that it claims", b.header.NumRecords)
	case err != nil:
		return nil, nil, b.broken(err)
	case length < 0 || length > maxInflated:
		return nil, nil, fmt.Errorf("a record of %d bytes", length)
	}
	r = &kgo.Record{
		Topic: topic, Partition: partition, ProducerID: b.header.ProducerID, ProducerEpoch: b.header.ProducerEpoch, LeaderEpoch: b.header.PartitionLeaderEpoch,
	}
	if length > maxRecord {
		start, _ := b.in.Peek(21) // as far as the offset; what is shorter has an error below
		err := b.fill(r, kbin.Reader{Src: start}, false)
		if err == nil {
			if _, err = b.in.Discard(int(length)); err != nil {
				b.read, b.next = b.read-1, r.Offset // it is among what can't be read
			}
		}
		return r, &refused{first: r.Offset, records: 1, cause: schemas.CauseSize, reason: fmt.Sprintf("it is %d bytes, more than %d", length, maxRecord)}, b.broken(err)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(b.in, body); err != nil {
		return nil, nil, b.broken(err)
	}
	return r, nil, b.fill(r, kbin.Reader{Src: body}, true)
}

// broken returns the error of a batch that does not go on.
func (b *largeBatch) broken(err error) error {
	switch {
	case err == nil:
		return nil
	case b.left.N <= 0:
		return errSize
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF // it is no end
	}
	return err
}

// fill reads a record, or only where it stands, from its length on.
func (b *largeBatch) fill(r *kgo.Record, body kbin.Reader, whole bool) error {
	body.Int8() // attributes, of which there are none
	after := body.Varlong()
	r.Offset = b.header.FirstOffset + int64(body.Varint())
	if whole {
		r.Key, r.Value = body.VarintBytes(), body.VarintBytes()
		if n := int(body.VarintArrayLen()); n > 0 {
			r.Headers = make([]kgo.RecordHeader, n)
			for i := range r.Headers {
				r.Headers[i] = kgo.RecordHeader{Key: body.VarintString(), Value: body.VarintBytes()}
			}
		}
	}
	if !body.Ok() {
		return errors.New("a record has less than it claims")
	}
	if r.Offset < b.next || r.Offset > b.last {
		return fmt.Errorf("a record at offset %d, where %d to %d are left", r.Offset, b.next, b.last)
	}
	r.Timestamp = time.UnixMilli(b.header.FirstTimestamp + after)
	if b.header.Attributes&logAppendTime != 0 {
		r.Timestamp = time.UnixMilli(b.header.MaxTimestamp)
	}
	b.read++
	b.next = r.Offset + 1
	return nil
}

// Bits of a batch's attributes.
const (
	logAppendTime   = 1 << 3
	isTransactional = 1 << 4
)

// claimed returns how many of the records that a batch claims are not read, at least
// one: there are no more than it has offsets for.
func claimed(b *kmsg.RecordBatch, read int32, next int64) int {
	last := b.FirstOffset + int64(b.LastOffsetDelta)
	return int(max(1, min(int64(b.NumRecords)-int64(read), last-next+1)))
}

// open begins to read a batch as a stream that is too large for the client, which has
// stopped fetching its partition.
func (f *fetcher) open(ctx context.Context, in *input, large *kgo.ErrDecompressTooLarge) error {
	ctx, cancel := context.WithTimeout(ctx, lookFor)
	defer cancel()
	last := large.NextOffset - 1
	p, err := f.fetchOne(ctx, in.topic, max(in.want(), large.Offset))
	if err != nil {
		return err
	}
	b, ok := firstBatch(&p)
	switch {
	case !ok || b.FirstOffset != large.Offset || b.FirstOffset+int64(b.LastOffsetDelta) != last:
		return errors.New("another batch came than the one that is too large")
	case aborted(&p, &b):
		f.goOn(in, last)
		return nil
	}
	if in.large, err = openBatch(b, in.want()); err != nil {
		f.giveUp(in, err)
	}
	return nil
}

// firstBatch returns the first batch of an answer if it is whole and as it was written.
func firstBatch(p *kmsg.FetchResponseTopicPartition) (b kmsg.RecordBatch, ok bool) {
	if len(p.RecordBatches) < 61 || b.ReadFrom(p.RecordBatches) != nil || b.Length < 49 || int(b.Length) > len(p.RecordBatches)-12 {
		return b, false
	}
	p.RecordBatches = p.RecordBatches[:12+b.Length]
	if b.ReadFrom(p.RecordBatches) != nil || b.Magic != 2 {
		return b, false
	}
	// What is damaged on its way or on the broker's disk, another replica may have.
	return b, crc32.Checksum(p.RecordBatches[21:], castagnoli) == uint32(b.CRC)
}

// aborted reports whether a batch, the first of an answer, is of a transaction that was
// aborted: a broker names those that end where the answer begins or behind it.
func aborted(p *kmsg.FetchResponseTopicPartition, b *kmsg.RecordBatch) bool {
	if b.Attributes&isTransactional == 0 {
		return false
	}
	for _, t := range p.AbortedTransactions {
		if t.ProducerID == b.ProducerID && t.FirstOffset <= b.FirstOffset {
			return true
		}
	}
	return false
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
		for before := b.left.N; in.large == b && in.bytes <= f.room && before-b.left.N <= inflateAtOnce; {
			f.inflateOne(in)
		}
	}
	return some
}

// inflateOne reads one record, or ends the batch.
func (f *fetcher) inflateOne(in *input) {
	b := in.large
	r, bad, err := b.record(in.topic, f.partition)
	switch {
	case err == io.EOF:
		f.goOn(in, b.last)
	case err != nil:
		f.giveUp(in, err)
	case r.Offset < b.want: // a former session has taken it
	default:
		if bad != nil {
			in.refuse(r, bad)
			return
		}
		in.push(r)
		in.fetched = f.now()
	}
}

// giveUp refuses what is left of a large batch.
func (f *fetcher) giveUp(in *input, err error) {
	b := in.large
	cause := causeBatch
	if errors.Is(err, errSize) {
		cause = schemas.CauseSize
	}
	if b.last >= b.want {
		first := max(b.next, b.want)
		in.refuse(&kgo.Record{Topic: in.topic, Partition: f.partition, Offset: b.last},
			&refused{first: first, records: claimed(&b.header, b.read, first), cause: cause, reason: err.Error()})
	}
	f.goOn(in, b.last)
}

// goOn lets the client go on behind a batch.
func (f *fetcher) goOn(in *input, last int64) {
	in.endLarge()
	f.cl.SetOffsets(map[string]map[int32]kgo.EpochOffset{in.topic: {f.partition: {Epoch: -1, Offset: last + 1}}})
}

// endLarge lets go of a large batch.
func (in *input) endLarge() {
	if in.large != nil {
		in.large.close()
		in.large = nil
	}
}

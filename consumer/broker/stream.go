package broker

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Limits of a batch that is read as a stream, in bytes once it is decompressed.
const (
	// MaxRecord is the length of the largest record: all that is read of a record
	// is in memory at once, and this much is what a whole batch may take otherwise.
	MaxRecord = MaxBatch
	// MaxInflated ends bombs. The largest honest batches are those of gzip, of which
	// a mebibyte, as much as brokers take by default, becomes some 50 of ordinary events.
	MaxInflated = 256 << 20
)

// Stream is a batch that is too large to be decompressed as a whole. It is kept
// as it came, and its records are read as the queue of its input has room for them.
// The client does not fetch the partition meanwhile.
type Stream struct {
	header kmsg.RecordBatch // without the records
	last   int64            // offset of the last record
	next   int64            // no record that is still to come has an offset below it
	read   int32            // records
	left   io.LimitedReader // of what is decompressed
	in     *bufio.Reader
	close  func()
}

// ErrInflated says that a batch is more than MaxInflated.
var ErrInflated = fmt.Errorf("it is more than %d bytes when it is decompressed", MaxInflated)

// OpenBatch begins to read a batch. The stream is to be closed, also with an error.
func OpenBatch(b kmsg.RecordBatch) (*Stream, error) {
	src, end, err := inflate(kgo.CompressionCodecType(b.Attributes&7), b.Records)
	l := &Stream{header: b, last: b.FirstOffset + int64(b.LastOffsetDelta), next: b.FirstOffset, close: end}
	l.header.Records = nil
	l.left = io.LimitedReader{R: src, N: MaxInflated}
	l.in = bufio.NewReaderSize(&l.left, 32<<10)
	return l, err
}

// Record reads the next record. One of more than MaxRecord bytes is passed over: its
// length is returned, and the record only has its place. io.EOF ends the batch; any
// other error means that the rest of it can't be read.
func (b *Stream) Record(topic string, partition int32) (r *kgo.Record, oversize int64, err error) {
	if b.read >= b.header.NumRecords {
		return nil, 0, io.EOF
	}
	length, err := binary.ReadVarint(b.in)
	switch {
	case errors.Is(err, io.EOF) && b.left.N > 0:
		return nil, 0, fmt.Errorf("it does not have the %d records that it claims", b.header.NumRecords)
	case err != nil:
		return nil, 0, b.broken(err)
	case length < 0 || length > MaxInflated:
		return nil, 0, fmt.Errorf("a record of %d bytes", length)
	}
	r = &kgo.Record{
		Topic: topic, Partition: partition, ProducerID: b.header.ProducerID, ProducerEpoch: b.header.ProducerEpoch, LeaderEpoch: b.header.PartitionLeaderEpoch,
	}
	if length > MaxRecord {
		start, _ := b.in.Peek(21) // as far as the offset; what is shorter has an error below
		err := b.fill(r, kbin.Reader{Src: start}, false)
		if err == nil {
			if _, err = b.in.Discard(int(length)); err != nil {
				b.read, b.next = b.read-1, r.Offset // it is among what can't be read
			}
		}
		return r, length, b.broken(err)
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(b.in, body); err != nil {
		return nil, 0, b.broken(err)
	}
	return r, 0, b.fill(r, kbin.Reader{Src: body}, true)
}

// broken returns the error of a truncated batch.
func (b *Stream) broken(err error) error {
	switch {
	case err == nil:
		return nil
	case b.left.N <= 0:
		return ErrInflated
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF // it is no end
	}
	return err
}

// fill reads a record, or only its place, from its length on.
func (b *Stream) fill(r *kgo.Record, body kbin.Reader, whole bool) error {
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
		return errors.New("a record is shorter than it claims")
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

// Claimed returns how many of the records that a batch claims are not read, at least
// one: there are no more than it has offsets for.
func Claimed(b *kmsg.RecordBatch, read int32, next int64) int {
	last := b.FirstOffset + int64(b.LastOffsetDelta)
	return int(max(1, min(int64(b.NumRecords)-int64(read), last-next+1)))
}

// Last returns the offset of the batch's last record.
func (b *Stream) Last() int64 { return b.last }

// Next returns an offset below which no record is still to come.
func (b *Stream) Next() int64 { return b.next }

// Claimed returns how many records the batch claims that were not read, from an offset
// on.
func (b *Stream) Claimed(from int64) int { return Claimed(&b.header, b.read, from) }

// Inflated returns how many bytes have been decompressed.
func (b *Stream) Inflated() int64 { return MaxInflated - b.left.N }

// Close ends reading.
func (b *Stream) Close() { b.close() }

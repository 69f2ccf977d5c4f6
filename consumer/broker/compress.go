package broker

import (
	"bytes"
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Compressor compresses the outputs in one way, which their readers must know, and the
// engine's own topics in another, which no one else reads. One client writes both in
// one transaction, and all that it says of a batch is its bytes; so a batch is known by
// its first record, since all records of a batch are of one topic. A dead letter that
// holds the copy of an output is taken for one, which costs nothing but that.
type Compressor struct {
	outputs, own kgo.Compressor          // nil: not compressed
	made         func(value []byte) bool // whether a value is that of an output
}

// ownCompression is that of changelog, repartition and dead-letter topics.
func ownCompression() kgo.CompressionCodec { return kgo.SnappyCompression() }

// NewCompressor returns one that knows outputs by their values.
func NewCompressor(outputs kgo.CompressionCodec, made func(value []byte) bool) (*Compressor, error) {
	c := &Compressor{made: made}
	var err error
	if c.outputs, err = kgo.DefaultCompressor(outputs); err != nil {
		return nil, err
	}
	c.own, err = kgo.DefaultCompressor(ownCompression())
	return c, err
}

// Compress compresses the records of a batch.
func (c *Compressor) Compress(dst *bytes.Buffer, src []byte, flags ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	with := c.own
	if c.made(firstValue(src)) {
		with = c.outputs
	}
	if with == nil {
		return nil, kgo.CodecNone // the client then writes what it has
	}
	return with.Compress(dst, src, flags...)
}

// firstValue returns the value of the first record of a batch, nil if it has none:
//
//	length varint | attributes byte | timestamp varint | offset varint
//	key length varint, key | value length varint, value | headers
func firstValue(b []byte) []byte {
	number := func() int {
		n, size := binary.Varint(b)
		b = b[max(size, 0):]
		return max(int(n), 0) // of null it is -1
	}
	number()
	b = b[min(1, len(b)):]
	number()
	number()
	key := number()
	b = b[min(key, len(b)):]
	value := number()
	return b[:min(value, len(b))]
}

// NoOutputs knows no value as that of an output: everything is the engine's own.
func NoOutputs([]byte) bool { return false }

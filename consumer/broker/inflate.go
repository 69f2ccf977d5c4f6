package broker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/twmb/franz-go/pkg/kgo"
)

// inflateWindow is how much of what it has written a decoder may look back to, in
// bytes: with zstd, as much as its highest ordinary level asks for and four times
// what decoders must support. A block of snappy is decoded as a whole; as the format
// makes at most 64 bytes of 3, a block of this size is in every batch of 1.5 MiB at
// the most extreme, and in practice in much larger ones.
const inflateWindow = 32 << 20

// inflate returns a reader of what a codec has compressed, as much as is read of it at
// a time, and what ends it.
func inflate(codec kgo.CompressionCodecType, src []byte) (io.Reader, func(), error) {
	nothing := func() {}
	switch codec {
	case kgo.CodecNone:
		return bytes.NewReader(src), nothing, nil
	case kgo.CodecGzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		return r, nothing, err
	case kgo.CodecLz4:
		return lz4.NewReader(bytes.NewReader(src)), nothing, nil
	case kgo.CodecZstd:
		r, err := zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(inflateWindow))
		if err != nil {
			return nil, nothing, err
		}
		return r, r.Close, nil
	case kgo.CodecSnappy:
		if len(src) > xerialHeader && bytes.HasPrefix(src, xerialMagic) {
			return &xerial{src: src[xerialHeader:]}, nothing, nil
		}
		b, err := unsnap(nil, src)
		return bytes.NewReader(b), nothing, err
	}
	return nil, nothing, fmt.Errorf("unknown codec %d", codec)
}

// xerialMagic begins snappy as Java's clients write it: behind a header, blocks that
// each have their length before them.
var xerialMagic = []byte{130, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const xerialHeader = 16 // with two versions

// xerial reads such blocks.
type xerial struct {
	src   []byte // what is left of them
	block []byte // memory of one
	left  []byte // what is left of the one that was decoded
}

var errXerial = errors.New("the lengths of its snappy blocks are wrong")

func (x *xerial) Read(p []byte) (int, error) {
	for len(x.left) == 0 {
		if len(x.src) == 0 {
			return 0, io.EOF
		}
		if len(x.src) < 4 {
			return 0, errXerial
		}
		n := binary.BigEndian.Uint32(x.src)
		if int64(n) > int64(len(x.src)-4) {
			return 0, errXerial
		}
		var err error
		if x.block, err = unsnap(x.block, x.src[4:4+n]); err != nil {
			return 0, err
		}
		x.left, x.src = x.block, x.src[4+n:]
	}
	n := copy(p, x.left)
	x.left = x.left[n:]
	return n, nil
}

// unsnap decodes one block of snappy, into dst if that is large enough.
func unsnap(dst, src []byte) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return nil, err
	}
	if n > inflateWindow {
		return nil, fmt.Errorf("a snappy block of %d bytes, more than %d", n, inflateWindow)
	}
	return s2.Decode(dst[:cap(dst)], src)
}

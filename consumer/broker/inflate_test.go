package broker

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/twmb/franz-go/pkg/kgo"
)

// xerialBlocks compresses as Java's clients write snappy.
func xerialBlocks(raw []byte) []byte {
	b := append(slices.Clone(xerialMagic), 0, 0, 0, 1, 0, 0, 0, 1)
	for part := range slices.Chunk(raw, 32<<10) {
		block := s2.EncodeSnappy(nil, part)
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(block))), block...)
	}
	return b
}

// What is cut off is an error and no end.
func TestInflateCutOff(t *testing.T) {
	whole := bytes.Repeat([]byte("segment "), 10_000)
	for name, codec := range map[string]kgo.CompressionCodec{
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "java": {}, "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		b, as := xerialBlocks(whole), kgo.CodecSnappy
		if name != "java" {
			c, err := kgo.DefaultCompressor(codec)
			if err != nil {
				t.Fatal(err)
			}
			var buf bytes.Buffer
			b, as = c.Compress(&buf, whole)
			b = slices.Clone(b)
		}
		for cut := xerialHeader + 1; cut < len(b); cut += 1 + len(b)/100 {
			r, end, err := inflate(as, b[:cut])
			var got bytes.Buffer
			if err == nil {
				_, err = got.ReadFrom(r)
			}
			end()
			if !bytes.HasPrefix(whole, got.Bytes()) || err == nil && got.Len() == len(whole) && name != "lz4" {
				t.Errorf("%s cut to %d of %d bytes: %d bytes, %v", name, cut, len(b), got.Len(), err)
			}
		}
	}
}

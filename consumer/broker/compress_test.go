package broker

import (
	"bytes"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/fixture"
)

// Whatever bytes a batch has, looking for its first value ends in a part of them.
func TestFirstValue(t *testing.T) {
	whole := fixture.RawRecords([]byte("first"), []byte("second"))
	if got := firstValue(whole); string(got) != "first" {
		t.Errorf("%q", got)
	}
	for i := range whole {
		firstValue(whole[:i])
		for _, b := range []byte{0xff, 0x80, 0x7f, 0xfe} {
			broken := slices.Clone(whole)
			broken[i] = b
			firstValue(broken)
		}
	}
	for _, value := range [][]byte{nil, {}} {
		if got := firstValue(fixture.RawRecords(value)); len(got) != 0 {
			t.Errorf("%q", got)
		}
	}
}

// A resharding, which has no outputs, compresses everything as the engine's own.
func TestCompressorWithoutOutputs(t *testing.T) {
	c, err := NewCompressor(kgo.GzipCompression(), NoOutputs)
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, codec := c.Compress(&buf, fixture.RawRecords(make([]byte, 1000))); codec != kgo.CodecSnappy {
		t.Errorf("compressed with %d", codec)
	}
}

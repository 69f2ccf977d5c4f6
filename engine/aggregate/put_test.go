package aggregate

import (
	"bytes"
	"encoding/binary"
	"testing"

	"pgregory.net/rapid"
)

// Put writes what encoding/binary writes.
func TestPut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.Uint64().Draw(t, "v") >> rapid.IntRange(0, 63).Draw(t, "shift")
		b := bytes.Repeat([]byte{0xff}, MaxVarint)
		if got, want := b[:Put(b, v)], binary.AppendUvarint(nil, v); !bytes.Equal(got, want) {
			t.Fatalf("%d is %x, not %x", v, got, want)
		}
		if got, want := b[:PutSigned(b, int64(v))], binary.AppendVarint(nil, int64(v)); !bytes.Equal(got, want) {
			t.Fatalf("%d is %x, not %x", int64(v), got, want)
		}
	})
}

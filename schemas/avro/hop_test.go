package avro

import (
	"encoding/binary"
	"math/rand"
	"testing"
)

func TestUvarint(t *testing.T) {
	g := rand.New(rand.NewSource(1))
	for range 100_000 {
		b := make([]byte, g.Intn(14))
		for i := range b {
			b[i] = byte(g.Intn(256)) | byte(g.Intn(4)&1<<7)
		}
		if g.Intn(2) == 0 {
			b = append(binary.AppendUvarint(nil, g.Uint64()>>g.Intn(64)), b...)
		}
		x, n := uvarint(b)
		if wantX, wantN := binary.Uvarint(b); x != wantX || n != wantN {
			t.Fatalf("% x: %d of %d bytes, want %d of %d", b, x, n, wantX, wantN)
		}
	}
}

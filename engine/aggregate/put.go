package aggregate

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// MaxVarint is how many bytes Put needs.
const MaxVarint = binary.MaxVarintLen64

// Put writes v as a varint to the front of b and returns its length. b has room for
// MaxVarint bytes, all of which it may overwrite. Most numbers have up to five bytes,
// which are written at once, whatever their number.
func Put(b []byte, v uint64) int {
	if v < 0x80 {
		b[0] = byte(v)
		return 1
	}
	if v >= 1<<35 {
		return binary.PutUvarint(b, v)
	}
	w := v&0x7f | v&(0x7f<<7)<<1 | v&(0x7f<<14)<<2 | v&(0x7f<<21)<<3 | v&(0x7f<<28)<<4
	n := (bits.Len64(v) + 6) / 7
	w |= 0x8080808080 & (1<<(8*(n-1)) - 1) // all but the last go on
	binary.LittleEndian.PutUint64(b, w)
	return n
}

// PutSigned is Put for a zigzag number.
func PutSigned(b []byte, v int64) int { return Put(b, uint64(v)<<1^uint64(v>>63)) }

// room returns b with room for n more bytes, and that room.
func room(b []byte, n int) (same, room []byte) {
	b = slices.Grow(b, n)
	return b, b[len(b) : len(b)+n]
}

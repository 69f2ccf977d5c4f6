package frame

import (
	"encoding/binary"

	"github.com/segmill/segmill/engine/expr"
)

// TakePlain captures the first n bytes of b in dst. It is false if they must be
// looked at more closely.
func (f *Frame) TakePlain(dst *Cell, b []byte, n int) bool {
	if n == 0 || n >= f.maxID {
		return false
	}
	from := len(f.buf)
	if n <= 8 && len(b) >= 8 && cap(f.buf)-from >= 8 {
		x := binary.LittleEndian.Uint64(b)
		mask := ^uint64(0) >> (64 - 8*n)
		if x = x&mask | ones&^mask; (x-ones|x)&highs != 0 {
			return false
		}
		f.buf = f.buf[:from+n]
		binary.LittleEndian.PutUint64(f.buf[from:from+8], x)
	} else {
		if !IsPlain(b[:n]) {
			return false
		}
		f.buf = append(f.buf, b[:n]...)
	}
	*dst = Cell{expr.String, span(from, n)}
	return true
}

const ones, highs = 0x0101010101010101, 0x8080808080808080

// IsPlain reports whether b is ASCII without a byte 0.
func IsPlain(b []byte) bool {
	n := len(b)
	if n < 4 {
		for _, c := range b {
			if c-1 >= 0x7f {
				return false
			}
		}
		return true
	}
	if n < 8 {
		x := uint64(binary.LittleEndian.Uint32(b)) | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<32
		return (x-ones|x)&highs == 0
	}
	for i := 0; i < n-8; i += 8 {
		if x := binary.LittleEndian.Uint64(b[i:]); (x-ones|x)&highs != 0 {
			return false
		}
	}
	x := binary.LittleEndian.Uint64(b[n-8:])
	return (x-ones|x)&highs == 0
}

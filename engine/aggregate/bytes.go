package aggregate

import (
	"encoding/binary"

	"github.com/segmill/segmill/engine/expr"
)

// Reader reads varints and strings. The first error sticks: after it everything
// reads as zero and bad is true. No length is believed beyond the bytes left.
type Reader struct {
	b    []byte
	bad  bool
	v1   bool   // version 1 of the customer format
	base Millis // what times are stored relative to
}

// Uvarint reads an unsigned varint.
func (r *Reader) Uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// Varint reads a signed varint.
func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Millis reads an instant or length of time.
func (r *Reader) Millis() Millis { return Millis(r.Varint()) }

// Count reads the number of items of at least size bytes each that follow.
func (r *Reader) Count(size int) int {
	n := r.Uvarint()
	if n > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

// String reads what appendString wrote.
func (r *Reader) String() string { return string(r.Bytes()) }

// Byte reads one byte.
func (r *Reader) Byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	c := r.b[0]
	r.b = r.b[1:]
	return c
}

// AppendValue appends a scalar value: its kind, then a varint or a string with
// its length. Lists and records are not stored.
func AppendValue(b []byte, v expr.Value) []byte {
	b = append(b, byte(v.K))
	switch v.K {
	case expr.Absent, expr.List, expr.Record:
		return b
	case expr.String:
		return appendString(b, v.S)
	}
	return binary.AppendVarint(b, v.N)
}

// Value reads what AppendValue wrote.
func (r *Reader) Value() expr.Value {
	v := expr.Value{K: expr.Kind(r.Byte())}
	switch {
	case v.K == expr.Absent:
	case v.K == expr.String:
		v.S = r.String()
	case v.K < expr.List:
		v.N = r.Varint()
	default:
		r.bad = true
	}
	return v
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// NewReader returns a reader of a customer's bytes in a version of the format.
func NewReader(b []byte, version byte) Reader { return Reader{b: b, v1: version == 1} }

// Base sets the instant that times are stored relative to.
func (r *Reader) Base(at Millis) { r.base = at }

// Sub returns a reader of the next bytes, which begin with their length.
func (r *Reader) Sub() Reader { return Reader{b: r.Bytes(), v1: r.v1, base: r.base} }

// appendTime appends an instant as its distance to at.
func appendTime(b []byte, t, at Millis) []byte { return binary.AppendVarint(b, int64(at-t)) }

// Time reads an instant, in version 1 as it is, later as its distance to the base.
func (r *Reader) Time() Millis {
	if r.v1 {
		return r.Millis()
	}
	return r.base - r.Millis()
}

// appendInstant appends an instant that may be None, then in one byte.
func appendInstant(b []byte, t, at Millis) []byte {
	if t == None {
		return append(b, 0)
	}
	return appendTime(append(b, 1), t, at)
}

func (r *Reader) instant() Millis {
	switch r.Byte() {
	case 0:
		return None
	case 1:
		return r.Time()
	}
	r.bad = true
	return 0
}

// appendReach is appendInstant for what mostly lies whole days or minutes back.
func appendReach(b []byte, t, at Millis) []byte {
	for i, unit := range reachUnits {
		if d := at - t; t != None && d%unit == 0 {
			return binary.AppendVarint(append(b, byte(2+i)), int64(d/unit))
		}
	}
	return appendInstant(b, t, at)
}

var reachUnits = [...]Millis{86_400_000, 60_000}

func (r *Reader) reach() Millis {
	if len(r.b) > 0 && r.b[0] >= 2 && int(r.b[0]) < 2+len(reachUnits) {
		unit := reachUnits[r.Byte()-2]
		return r.base - Millis(r.Varint())*unit
	}
	return r.instant()
}

// Bytes reads a length and that many bytes, which it does not copy.
func (r *Reader) Bytes() []byte {
	n := r.Count(1)
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// Uint32 reads four bytes, little-endian.
func (r *Reader) Uint32() uint32 {
	if len(r.b) < 4 {
		r.bad, r.b = true, nil
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// Uint64 reads eight bytes, little-endian.
func (r *Reader) Uint64() uint64 {
	lo := r.Uint32()
	return uint64(lo) | uint64(r.Uint32())<<32
}

// Check marks the bytes as malformed unless ok.
func (r *Reader) Check(ok bool) { r.bad = r.bad || !ok }

// Done reports whether all was read and was well formed.
func (r *Reader) Done() bool { return !r.bad && len(r.b) == 0 }

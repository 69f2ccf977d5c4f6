package aggregate

import (
	"encoding/binary"

	"github.com/segmill/segmill/engine/expr"
)

// reader reads varints and strings. The first error sticks: after it everything
// reads as zero and bad is true. No length is believed beyond the bytes left.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	u := r.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *reader) millis() Millis { return Millis(r.varint()) }

// count reads the number of items of at least size bytes each that follow.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) string() string {
	n := r.count(1)
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) byte() byte {
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

func (r *reader) value() expr.Value {
	v := expr.Value{K: expr.Kind(r.byte())}
	switch {
	case v.K == expr.Absent:
	case v.K == expr.String:
		v.S = r.string()
	case v.K < expr.List:
		v.N = r.varint()
	default:
		r.bad = true
	}
	return v
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Package wire reads and writes the bytes that segmill stores: varints, bytes and
// texts with their length in front, numbers of fixed size.
//
// The one rule it keeps: no length is believed beyond the bytes that are left, so
// whoever allocates by what a [Reader] returns allocates no more than was read.
package wire

import "encoding/binary"

// Reader takes values from the front of bytes. The first one that is not there, or
// is out of bounds, makes it bad: from then on everything reads as zero, and Done
// reports false. So a format is read without a look at each value, and judged at
// its end. What it returns is part of the bytes, but for texts.
type Reader struct {
	b   []byte
	bad bool
}

// NewReader returns a reader of b.
func NewReader(b []byte) Reader { return Reader{b: b} }

// Uvarint reads an unsigned varint.
func (r *Reader) Uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	return r.uvarint()
}

// uvarint reads a varint of several bytes.
func (r *Reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// UvarintTo reads an unsigned varint that may be as large as limit.
func (r *Reader) UvarintTo(limit uint64) uint64 {
	v := r.Uvarint()
	if v > limit {
		r.fail()
		return 0
	}
	return v
}

// Varint reads a signed varint, which is zigzag.
func (r *Reader) Varint() int64 {
	u := r.Uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

// Count reads the number of items that follow, each of size bytes or more.
func (r *Reader) Count(size int) int {
	n := r.Uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

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

// Take reads the next n bytes, none if there are fewer.
func (r *Reader) Take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	p := r.b[:n:n]
	r.b = r.b[n:]
	return p
}

// Bytes reads a length and that many bytes.
func (r *Reader) Bytes() []byte { return r.Take(r.Count(1)) }

// Text reads what AppendText wrote.
func (r *Reader) Text() string { return string(r.Bytes()) }

// TextTo reads a text of at most limit bytes.
func (r *Reader) TextTo(limit int) string {
	n := r.Count(1)
	r.Check(n <= limit)
	if r.bad {
		return ""
	}
	return string(r.Take(n))
}

// Uint32 reads four bytes, the lowest first.
func (r *Reader) Uint32() uint32 {
	if len(r.b) < 4 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint32(r.b)
	r.b = r.b[4:]
	return v
}

// Uint64 reads eight bytes, the lowest first.
func (r *Reader) Uint64() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// Uint64BE reads eight bytes, the highest first.
func (r *Reader) Uint64BE() uint64 {
	if len(r.b) < 8 {
		r.fail()
		return 0
	}
	v := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// Left returns the bytes that are not read yet.
func (r *Reader) Left() []byte { return r.b }

// Check makes the reader bad unless ok.
func (r *Reader) Check(ok bool) {
	if !ok {
		r.fail()
	}
}

func (r *Reader) fail() { r.bad, r.b = true, nil }

// Bad reports whether something was not there or out of bounds.
func (r *Reader) Bad() bool { return r.bad }

// Done reports whether all was read and was well formed.
func (r *Reader) Done() bool { return !r.bad && len(r.b) == 0 }

// AppendText appends a text with its length in front, an unsigned varint.
func AppendText(b []byte, s string) []byte {
	if len(s) < 0x80 {
		b = append(b, byte(len(s)))
	} else {
		b = binary.AppendUvarint(b, uint64(len(s)))
	}
	return append(b, s...)
}

package changelog

import "encoding/binary"

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// decoder takes values from the front of b. After the first one that is not
// there or out of bounds it is bad, and gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

// take returns the next n bytes.
func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b) {
		d.bad = true
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// uvarint returns a number up to limit; a limit of 0 is none.
func (d *decoder) uvarint(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 || limit > 0 && v > limit {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) text(limit uint64) string {
	return string(d.take(int(d.uvarint(limit))))
}

// texts returns a map of strings without duplicate keys.
func (d *decoder) texts() map[string]string {
	m := make(map[string]string)
	n := d.uvarint(maxRules)
	for i := uint64(0); i < n && !d.bad; i++ {
		k := d.text(maxName)
		m[k] = d.text(maxName)
	}
	d.bad = d.bad || uint64(len(m)) != n
	return m
}

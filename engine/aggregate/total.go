package aggregate

import (
	"encoding/binary"
	"math/big"
	"math/bits"

	"github.com/segmill/segmill/engine/expr"
)

// Count is the number of events.
type Count struct{ N uint64 }

// Fold counts one event.
func (c *Count) Fold(*Sample) { c.N++ }

// Merge adds the counts. Shared events cannot be distinguished in a count.
func (c *Count) Merge(o Cell, shared []Shared) bool {
	c.N += o.(*Count).N
	return len(shared) == 0
}

// Prune does nothing.
func (c *Count) Prune(_, _ Millis) {}

// Append appends the count as a uvarint.
func (c *Count) Append(b []byte, _ Millis) []byte { return binary.AppendUvarint(b, c.N) }

// Compute returns the count.
func (c *Count) Compute(*Op, expr.Kind, Millis, Millis) expr.Value { return expr.IntValue(int64(c.N)) }

func (c *Count) decode(r *Reader) { c.N = r.Uvarint() }

// Sum is the sum of scaled integers and their number.
type Sum struct {
	N uint64
	S Int128
}

// Fold adds one value.
func (c *Sum) Fold(s *Sample) {
	c.N++
	c.S = c.S.Add(s.Num)
}

// Merge adds the sums. Shared events cannot be distinguished in a sum.
func (c *Sum) Merge(o Cell, shared []Shared) bool {
	x := o.(*Sum)
	c.N += x.N
	c.S = c.S.Plus(x.S)
	return len(shared) == 0
}

// Prune does nothing.
func (c *Sum) Prune(_, _ Millis) {}

// Append appends number and sum.
func (c *Sum) Append(b []byte, _ Millis) []byte { return c.S.append(binary.AppendUvarint(b, c.N)) }

// Compute returns the sum or the average, which is absent over nothing.
func (c *Sum) Compute(op *Op, k expr.Kind, _, _ Millis) expr.Value {
	t := running{n: c.N, sum: c.S}
	return t.value(op, k)
}

func (c *Sum) decode(r *Reader) { c.N, c.S = r.Uvarint(), r.int128() }

// Extreme is the least or greatest scaled integer.
type Extreme struct {
	Set      bool
	V        int64
	greatest bool
}

// Fold takes one value.
func (c *Extreme) Fold(s *Sample) { c.take(s.Num) }

func (c *Extreme) take(v int64) {
	if !c.Set || c.greatest == (v > c.V) && v != c.V {
		c.Set, c.V = true, v
	}
}

// Merge keeps the more extreme of both.
func (c *Extreme) Merge(o Cell, _ []Shared) bool {
	if x := o.(*Extreme); x.Set {
		c.take(x.V)
	}
	return true
}

// Prune does nothing.
func (c *Extreme) Prune(_, _ Millis) {}

// Append appends the value; an extreme over nothing is no bytes at all.
func (c *Extreme) Append(b []byte, _ Millis) []byte {
	if !c.Set {
		return b
	}
	return binary.AppendVarint(b, c.V)
}

// Compute returns the value, absent if there was none.
func (c *Extreme) Compute(_ *Op, k expr.Kind, _, _ Millis) expr.Value {
	if !c.Set {
		return expr.Value{}
	}
	return Number(k, c.V)
}

func (c *Extreme) decode(r *Reader) {
	if len(r.Left()) > 0 {
		c.Set, c.V = true, r.Varint()
	}
}

// Int128 is a signed 128-bit integer: hi * 2^64 + lo.
type Int128 struct {
	hi int64
	lo uint64
}

// Add returns x + v.
func (x Int128) Add(v int64) Int128 { return x.Plus(Int128{hi: v >> 63, lo: uint64(v)}) }

// Plus returns x + y. 2^64 values of 2^63 fit.
func (x Int128) Plus(y Int128) Int128 {
	lo, carry := bits.Add64(x.lo, y.lo, 0)
	hi, _ := bits.Add64(uint64(x.hi), uint64(y.hi), carry)
	return Int128{hi: int64(hi), lo: lo}
}

// Neg returns -x.
func (x Int128) Neg() Int128 {
	lo, borrow := bits.Sub64(0, x.lo, 0)
	hi, _ := bits.Sub64(0, uint64(x.hi), borrow)
	return Int128{hi: int64(hi), lo: lo}
}

// Minus returns x - y.
func (x Int128) Minus(y Int128) Int128 { return x.Plus(y.Neg()) }

// small reports whether x fits 64 bits.
func (x Int128) small() bool { return x.hi == int64(x.lo)>>63 }

// Float returns x / scale: x is rounded to a double, then divided.
func (x Int128) Float(scale float64) float64 {
	if x.small() {
		return float64(int64(x.lo)) / scale
	}
	n := new(big.Int).Lsh(big.NewInt(x.hi), 64)
	n.Add(n, new(big.Int).SetUint64(x.lo))
	f, _ := n.Float64()
	return f / scale
}

// append appends sign and high half in a varint, then the low half of the
// magnitude.
func (x Int128) append(b []byte) []byte {
	neg := x.hi < 0
	if neg {
		x = x.Neg()
	}
	h := uint64(x.hi) << 1
	if neg {
		h |= 1
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, h), x.lo)
}

func (r *Reader) int128() Int128 {
	h := r.Uvarint()
	x := Int128{hi: int64(h >> 1), lo: r.Uvarint()}
	if h&1 != 0 {
		x = x.Neg()
	}
	return x
}

// Number returns a scaled integer as the value that rules compare.
func Number(k expr.Kind, n int64) expr.Value {
	if k == expr.Int {
		return expr.IntValue(n)
	}
	return expr.DoubleValue(float64(n) / Scale(k))
}

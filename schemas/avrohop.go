package schemas

import (
	"encoding/binary"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
)

// hop is the short way over a field of a record, for the values that nearly all
// records have: short, and as they should be. What it does not take is left to
// the field's op, which reads the value from its start and says what is wrong.
// So a hop never refuses, and whatever it takes the op would take in the same way.
type hop struct {
	way      way
	optional bool // a union of null and one more:
	null     byte // what stands for null
	some     byte // what stands for the other
	o        *op  // of the value, without the union
}

// way is what a hop does.
type way uint8

const (
	byOp way = iota // nothing
	overText
	overBytes
	overLong
	overShort // a number of one byte
	overEnum
	overEmpty // an array or map
	takeText
	takeMillis
	takeDecimal
	takeEnum
)

// hopsOf returns the hops over the fields of a record.
func hopsOf(fields []*op) []hop {
	l := make([]hop, len(fields))
	for i, o := range fields {
		h := hop{o: o}
		if o.do == doUnion && len(o.kids) == 2 {
			switch {
			case o.kids[0].do == doNull:
				h = hop{optional: true, null: 0, some: 2, o: o.kids[1]}
			case o.kids[1].do == doNull:
				h = hop{optional: true, null: 2, some: 0, o: o.kids[0]}
			}
		}
		h.way = wayOf(h.o)
		l[i] = h
	}
	return l
}

func wayOf(o *op) way {
	switch o.do {
	case doSkipText:
		return overText
	case doSkipBytes:
		return overBytes
	case doSkipLong:
		return overLong
	case doSkipInt:
		return overShort
	case doSkipEnum:
		return overEnum
	case doSkipArray, doMap:
		return overEmpty
	case doText:
		if o.f.kind == expr.String && o.f.symbols == nil {
			return takeText
		}
	case doInt:
		if o.f.kind == expr.Time && o.unit == unitMillis {
			return takeMillis
		}
	case doDecimal:
		if o.wire == wireBytes && o.scale == expr.DecimalScale {
			return takeDecimal
		}
	case doEnum:
		if o.f.symbols != nil {
			return takeEnum
		}
	}
	return byOp
}

// fields reads the fields of a record.
func (r *avroReader) fields(o *op, vals []expr.Value) *BadInput {
	for i := range o.hops {
		if n := r.hop(&o.hops[i], r.b[r.i:], vals); n > 0 {
			r.i += n
			continue
		}
		if e := r.value(o.kids[i], vals); e != nil {
			return e
		}
	}
	if r.steps > maxSteps {
		return r.at(bad(CauseSize, o.path, "the record holds more than %d values", maxSteps))
	}
	return nil
}

// hop takes the value that b begins with and returns how many bytes it has; 0
// leaves it to the op.
func (r *avroReader) hop(h *hop, b []byte, vals []expr.Value) int {
	if len(b) == 0 {
		return 0
	}
	head := 0
	if h.optional {
		if b[0] == h.null {
			r.steps += 2
			return 1
		}
		if b[0] != h.some || len(b) == 1 {
			return 0
		}
		head = 1
		b = b[1:]
	}
	c := b[0]
	n := 1 // bytes of the value
	switch h.way {
	case overText, overBytes, takeText, takeDecimal:
		n = 1 + int(c>>1)
		if c&0x81 != 0 || n > len(b) {
			return 0
		}
		t := b[1:n]
		switch h.way {
		case overText:
			if !isPlain(t) && !utf8.Valid(t) {
				return 0
			}
		case takeText:
			if n == 1 || n > r.f.maxID || !isPlain(t) {
				return 0
			}
			dst := &vals[h.o.dst]
			dst.K, dst.N = expr.String, span(len(r.f.buf), n-1)
			r.f.buf = append(r.f.buf, t...)
		case takeDecimal:
			if n == 1 || n > 9 {
				return 0
			}
			d := int64(int8(t[0]))
			for _, c := range t[1:] {
				d = d<<8 | int64(c)
			}
			vals[h.o.dst] = expr.DecimalValue(d)
		}
	case overLong, takeMillis:
		var u uint64
		if u, n = binary.Uvarint(b); n <= 0 {
			return 0
		}
		if h.way == takeMillis {
			m := expr.Millis(u>>1) ^ -expr.Millis(u&1)
			if m < minInstant || m > maxInstant {
				return 0
			}
			vals[h.o.dst] = expr.TimeValue(m)
		}
	case overShort:
		if c >= 0x80 {
			return 0
		}
	case overEmpty:
		if c != 0 {
			return 0
		}
	case overEnum, takeEnum:
		if c&0x81 != 0 || int(c>>1) >= h.o.size {
			return 0
		}
		if h.way == takeEnum {
			vals[h.o.dst] = h.o.symbols[c>>1]
		}
	default:
		return 0
	}
	r.steps += 1 + head
	return head + n
}

// isPlain reports whether b is ASCII without a byte 0.
func isPlain(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
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

package avro

import (
	"encoding/binary"
	"math/bits"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/scalar"
)

// hop is the short way over a field of a record, for the values that nearly all
// records have: short, and as they should be. What it does not take is left to
// the field's op, which reads the value from its start and says what is wrong.
// So a hop never refuses, and whatever it takes the op would take in the same way.
type hop struct {
	way      way
	optional bool   // a union of null and one more:
	some     byte   // the code of the other
	steps    uint8  // how many a value takes that is there
	empty    uint16 // a byte that is a whole value of which nothing is kept; 256: there is none
	least    uint8  // how many steps that takes
	dst      int32
	o        *Op // of the value, without the union
}

// way is what a hop does.
type way uint8

const (
	byOp      way = iota // nothing
	overBytes            // or text
	overLong
	overShort // a number of one byte
	overEnum
	overEmpty // an array or map
	overItems // an array of records
	takeText
	takeMillis
	takeDecimal
	takeEnum
)

// hopsOf returns the hops over the fields of a record.
func hopsOf(fields []*Op) []hop {
	l := make([]hop, len(fields))
	for i, o := range fields {
		h := hop{o: o, steps: 1, empty: 256}
		if o.do == doUnion && len(o.kids) == 2 {
			switch {
			case o.kids[0].do == doNull:
				h = hop{optional: true, empty: 0, some: 2, o: o.kids[1], steps: 2, least: 2}
			case o.kids[1].do == doNull:
				h = hop{optional: true, empty: 2, some: 0, o: o.kids[0], steps: 2, least: 2}
			}
		}
		h.way, h.dst = wayOf(h.o), int32(h.o.dst)
		if !h.optional && h.way.skips() {
			h.empty, h.least = 0, 1
		}
		l[i] = h
	}
	return l
}

// WithoutHops takes the short ways out of a program: what is left is the plain twin
// that a test compares them with.
func (o *Op) WithoutHops() {
	seen := map[*Op]bool{}
	var plain func(o *Op)
	plain = func(o *Op) {
		if seen[o] {
			return
		}
		seen[o] = true
		for i := range o.hops {
			o.hops[i] = hop{way: byOp, empty: 256}
		}
		for _, k := range o.kids {
			plain(k)
		}
	}
	plain(o)
}

// skips reports whether a value is only stepped over.
func (w way) skips() bool { return w >= overBytes && w <= overItems }

func wayOf(o *Op) way {
	switch o.do {
	case doSkipBytes:
		return overBytes
	case doSkipLong:
		return overLong
	case doSkipInt:
		return overShort
	case doSkipEnum:
		return overEnum
	case doSkipArray:
		if o.kids[0].do == doRecord && !o.kids[0].again {
			return overItems
		}
		return overEmpty
	case doMap, doFree:
		return overEmpty
	case doText:
		if o.f.Kind == expr.String && o.f.Symbols == nil && !o.keep {
			return takeText
		}
	case doInt:
		if o.f.Kind == expr.Time && o.unit == scalar.UnitMillis && !o.local {
			return takeMillis
		}
	case doDecimal:
		if o.wire == Bytes && o.scale == expr.DecimalScale && o.f.Kind == expr.Decimal {
			return takeDecimal
		}
	case doEnum:
		if o.symbols != nil {
			return takeEnum
		}
	}
	return byOp
}

// fields reads the fields of a record.
func (r *Reader) fields(o *Op, vals []frame.Cell) *bad.Input {
	if r.depth++; r.depth > maxDepth {
		return r.at(bad.New(bad.Size, o.path, "records are nested more than %d deep", maxDepth))
	}
	for k := 0; ; k++ {
		k += r.over(o.hops[k:], vals)
		if k == len(o.hops) {
			break
		}
		if e := r.value(o.kids[k], vals); e != nil {
			return e
		}
	}
	r.depth--
	if r.steps > maxSteps {
		return r.at(bad.New(bad.Size, o.path, "the record holds more than %d values", maxSteps))
	}
	return nil
}

// over takes the next values by their hops and returns how many; the value after
// them is left to its op.
func (r *Reader) over(hops []hop, vals []frame.Cell) (n int) {
	f, b, i, steps := r.f, r.b, r.i, r.steps
loop:
	for ; n < len(hops); n++ {
		if i >= len(b) {
			break
		}
		h, c, at := &hops[n], b[i], i+1 // at: behind c
		if uint16(c) == h.empty {
			i, steps = at, steps+int(h.least)
			continue
		}
		if h.optional {
			if c != h.some || at == len(b) {
				break
			}
			c = b[at]
			at++
		}
		size := int(c >> 1) // if it has one
		switch h.way {
		case takeText:
			if c&0x81 != 0 || size > len(b)-at || !f.TakePlain(&vals[h.dst], b[at:], size) {
				break loop
			}
			at += size
		case overBytes:
			if c&0x81 != 0 || size > len(b)-at {
				break loop
			}
			at += size
		case takeDecimal:
			if c&0x81 != 0 || size > len(b)-at || size == 0 || size > 8 {
				break loop
			}
			d := int64(int8(b[at]))
			for _, c := range b[at+1 : at+size] {
				d = d<<8 | int64(c)
			}
			vals[h.dst] = frame.Cell{K: expr.Decimal, N: d}
			at += size
		case overLong:
			_, size := uvarint(b[at-1:])
			if size <= 0 {
				break loop
			}
			at += size - 1
		case takeMillis:
			u, size := uvarint(b[at-1:])
			m := expr.Millis(u>>1) ^ -expr.Millis(u&1)
			if size <= 0 || m < scalar.MinInstant || m > scalar.MaxInstant {
				break loop
			}
			vals[h.dst] = frame.Cell{K: expr.Time, N: int64(m)}
			at += size - 1
		case overShort:
			if c >= 0x80 {
				break loop
			}
		case overEmpty:
			if c != 0 {
				break loop
			}
		case overItems:
			r.i, r.steps = at, steps
			if items := f.Items; c&0x81 != 0 || !r.overItems(h.o.kids[0], size) {
				f.Items = items
				break loop
			}
			at, steps = r.i, r.steps
		case overEnum:
			if c&0x81 != 0 || size >= h.o.size {
				break loop
			}
		case takeEnum:
			if c&0x81 != 0 || size >= h.o.size {
				break loop
			}
			vals[h.dst] = h.o.symbols[size]
		default:
			break loop
		}
		i, steps = at, steps+int(h.steps)
	}
	r.i, r.steps = i, steps
	return n
}

// overItems takes the n records of a block and the end of the array.
func (r *Reader) overItems(o *Op, n int) bool {
	if n == 0 {
		return true // the block was the end
	}
	if r.f.Items += n; r.f.Items > frame.MaxItems {
		return false
	}
	for range n {
		r.steps++
		if r.over(o.hops, nil) < len(o.hops) {
			return false
		}
	}
	if r.i >= len(r.b) || r.b[r.i] != 0 {
		return false
	}
	r.i++
	return true
}

// uvarint is [binary.Uvarint], without a loop for most numbers.
func uvarint(b []byte) (uint64, int) {
	if len(b) < 8 {
		return binary.Uvarint(b)
	}
	x := binary.LittleEndian.Uint64(b)
	end := ^x & highBits
	if end == 0 {
		return binary.Uvarint(b)
	}
	x &= end ^ (end - 1) // up to the last byte, the first one without the high bit
	x = x&0x007f007f007f007f | x&0x7f007f007f007f00>>1
	x = x&0x00003fff00003fff | x&0x3fff00003fff0000>>2
	x = x&0x000000000fffffff | x&0x0fffffff00000000>>4
	return x, bits.TrailingZeros64(end)/8 + 1
}

const highBits = 0x8080808080808080

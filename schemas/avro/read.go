package avro

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/scalar"
)

// maxSteps bounds the values that one record may hold, those of no bytes
// included: a schema can make the few bytes of an array count mean very many of
// them.
const maxSteps = 200_000

// maxDepth is how deep records of a type that contains itself are nested.
const maxDepth = 64

// Reader runs a program over Avro bytes:
//
//	int, long     zigzag varint, at most 5 or 10 bytes
//	bytes, string long length | bytes
//	enum, union   long index | (union) the branch
//	record        its fields
//	array, map    blocks: long count | items; a count below 0 is followed by the
//	              block's length in bytes; count 0 ends
//
// Nothing is allocated by a length in the bytes before the bytes are known to be
// there.
type Reader struct {
	f     *frame.Frame
	b     []byte
	i     int // the next byte
	base  int // where b begins in the record, for errors
	steps int
	depth int // of records that are being read: a type may contain itself
}

// NewReader returns a reader into f.
func NewReader(f *frame.Frame) Reader { return Reader{f: f} }

// Read reads the record b, whose Avro begins at from, with the program o into the
// frame.
func (r *Reader) Read(o *Op, b []byte, from int) *bad.Input {
	r.b, r.i, r.base, r.steps, r.depth = b[from:], 0, from, 0, 0
	if e := r.value(o, r.f.Vals); e != nil {
		return e
	}
	if r.i != len(r.b) {
		return r.bad(o, "%d bytes are left after the end of the record", len(r.b)-r.i)
	}
	return nil
}

// Forget lets go of the record.
func (r *Reader) Forget() { r.b = nil }

// bad returns a decode error at the next byte.
func (r *Reader) bad(o *Op, format string, args ...any) *bad.Input {
	return r.at(bad.New(bad.Decode, o.path, format, args...))
}

// at adds to an error where in the record it was met.
func (r *Reader) at(e *bad.Input) *bad.Input { return e.AtByte(r.base + r.i) }

// value reads one value; vals are the places of the record that it belongs to.
func (r *Reader) value(o *Op, vals []frame.Cell) *bad.Input {
	for {
		if r.steps++; r.steps > maxSteps {
			return r.at(bad.New(bad.Size, o.path, "the record holds more than %d values", maxSteps))
		}
		switch o.do {
		case doNull:
			return nil
		case doUnion:
			n, e := r.index(o, len(o.kids), "branch")
			if e != nil {
				return e
			}
			o = o.kids[n]
		case doRecord:
			return r.fields(o, vals)
		case doSkipBytes:
			_, e := r.bytes(o)
			return e
		case doSkipLong:
			_, e := r.long(o)
			return e
		case doSkipInt:
			_, e := r.integer(o)
			return e
		case doSkipEnum:
			_, e := r.index(o, o.size, "symbol")
			return e
		case doSkipBool:
			_, e := r.bool(o)
			return e
		case doSkipSized:
			_, e := r.take(o, int64(o.size))
			return e
		case doSkipArray, doMap, doFree:
			return r.blocks(o, vals)
		case doTwice:
			from := r.i
			if e := r.value(o.kids[0], vals); e != nil {
				return e
			}
			r.i, o = from, o.kids[1]
		case doList:
			from := r.f.BeginList()
			if e := r.blocks(o, nil); e != nil {
				return e
			}
			r.f.EndList(&vals[o.dst], o.f.Elem, from)
			return nil
		case doTexts:
			r.f.BeginTexts()
			if e := r.blocks(o, nil); e != nil {
				return e
			}
			return r.at(r.f.EndTexts(o.f, &vals[o.dst]))
		case doRefuse:
			return r.refuse(o, vals)
		default:
			if o.keep && vals[o.dst].Present() {
				var none frame.Cell
				return r.field(o, &none)
			}
			return r.field(o, &vals[o.dst])
		}
	}
}

// refuse steps over a value that a field can't be.
func (r *Reader) refuse(o *Op, vals []frame.Cell) *bad.Input {
	if e := r.value(o.kids[0], nil); e != nil {
		return e
	}
	var none frame.Cell
	dst := &none
	if o.dst >= 0 {
		dst = &vals[o.dst]
	}
	return r.at(r.f.Wrong(o.f, dst, o.refuse))
}

// field reads a value that is for a field and neither a list nor a map.
func (r *Reader) field(o *Op, dst *frame.Cell) (e *bad.Input) {
	switch o.do {
	case doText:
		b, e := r.bytes(o)
		if e != nil {
			return e
		}
		if !utf8.Valid(b) {
			return r.at(r.f.Broken(o.f, dst, b))
		}
		return r.at(r.f.Text(o.f, dst, b))
	case doDecimal:
		return r.decimal(o, dst)
	case doInt:
		n, e := r.integer(o)
		if e != nil {
			return e
		}
		if o.local {
			return r.at(r.f.Local(o.f, dst, n, o.unit))
		}
		return r.at(r.f.Int(o.f, dst, n, o.unit))
	case doEnum:
		n, e := r.index(o, o.size, "symbol")
		if e != nil {
			return e
		}
		if o.symbols != nil {
			*dst = o.symbols[n]
			return nil
		}
		return r.at(r.f.Text(o.f, dst, []byte(o.texts[n])))
	case doBool:
		x, e := r.bool(o)
		if e != nil {
			return e
		}
		return r.at(r.f.Bool(o.f, dst, x))
	}
	b, e := r.take(o, int64(o.size)) // doFloat, doDouble
	if e != nil {
		return e
	}
	if o.do == doFloat {
		return r.at(r.f.Float(o.f, dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(b))), 32))
	}
	return r.at(r.f.Float(o.f, dst, math.Float64frombits(binary.LittleEndian.Uint64(b)), 64))
}

// decimal reads a decimal.
func (r *Reader) decimal(o *Op, dst *frame.Cell) *bad.Input {
	var b []byte
	var e *bad.Input
	if o.wire == Fixed {
		b, e = r.take(o, int64(o.size))
	} else {
		b, e = r.bytes(o)
	}
	if e != nil {
		return e
	}
	if o.f.Kind == expr.Decimal {
		d, err := scalar.DecimalOfBytes(b, o.scale)
		return r.at(r.f.Set(o.f, dst, expr.DecimalValue(d), err))
	}
	if len(b) > scalar.MaxDecimalBytes { // writing it in digits takes longer than its length
		return r.at(r.f.Set(o.f, dst, expr.Value{}, scalar.ErrRange))
	}
	return r.at(r.f.Number(o.f, dst, scalar.AppendDecimalBytes(nil, b, o.scale)))
}

// long reads a zigzag varint.
func (r *Reader) long(o *Op) (int64, *bad.Input) {
	if i := r.i; i < len(r.b) && r.b[i] < 0x80 {
		r.i++
		n := int64(r.b[i])
		return n>>1 ^ -(n & 1), nil
	}
	return r.longer(o)
}

// longer reads a varint of several bytes.
func (r *Reader) longer(o *Op) (int64, *bad.Input) {
	u, n := binary.Uvarint(r.b[r.i:])
	if n <= 0 {
		if n == 0 {
			return 0, r.bad(o, "the record ends inside a number")
		}
		return 0, r.bad(o, "a number of more than 64 bits")
	}
	r.i += n
	return int64(u>>1) ^ -int64(u&1), nil
}

// integer reads an int or a long.
func (r *Reader) integer(o *Op) (int64, *bad.Input) {
	n, e := r.long(o)
	if e == nil && o.wire == Int && n != int64(int32(n)) {
		return 0, r.bad(o, "an int of more than 32 bits")
	}
	return n, e
}

// index reads a number that must be below n.
func (r *Reader) index(o *Op, n int, of string) (int, *bad.Input) {
	i, e := r.long(o)
	if e == nil && (i < 0 || i >= int64(n)) {
		return 0, r.bad(o, "%s %d, and the schema has %d", of, i, n)
	}
	return int(i), e
}

// take returns the next n bytes.
func (r *Reader) take(o *Op, n int64) ([]byte, *bad.Input) {
	if n < 0 || n > int64(len(r.b)-r.i) {
		return nil, r.bad(o, "%d bytes announced, and %d are left", n, len(r.b)-r.i)
	}
	b := r.b[r.i : r.i+int(n)]
	r.i += int(n)
	return b, nil
}

// bytes reads a length and as many bytes.
func (r *Reader) bytes(o *Op) ([]byte, *bad.Input) {
	n, e := r.long(o)
	if e != nil {
		return nil, e
	}
	return r.take(o, n)
}

func (r *Reader) bool(o *Op) (bool, *bad.Input) {
	b, e := r.take(o, 1)
	if e != nil {
		return false, e
	}
	if b[0] > 1 {
		return false, r.bad(o, "a truth value is the byte %d", b[0])
	}
	return b[0] == 1, nil
}

// item reads a record of a list.
func (r *Reader) item(o *Op) *bad.Input {
	from := len(r.f.Cells)
	if e := r.value(o.kids[0], r.f.AddRecord(o.f.Elem)); e != nil {
		return e
	}
	r.f.EndItem(o.f, from)
	return nil
}

// text reads a text of a list.
func (r *Reader) text(o *Op) *bad.Input {
	var room [1]frame.Cell
	if e := r.value(o.kids[0], room[:]); e != nil {
		return e
	}
	r.f.AddText(o.f, room[0])
	return nil
}

// entry reads a key and a value of a map.
func (r *Reader) entry(o *Op, vals []frame.Cell) *bad.Input {
	key, e := r.bytes(o)
	if e != nil {
		return e
	}
	for i := range o.texts {
		if o.texts[i] == string(key) {
			return r.value(o.kids[i+1], vals)
		}
	}
	return r.value(o.kids[0], vals)
}

// blocks reads the blocks of an array or map.
func (r *Reader) blocks(o *Op, vals []frame.Cell) *bad.Input {
	return r.eachBlock(o, func() *bad.Input {
		switch o.do {
		case doList:
			return r.item(o)
		case doTexts:
			return r.text(o)
		case doMap, doFree:
			return r.entry(o, vals)
		default:
			return r.value(o.kids[0], nil)
		}
	})
}

// eachBlock calls one for each element of an array or map.
func (r *Reader) eachBlock(o *Op, one func() *bad.Input) *bad.Input {
	for {
		n, e := r.long(o)
		if e != nil || n == 0 {
			return e
		}
		end := -1
		if n < 0 {
			size, e := r.long(o)
			if e != nil {
				return e
			}
			if n == math.MinInt64 || size < 0 || size > int64(len(r.b)-r.i) {
				return r.bad(o, "a block of %d bytes, and %d are left", size, len(r.b)-r.i)
			}
			n, end = -n, r.i+int(size)
		}
		if n > int64(len(r.b)-r.i) { // the gate sees to it that no item is empty
			return r.bad(o, "%d elements announced, and %d bytes are left", n, len(r.b)-r.i)
		}
		for range n {
			if e := r.f.Element(o.path); e != nil {
				return r.at(e)
			}
			if e := one(); e != nil {
				return e
			}
		}
		if end >= 0 && r.i != end {
			return r.bad(o, "a block does not end where it says")
		}
	}
}

package schemas

import (
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
)

// maxSteps bounds the values that one record may hold, those of no bytes
// included: a schema can make nothing but the bytes of an array count stand for
// many of them.
const maxSteps = 200_000

// avroReader runs a program over Avro bytes:
//
//	int, long     zigzag varint, at most 5 or 10 bytes
//	bytes, string long length | bytes
//	enum, union   long index | (union) the branch
//	record        its fields
//	array, map    blocks: long count | items; a count below 0 is followed by the
//	              block's length in bytes; count 0 ends
//
// Nothing is allocated by a length in the bytes before the bytes are known to be
// there. Depth needs no count of its own: it is the depth of the schema.
type avroReader struct {
	f     *frame
	b     []byte
	i     int // the next byte
	base  int // where b begins in the record, for errors
	steps int
}

// record reads the whole of b with the program o into the frame.
func (r *avroReader) record(o *op) *BadInput {
	if e := r.value(o, r.f.vals); e != nil {
		return e
	}
	if r.i != len(r.b) {
		return r.bad(o, "%d bytes are left after the end of the record", len(r.b)-r.i)
	}
	return nil
}

// bad returns a decode error at the next byte.
func (r *avroReader) bad(o *op, format string, args ...any) *BadInput {
	return r.at(bad(CauseDecode, o.path, format, args...))
}

// at adds to an error where in the record it was met.
func (r *avroReader) at(e *BadInput) *BadInput { return e.atByte(r.base + r.i) }

// value reads one value; vals are the places of the record that it belongs to.
func (r *avroReader) value(o *op, vals []expr.Value) *BadInput {
	if r.steps++; r.steps > maxSteps {
		return r.at(bad(CauseSize, o.path, "the record holds more than %d values", maxSteps))
	}
	if o.refuse != "" {
		return r.at(bad(CauseType, o.path, "%s", o.refuse))
	}
	switch o.wire {
	case wireNull:
		return nil
	case wireBool:
		return r.bool(o, vals)
	case wireInt, wireLong:
		n, e := r.integer(o)
		if e != nil || o.f == nil {
			return e
		}
		return r.at(r.f.int(o.f, &vals[o.dst], n, o.unit))
	case wireFloat, wireDouble:
		return r.float(o, vals)
	case wireBytes, wireString, wireFixed:
		return r.bytes(o, vals)
	case wireEnum:
		n, e := r.index(o, len(o.symbols), "symbol")
		if e == nil && o.f != nil {
			return r.at(r.f.constant(o.f, &vals[o.dst], o.symbols[n]))
		}
		return e
	case wireUnion:
		n, e := r.index(o, len(o.kids), "branch")
		if e != nil {
			return e
		}
		return r.value(o.kids[n], vals)
	case wireRecord:
		for _, k := range o.kids {
			if e := r.value(k, vals); e != nil {
				return e
			}
		}
		return nil
	case wireArray:
		return r.list(o, vals)
	default:
		return r.blocks(o, vals, r.entry)
	}
}

// long reads a zigzag varint.
func (r *avroReader) long(o *op) (int64, *BadInput) {
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

func (r *avroReader) integer(o *op) (int64, *BadInput) {
	n, e := r.long(o)
	if e == nil && o.wire == wireInt && n != int64(int32(n)) {
		return 0, r.bad(o, "an int of more than 32 bits")
	}
	return n, e
}

// index reads a number that must be below n.
func (r *avroReader) index(o *op, n int, of string) (int, *BadInput) {
	i, e := r.long(o)
	if e == nil && (i < 0 || i >= int64(n)) {
		return 0, r.bad(o, "%s %d, and the schema has %d", of, i, n)
	}
	return int(i), e
}

// take returns the next n bytes.
func (r *avroReader) take(o *op, n int64) ([]byte, *BadInput) {
	if n < 0 || n > int64(len(r.b)-r.i) {
		return nil, r.bad(o, "%d bytes announced, and %d are left", n, len(r.b)-r.i)
	}
	b := r.b[r.i : r.i+int(n)]
	r.i += int(n)
	return b, nil
}

func (r *avroReader) bool(o *op, vals []expr.Value) *BadInput {
	b, e := r.take(o, 1)
	if e != nil {
		return e
	}
	if b[0] > 1 {
		return r.bad(o, "a truth value is the byte %d", b[0])
	}
	if o.f == nil {
		return nil
	}
	return r.at(r.f.bool(o.f, &vals[o.dst], b[0] == 1))
}

func (r *avroReader) float(o *op, vals []expr.Value) *BadInput {
	n := int64(8)
	if o.wire == wireFloat {
		n = 4
	}
	b, e := r.take(o, n)
	if e != nil || o.f == nil {
		return e
	}
	var x float64
	if n == 4 {
		x = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	} else {
		x = math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	return r.at(r.f.float(o.f, &vals[o.dst], x))
}

// bytes reads a text, bytes, or a decimal in either.
func (r *avroReader) bytes(o *op, vals []expr.Value) *BadInput {
	n, e := int64(o.size), (*BadInput)(nil)
	if o.wire != wireFixed {
		if n, e = r.long(o); e != nil {
			return e
		}
	}
	b, e := r.take(o, n)
	if e != nil {
		return e
	}
	if o.f != nil && o.decimal {
		d, err := decimalOfBytes(b, o.scale)
		return r.at(set(o.f, &vals[o.dst], expr.DecimalValue(d), err))
	}
	if (o.wire == wireString || o.f != nil) && !utf8.Valid(b) {
		return r.bad(o, "the text that ends here is not UTF-8 at its byte %d", invalidUTF8(b))
	}
	if o.f == nil {
		return nil
	}
	return r.at(r.f.text(o.f, &vals[o.dst], b))
}

// list reads an array, into the cells if it is for a field.
func (r *avroReader) list(o *op, vals []expr.Value) *BadInput {
	if o.f == nil {
		return r.blocks(o, nil, r.skipItem)
	}
	from := len(r.f.cells)
	if e := r.blocks(o, nil, r.item); e != nil {
		return e
	}
	r.f.endList(&vals[o.dst], o.f.elem, from)
	return nil
}

func (r *avroReader) skipItem(o *op, _ []expr.Value) *BadInput { return r.value(o.kids[0], nil) }

// item reads a record of a list.
func (r *avroReader) item(o *op, _ []expr.Value) *BadInput {
	cells := r.f.addRecord(o.f.elem)
	if e := r.value(o.kids[0], cells); e != nil {
		return e
	}
	return r.at(o.f.elem.missing(cells))
}

// entry reads a key and a value of a map.
func (r *avroReader) entry(o *op, vals []expr.Value) *BadInput {
	n, e := r.long(o)
	if e != nil {
		return e
	}
	key, e := r.take(o, n)
	if e != nil {
		return e
	}
	if !utf8.Valid(key) {
		return r.bad(o, "the key that ends here is not UTF-8 at its byte %d", invalidUTF8(key))
	}
	if o.f != nil {
		for i := range o.f.keys {
			if o.f.keys[i].name == string(key) {
				return r.value(o.kids[i+1], vals)
			}
		}
	}
	return r.value(o.kids[0], vals)
}

// blocks reads the blocks of an array or map with one call of item for each item.
func (r *avroReader) blocks(o *op, vals []expr.Value, item func(*op, []expr.Value) *BadInput) *BadInput {
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
			if e := r.f.element(o.path); e != nil {
				return r.at(e)
			}
			if e := item(o, vals); e != nil {
				return e
			}
		}
		if end >= 0 && r.i != end {
			return r.bad(o, "a block does not end where it says")
		}
	}
}

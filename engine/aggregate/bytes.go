package aggregate

import (
	"encoding/binary"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/internal/wire"
)

// Reader reads the bytes of summaries; see [wire.Reader].
type Reader struct {
	wire.Reader
	v1   bool   // version 1 of the customer format
	base Millis // what times are stored relative to
}

// Millis reads an instant or length of time.
func (r *Reader) Millis() Millis { return Millis(r.Varint()) }

// AppendValue appends a value: its kind, then a varint or a string with its length.
// A list is one of texts in the form of PackTexts; records are not stored.
func AppendValue(b []byte, v expr.Value) []byte {
	b = append(b, byte(v.K))
	switch v.K {
	case expr.Absent, expr.Record:
		return b
	case expr.String, expr.List:
		return wire.AppendText(b, v.S)
	}
	return binary.AppendVarint(b, v.N)
}

// Value reads what AppendValue wrote.
func (r *Reader) Value() expr.Value {
	v := expr.Value{K: expr.Kind(r.Byte())}
	switch {
	case v.K == expr.Absent:
	case v.K == expr.String:
		v.S = r.Text()
	case v.K < expr.List:
		v.N = r.Varint()
	default:
		r.Check(false)
	}
	return v
}

// NewReader returns a reader of a customer's bytes in a version of the format.
func NewReader(b []byte, version byte) Reader {
	return Reader{Reader: wire.NewReader(b), v1: version == 1}
}

// Base sets the instant that times are stored relative to.
func (r *Reader) Base(at Millis) { r.base = at }

// Sub returns a reader of the next bytes, which begin with their length.
func (r *Reader) Sub() Reader {
	return Reader{Reader: wire.NewReader(r.Bytes()), v1: r.v1, base: r.base}
}

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
	r.Check(false)
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
	if b := r.Left(); len(b) > 0 && b[0] >= 2 && int(b[0]) < 2+len(reachUnits) {
		unit := reachUnits[r.Byte()-2]
		return r.base - Millis(r.Varint())*unit
	}
	return r.instant()
}

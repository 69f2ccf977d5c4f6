package aggregate

import (
	"encoding/binary"

	"github.com/segmill/segmill/engine/expr"
)

// A list of texts is kept as one text, in S of its value, so that lists are compared and
// stored like texts: for each its length, a varint, and its bytes.

// PackTexts returns a list of texts in the form that is kept.
func PackTexts(l []expr.Value) string {
	var b []byte
	for i := range l {
		b = binary.AppendUvarint(b, uint64(len(l[i].S)))
		b = append(b, l[i].S...)
	}
	return string(b)
}

// TextsValue returns the list that is kept as packed, absent if that is not what
// PackTexts returns.
func TextsValue(packed string) expr.Value {
	v := expr.Value{K: expr.List, S: packed}
	for rest := packed; rest != ""; {
		n, size := lengthOf(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return expr.Value{}
		}
		end := size + int(n)
		v.L = append(v.L, expr.StringValue(rest[size:end]))
		rest = rest[end:]
	}
	return v
}

// lengthOf reads a varint, and how many bytes it has.
func lengthOf(s string) (uint64, int) {
	var b [binary.MaxVarintLen64]byte
	return binary.Uvarint(b[:copy(b[:], s)])
}

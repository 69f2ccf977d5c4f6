package encode

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/jsontext"
	"github.com/segmill/segmill/schemas/scalar"
)

// A value that is to be encoded is an expr.Value with one addition: a map is a
// List of its keys and values in turn. An absent value is null where the
// schema has null, else as the zero of its type.

// appendAvro appends v in Avro as a value of schema s (the formats are drawn at
// [avro.Reader]).
func appendAvro(b []byte, s *avro.Schema, v expr.Value) []byte {
	switch s.Wire {
	case avro.Union: // null first, see optionalOf
		if !v.Present() {
			return append(b, 0)
		}
		return appendAvro(append(b, 2), s.Union[1], v)
	case avro.Bool:
		return append(b, byte(v.N))
	case avro.Int, avro.Long:
		return binary.AppendVarint(b, v.N)
	case avro.Float:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(v.Float())))
	case avro.Double:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float()))
	case avro.Bytes:
		return appendDecimal(b, v.N)
	case avro.String:
		return appendText(b, v.S)
	case avro.Enum:
		return binary.AppendVarint(b, int64(s.Symbol(v.S)))
	case avro.Record:
		for i := range s.Fields {
			b = appendAvro(b, s.Fields[i].Type, v.L[i])
		}
		return b
	}
	return appendBlock(b, s, v.L)
}

// appendInt appends n as an int or long.
func appendInt(b []byte, n int64) []byte {
	u := uint64(n)<<1 ^ uint64(n>>63)
	switch {
	case u < 1<<7:
		return append(b, byte(u))
	case u >= 1<<35 && u < 1<<42: // an instant of our days
		return append(b, byte(u)|0x80, byte(u>>7)|0x80, byte(u>>14)|0x80, byte(u>>21)|0x80, byte(u>>28)|0x80, byte(u>>35))
	}
	return binary.AppendUvarint(b, u)
}

func appendText(b []byte, t string) []byte {
	if len(t) < 1<<6 {
		b = append(b, byte(2*len(t)))
	} else {
		b = binary.AppendVarint(b, int64(len(t)))
	}
	return append(b, t...)
}

// appendOptional appends a text where "" is null.
func appendOptional(b []byte, t string) []byte {
	if t == "" {
		return append(b, 0)
	}
	return appendText(append(b, 2), t)
}

// appendPairs appends a map of texts.
func appendPairs(b []byte, l []engine.Pair) []byte {
	if len(l) > 0 {
		b = appendInt(b, int64(len(l)))
	}
	for i := range l {
		b = appendText(appendText(b, l[i].Name), l[i].Value)
	}
	return append(b, 0)
}

// appendBlock appends the items of an array, or the keys and values of a map, as
// one block.
func appendBlock(b []byte, s *avro.Schema, l []expr.Value) []byte {
	n := len(l)
	if s.Wire == avro.Map {
		n /= 2
	}
	if n == 0 {
		return append(b, 0)
	}
	b = binary.AppendVarint(b, int64(n))
	for i, v := range l {
		if s.Wire == avro.Map && i%2 == 0 {
			b = appendText(b, v.S)
		} else {
			b = appendAvro(b, s.Items, v)
		}
	}
	return append(b, 0)
}

// appendDecimal appends the length and the fewest bytes of n in big-endian two's
// complement.
func appendDecimal(b []byte, n int64) []byte {
	k := 1
	for x := n; x > math.MaxInt8 || x < math.MinInt8; x >>= 8 {
		k++
	}
	b = binary.AppendVarint(b, int64(k))
	for i := k - 1; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

// appendJSON appends v in JSON as a value of schema s: instants in RFC 3339 with
// milliseconds, dates as YYYY-MM-DD, amounts as strings such as "12.50" (a JSON
// number would pass through a float at many readers), null where v is absent.
func appendJSON(b []byte, s *avro.Schema, v expr.Value) []byte {
	switch s.Wire {
	case avro.Union:
		if !v.Present() {
			return append(b, "null"...)
		}
		return appendJSON(b, s.Union[1], v)
	case avro.Record:
		for i := range s.Fields {
			b = appendKey(b, i, '{', s.Fields[i].Name)
			b = appendJSON(b, s.Fields[i].Type, v.L[i])
		}
		return append(b, '}')
	case avro.Array:
		b = append(b, '[')
		for i := range v.L {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendJSON(b, s.Items, v.L[i])
		}
		return append(b, ']')
	case avro.Map:
		if len(v.L) == 0 {
			return append(b, '{', '}')
		}
		for i := 0; i < len(v.L); i += 2 {
			b = appendKey(b, i, '{', v.L[i].S)
			b = appendJSON(b, s.Items, v.L[i+1])
		}
		return append(b, '}')
	case avro.Enum:
		return jsontext.AppendQuoted(b, s.Symbols[s.Symbol(v.S)])
	case avro.String:
		return jsontext.AppendQuoted(b, v.S)
	}
	return appendScalar(b, s, v)
}

func appendScalar(b []byte, s *avro.Schema, v expr.Value) []byte {
	switch {
	case s.Wire == avro.Bytes:
		return jsontext.AppendQuoted(b, expr.FormatDecimal(v.N))
	case s.Logical == "timestamp-millis":
		return append(scalar.AppendInstant(append(b, '"'), expr.Millis(v.N)), '"')
	case s.Logical == "date":
		b = append(b, '"')
		b = time.Unix(v.N*86_400, 0).UTC().AppendFormat(b, time.DateOnly)
		return append(b, '"')
	case s.Wire == avro.Bool:
		return append(b, expr.BoolValue(v.N != 0).String()...)
	}
	if v.K == expr.Absent {
		return append(b, '0')
	}
	return append(b, v.String()...)
}

// appendKey appends what precedes the value of member number i.
func appendKey(b []byte, i int, first byte, key string) []byte {
	if i > 0 {
		first = ','
	}
	return append(jsontext.AppendQuoted(append(b, first), key), ':')
}

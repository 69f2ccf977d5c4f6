package avro

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/jsontext"
	"github.com/segmill/segmill/schemas/scalar"
)

// Schema returns the schema.
func (w *Writer) Schema() *Schema { return w.schema }

// AppendJSON appends the record b, whose Avro begins at from, as JSON that people would
// write of it: unions are what is in them, decimals are numbers, timestamps and dates are
// texts (of a local one without a zone), bytes that are no text are base64, and a number
// that is none is null. max bounds the text in bytes.
func AppendJSON(out []byte, s *Schema, b []byte, from, most int) ([]byte, *bad.Input) {
	var f frame.Frame
	w := jsonWriter{r: Reader{f: &f, b: b[from:], base: from}, out: out, most: len(out) + 8*most}
	if e := w.value(s, ""); e != nil {
		return out, e
	}
	if w.r.i != len(w.r.b) {
		return out, w.r.bad(&Op{}, "%d bytes are left after the end of the record", len(w.r.b)-w.r.i)
	}
	return w.out, nil
}

// jsonWriter writes values as JSON.
type jsonWriter struct {
	r    Reader
	out  []byte
	most int
}

func (w *jsonWriter) quoted(t string) { w.out = jsontext.AppendQuoted(w.out, t) }

// value writes the next value; path is where it is, for errors.
func (w *jsonWriter) value(s *Schema, path string) *bad.Input {
	o := &Op{path: path, wire: s.Wire}
	if w.r.steps++; w.r.steps > maxSteps || len(w.out) > w.most {
		return w.r.at(bad.New(bad.Size, path, "the record holds more than %d values, or %d bytes of text", maxSteps, w.most))
	}
	switch s.Wire {
	case Null:
		w.out = append(w.out, "null"...)
	case Bool:
		x, e := w.r.bool(o)
		if e != nil {
			return e
		}
		w.out = strconv.AppendBool(w.out, x)
	case Int, Long:
		n, e := w.r.integer(o)
		if e != nil {
			return e
		}
		w.whole(s.Logical, n)
	case Float, Double:
		return w.float(s, o)
	case Bytes, Fixed, String:
		return w.bytes(s, o)
	case Enum:
		n, e := w.r.index(o, len(s.Symbols), "symbol")
		if e != nil {
			return e
		}
		w.quoted(s.Symbols[n])
	case Union:
		n, e := w.r.index(o, len(s.Union), "branch")
		if e != nil {
			return e
		}
		return w.value(s.Union[n], path)
	case Record:
		return w.record(s, path)
	case Array, Map:
		return w.blocks(s, o)
	}
	return nil
}

// whole writes a whole number, as its logical type says.
func (w *jsonWriter) whole(logical string, n int64) {
	unit := map[string]time.Duration{"millis": time.Millisecond, "micros": time.Microsecond, "nanos": time.Nanosecond}
	switch kind, of, _ := strings.Cut(strings.TrimPrefix(logical, "local-"), "-"); {
	case logical == "date":
		w.quoted(time.Unix(n*86_400, 0).UTC().Format(time.DateOnly))
		return
	case kind == "timestamp" && unit[of] != 0:
		per := int64(time.Second / unit[of])
		at := time.Unix(n/per, n%per*int64(unit[of])).UTC()
		if at.Year() < 1 || at.Year() > 9999 {
			break // no text is that time: the number is kept
		}
		form := "2006-01-02T15:04:05.999999999"
		if !strings.HasPrefix(logical, "local-") {
			form += "Z"
		}
		w.quoted(at.Format(form))
		return
	}
	w.out = strconv.AppendInt(w.out, n, 10)
}

func (w *jsonWriter) float(s *Schema, o *Op) *bad.Input {
	size, bits := 8, 64
	if s.Wire == Float {
		size, bits = 4, 32
	}
	b, e := w.r.take(o, int64(size))
	if e != nil {
		return e
	}
	var x float64
	if s.Wire == Float {
		x = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	} else {
		x = math.Float64frombits(binary.LittleEndian.Uint64(b))
	}
	if math.IsNaN(x) || math.IsInf(x, 0) {
		w.out = append(w.out, "null"...)
		return nil
	}
	w.out = strconv.AppendFloat(w.out, x, 'g', -1, bits)
	return nil
}

func (w *jsonWriter) bytes(s *Schema, o *Op) (e *bad.Input) {
	var b []byte
	if s.Wire == Fixed {
		b, e = w.r.take(o, int64(s.size))
	} else {
		b, e = w.r.bytes(o)
	}
	switch {
	case e != nil:
		return e
	case s.Logical == "decimal" && len(b) <= scalar.MaxDecimalBytes:
		w.out = scalar.AppendDecimalBytes(w.out, b, s.scale)
	case s.Wire == String || utf8.Valid(b) && s.Logical == "":
		w.quoted(string(b))
	default:
		w.quoted(base64.StdEncoding.EncodeToString(b))
	}
	return nil
}

func (w *jsonWriter) record(s *Schema, path string) *bad.Input {
	if w.r.depth++; w.r.depth > maxDepth {
		return w.r.at(bad.New(bad.Size, path, "records are nested more than %d deep", maxDepth))
	}
	w.out = append(w.out, '{')
	for i := range s.Fields {
		f := &s.Fields[i]
		if i > 0 {
			w.out = append(w.out, ',')
		}
		w.quoted(f.Name)
		w.out = append(w.out, ':')
		if e := w.value(f.Type, path+"."+f.Name); e != nil {
			return e
		}
	}
	w.out = append(w.out, '}')
	w.r.depth--
	return nil
}

// blocks writes an array or a map.
func (w *jsonWriter) blocks(s *Schema, o *Op) *bad.Input {
	open, end := byte('['), byte(']')
	if s.Wire == Map {
		open, end = '{', '}'
	}
	w.out = append(w.out, open)
	first := true
	e := w.r.eachBlock(o, func() *bad.Input {
		if !first {
			w.out = append(w.out, ',')
		}
		first = false
		if s.Wire == Map {
			key, e := w.r.bytes(o)
			if e != nil {
				return e
			}
			w.quoted(string(key))
			w.out = append(w.out, ':')
		}
		return w.value(s.Items, o.path)
	})
	w.out = append(w.out, end)
	return e
}

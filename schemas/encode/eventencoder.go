package encode

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/scalar"
)

// EventEncoder makes the bytes of input events: for the demonstration, for tools
// and for tests. It is safe for use by several goroutines.
type EventEncoder struct {
	format  Format
	schemas [plan.NumBuiltin]*avro.Schema
	ids     [plan.NumBuiltin]int
}

// NewEventEncoder returns an encoder that writes the given format, for events of the
// given schemas. ids are their numbers in the registry; JSON has no use for them.
func NewEventEncoder(f Format, schemas [plan.NumBuiltin]*avro.Schema, ids [plan.NumBuiltin]int) *EventEncoder {
	return &EventEncoder{format: f, schemas: schemas, ids: ids}
}

// Append appends an event to b. fields are named as in the schema; values are
// string, bool, int, int64, time.Time (for instants and dates), string or float64
// for amounts, []map[string]any for items, map[string]string for maps. A field
// that is left out has its default. It is an error if a field is unknown, required
// and left out, or of another type.
func (e *EventEncoder) Append(b []byte, stream plan.Stream, fields map[string]any) ([]byte, error) {
	s := e.schemas[stream]
	v, err := recordOf(s, fields)
	if err != nil {
		return nil, err
	}
	if e.format == JSON {
		return appendJSON(b, s, v), nil
	}
	b = binary.BigEndian.AppendUint32(append(b, 0), uint32(e.ids[stream]))
	return appendAvro(b, s, v), nil
}

func recordOf(s *avro.Schema, fields map[string]any) (expr.Value, error) {
	l := make([]expr.Value, len(s.Fields))
	used := 0
	for i := range s.Fields {
		f := &s.Fields[i]
		x, ok := fields[f.Name]
		if ok {
			used++
		}
		if x == nil {
			if !f.HasDefault {
				return expr.Value{}, fmt.Errorf("field %q is required", f.Name)
			}
			l[i] = avro.DefaultOf(f)
			continue
		}
		v, err := valueOf(f.Type, x)
		if err != nil {
			return v, fmt.Errorf("field %q: %w", f.Name, err)
		}
		l[i] = v
	}
	if used < len(fields) {
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			if !slices.ContainsFunc(s.Fields, func(f avro.Field) bool { return f.Name == name }) {
				return expr.Value{}, fmt.Errorf("%s has no field %q", s.Name, name)
			}
		}
	}
	return expr.RecordValue(l), nil
}

// valueOf returns x as a value of schema s.
func valueOf(s *avro.Schema, x any) (expr.Value, error) {
	if s.Wire == avro.Union {
		return valueOf(s.Union[1], x)
	}
	t, err := avro.TypeOf(s)
	if err != nil {
		return expr.Value{}, err
	}
	switch x := x.(type) {
	case string:
		if t.Kind == expr.Decimal {
			if n, ok, err := scalar.ParseNumber([]byte(x)); ok && err == nil {
				d, err := n.Decimal()
				return expr.DecimalValue(d), err
			}
		}
		if t.Kind == expr.String && !t.Map {
			return expr.StringValue(x), nil
		}
	case bool:
		if t.Kind == expr.Bool {
			return expr.BoolValue(x), nil
		}
	case int:
		return valueOf(s, int64(x))
	case int64:
		if t.Kind == expr.Int {
			return expr.IntValue(x), nil
		}
	case float64:
		if t.Kind == expr.Decimal {
			n, err := scalar.NumberOfFloat(x, 64)
			if err != nil {
				return expr.Value{}, err
			}
			d, err := n.Decimal()
			return expr.DecimalValue(d), err
		}
	case time.Time:
		switch t.Kind {
		case expr.Time:
			return expr.TimeValue(expr.MillisOf(x)), nil
		case expr.Date:
			y, m, d := x.Date()
			return expr.DateValue(scalar.FloorDiv(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix(), 86_400)), nil
		}
	case map[string]string:
		if t.Map {
			return mapOf(x), nil
		}
	case []map[string]any:
		if t.Kind == expr.List {
			return listOf(s.Items, x)
		}
	}
	return expr.Value{}, fmt.Errorf("a %T does not fit", x)
}

func mapOf(m map[string]string) expr.Value {
	var l []expr.Value
	for _, k := range slices.Sorted(maps.Keys(m)) {
		l = append(l, expr.StringValue(k), expr.StringValue(m[k]))
	}
	return expr.ListValue(l)
}

func listOf(item *avro.Schema, records []map[string]any) (expr.Value, error) {
	var l []expr.Value
	for i, r := range records {
		v, err := recordOf(item, r)
		if err != nil {
			return v, fmt.Errorf("element %d: %w", i, err)
		}
		l = append(l, v)
	}
	return expr.ListValue(l), nil
}

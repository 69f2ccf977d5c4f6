package avro

import (
	"fmt"

	"github.com/segmill/segmill/engine/expr"
)

// FieldsOf returns the fields of a record as rules see them.
func FieldsOf(rec *Schema) []expr.Field {
	l := make([]expr.Field, len(rec.Fields))
	for i, f := range rec.Fields {
		t, err := TypeOf(f.Type)
		if err != nil {
			panic(fmt.Sprintf("schema %s: field %s: %v", rec.Name, f.Name, err))
		}
		t.Words = f.words
		l[i] = expr.Field{Name: f.Name, Doc: f.doc, Type: t}
	}
	return l
}

// TypeOf returns the type that rules see of a value of schema s.
func TypeOf(s *Schema) (expr.Type, error) {
	if s.Wire == Union {
		return optionalOf(s)
	}
	if k, ok := KindOf(s); ok {
		return expr.Type{Kind: k, Symbols: s.Symbols}, nil
	}
	switch s.Wire {
	case Map:
		if s.Items.Wire == String {
			return expr.Type{Kind: expr.String, Map: true}, nil
		}
	case Array:
		t, err := TypeOf(s.Items)
		return expr.Type{Kind: expr.List, Elem: &t}, err
	case Record:
		return expr.Type{Kind: expr.Record, Fields: FieldsOf(s)}, nil
	}
	return expr.Type{}, fmt.Errorf("rules have no type for %v %s", s.Wire, s.Logical)
}

func optionalOf(s *Schema) (expr.Type, error) {
	if len(s.Union) != 2 || s.Union[0].Wire != Null {
		return expr.Type{}, fmt.Errorf("rules have no type for a union other than null and one more")
	}
	t, err := TypeOf(s.Union[1])
	t.Optional = true
	return t, err
}

// KindOf returns the kind of the values of schema s; false if they have none of their
// own, as lists, maps and unions.
func KindOf(s *Schema) (expr.Kind, bool) {
	k, ok := kinds[kindKey{s.Wire, s.Logical}]
	return k, ok
}

type kindKey struct {
	wire    Wire
	logical string
}

// kinds are the kinds of values by wire type and logical type.
var kinds = map[kindKey]expr.Kind{
	{Bool, ""}:                 expr.Bool,
	{Int, ""}:                  expr.Int,
	{Long, ""}:                 expr.Int,
	{Float, ""}:                expr.Double,
	{Double, ""}:               expr.Double,
	{String, ""}:               expr.String,
	{Enum, ""}:                 expr.String,
	{Bytes, "decimal"}:         expr.Decimal,
	{Int, "date"}:              expr.Date,
	{Long, "timestamp-millis"}: expr.Time,
}

// DefaultOf returns the Avro default of a field as a value; Absent for null, for
// none, and for a map.
func DefaultOf(f *Field) expr.Value {
	switch d := f.Default.(type) {
	case string:
		return expr.StringValue(d)
	case bool:
		return expr.BoolValue(d)
	case float64:
		return expr.IntValue(int64(d))
	case []any:
		return expr.ListValue(nil)
	}
	return expr.Value{}
}

package schemas

import (
	"fmt"

	"github.com/segmill/segmill/engine/expr"
)

// fieldsOf returns the fields of a record as rules see them.
func fieldsOf(rec *schema) []expr.Field {
	l := make([]expr.Field, len(rec.fields))
	for i, f := range rec.fields {
		t, err := typeOf(f.typ)
		if err != nil {
			panic(fmt.Sprintf("schema %s: field %s: %v", rec.name, f.name, err))
		}
		t.Words = f.words
		l[i] = expr.Field{Name: f.name, Doc: f.doc, Type: t}
	}
	return l
}

// typeOf returns the type that rules see of a value of schema s.
func typeOf(s *schema) (expr.Type, error) {
	if s.wire == wireUnion {
		return optionalOf(s)
	}
	if k, ok := kindOf(s); ok {
		return expr.Type{Kind: k, Symbols: s.symbols}, nil
	}
	switch s.wire {
	case wireMap:
		if s.items.wire == wireString {
			return expr.Type{Kind: expr.String, Map: true}, nil
		}
	case wireArray:
		t, err := typeOf(s.items)
		return expr.Type{Kind: expr.List, Elem: &t}, err
	case wireRecord:
		return expr.Type{Kind: expr.Record, Fields: fieldsOf(s)}, nil
	}
	return expr.Type{}, fmt.Errorf("rules have no type for %v %s", s.wire, s.logical)
}

func optionalOf(s *schema) (expr.Type, error) {
	if len(s.union) != 2 || s.union[0].wire != wireNull {
		return expr.Type{}, fmt.Errorf("rules have no type for a union other than null and one more")
	}
	t, err := typeOf(s.union[1])
	t.Optional = true
	return t, err
}

// kindOf returns the kind of the values of schema s; false if they have none of their
// own, as lists, maps and unions.
func kindOf(s *schema) (expr.Kind, bool) {
	k, ok := kinds[kindKey{s.wire, s.logical}]
	return k, ok
}

type kindKey struct {
	wire    wire
	logical string
}

// kinds are the kinds of values by wire type and logical type.
var kinds = map[kindKey]expr.Kind{
	{wireBool, ""}:                 expr.Bool,
	{wireInt, ""}:                  expr.Int,
	{wireLong, ""}:                 expr.Int,
	{wireFloat, ""}:                expr.Double,
	{wireDouble, ""}:               expr.Double,
	{wireString, ""}:               expr.String,
	{wireEnum, ""}:                 expr.String,
	{wireBytes, "decimal"}:         expr.Decimal,
	{wireInt, "date"}:              expr.Date,
	{wireLong, "timestamp-millis"}: expr.Time,
}

// defaultOf returns the Avro default of a field as a value; Absent for null, for
// none, and for a map.
func defaultOf(f *schemaField) expr.Value {
	switch d := f.def.(type) {
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

package schemas

import (
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/frame"
)

// What rule files declare is read beside the schemas: a declared field stands behind
// those of its stream's schema, and a declared stream has the fields that all streams of
// events have. Whether a record is an event does not depend on either.

// schemaOf returns the schema of a stream; that of a declared one has no text.
func schemaOf(info *plan.StreamInfo) *avro.Schema {
	if !info.Own {
		return mustSchema(info.Schema)
	}
	s := *mustSchema(info.Schema)
	s.Name = "own." + info.Name
	s.Fields = slices.DeleteFunc(slices.Clone(s.Fields), func(f avro.Field) bool { return !slices.Contains(plan.CommonFields, f.Name) })
	return &s
}

// declared adds the fields of a stream that a rule file declares.
func declared(t *frame.Target, fields []expr.Field) {
	for i := range fields {
		typ := &fields[i].Type
		if typ.Own == "" {
			continue
		}
		name := fields[i].Name
		f := frame.Field{Name: name, Path: name, Label: name, Kind: typ.Kind, Declared: true, Plain: !typ.IsMoney(), Place: -1}
		if typ.Kind == expr.List {
			f.Item = &frame.Field{Name: name, Path: name, Label: name, Kind: expr.String, Declared: true, Role: frame.Element}
		}
		t.ByName[name] = len(t.Fields)
		t.Fields = append(t.Fields, f)
	}
}

// otherwise lets the declared fields that are read be taken from a free-form map where
// the event itself does not have them.
func otherwise(t *frame.Target, in *frame.Field) {
	for i := range t.Fields {
		f := t.Fields[i]
		if !f.Declared || f.Place < 0 {
			continue
		}
		slot := f.Place
		f.Path, f.Place = in.Path+"."+f.Name, len(t.Template)
		if f.Item != nil {
			item := *f.Item
			item.Path, f.Item = f.Path, &item
		}
		t.Template = append(t.Template, frame.Cell{})
		in.Typed = append(in.Typed, f)
		t.Otherwise = append(t.Otherwise, frame.CopyPair{Slot: slot, Of: f.Place})
	}
}

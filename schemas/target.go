package schemas

import (
	"fmt"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/frame"
)

// newTarget returns the target of a stream. layout may be nil: nothing but the
// head is read.
func newTarget(stream plan.Stream, layout *plan.Layout) (*frame.Target, error) {
	rec := mustSchema(InputName(stream))
	t := &frame.Target{Number: int(stream), Name: rec.Name}
	t.FieldSet = newFieldSet(t, rec, "")
	if layout != nil {
		t.Slots = len(layout.Paths)
	}
	t.Template = make([]frame.Cell, t.Slots+frame.NumHead)
	for h, name := range frame.HeadNames {
		if i, ok := t.ByName[name]; ok {
			t.Head[h] = &t.Fields[i]
			place(t, rec, i, t.Slots+h)
		}
	}
	for slot := range t.Slots {
		if err := readInto(t, rec, layout.Paths[slot], slot); err != nil {
			return nil, fmt.Errorf("stream %v %w", stream, err)
		}
	}
	for _, name := range []string{"attributes", "traits"} {
		if f := t.Find([]byte(name)); f != nil && len(f.Keys) > 0 {
			t.Extra = f
		}
	}
	t.Needs()
	for i := range t.Fields {
		if f := &t.Fields[i]; f.Kind == expr.List && f.Place >= 0 {
			t.Lists = append(t.Lists, f)
		}
	}
	return t, nil
}

// readInto gives the field at path the place slot of t.
func readInto(t *frame.Target, rec *avro.Schema, path string, slot int) error {
	name, key, isKey := strings.Cut(path, ".")
	i, ok := t.ByName[name]
	isMap := ok && rec.Fields[i].Type.Wire == avro.Map
	if !ok || isMap != isKey || key == "" && isKey {
		return fmt.Errorf("has no field %q that a rule could read", path)
	}
	f := &t.Fields[i]
	switch {
	case isMap:
		f.Keys = append(f.Keys, frame.Field{Name: key, Path: path, Kind: expr.String, Loose: true, Place: slot})
	case f.Place >= 0:
		t.Copies = append(t.Copies, frame.CopyPair{Slot: slot, Of: f.Place})
	default:
		place(t, rec, i, slot)
	}
	return nil
}

// place gives field i the place dst, with its default in the template.
func place(t *frame.Target, rec *avro.Schema, i, dst int) {
	t.Fields[i].Place = dst
	t.Template[dst] = t.Constant(avro.DefaultOf(&rec.Fields[i]))
}

// newFieldSet returns the fields of a record, none of them read.
func newFieldSet(t *frame.Target, rec *avro.Schema, prefix string) frame.FieldSet {
	s := frame.FieldSet{ByName: make(map[string]int, len(rec.Fields))}
	for i, sf := range rec.Fields {
		typ := sf.Type
		if typ.Wire == avro.Union {
			typ = typ.Union[1]
		}
		f := frame.Field{Name: sf.Name, Path: prefix + sf.Name, Place: -1, IsID: frame.IDNames[sf.Name], Int32: typ.Wire == avro.Int}
		f.Required = sf.Type.Wire != avro.Union && !sf.HasDefault
		if typ.Wire == avro.Array {
			f.Kind = expr.List
			elem := newFieldSet(t, typ.Items, f.Path+".")
			elem.Template = make([]frame.Cell, len(elem.Fields))
			for j := range elem.Fields {
				elem.Fields[j].Place = j
				elem.Template[j] = t.Constant(avro.DefaultOf(&typ.Items.Fields[j]))
			}
			elem.Needs()
			f.Elem = &elem
		} else {
			f.Kind, _ = avro.KindOf(typ)
		}
		for _, sym := range typ.Symbols {
			f.Symbols = append(f.Symbols, []byte(sym))
			f.Values = append(f.Values, t.Constant(expr.StringValue(sym)))
		}
		s.Fields = append(s.Fields, f)
		s.ByName[sf.Name] = i
	}
	return s
}

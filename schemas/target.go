package schemas

import (
	"fmt"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/frame"
)

// A way of reading says what is read beside the fields that rules read.
const (
	byRules  = iota
	forWorth // all that the revenue of an order may be derived from
	strictly // all that the schema has
	numWays
)

// newTarget returns the target of a stream for a way of reading. layout may be nil: no
// rule reads anything.
func (r *Reader) newTarget(stream plan.Stream, layout *plan.Layout, way int) (*frame.Target, error) {
	streams := r.cfg.Catalog.Table()
	info := streams.Info(stream)
	rec := schemaOf(info)
	t := &frame.Target{Number: way*streams.Len() + int(stream), Stream: int(stream), Name: rec.Name, Attributes: info.Attributes}
	t.FieldSet = newFieldSet(t, rec, "")
	declared(t, r.cfg.Catalog.Fields[stream])
	if layout != nil {
		t.Slots = len(layout.Paths)
	}
	t.Template = make([]frame.Cell, t.Slots+frame.NumHead)
	for h, name := range frame.HeadNames {
		if i, ok := t.ByName[name]; ok {
			t.Head[h] = &t.Fields[i]
			t.Fields[i].Vital = h != frame.HeadZone
			t.Fields[i].EventID = h == frame.HeadEventID
			place(t, i, t.Slots+h)
		}
	}
	for slot := range t.Slots {
		if err := readInto(t, rec, layout.Paths[slot], slot); err != nil {
			return nil, fmt.Errorf("stream %s %w", info.Name, err)
		}
	}
	for _, name := range []string{"attributes", "traits"} {
		if f := t.Find([]byte(name)); f != nil {
			if len(f.Keys) > 0 {
				t.Extra = f
			}
			otherwise(t, f)
		}
	}
	for i := range t.Fields {
		if f := &t.Fields[i]; f.Kind == expr.List && f.Place >= 0 {
			t.Lists = append(t.Lists, f)
		}
	}
	if way == strictly {
		for i := range rec.Fields {
			hide(t, t.Fields[i].Name)
		}
	}
	takesBack(t, info, way)
	hasMoney(t)
	for i := range t.Fields {
		if f := &t.Fields[i]; f.Place >= 0 && isID(f.Name) {
			t.IDs = append(t.IDs, f.Place)
		}
	}
	return t, nil
}

// isID reports whether a field names something, so that a placeholder in it is nothing.
func isID(name string) bool { return strings.HasSuffix(name, "_id") || frame.IDNames[name] }

// hide gives a field that no rule reads a place behind the head, and returns its place;
// -1 if the schema has no such field.
func hide(t *frame.Target, name string) int {
	i, ok := t.ByName[name]
	if !ok {
		return -1
	}
	f := &t.Fields[i]
	if f.Place < 0 && f.Kind != expr.Absent {
		t.Template = append(t.Template, frame.Cell{})
		place(t, i, len(t.Template)-1)
	}
	return f.Place
}

// removed is the name of a web event that takes items back.
const removed = "product_removed"

// takesBack sets what a target needs to know of events that take something back, if any
// amount of the stream is read, and from what the revenue of an order is derived.
func takesBack(t *frame.Target, stream *plan.StreamInfo, way int) {
	items := t.Find([]byte("items"))
	if items == nil || items.Declared {
		return
	}
	s := &frame.Signs{}
	kind, settled := "name", stream.Settled
	if settled == nil {
		s.Removed = removed
	} else {
		kind = settled.Field
		word := func(w string) frame.Cell { return t.Constant(expr.StringValue(w)) }
		s.Completed, s.Refunded = word(settled.Holds), word("refunded")
		for _, w := range settled.Back {
			s.Back = append(s.Back, word(w))
		}
		t.Revenue.Revenue = -1
		if f := t.Find([]byte("revenue")); f.Place >= 0 {
			t.Revenue.Revenue = f.Place
			t.Derives = way != byRules
		}
	}
	if t.Derives {
		r := &t.Revenue
		for name, p := range map[string]*int{"subtotal": &r.Subtotal, "total": &r.Total, "tax": &r.Tax, "shipping": &r.Shipping, "value": &r.Value} {
			*p = hide(t, name)
		}
		hide(t, "items")
	}
	for i := range t.Fields {
		if f := &t.Fields[i]; f.Kind == expr.Decimal && !f.Plain && f.Place >= 0 && settled != nil {
			s.Money = append(s.Money, f)
		}
	}
	if items.Place >= 0 {
		s.Items, t.Items = items, items
	}
	if len(s.Money) == 0 && s.Items == nil {
		return
	}
	s.Kind = hide(t, kind)
	t.Signs = s
	if settled == nil && t.Items != nil {
		own(t)
	}
}

// hasMoney sets where the amounts of a target are, if one or their currency is read.
func hasMoney(t *frame.Target) {
	currency := t.Find([]byte("currency"))
	if currency == nil {
		return
	}
	m := &frame.Money{Currency: currency}
	for i := range t.Fields {
		if f := &t.Fields[i]; f.Kind == expr.Decimal && !f.Plain && f.Place >= 0 {
			m.Amounts = append(m.Amounts, f)
		}
	}
	if len(m.Amounts) > 0 || t.Items != nil || currency.Place >= 0 {
		hide(t, currency.Name)
		t.Money = m
	}
}

// own gives the product of a web event that has no items places of its own.
func own(t *frame.Target) {
	elem := t.Items.Elem
	t.Own = slices.Clone(elem.Fields)
	for i := range t.Own {
		t.Own[i].Place += len(t.Template)
	}
	t.Template = append(t.Template, elem.Template...)
}

// readInto gives the field at path the place slot of t.
func readInto(t *frame.Target, rec *avro.Schema, path string, slot int) error {
	name, key, isKey := strings.Cut(path, ".")
	i, ok := t.ByName[name]
	isMap := ok && i < len(rec.Fields) && rec.Fields[i].Type.Wire == avro.Map
	if !ok || isMap != isKey || key == "" && isKey {
		return fmt.Errorf("has no field %q that a rule could read", path)
	}
	f := &t.Fields[i]
	switch {
	case isMap:
		f.Keys = append(f.Keys, frame.Field{Name: key, Path: path, Label: name, Kind: expr.String, Loose: true, Place: slot})
	case f.Place >= 0:
		t.Copies = append(t.Copies, frame.CopyPair{Slot: slot, Of: f.Place})
	default:
		place(t, i, slot)
	}
	return nil
}

// place gives field i the place dst, with its default in the template.
func place(t *frame.Target, i, dst int) {
	t.Fields[i].Place = dst
	t.Template[dst] = t.Fields[i].Default
}

// newFieldSet returns the fields of a record, none of them read.
func newFieldSet(t *frame.Target, rec *avro.Schema, prefix string) frame.FieldSet {
	s := frame.FieldSet{ByName: make(map[string]int, len(rec.Fields))}
	for i, sf := range rec.Fields {
		typ := sf.Type
		if typ.Wire == avro.Union {
			typ = typ.Union[1]
		}
		f := frame.Field{Name: sf.Name, Path: prefix + sf.Name, Label: prefix + sf.Name, Place: -1, IsID: frame.IDNames[sf.Name]}
		f.Default = t.Constant(avro.DefaultOf(&rec.Fields[i]))
		if typ.Wire == avro.Array {
			f.Kind = expr.List
			f.Elem = newItem(t, typ.Items, f.Path+".")
		} else {
			f.Kind, _ = avro.KindOf(typ)
		}
		for _, sym := range typ.Symbols {
			f.Symbols = append(f.Symbols, []byte(sym))
			f.Values = append(f.Values, t.Constant(expr.StringValue(sym)))
		}
		for _, w := range words[typ.Name] {
			f.Words = append(f.Words, []byte(w.text))
			f.WordValues = append(f.WordValues, t.Constant(expr.StringValue(w.means)))
		}
		s.Fields = append(s.Fields, f)
		s.ByName[sf.Name] = i
	}
	return s
}

// newItem returns the fields of an item, all of them read, and behind those of the
// schema the id that Segment's first specification gave to products.
func newItem(t *frame.Target, rec *avro.Schema, prefix string) *frame.FieldSet {
	s := newFieldSet(t, rec, prefix)
	s.Shown = len(s.Fields)
	const first = "id"
	s.ByName[first] = len(s.Fields)
	s.Fields = append(s.Fields, frame.Field{Name: first, Path: prefix + first, Label: prefix + first, Kind: expr.String})
	s.Template = make([]frame.Cell, len(s.Fields))
	s.Item = &frame.ItemPlaces{}
	for r := range s.Item {
		s.Item[r] = -1
	}
	for i := range s.Fields {
		f := &s.Fields[i]
		f.Place, f.Role = i, frame.Roles[f.Name]
		s.Template[i] = f.Default
		s.Item[f.Role] = i
	}
	return &s
}

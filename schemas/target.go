package schemas

import (
	"fmt"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// newTarget returns the target of a stream. layout may be nil: nothing but the
// head is read.
func newTarget(stream plan.Stream, layout *plan.Layout) (*target, error) {
	rec := mustSchema(inputNames[stream])
	t := &target{number: int(stream), name: rec.name}
	t.fieldSet = newFieldSet(t, rec, "")
	if layout != nil {
		t.slots = len(layout.Paths)
	}
	t.template = make([]cell, t.slots+numHead)
	for h, name := range headNames {
		if i, ok := t.byName[name]; ok {
			t.head[h] = &t.fields[i]
			place(t, rec, i, t.slots+h)
		}
	}
	for slot := range t.slots {
		if err := readInto(t, rec, layout.Paths[slot], slot); err != nil {
			return nil, fmt.Errorf("stream %v %w", stream, err)
		}
	}
	for _, name := range []string{"attributes", "traits"} {
		if f := t.find([]byte(name)); f != nil && len(f.keys) > 0 {
			t.extra = f
		}
	}
	t.needs()
	for i := range t.fields {
		if f := &t.fields[i]; f.kind == expr.List && f.dst >= 0 {
			t.lists = append(t.lists, f)
		}
	}
	return t, nil
}

// readInto gives the field at path the place slot of t.
func readInto(t *target, rec *schema, path string, slot int) error {
	name, key, isKey := strings.Cut(path, ".")
	i, ok := t.byName[name]
	isMap := ok && rec.fields[i].typ.wire == wireMap
	if !ok || isMap != isKey || key == "" && isKey {
		return fmt.Errorf("has no field %q that a rule could read", path)
	}
	f := &t.fields[i]
	switch {
	case isMap:
		f.keys = append(f.keys, field{name: key, path: path, kind: expr.String, loose: true, dst: slot})
	case f.dst >= 0:
		t.copies = append(t.copies, copyPair{slot, f.dst})
	default:
		place(t, rec, i, slot)
	}
	return nil
}

// place gives field i the place dst, with its default in the template.
func place(t *target, rec *schema, i, dst int) {
	t.fields[i].dst = dst
	t.template[dst] = t.constant(defaultOf(&rec.fields[i]))
}

// newFieldSet returns the fields of a record, none of them read.
func newFieldSet(t *target, rec *schema, prefix string) fieldSet {
	s := fieldSet{byName: make(map[string]int, len(rec.fields))}
	for i, sf := range rec.fields {
		typ := sf.typ
		if typ.wire == wireUnion {
			typ = typ.union[1]
		}
		f := field{name: sf.name, path: prefix + sf.name, dst: -1, id: idNames[sf.name], int32: typ.wire == wireInt}
		f.required = sf.typ.wire != wireUnion && !sf.hasDef
		if typ.wire == wireArray {
			f.kind = expr.List
			elem := newFieldSet(t, typ.items, f.path+".")
			elem.template = make([]cell, len(elem.fields))
			for j := range elem.fields {
				elem.fields[j].dst = j
				elem.template[j] = t.constant(defaultOf(&typ.items.fields[j]))
			}
			elem.needs()
			f.elem = &elem
		} else {
			f.kind, _ = kindOf(typ)
		}
		for _, sym := range typ.symbols {
			f.symbols = append(f.symbols, []byte(sym))
			f.values = append(f.values, t.constant(expr.StringValue(sym)))
		}
		s.fields = append(s.fields, f)
		s.byName[sf.name] = i
	}
	return s
}

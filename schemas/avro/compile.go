package avro

import (
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/scalar"
)

// Op is one step of a program that reads Avro bytes: how the value is stored in the
// bytes, and where it goes. A program is compiled once per writer's schema; fields
// are matched by name, so the writer may have them in any order, more of them,
// fewer of them, or of narrower types.
//
// An op without a field steps over the value. Such ops are shared by all uses of a
// type, and so the program is no larger than the schema.
type Op struct {
	do      action
	wire    Wire
	unit    scalar.Unit  // of an int or long for an instant or a date
	dst     int          // its place, relative to the record it is in
	size    int          // of a fixed, float or double, in bytes; how many symbols an enum has
	kids    []*Op        // a record's fields, a union's branches, the items of an array or map
	hops    []hop        // of a record: the short way over each field
	f       *frame.Field // what it is for; nil: nothing
	path    string       // the place of the value, for errors
	scale   int          // of a decimal
	symbols []frame.Cell // of an enum for a field of symbols: what each becomes
	texts   []string     // of an enum: its symbols; of doFree: the keys that are looked for
	refuse  string       // of doRefuse: what the value is
	local   bool         // of an int or long: it is without a zone
	keep    bool         // a value that is there already wins
	again   bool         // the type contains itself
}

// action is what an op does with its value.
type action uint8

const (
	doRefuse action = iota // the value cannot be what the field is, whatever it holds
	doNull
	doUnion
	doRecord
	doMap   // a map that is stepped over
	doFree  // a map that is looked into
	doTwice // a value that goes to two fields
	doSkipArray
	doSkipBool
	doSkipInt
	doSkipLong
	doSkipSized // a fixed, float or double
	doSkipBytes // or text
	doSkipEnum
	doList  // an array of records, into the cells
	doTexts // an array of texts
	doBool
	doInt // an int or long
	doFloat
	doDouble
	doDecimal
	doText
	doEnum
)

// skips are what to do with values that nobody reads, by wire type.
var skips = [...]action{
	Null: doNull, Bool: doSkipBool, Int: doSkipInt, Long: doSkipLong, Float: doSkipSized,
	Double: doSkipSized, Bytes: doSkipBytes, String: doSkipBytes, Fixed: doSkipSized, Enum: doSkipEnum,
	Record: doRecord, Array: doSkipArray, Map: doMap, Union: doUnion,
}

// reads are what to do with values for a field, by wire type.
var reads = [...]action{
	Null: doNull, Bool: doBool, Int: doInt, Long: doInt, Float: doFloat, Double: doDouble,
	Bytes: doText, String: doText, Fixed: doDecimal, Enum: doEnum, Record: doRefuse, Array: doList,
	Map: doMap, Union: doUnion,
}

// compiler makes the ops of one program.
type compiler struct {
	skips map[*Schema]*Op
}

// compile returns the program that reads records of the writer's schema into t.
func compile(writer *Schema, t *frame.Target) (*Op, *bad.Input) {
	if writer.Wire != Record {
		return nil, bad.New(bad.Schema, "", "the schema is a %v and not a record", writer.Wire)
	}
	if strings.HasPrefix(writer.Name, "segmill.") && writer.Name != t.Name {
		return nil, bad.New(bad.Schema, "", "the record is a %s, but the topic carries %s", writer.Name, t.Name)
	}
	c := compiler{skips: map[*Schema]*Op{}}
	return c.record(writer, &t.FieldSet, "", t), nil
}

// record compiles a record whose fields go to the fields of s. t is the target if it is
// the event itself, else nil.
func (c *compiler) record(w *Schema, s *frame.FieldSet, prefix string, t *frame.Target) *Op {
	o := &Op{do: doRecord, wire: Record, path: strings.TrimSuffix(prefix, ".")}
	for i := range w.Fields {
		wf := &w.Fields[i]
		fd := s.Find([]byte(wf.Name))
		switch {
		case fd != nil && fd.Declared && t != nil:
			o.kids = append(o.kids, c.declared(wf, fd, t))
		case fd != nil && fd.Used():
			o.kids = append(o.kids, c.value(wf.Type, fd))
		case fd == nil && t != nil:
			o.kids = append(o.kids, c.outside(wf, t))
		default:
			o.kids = append(o.kids, c.skip(wf.Type, prefix+wf.Name))
		}
	}
	o.hops = hopsOf(o.kids)
	return o
}

// outside compiles a field of the event that the schema does not have: it is one of the
// product of a web event that has no items, or goes to the free-form map, or both.
func (c *compiler) outside(wf *Field, t *frame.Target) *Op {
	own := t.OwnField([]byte(wf.Name), false)
	free := t.Extra != nil && t.Extra.Reads(wf.Name)
	switch {
	case !free && own == nil:
		return c.skip(wf.Type, wf.Name)
	case !free:
		return c.value(wf.Type, own)
	}
	o := c.free(wf.Type, t.Extra, freely{path: wf.Name, keep: true})
	if own == nil {
		return o
	}
	return &Op{do: doTwice, wire: wf.Type.Wire, path: wf.Name, kids: []*Op{o, c.value(wf.Type, own)}}
}

// declared compiles a field that a rule file declares. It also goes where it went before
// anybody declared it.
func (c *compiler) declared(wf *Field, fd *frame.Field, t *frame.Target) *Op {
	o := c.outside(wf, t)
	if !fd.Used() {
		return o
	}
	return &Op{do: doTwice, wire: wf.Type.Wire, path: wf.Name, kids: []*Op{o, c.value(wf.Type, fd)}}
}

// maxFree is how deep objects in a free-form map have names with dots.
const maxFree = 8

// freely says where in a free-form map a value is.
type freely struct {
	path  string // its name, with dots
	depth int
	keep  bool // a value that is there already wins
}

// in returns the place of the value name below f.
func (f freely) in(name string) freely {
	if f.path != "" {
		name = f.path + "." + name
		f.depth++
		f.keep = true
	}
	f.path = name
	return f
}

// free compiles a value of a free-form map whose keys are those of fd, or the map
// itself. Records and maps in it are looked into for keys with dots.
func (c *compiler) free(w *Schema, fd *frame.Field, at freely) *Op {
	o := c.freeKey(w, fd, at)
	if k := fd.TypedKey([]byte(at.path)); k != nil && !at.keep {
		o = &Op{do: doTwice, wire: w.Wire, path: k.Path, kids: []*Op{o, c.value(w, k)}}
	}
	return o
}

// freeKey compiles what goes to the keys of a free-form map that rules name.
func (c *compiler) freeKey(w *Schema, fd *frame.Field, at freely) *Op {
	path := fd.Path + "." + at.path
	if at.path != "" && !fd.Reads(at.path) {
		return c.skip(w, path)
	}
	k := fd.Key([]byte(at.path))
	switch w.Wire {
	case Union:
		o := &Op{do: doUnion, wire: Union, path: path}
		for _, b := range w.Union {
			o.kids = append(o.kids, c.freeKey(b, fd, at))
		}
		return o
	case Record, Map:
		switch {
		case at.path == "":
		case !fd.HasBelow(at.path) && !at.keep:
			return c.refusing(w, k)
		case !fd.HasBelow(at.path) || at.depth == maxFree-1:
			return c.skip(w, path)
		}
		if w.Wire == Map {
			return c.freeMap(w, fd, at)
		}
		o := &Op{do: doRecord, wire: Record, path: path}
		for i := range w.Fields {
			o.kids = append(o.kids, c.free(w.Fields[i].Type, fd, at.in(w.Fields[i].Name)))
		}
		o.hops = hopsOf(o.kids)
		return o
	}
	if k == nil || at.keep && w.Wire == Array {
		return c.skip(w, path)
	}
	o := c.value(w, k)
	o.keep = at.keep
	return o
}

// freeMap compiles a map in a free-form map.
func (c *compiler) freeMap(w *Schema, fd *frame.Field, at freely) *Op {
	o := &Op{do: doFree, wire: Map, path: strings.TrimSuffix(fd.Path+"."+at.path, "."), kids: []*Op{c.skip(w.Items, fd.Path)}}
	for _, name := range fd.Below(at.path) {
		o.texts = append(o.texts, name)
		o.kids = append(o.kids, c.free(w.Items, fd, at.in(name)))
	}
	return o
}

// skip compiles stepping over a value.
func (c *compiler) skip(w *Schema, path string) *Op {
	if o := c.skips[w]; o != nil {
		return o
	}
	o := &Op{do: skips[w.Wire], wire: w.Wire, path: path, size: sizeOf(w), again: w.again}
	c.skips[w] = o
	for i := range w.Fields {
		o.kids = append(o.kids, c.skip(w.Fields[i].Type, path+"."+w.Fields[i].Name))
	}
	for _, b := range w.Union {
		o.kids = append(o.kids, c.skip(b, path))
	}
	if w.Items != nil {
		o.kids = []*Op{c.skip(w.Items, path)}
	}
	if o.do == doRecord {
		o.hops = hopsOf(o.kids)
	}
	return o
}

// sizeOf returns the size of an op.
func sizeOf(w *Schema) int {
	switch w.Wire {
	case Float:
		return 4
	case Double:
		return 8
	case Enum:
		return len(w.Symbols)
	}
	return w.size
}

// value compiles a value that goes to the field fd.
func (c *compiler) value(w *Schema, fd *frame.Field) *Op {
	if fd.LooksInto() {
		return c.freeRoot(w, fd)
	}
	if w.Wire == Union {
		o := &Op{do: doUnion, wire: Union, path: fd.Path}
		for _, b := range w.Union {
			o.kids = append(o.kids, c.value(b, fd))
		}
		return o
	}
	o := &Op{do: reads[w.Wire], wire: w.Wire, path: fd.Path, f: fd, dst: fd.Place, size: sizeOf(w), scale: w.scale}
	if w.Logical == "decimal" {
		o.do = doDecimal
	}
	switch {
	case w.Wire == Null:
		o.f = nil
	case fd.Elem != nil && w.Wire == Array:
		o.kids = []*Op{c.element(w.Items, fd)}
	case fd.Item != nil && w.Wire == Array:
		o.do, o.kids = doTexts, []*Op{c.value(w.Items, fd.Item)}
	case fd.Elem != nil || !c.scalar(w, fd, o):
		return c.refusing(w, fd)
	}
	return o
}

// freeRoot compiles a value that goes to a free-form map.
func (c *compiler) freeRoot(w *Schema, fd *frame.Field) *Op {
	switch w.Wire {
	case Union:
		o := &Op{do: doUnion, wire: Union, path: fd.Path}
		for _, b := range w.Union {
			o.kids = append(o.kids, c.freeRoot(b, fd))
		}
		return o
	case Map, Record:
		return c.free(w, fd, freely{})
	case Null:
		return c.skip(w, fd.Path)
	}
	return c.refusing(w, fd)
}

// refusing compiles a value that the field can't be, whatever it holds.
func (c *compiler) refusing(w *Schema, fd *frame.Field) *Op {
	s := w.Wire.String()
	if w.Logical != "" {
		s += " (" + w.Logical + ")"
	}
	return &Op{
		do: doRefuse, wire: w.Wire, path: fd.Path, f: fd, dst: fd.Place,
		refuse: "the writer's type " + s, kids: []*Op{c.skip(w, fd.Path)},
	}
}

// element compiles an element of a list of records.
func (c *compiler) element(w *Schema, fd *frame.Field) *Op {
	switch w.Wire {
	case Record:
		return c.record(w, fd.Elem, fd.Path+".", nil)
	case Union:
		o := &Op{do: doUnion, wire: Union, path: fd.Path}
		for _, b := range w.Union {
			o.kids = append(o.kids, c.element(b, fd))
		}
		return o
	}
	return c.skip(w, fd.Path) // an item of nothing, which is left out
}

// scalar completes o for a field that is no list and no map. It is false if the
// writer's type cannot become the field's.
func (c *compiler) scalar(w *Schema, fd *frame.Field, o *Op) bool {
	switch w.Wire {
	case Bool, Float, Double, String:
		return true
	case Bytes, Fixed:
		return w.Logical == "decimal" || w.Wire == Bytes && fd.Kind == expr.String
	case Enum:
		c.symbols(w, fd, o)
		return true
	case Int, Long:
		o.unit, o.local = unitOf(w, fd)
		return true
	}
	return false
}

// symbols notes what each symbol of an enum is for a field.
func (c *compiler) symbols(w *Schema, fd *frame.Field, o *Op) {
	o.texts = w.Symbols
	if fd.Symbols == nil {
		return
	}
	l := make([]frame.Cell, len(w.Symbols))
	for i, s := range w.Symbols {
		var known bool
		if l[i], known = fd.Symbol([]byte(s)); !known {
			return // it is counted each time
		}
	}
	o.symbols = l
}

// unitOf returns the unit of an int or long for a field, and whether it is what clocks
// showed that nobody names the zone of.
func unitOf(w *Schema, fd *frame.Field) (u scalar.Unit, local bool) {
	unit, local := strings.CutPrefix(w.Logical, "local-")
	switch unit {
	case "date":
		return scalar.UnitDays, false
	case "timestamp-millis":
		return scalar.UnitMillis, local
	case "timestamp-micros":
		return scalar.UnitMicros, local
	case "timestamp-nanos":
		return scalar.UnitNanos, local
	}
	if w.Wire == Int && fd.Kind == expr.Date {
		return scalar.UnitFewDays, false
	}
	return scalar.UnitGuess, false
}

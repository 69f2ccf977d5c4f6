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
	texts   []string     // of an enum for any other field
	refuse  string       // of doRefuse: what is wrong
}

// action is what an op does with its value.
type action uint8

const (
	doRefuse action = iota // the value cannot be what the field is, whatever it holds
	doNull
	doUnion
	doRecord
	doMap
	doSkipArray
	doSkipBool
	doSkipInt
	doSkipLong
	doSkipSized // a fixed, float or double
	doSkipBytes
	doSkipText
	doSkipEnum
	doList // an array, into the cells
	doBool
	doInt // an int or long
	doFloat
	doDouble
	doDecimal
	doText
	doEnum
)

// skips are what to do with values that nobody reads, by wire type; maps are
// gone through for their keys, which must be UTF-8.
var skips = [...]action{
	Null: doNull, Bool: doSkipBool, Int: doSkipInt, Long: doSkipLong, Float: doSkipSized,
	Double: doSkipSized, Bytes: doSkipBytes, String: doSkipText, Fixed: doSkipSized, Enum: doSkipEnum,
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
	return c.record(writer, &t.FieldSet, ""), nil
}

// record compiles a record whose fields go to the fields of s.
func (c *compiler) record(w *Schema, s *frame.FieldSet, prefix string) *Op {
	o := &Op{do: doRecord, wire: Record, path: strings.TrimSuffix(prefix, ".")}
	for i := range w.Fields {
		wf := &w.Fields[i]
		fd := s.Find([]byte(wf.Name))
		if fd != nil && fd.Used() {
			o.kids = append(o.kids, c.value(wf.Type, fd))
		} else {
			o.kids = append(o.kids, c.skip(wf.Type, prefix+wf.Name))
		}
	}
	o.hops = hopsOf(o.kids)
	return o
}

// skip compiles stepping over a value.
func (c *compiler) skip(w *Schema, path string) *Op {
	if o := c.skips[w]; o != nil {
		return o
	}
	o := &Op{do: skips[w.Wire], wire: w.Wire, path: path, size: sizeOf(w)}
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
	ok := false
	switch {
	case w.Wire == Null:
		ok = true
	case len(fd.Keys) > 0:
		ok = w.Wire == Map
		if ok {
			o.kids = []*Op{c.skip(w.Items, fd.Path)}
			for i := range fd.Keys {
				o.kids = append(o.kids, c.value(w.Items, &fd.Keys[i]))
			}
		}
	case fd.Elem != nil:
		ok = w.Wire == Array
		if ok {
			o.kids = []*Op{c.element(w.Items, fd)}
		}
	default:
		ok = c.scalar(w, fd, o)
	}
	if !ok {
		o.do, o.refuse = doRefuse, refusal(w, fd)
	}
	return o
}

func refusal(w *Schema, fd *frame.Field) string {
	s := w.Wire.String()
	if w.Logical != "" {
		s += " (" + w.Logical + ")"
	}
	return "the writer's type is " + s + ", where " + fd.Wants() + " is needed"
}

// element compiles an element of a list of records.
func (c *compiler) element(w *Schema, fd *frame.Field) *Op {
	switch w.Wire {
	case Record:
		return c.record(w, fd.Elem, fd.Path+".")
	case Union:
		o := &Op{do: doUnion, wire: Union, path: fd.Path}
		for _, b := range w.Union {
			o.kids = append(o.kids, c.element(b, fd))
		}
		return o
	}
	return &Op{wire: w.Wire, path: fd.Path, refuse: "an element of the list is " + w.Wire.String() + " and not a record"}
}

// scalar completes o for a field that is no list and no map. It is false if the
// writer's type cannot become the field's.
func (c *compiler) scalar(w *Schema, fd *frame.Field, o *Op) bool {
	switch w.Wire {
	case String:
		return fd.Kind != expr.Bool && fd.Kind != expr.Int && fd.Kind != expr.Double
	case Bytes, Fixed:
		if o.do == doDecimal {
			return fd.Kind == expr.Decimal
		}
		return w.Wire == Bytes && fd.Kind == expr.String
	case Enum:
		if fd.Kind != expr.String {
			return false
		}
		for _, s := range w.Symbols {
			if fd.Symbols != nil {
				o.symbols = append(o.symbols, fd.Symbol([]byte(s)))
			} else {
				o.texts = append(o.texts, s)
			}
		}
		return true
	case Bool:
		return fd.Kind == expr.Bool || fd.Loose
	case Int, Long:
		return c.integer(w, fd, o)
	case Float, Double:
		return fd.Kind == expr.Decimal || fd.Kind == expr.Double || fd.Loose
	}
	return false
}

func (c *compiler) integer(w *Schema, fd *frame.Field, o *Op) bool {
	switch w.Logical {
	case "":
		o.unit = scalar.UnitGuess
	case "date":
		o.unit = scalar.UnitDays
	case "timestamp-millis":
		o.unit = scalar.UnitMillis
	case "timestamp-micros":
		o.unit = scalar.UnitMicros
	case "timestamp-nanos":
		o.unit = scalar.UnitNanos
	default: // local-timestamp-…: no instant without a zone
		return fd.Loose
	}
	switch fd.Kind {
	case expr.Time:
		return o.unit != scalar.UnitDays
	case expr.Date:
		return o.unit != scalar.UnitGuess || w.Wire == Int
	case expr.Decimal, expr.Int, expr.Double:
		return w.Logical == ""
	}
	return fd.Loose
}

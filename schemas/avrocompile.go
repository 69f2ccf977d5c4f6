package schemas

import (
	"strings"

	"github.com/segmill/segmill/engine/expr"
)

// op is one step of a program that reads Avro bytes: how the value stands in the
// bytes, and where it goes. A program is compiled once per writer's schema; fields
// are matched by name, so the writer may have them in any order, more of them,
// fewer of them, or of narrower types.
//
// An op without a field steps over the value. Such ops are shared by all uses of a
// type, and so the program is no larger than the schema.
type op struct {
	do      action
	wire    wire
	unit    unit     // of an int or long for an instant or a date
	dst     int      // its place, relative to the record it is in
	size    int      // of a fixed, float or double, in bytes; how many symbols an enum has
	kids    []*op    // a record's fields, a union's branches, the items of an array or map
	hops    []hop    // of a record: the short way over each field
	f       *field   // what it is for; nil: nothing
	path    string   // where the value stands, for errors
	scale   int      // of a decimal
	symbols []cell   // of an enum for a field of symbols: what each becomes
	texts   []string // of an enum for any other field
	refuse  string   // of doRefuse: what is wrong
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
	wireNull: doNull, wireBool: doSkipBool, wireInt: doSkipInt, wireLong: doSkipLong, wireFloat: doSkipSized,
	wireDouble: doSkipSized, wireBytes: doSkipBytes, wireString: doSkipText, wireFixed: doSkipSized, wireEnum: doSkipEnum,
	wireRecord: doRecord, wireArray: doSkipArray, wireMap: doMap, wireUnion: doUnion,
}

// reads are what to do with values for a field, by wire type.
var reads = [...]action{
	wireNull: doNull, wireBool: doBool, wireInt: doInt, wireLong: doInt, wireFloat: doFloat, wireDouble: doDouble,
	wireBytes: doText, wireString: doText, wireFixed: doDecimal, wireEnum: doEnum, wireRecord: doRefuse, wireArray: doList,
	wireMap: doMap, wireUnion: doUnion,
}

// compiler makes the ops of one program.
type compiler struct {
	skips map[*schema]*op
}

// compile returns the program that reads records of the writer's schema into t.
func compile(writer *schema, t *target) (*op, *BadInput) {
	if writer.wire != wireRecord {
		return nil, bad(CauseSchema, "", "the schema is a %v and not a record", writer.wire)
	}
	if strings.HasPrefix(writer.name, "segmill.") && writer.name != t.name {
		return nil, bad(CauseSchema, "", "the record is a %s, but the topic carries %s", writer.name, t.name)
	}
	c := compiler{skips: map[*schema]*op{}}
	return c.record(writer, &t.fieldSet, ""), nil
}

// record compiles a record whose fields go to the fields of s.
func (c *compiler) record(w *schema, s *fieldSet, prefix string) *op {
	o := &op{do: doRecord, wire: wireRecord, path: strings.TrimSuffix(prefix, ".")}
	for i := range w.fields {
		wf := &w.fields[i]
		fd := s.find([]byte(wf.name))
		if fd != nil && fd.used() {
			o.kids = append(o.kids, c.value(wf.typ, fd))
		} else {
			o.kids = append(o.kids, c.skip(wf.typ, prefix+wf.name))
		}
	}
	o.hops = hopsOf(o.kids)
	return o
}

// skip compiles stepping over a value.
func (c *compiler) skip(w *schema, path string) *op {
	if o := c.skips[w]; o != nil {
		return o
	}
	o := &op{do: skips[w.wire], wire: w.wire, path: path, size: sizeOf(w)}
	c.skips[w] = o
	for i := range w.fields {
		o.kids = append(o.kids, c.skip(w.fields[i].typ, path+"."+w.fields[i].name))
	}
	for _, b := range w.union {
		o.kids = append(o.kids, c.skip(b, path))
	}
	if w.items != nil {
		o.kids = []*op{c.skip(w.items, path)}
	}
	if o.do == doRecord {
		o.hops = hopsOf(o.kids)
	}
	return o
}

// sizeOf returns the size of an op.
func sizeOf(w *schema) int {
	switch w.wire {
	case wireFloat:
		return 4
	case wireDouble:
		return 8
	case wireEnum:
		return len(w.symbols)
	}
	return w.size
}

// value compiles a value that goes to the field fd.
func (c *compiler) value(w *schema, fd *field) *op {
	if w.wire == wireUnion {
		o := &op{do: doUnion, wire: wireUnion, path: fd.path}
		for _, b := range w.union {
			o.kids = append(o.kids, c.value(b, fd))
		}
		return o
	}
	o := &op{do: reads[w.wire], wire: w.wire, path: fd.path, f: fd, dst: fd.dst, size: sizeOf(w), scale: w.scale}
	if w.logical == "decimal" {
		o.do = doDecimal
	}
	ok := false
	switch {
	case w.wire == wireNull:
		ok = true
	case len(fd.keys) > 0:
		ok = w.wire == wireMap
		if ok {
			o.kids = []*op{c.skip(w.items, fd.path)}
			for i := range fd.keys {
				o.kids = append(o.kids, c.value(w.items, &fd.keys[i]))
			}
		}
	case fd.elem != nil:
		ok = w.wire == wireArray
		if ok {
			o.kids = []*op{c.element(w.items, fd)}
		}
	default:
		ok = c.scalar(w, fd, o)
	}
	if !ok {
		o.do, o.refuse = doRefuse, refusal(w, fd)
	}
	return o
}

func refusal(w *schema, fd *field) string {
	s := w.wire.String()
	if w.logical != "" {
		s += " (" + w.logical + ")"
	}
	return "the writer's type is " + s + ", where " + fd.wants() + " is needed"
}

// element compiles an element of a list of records.
func (c *compiler) element(w *schema, fd *field) *op {
	switch w.wire {
	case wireRecord:
		return c.record(w, fd.elem, fd.path+".")
	case wireUnion:
		o := &op{do: doUnion, wire: wireUnion, path: fd.path}
		for _, b := range w.union {
			o.kids = append(o.kids, c.element(b, fd))
		}
		return o
	}
	return &op{wire: w.wire, path: fd.path, refuse: "an element of the list is " + w.wire.String() + " and not a record"}
}

// scalar completes o for a field that is no list and no map. It is false if the
// writer's type cannot become the field's.
func (c *compiler) scalar(w *schema, fd *field, o *op) bool {
	switch w.wire {
	case wireString:
		return fd.kind != expr.Bool && fd.kind != expr.Int && fd.kind != expr.Double
	case wireBytes, wireFixed:
		if o.do == doDecimal {
			return fd.kind == expr.Decimal
		}
		return w.wire == wireBytes && fd.kind == expr.String
	case wireEnum:
		if fd.kind != expr.String {
			return false
		}
		for _, s := range w.symbols {
			if fd.symbols != nil {
				o.symbols = append(o.symbols, fd.symbol([]byte(s)))
			} else {
				o.texts = append(o.texts, s)
			}
		}
		return true
	case wireBool:
		return fd.kind == expr.Bool || fd.loose
	case wireInt, wireLong:
		return c.integer(w, fd, o)
	case wireFloat, wireDouble:
		return fd.kind == expr.Decimal || fd.kind == expr.Double || fd.loose
	}
	return false
}

func (c *compiler) integer(w *schema, fd *field, o *op) bool {
	switch w.logical {
	case "":
		o.unit = unitGuess
	case "date":
		o.unit = unitDays
	case "timestamp-millis":
		o.unit = unitMillis
	case "timestamp-micros":
		o.unit = unitMicros
	case "timestamp-nanos":
		o.unit = unitNanos
	default: // local-timestamp-…: no instant without a zone
		return fd.loose
	}
	switch fd.kind {
	case expr.Time:
		return o.unit != unitDays
	case expr.Date:
		return o.unit != unitGuess || w.wire == wireInt
	case expr.Decimal, expr.Int, expr.Double:
		return w.logical == ""
	}
	return fd.loose
}

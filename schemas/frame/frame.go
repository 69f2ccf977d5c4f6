// Package frame builds one event out of the parts of a record: it knows which fields
// are read, which place each has, and how a value of any type becomes a value of the
// field's. What reads the record, Avro or JSON, hands it the values as they come.
//
// The one rule it keeps: nothing of the event refers to the memory of the record, and
// an event costs one allocation for all its texts, however many fields are read.
package frame

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/scalar"
)

// Limits on the parts of a record. They are constants because no honest producer
// meets them.
const (
	MaxItems   = 10_000   // elements of all lists and maps of a record together
	MaxText    = 32 << 10 // bytes of one text that a rule reads
	anonPrefix = "anon:"
)

// Frame is an event in the making. Texts are gathered in one buffer and become
// strings together at the end, so that an event costs two or three allocations
// however many fields are read, and keeps nothing of the record alive.
//
// Until then values are cells, which hold no pointers and so are cheap to write.
type Frame struct {
	Target    *Target
	settings  *Settings
	maxID     int
	Vals      []Cell // the slots, and the head
	Head      []Cell // of vals
	Cells     []Cell // the fields of all records in lists
	buf       []byte
	Items     int  // elements met so far
	leftOut   bool // an item was left out
	worth     worth
	currency  []byte
	negative  bool // an item has a price or a quantity below 0
	notes     []bad.Note
	ownFaults []*bad.Input // of the fields of the event's own product
	textFault *bad.Input   // of a text of the list that is being read
	textsFrom int          // where in cells that list begins
	// visitor is what is wrong with the anonymous id.
	visitor *bad.Input
}

// Cell is a value in the making: an [expr.Value] without S and L. N of a text is its
// place in buf (see span), 0 if it is empty, or, below 0, ^i of one that is known
// beforehand: i in the target's texts. N of a list is the place of its records in
// cells, 0 if it is empty.
type Cell struct {
	K expr.Kind
	N int64
}

// Present reports whether the cell holds a value.
func (c Cell) Present() bool { return c.K != expr.Absent }

// cellOf returns the cell of a value that is neither a text nor a list.
func cellOf(v expr.Value) Cell { return Cell{v.K, v.N} }

// span packs a place into the N of a cell: from<<32 | count. count is
// never 0.
func span(from, count int) int64 { return int64(from)<<32 | int64(count) }

func unspan(n int64) (from, count int) { return int(n >> 32), int(n & (1<<32 - 1)) }

// maxKeptValues is how many values an event keeps memory for until the next one.
// Larger lists are allocated for each event.
const maxKeptValues = 512

// New returns a frame for events whose ids have at most maxID bytes.
func New(maxID int) Frame { return Frame{maxID: maxID, settings: &Settings{}} }

// Begin begins a record of an input.
func (f *Frame) Begin(s *Settings) { f.settings, f.notes = s, f.notes[:0] }

// Kept returns how many bytes and how many cells are kept for the next event.
func (f *Frame) Kept() (bytes, cells int) { return cap(f.buf), cap(f.Cells) }

// Reset begins an event of target t.
func (f *Frame) Reset(t *Target) {
	f.Target = t
	f.Vals = append(f.Vals[:0], t.Template...)
	f.Head = f.Vals[t.Slots:]
	f.Cells, f.buf, f.Items = f.Cells[:0], f.buf[:0], 0
	f.currency = nil
	f.leftOut, f.negative, f.visitor, f.ownFaults = false, false, nil, f.ownFaults[:0]
	if t.Derives {
		f.worth = worth{}
	}
}

// Element counts one element of a list or map against the budget.
func (f *Frame) Element(path string) *bad.Input {
	if f.Items++; f.Items > MaxItems {
		return bad.New(bad.Size, path, "lists and maps of the record hold more than %d elements", MaxItems)
	}
	return nil
}

// AddRecord appends the defaults of a record to the cells and returns its cells.
func (f *Frame) AddRecord(s *FieldSet) []Cell {
	from := len(f.Cells)
	f.Cells = append(f.Cells, s.Template...)
	return f.Cells[from:]
}

// BeginList begins a list and returns where in the cells it is. What was read of the same
// list under another name does not count.
func (f *Frame) BeginList() (from int) {
	f.worth, f.leftOut = worth{}, false
	return len(f.Cells)
}

// EndList gives dst the records in the cells from from on.
func (f *Frame) EndList(dst *Cell, s *FieldSet, from int) {
	*dst = Cell{K: expr.List}
	if n := (len(f.Cells) - from) / len(s.Fields); n > 0 {
		dst.N = span(from, n)
	}
}

// Event is what a frame becomes.
type Event struct {
	Customer, ID, Source string
	At                   expr.Millis
	Fields               []expr.Value // in the order of the slots
}

// DropPlaceholders makes the ids absent that are none.
func (f *Frame) DropPlaceholders() {
	more := len(f.settings.NotIDs) > 0
	for _, p := range f.Target.IDs {
		c := &f.Vals[p]
		if c.K != expr.String || c.N <= 0 {
			continue
		}
		from, n := unspan(c.N)
		id := f.buf[from : from+n]
		if !more && scalar.PlainlyID(id) { // as most are
			continue
		}
		if f.placeholder(id) {
			*c = f.Target.Template[p]
			if p == f.Target.Slots+HeadEventID {
				c.K = expr.String // empty: it was there, and is none
			}
		}
	}
}

// Finish checks the event as a whole and moves it to ev, whose fields are used again.
// key is the record's key, the last resort for the customer.
func (f *Frame) Finish(key []byte, zones func(string) bool, ev *Event) *bad.Input {
	if e := f.identity(); e != nil {
		return e
	}
	from, n, e := f.customer(key)
	if e != nil {
		return e
	}
	if e := f.settle(zones); e != nil {
		return e
	}
	all := string(f.buf)
	ev.At = expr.Millis(f.Head[HeadAt].N)
	ev.Customer = all[from : from+n]
	ev.ID = f.textOf(f.Head[HeadEventID], all)
	ev.Source = f.textOf(f.Head[HeadSource], all)
	ev.Fields = f.fields(ev.Fields, all)
	return nil
}

// identity checks that the event has an id and a time.
func (f *Frame) identity() *bad.Input {
	id, at := f.Head[HeadEventID], f.Head[HeadAt]
	switch {
	case !id.Present():
		return bad.New(bad.Missing, "event_id", "not in the record, and every event needs it")
	case id.N == 0:
		return bad.New(bad.Identity, "event_id", "empty or a placeholder, and every event needs one")
	case !at.Present():
		return bad.New(bad.Missing, "occurred_at", "not in the record, and every event needs it")
	case expr.Millis(at.N) < f.settings.Earliest:
		return bad.New(bad.Range, "occurred_at", "%s is before %s, the earliest that is believed", expr.Millis(at.N), f.settings.Earliest)
	}
	return nil
}

// settle does what depends on several fields, or on the whole of one.
func (f *Frame) settle(zones func(string) bool) *bad.Input {
	for _, c := range f.Target.Otherwise {
		if v := &f.Vals[c.Slot]; !v.Present() {
			*v = f.Vals[c.Of]
		}
	}
	if v := &f.Head[HeadZone]; v.K == expr.String && v.N != 0 && zones != nil && !zones(string(f.bytesOf(*v))) {
		e := bad.New(bad.Range, "time_zone", "%s is not an IANA time zone such as Europe/Berlin", bad.Clip(f.bytesOf(*v)))
		if e := f.Refuse(f.Target.Head[HeadZone], v, e); e != nil {
			return e
		}
	}
	if v := &f.Head[HeadSource]; v.N == 0 {
		*v = f.Target.Template[f.Target.Slots+HeadSource]
	}
	if e := f.ownItem(); e != nil {
		return e
	}
	f.noItems()
	if e := f.signs(); e != nil {
		return e
	}
	if e := f.derive(); e != nil {
		return e
	}
	return f.convert()
}

// customer returns the place in buf of who the event is about: customer_id, else
// "anon:" and anonymous_id, else the key.
func (f *Frame) customer(key []byte) (from, n int, e *bad.Input) {
	if from, n = unspan(f.Head[HeadCustomer].N); n > 0 {
		return from, n, f.noteVisitor()
	}
	if f.visitor != nil {
		return 0, 0, f.visitor
	}
	if at, n := unspan(f.Head[HeadAnonymous].N); n > 0 {
		from = len(f.buf)
		f.buf = append(f.buf, anonPrefix...)
		f.buf = append(f.buf, f.buf[at:at+n]...)
		return from, len(f.buf) - from, nil
	}
	if len(key) == 0 {
		return 0, 0, bad.New(bad.Identity, "customer_id", "the record has neither customer_id nor anonymous_id nor a key")
	}
	if e := f.CheckKey(key); e != nil {
		return 0, 0, e
	}
	if f.placeholder(key) {
		return 0, 0, bad.New(bad.Identity, "key", "the record has neither customer_id nor anonymous_id, and its key %s is a placeholder", bad.Clip(key))
	}
	from = len(f.buf)
	f.buf = append(f.buf, key...)
	return from, len(key), nil
}

// noteVisitor notes a bad anonymous id of an event that has a customer.
func (f *Frame) noteVisitor() *bad.Input {
	if f.visitor == nil || f.settings.Strict {
		return f.visitor
	}
	f.Note(f.visitor.Note(f.Target.Head[HeadAnonymous].Label))
	return nil
}

// CheckKey checks a record key that names a customer.
func (f *Frame) CheckKey(key []byte) *bad.Input {
	if !utf8.Valid(key) {
		return bad.New(bad.Identity, "key", "not UTF-8, so it cannot name a customer").AtByte(bad.InvalidUTF8(key))
	}
	return f.checkID("key", key)
}

// checkID checks an id that is UTF-8.
func (f *Frame) checkID(path string, b []byte) *bad.Input {
	if len(b) > f.maxID {
		return bad.New(bad.Identity, path, "%d bytes long, more than %d", len(b), f.maxID)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return bad.New(bad.Identity, path, "holds the byte 0x00 at %d", i)
	}
	return nil
}

// fields returns the values of the slots, in the memory of l. all is the text that
// all texts are parts of.
func (f *Frame) fields(l []expr.Value, all string) []expr.Value {
	slots := f.Target.Slots
	n := slots
	for _, fd := range f.Target.Lists {
		_, records := unspan(f.Vals[fd.Place].N)
		if fd.Elem == nil {
			n += records
			continue
		}
		n += records * (fd.Elem.Shown + 1)
	}
	if cap(l) > maxKeptValues {
		l = nil
	}
	l = slices.Grow(l[:0], n)
	if cap(l) > n {
		clear(l[n:cap(l)]) // the lists of the event before hold its texts
	}
	l = l[:n]
	for _, c := range f.Target.Copies {
		f.Vals[c.Slot] = f.Vals[c.Of]
	}
	for i, c := range f.Vals[:slots] {
		f.value(&l[i], c, all)
	}
	at := slots
	for _, fd := range f.Target.Lists {
		at = f.list(l, at, fd, all)
	}
	for _, c := range f.Target.Copies {
		if c.Of < slots {
			l[c.Slot] = l[c.Of] // a list, too
		}
	}
	return l[:slots]
}

// value makes v the value of a cell that holds no list. What v was, another event's
// value of mostly the same kind, is only written over where it differs.
func (f *Frame) value(v *expr.Value, c Cell, all string) {
	text := ""
	if v.K, v.N = c.K, c.N; c.K == expr.String {
		v.N, text = 0, f.textOf(c, all)
	}
	if text != "" || v.S != "" {
		v.S = text
	}
	if v.L != nil {
		v.L = nil
	}
}

// textOf returns the text of a cell.
func (f *Frame) textOf(c Cell, all string) string {
	if c.N < 0 {
		return f.Target.texts[^c.N]
	}
	from, n := unspan(c.N)
	return all[from : from+n]
}

// bytesOf returns the text of a cell.
func (f *Frame) bytesOf(c Cell) []byte {
	if c.N < 0 {
		return []byte(f.Target.texts[^c.N])
	}
	from, n := unspan(c.N)
	return f.buf[from : from+n]
}

// list makes the value of the list fd of the places in l from at on, and returns
// where the next ones are: the fields of all records, then the records.
func (f *Frame) list(l []expr.Value, at int, fd *Field, all string) int {
	from, n := unspan(f.Vals[fd.Place].N)
	switch {
	case n == 0:
		return at
	case fd.Elem == nil:
		return f.texts(l, at, fd, all)
	}
	width, full := fd.Elem.Shown, len(fd.Elem.Fields)
	cells := l[at : at+n*width]
	for i := range n {
		for j, c := range f.Cells[from+i*full : from+i*full+width] {
			if v := &cells[i*width+j]; c.K != expr.Absent || v.K != expr.Absent {
				f.value(v, c, all)
			}
		}
	}
	records := l[at+len(cells) : at+len(cells)+n : at+len(cells)+n]
	for i := range records {
		records[i] = expr.RecordValue(cells[i*width : (i+1)*width : (i+1)*width])
	}
	l[fd.Place] = expr.ListValue(records)
	return at + len(cells) + n
}

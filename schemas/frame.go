package schemas

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/expr"
)

// Limits on the parts of a record. They are constants because no honest producer
// meets them.
const (
	maxItems   = 10_000   // elements of all lists and maps of a record together
	maxText    = 32 << 10 // bytes of one text that a rule reads
	anonPrefix = "anon:"
)

// frame is an event in the making. Texts are gathered in one buffer and become
// strings together at the end, so that an event costs two or three allocations
// however many fields are read, and keeps nothing of the record alive.
//
// Until then values are cells, which hold no pointers and so are cheap to write.
type frame struct {
	t     *target
	maxID int
	vals  []cell // the slots, and the head
	head  []cell // of vals
	cells []cell // the fields of all records in lists
	buf   []byte
	items int // elements met so far
}

// cell is a value in the making: an [expr.Value] without S and L. N of a text is its
// place in buf (see span), 0 if it is empty, or, below 0, ^i of one that is known
// beforehand: i in the target's texts. N of a list is the place of its records in
// cells, 0 if it is empty.
type cell struct {
	K expr.Kind
	N int64
}

// Present reports whether the cell holds a value.
func (c cell) Present() bool { return c.K != expr.Absent }

// cellOf returns the cell of a value that is neither a text nor a list.
func cellOf(v expr.Value) cell { return cell{v.K, v.N} }

// span packs a place into the N of a cell: from<<32 | count. count is
// never 0.
func span(from, count int) int64 { return int64(from)<<32 | int64(count) }

func unspan(n int64) (from, count int) { return int(n >> 32), int(n & (1<<32 - 1)) }

// maxKeptValues is how many values an event keeps memory for until the next one.
// Larger lists are made anew for each event.
const maxKeptValues = 512

// newFrame returns a frame for events whose ids have at most maxID bytes.
func newFrame(maxID int) frame { return frame{maxID: maxID} }

// kept returns how many bytes and how many cells are kept for the next event.
func (f *frame) kept() (bytes, cells int) { return cap(f.buf), cap(f.cells) }

// reset begins an event of target t.
func (f *frame) reset(t *target) {
	f.t = t
	f.vals = append(f.vals[:0], t.template...)
	f.head = f.vals[t.slots:]
	f.cells, f.buf, f.items = f.cells[:0], f.buf[:0], 0
}

// element counts one element of a list or map against the budget.
func (f *frame) element(path string) *BadInput {
	if f.items++; f.items > maxItems {
		return bad(CauseSize, path, "lists and maps of the record hold more than %d elements", maxItems)
	}
	return nil
}

// addRecord appends the defaults of a record to the cells and returns its cells.
func (f *frame) addRecord(s *fieldSet) []cell {
	from := len(f.cells)
	f.cells = append(f.cells, s.template...)
	return f.cells[from:]
}

// endList gives dst the records in the cells from from on.
func (f *frame) endList(dst *cell, s *fieldSet, from int) {
	*dst = cell{K: expr.List}
	if n := (len(f.cells) - from) / len(s.fields); n > 0 {
		dst.N = span(from, n)
	}
}

// event is what a frame becomes.
type event struct {
	customer, id, source string
	at                   expr.Millis
	fields               []expr.Value // in the order of the slots
}

// finish checks the event as a whole and moves it to ev, whose fields are used again.
// key is the record's key, the last resort for the customer.
func (f *frame) finish(key []byte, zones func(string) bool, ev *event) *BadInput {
	if v := &f.head[headEventID]; v.K == expr.String && v.N == 0 {
		return bad(CauseIdentity, "event_id", "empty, and every event needs one")
	}
	if e := f.t.missing(f.vals); e != nil {
		return e
	}
	from, n, e := f.customer(key)
	if e != nil {
		return e
	}
	all := string(f.buf)
	if z := f.textOf(f.head[headZone], all); z != "" && zones != nil && !zones(z) {
		return bad(CauseRange, "time_zone", "%s is not an IANA time zone such as Europe/Berlin", clip([]byte(z)))
	}
	if v := &f.head[headSource]; v.N == 0 {
		*v = f.t.template[f.t.slots+headSource]
	}
	ev.at = expr.Millis(f.head[headAt].N)
	ev.customer = all[from : from+n]
	ev.id = f.textOf(f.head[headEventID], all)
	ev.source = f.textOf(f.head[headSource], all)
	ev.fields = f.fields(ev.fields, all)
	return nil
}

// customer returns the place in buf of who the event is about: customer_id, else
// "anon:" and anonymous_id, else the key.
func (f *frame) customer(key []byte) (from, n int, e *BadInput) {
	if from, n = unspan(f.head[headCustomer].N); n > 0 {
		return from, n, nil
	}
	if at, n := unspan(f.head[headAnonymous].N); n > 0 {
		from = len(f.buf)
		f.buf = append(f.buf, anonPrefix...)
		f.buf = append(f.buf, f.buf[at:at+n]...)
		return from, len(f.buf) - from, nil
	}
	if len(key) == 0 {
		return 0, 0, bad(CauseIdentity, "customer_id", "the record has neither customer_id nor anonymous_id nor a key")
	}
	if e := f.checkKey(key); e != nil {
		return 0, 0, e
	}
	from = len(f.buf)
	f.buf = append(f.buf, key...)
	return from, len(key), nil
}

// checkKey checks a record key that names a customer.
func (f *frame) checkKey(key []byte) *BadInput {
	if !utf8.Valid(key) {
		return bad(CauseIdentity, "key", "not UTF-8, so it cannot name a customer").atByte(invalidUTF8(key))
	}
	return f.checkID("key", key)
}

// checkID checks an id that is UTF-8.
func (f *frame) checkID(path string, b []byte) *BadInput {
	if len(b) > f.maxID {
		return bad(CauseIdentity, path, "%d bytes long, more than %d", len(b), f.maxID)
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		return bad(CauseIdentity, path, "holds the byte 0x00 at %d", i)
	}
	return nil
}

// fields returns the values of the slots, in the memory of l. all is the text that
// all texts are parts of.
func (f *frame) fields(l []expr.Value, all string) []expr.Value {
	slots := f.t.slots
	n := slots
	for _, fd := range f.t.lists {
		_, records := unspan(f.vals[fd.dst].N)
		n += records * (len(fd.elem.fields) + 1)
	}
	if cap(l) > maxKeptValues {
		l = nil
	}
	l = slices.Grow(l[:0], n)
	if cap(l) > n {
		clear(l[n:cap(l)]) // the lists of the event before hold its texts
	}
	l = l[:n]
	for _, c := range f.t.copies {
		f.vals[c.slot] = f.vals[c.of]
	}
	for i, c := range f.vals[:slots] {
		f.value(&l[i], c, all)
	}
	at := slots
	for _, fd := range f.t.lists {
		at = f.list(l, at, fd, all)
	}
	for _, c := range f.t.copies {
		if c.of < slots {
			l[c.slot] = l[c.of] // a list, too
		}
	}
	return l[:slots]
}

// value makes v the value of a cell that holds no list. What v was, another event's
// value of mostly the same kind, is only written over where it differs.
func (f *frame) value(v *expr.Value, c cell, all string) {
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
func (f *frame) textOf(c cell, all string) string {
	if c.N < 0 {
		return f.t.texts[^c.N]
	}
	from, n := unspan(c.N)
	return all[from : from+n]
}

// list makes the value of the list fd of the places in l from at on, and returns
// where the next ones are: the fields of all records, then the records.
func (f *frame) list(l []expr.Value, at int, fd *field, all string) int {
	from, n := unspan(f.vals[fd.dst].N)
	if n == 0 {
		return at
	}
	width := len(fd.elem.fields)
	cells := l[at : at+n*width]
	for i, c := range f.cells[from : from+len(cells)] {
		f.value(&cells[i], c, all)
	}
	records := l[at+len(cells) : at+len(cells)+n : at+len(cells)+n]
	for i := range records {
		records[i] = expr.RecordValue(cells[i*width : (i+1)*width : (i+1)*width])
	}
	l[fd.dst] = expr.ListValue(records)
	return at + len(cells) + n
}

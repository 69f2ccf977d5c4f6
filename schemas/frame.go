package schemas

import (
	"bytes"
	"unicode/utf8"

	"github.com/segmill/segmill/engine"
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
// Until then a text is a Value of kind String without S, whose N holds the place
// in buf, and a list is a Value of kind List without L, whose N holds the place in
// cells (see span).
type frame struct {
	t     *target
	maxID int
	vals  []expr.Value // the head, then the slots
	cells []expr.Value // the fields of all records in lists
	buf   []byte
	items int // elements met so far
}

// span packs a place into the N of a pending Value: from<<32 | count. count is
// never 0.
func span(from, count int) int64 { return int64(from)<<32 | int64(count) }

func unspan(n int64) (from, count int) { return int(n >> 32), int(n & (1<<32 - 1)) }

// reset begins an event of target t.
func (f *frame) reset(t *target) {
	f.t = t
	f.vals = append(f.vals[:0], t.template...)
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
func (f *frame) addRecord(s *fieldSet) []expr.Value {
	from := len(f.cells)
	f.cells = append(f.cells, s.template...)
	return f.cells[from:]
}

// endList gives dst the records in the cells from from on.
func (f *frame) endList(dst *expr.Value, s *fieldSet, from int) {
	*dst = expr.ListValue(nil)
	if n := (len(f.cells) - from) / len(s.fields); n > 0 {
		dst.N = span(from, n)
	}
}

// missing returns an error if a required field of the record has no value.
func (s *fieldSet) missing(vals []expr.Value) *BadInput {
	for _, fd := range s.needed {
		if !vals[fd.dst].Present() {
			return bad(CauseMissing, fd.path, "not in the record, and %s", fd.why())
		}
	}
	return nil
}

func (fd *field) why() string {
	if fd.name == "event_id" || fd.name == "occurred_at" {
		return "every event needs it"
	}
	return "a rule reads it"
}

// finish checks the event as a whole and moves it to ev, whose Fields are reused.
// key is the record's key, the last resort for the customer.
func (f *frame) finish(key []byte, zones func(string) bool, ev *engine.Event) *BadInput {
	if v := f.vals[headEventID]; v.K == expr.String && v.N == 0 {
		return bad(CauseIdentity, "event_id", "empty, and every event needs one")
	}
	if e := f.t.missing(f.vals); e != nil {
		return e
	}
	from, n, e := f.customer(key)
	if e != nil {
		return e
	}
	all := f.resolve()
	if z := f.vals[headZone].S; z != "" && zones != nil && !zones(z) {
		return bad(CauseRange, "time_zone", "%s is not an IANA time zone such as Europe/Berlin", clip([]byte(z)))
	}
	*ev = engine.Event{
		Stream:   f.t.stream,
		Customer: all[from : from+n],
		ID:       f.vals[headEventID].S,
		Source:   f.vals[headSource].S,
		At:       engine.Millis(f.vals[headAt].N),
		Fields:   append(ev.Fields[:0], f.vals[numHead:]...),
	}
	for _, c := range f.t.copies {
		ev.Fields[c.slot-numHead] = f.vals[c.head]
	}
	return nil
}

// customer returns the place in buf of who the event is about: customer_id, else
// "anon:" and anonymous_id, else the key.
func (f *frame) customer(key []byte) (from, n int, e *BadInput) {
	if from, n = unspan(f.vals[headCustomer].N); n > 0 {
		return from, n, nil
	}
	if at, n := unspan(f.vals[headAnonymous].N); n > 0 {
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
		return bad(CauseIdentity, "key", "byte %d: not UTF-8, so it cannot name a customer", invalidUTF8(key))
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

// resolve turns everything pending into values and returns the text that all
// strings are parts of.
func (f *frame) resolve() string {
	if v := &f.vals[headSource]; v.N == 0 && v.S == "" {
		*v = f.t.template[headSource]
	}
	all := string(f.buf)
	for _, vals := range [...][]expr.Value{f.vals, f.cells} {
		for i := range vals {
			if v := &vals[i]; v.K == expr.String && v.N != 0 {
				from, n := unspan(v.N)
				v.N, v.S = 0, all[from:from+n]
			}
		}
	}
	for _, fd := range f.t.lists {
		f.resolveList(&f.vals[fd.dst], len(fd.elem.fields))
	}
	return all
}

// resolveList gives a list its records, each of the given number of fields, in
// one piece of memory.
func (f *frame) resolveList(v *expr.Value, width int) {
	from, n := unspan(v.N)
	if n == 0 {
		return
	}
	l := make([]expr.Value, n+n*width)
	copy(l[n:], f.cells[from:])
	for i := range n {
		at := n + i*width
		l[i] = expr.RecordValue(l[at : at+width : at+width])
	}
	*v = expr.ListValue(l[:n:n])
}

package schemas

import (
	"bytes"
	"slices"
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
	vals  []expr.Value // the slots, the head, in the end the lists; they become the event's Fields
	head  []expr.Value // of vals
	cells []expr.Value // the fields of all records in lists
	buf   []byte
	items int // elements met so far
}

// span packs a place into the N of a pending Value: from<<32 | count. count is
// never 0.
func span(from, count int) int64 { return int64(from)<<32 | int64(count) }

func unspan(n int64) (from, count int) { return int(n >> 32), int(n & (1<<32 - 1)) }

// maxKeptValues is how many values an event keeps memory for until the next one.
// Larger lists are made anew for each event.
const maxKeptValues = 512

// reset begins an event of target t. Its values take the place of those in f.vals.
func (f *frame) reset(t *target) {
	f.t = t
	l, n := f.vals, len(t.template)
	switch {
	case cap(l) > maxKeptValues:
		l = nil
	case cap(l) > n:
		clear(l[n:cap(l)]) // the lists of the event before hold its texts
	}
	f.vals = append(l[:0], t.template...)
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

// finish checks the event as a whole and moves it to ev. key is the record's key, the last
// resort for the customer.
func (f *frame) finish(key []byte, zones func(string) bool, ev *engine.Event) *BadInput {
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
	all := f.resolve()
	if z := f.head[headZone].S; z != "" && zones != nil && !zones(z) {
		return bad(CauseRange, "time_zone", "%s is not an IANA time zone such as Europe/Berlin", clip([]byte(z)))
	}
	*ev = engine.Event{
		Stream:   f.t.stream,
		Customer: all[from : from+n],
		ID:       f.head[headEventID].S,
		Source:   f.head[headSource].S,
		At:       engine.Millis(f.head[headAt].N),
		Fields:   f.vals[:f.t.slots],
	}
	for _, c := range f.t.copies {
		f.vals[c.slot] = f.vals[c.of]
	}
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
	if v := &f.head[headSource]; v.N == 0 && v.S == "" {
		*v = f.t.template[f.t.slots+headSource]
	}
	all := string(f.buf)
	for _, i := range f.t.texts {
		resolveText(&f.vals[i], all)
	}
	for i := range f.cells {
		resolveText(&f.cells[i], all)
	}
	if len(f.t.lists) > 0 {
		f.resolveLists()
	}
	return all
}

// resolveText makes a pending text one: a part of all.
func resolveText(v *expr.Value, all string) {
	if v.K == expr.String && v.N != 0 {
		from, n := unspan(v.N)
		v.N, v.S = 0, all[from:from+n]
	}
}

// resolveLists moves the cells and the records that they are the fields of to the
// end of vals.
func (f *frame) resolveLists() {
	n := len(f.cells)
	for _, fd := range f.t.lists {
		_, records := unspan(f.vals[fd.dst].N)
		n += records
	}
	f.vals = slices.Grow(f.vals, n)
	f.head = f.vals[f.t.slots:]
	for _, fd := range f.t.lists {
		from, n := unspan(f.vals[fd.dst].N)
		if n == 0 {
			continue
		}
		width, at := len(fd.elem.fields), len(f.vals)
		cells := f.cells[from : from+n*width]
		f.vals = append(f.vals, cells...)
		for i := at; i < at+len(cells); i += width {
			f.vals = append(f.vals, expr.RecordValue(f.vals[i:i+width:i+width]))
		}
		f.vals[fd.dst] = expr.ListValue(f.vals[at+len(cells) : len(f.vals) : len(f.vals)])
	}
}

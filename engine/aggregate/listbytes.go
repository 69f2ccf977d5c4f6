package aggregate

import "encoding/binary"

// Flags of a list's bytes.
const (
	listValued   = 1 << iota // values follow
	listHundreds             // they are multiples of 100, and divided by it
	listCoarse               // panes follow
	listFlags    = 1<<iota - 1
)

// SameTimes reports whether the entries of both lists have the same instants.
func (l *List) SameTimes(o *List) bool {
	a, b := l.Entries, o.Entries
	if len(a) != len(b) {
		return false
	}
	for i := len(a) - 1; i >= 0; i-- {
		if a[i].At != b[i].At {
			return false
		}
	}
	return true
}

// AppendTimes appends the number of entries, which is not 0, and their times, the
// newest first: its distance to at, then the distance of each to the one before.
func (l *List) AppendTimes(b []byte, at Millis) []byte {
	n := len(l.Entries)
	b, p := room(b, MaxVarint*(n+1))
	k := Put(p, uint64(n))
	last := l.Entries[n-1].At
	k += PutSigned(p[k:], int64(at-last))
	for i := n - 2; i >= 0; i-- {
		t := l.Entries[i].At
		k += Put(p[k:], uint64(last-t))
		last = t
	}
	return b[:len(b)+k]
}

// Times reads what AppendTimes wrote, n already read, into the times of entries.
func (r *Reader) Times(to []Entry) {
	if len(to) == 0 {
		return
	}
	last := r.Time()
	to[len(to)-1].At = last
	for i := len(to) - 2; i >= 0; i-- {
		last -= Millis(r.Uvarint())
		to[i].At = last
		r.Check(last <= to[i+1].At)
	}
}

// AppendValues appends everything but the times.
func (l *List) AppendValues(b []byte, at Millis) []byte {
	b = appendReach(b, l.From, at)
	flags := len(b)
	b = append(b, 0)
	if l.older != nil {
		b[flags] |= listCoarse
		b = l.older.append(b, at)
	}
	valued, hundreds := false, true
	for i := range l.Entries {
		v := l.Entries[i].Num
		valued = valued || v != 0
		hundreds = hundreds && v%100 == 0
	}
	if !valued {
		return b
	}
	b[flags] |= listValued
	if hundreds {
		b[flags] |= listHundreds
	}
	b, p := room(b, MaxVarint*len(l.Entries))
	k := 0
	if hundreds {
		for i := range l.Entries {
			k += PutSigned(p[k:], l.Entries[i].Num/100)
		}
	} else {
		for i := range l.Entries {
			k += PutSigned(p[k:], l.Entries[i].Num)
		}
	}
	return b[:len(b)+k]
}

// ReadValues reads what AppendValues wrote, all of r's bytes, into entries that
// have their times.
func (l *List) ReadValues(r *Reader) error {
	l.values(r)
	if !r.Done() {
		return ErrFormat
	}
	return nil
}

func (l *List) values(r *Reader) {
	l.From = r.reach()
	flags := r.Byte()
	r.Check(flags <= listFlags)
	if flags&listCoarse != 0 {
		l.older = r.older(r.Count(6))
	}
	if flags&listValued == 0 {
		return
	}
	unit := int64(1)
	if flags&listHundreds != 0 {
		unit = 100
	}
	for i := range l.Entries {
		e := &l.Entries[i]
		v := r.Varint()
		e.Num = v * unit
		r.Check(e.Num/unit == v && (i == 0 || !less(*e, l.Entries[i-1])))
	}
}

func (o *older) append(b []byte, at Millis) []byte {
	b = binary.AppendUvarint(b, uint64(len(o.panes)))
	b = binary.AppendUvarint(b, uint64(o.width))
	b = appendTime(b, o.coarse, at)
	for _, p := range o.panes {
		b = binary.AppendVarint(b, int64(p.End/o.width))
		b = binary.AppendUvarint(b, p.N)
		b = p.Sum.append(b)
		b = binary.AppendVarint(b, p.Min)
		b = binary.AppendVarint(b, p.Max)
	}
	return b
}

// maxWidth bounds a stored pane width: longer than any window.
const maxWidth = Millis(1) << 45

func (r *Reader) older(n int) *older {
	o := &older{panes: make([]Pane, n), width: Millis(r.Uvarint())}
	if n == 0 || o.width <= 0 || o.width > maxWidth {
		r.Check(false)
		return nil
	}
	o.coarse = r.Time()
	for i := range o.panes {
		o.panes[i] = Pane{
			End: r.Millis() * o.width, N: r.Uvarint(), Sum: r.int128(), Min: r.Varint(), Max: r.Varint(),
		}
		r.Check(i == 0 || o.panes[i].End > o.panes[i-1].End)
	}
	return o
}

// Append appends times and everything else.
func (l *List) Append(b []byte, at Millis) []byte {
	if len(l.Entries) == 0 {
		b = append(b, 0)
	} else {
		b = l.AppendTimes(b, at)
	}
	return l.AppendValues(b, at)
}

func (l *List) decode(r *Reader) {
	if r.v1 {
		l.decodeV1(r)
		return
	}
	if n := r.Count(1); n > 0 {
		l.Entries = make([]Entry, n)
	}
	r.Times(l.Entries)
	l.values(r)
}

// ReadV1 reads a list from version 1 of the customer format that takes all of r's
// bytes.
func (l *List) ReadV1(r *Reader) error {
	l.decodeV1(r)
	if !r.Done() {
		return ErrFormat
	}
	return nil
}

// decodeV1 reads a list from version 1 of the customer format.
func (l *List) decodeV1(r *Reader) {
	l.From = r.instant()
	if n := r.Count(6); n > 0 {
		l.older = r.older(n)
	}
	valued := r.Byte()
	n := r.Count(1 + int(valued&1))
	r.Check(valued <= 1)
	if n > 0 {
		l.Entries = make([]Entry, n)
	}
	var last Millis
	for i := range l.Entries {
		if i == 0 {
			last = r.Millis()
		} else {
			last += Millis(r.Uvarint())
		}
		l.Entries[i].At = last
		if valued == 1 {
			l.Entries[i].Num = r.Varint()
		}
		r.Check(i == 0 || !less(l.Entries[i], l.Entries[i-1]))
	}
}

package aggregate

import (
	"encoding/binary"
	"slices"
	"sort"
)

// MaxEntries is how many exact entries a List keeps before it coarsens.
const MaxEntries = 4096

// panesPerReach is how many panes a coarsened list's reach is divided into.
const panesPerReach = 1024

// PaneWidth returns how wide the panes of a coarsened list are, in ms.
func PaneWidth(reach Millis) Millis { return max(1, reach/panesPerReach) }

// Entry is one event in a List: its time, and the field's scaled value (0 if the
// list reads no field).
type Entry struct {
	At  Millis
	Num int64
}

// Pane stands for all events of a list with End-width < t <= End: it counts as
// one event at End, or at the list's coarse boundary if that is earlier.
type Pane struct {
	End      Millis
	N        uint64
	Sum      Int128
	Min, Max int64
}

// List holds the times and values of all events newer than From. Its entries are
// exact until there are more than MaxEntries; then the older half becomes panes,
// and a window may count up to one pane of events too many, never too few.
type List struct {
	// From is the reach: the list is complete for t > From.
	From    Millis
	Entries []Entry // sorted by At, then Num
	Panes   []Pane  // sorted by End; all at or before coarse
	coarse  Millis  // if there are panes: events at or before it are in them
	width   Millis  // of a pane; 0 as long as the list is exact
	reach   Millis  // the reach of the last Prune
}

// Fold inserts one event.
func (l *List) Fold(s *Sample) { l.insert(Entry{At: s.At, Num: s.Num}) }

func (l *List) insert(e Entry) {
	switch {
	case e.At <= l.From:
	case l.width > 0 && e.At <= l.coarse:
		l.addPane(paneOf(e, l.width))
	default:
		i := len(l.Entries)
		if i > 0 && less(e, l.Entries[i-1]) {
			i = sort.Search(i, func(i int) bool { return less(e, l.Entries[i]) })
		}
		l.Entries = slices.Insert(l.Entries, i, e)
		if len(l.Entries) > MaxEntries {
			l.coarsen()
		}
	}
}

func less(a, b Entry) bool { return a.At < b.At || a.At == b.At && a.Num < b.Num }

func paneOf(e Entry, width Millis) Pane {
	return Pane{End: paneEnd(e.At, width), N: 1, Sum: Int128{}.Add(e.Num), Min: e.Num, Max: e.Num}
}

// paneEnd returns the end of the pane that holds t: the least multiple of width
// at or after t.
func paneEnd(t, width Millis) Millis {
	q := t / width
	if t%width > 0 {
		q++
	}
	return q * width
}

func (l *List) addPane(p Pane) {
	i := sort.Search(len(l.Panes), func(i int) bool { return l.Panes[i].End >= p.End })
	if i == len(l.Panes) || l.Panes[i].End != p.End {
		l.Panes = slices.Insert(l.Panes, i, p)
		return
	}
	q := &l.Panes[i]
	q.N += p.N
	q.Sum = q.Sum.Plus(p.Sum)
	q.Min, q.Max = min(q.Min, p.Min), max(q.Max, p.Max)
}

// coarsen turns the older half of the entries into panes.
func (l *List) coarsen() {
	if l.width == 0 {
		l.width = PaneWidth(l.reach)
	}
	h := len(l.Entries) / 2
	for h < len(l.Entries) && l.Entries[h].At == l.Entries[h-1].At {
		h++
	}
	l.coarse = l.Entries[h-1].At
	for _, e := range l.Entries[:h] {
		l.addPane(paneOf(e, l.width))
	}
	l.Entries = slices.Delete(l.Entries, 0, h)
}

// Squeeze makes the list smaller and less exact. It returns false if it is as
// small as it gets.
func (l *List) Squeeze() bool {
	switch {
	case len(l.Entries) > 1:
		l.coarsen()
	case len(l.Panes) > 1:
		l.width *= 2
		old := l.Panes
		l.Panes = nil
		for _, p := range old {
			p.End = paneEnd(p.End, l.width)
			l.addPane(p)
		}
	default:
		return false
	}
	return true
}

// Coarse reports whether some of the list is panes.
func (l *List) Coarse() bool { return len(l.Panes) > 0 }

// Merge adds the entries of a disjoint list. For each shared event, one of two
// equal entries at its time is dropped.
func (l *List) Merge(o Cell, shared []Shared) bool {
	x := o.(*List)
	l.reach = max(l.reach, x.reach)
	l.prune(max(l.From, x.From))
	if x.width > l.width {
		l.width = x.width
	}
	left := make(map[Millis]int, len(shared))
	for _, s := range shared {
		left[s.At]++
	}
	exact := len(shared) == 0 || len(l.Panes)+len(x.Panes) == 0
	if len(x.Panes) > 0 {
		l.coarse = max(l.coarse, x.coarse)
		for _, p := range x.Panes {
			l.addPane(Pane{End: paneEnd(p.End, l.width), N: p.N, Sum: p.Sum, Min: p.Min, Max: p.Max})
		}
	}
	mine := slices.Clone(l.Entries)
	for _, e := range x.Entries {
		if left[e.At] > 0 {
			if i, ok := slices.BinarySearchFunc(mine, e, compareEntries); ok {
				left[e.At]--
				mine = slices.Delete(mine, i, i+1)
				continue
			}
		}
		l.insert(e)
	}
	return exact
}

func compareEntries(a, b Entry) int {
	switch {
	case less(a, b):
		return -1
	case less(b, a):
		return 1
	}
	return 0
}

// Prune drops what is not newer than now - reach.
func (l *List) Prune(now, reach Millis) {
	l.reach = reach
	l.prune(max(l.From, now-reach))
}

func (l *List) prune(from Millis) {
	l.From = from
	i := 0
	for i < len(l.Entries) && l.Entries[i].At <= from {
		i++
	}
	if i > 0 {
		l.Entries = slices.Delete(l.Entries, 0, i)
	}
	i = 0
	for i < len(l.Panes) && l.paneAt(i) <= from {
		i++
	}
	if i > 0 {
		l.Panes = slices.Delete(l.Panes, 0, i)
	}
	if len(l.Panes) == 0 {
		l.width, l.coarse, l.Panes = 0, 0, nil
	}
}

// paneAt is the instant that pane i counts as: never later than an entry.
func (l *List) paneAt(i int) Millis { return min(l.Panes[i].End, l.coarse) }

func (l *List) size() int { return len(l.Panes) + len(l.Entries) }

func (l *List) at(i int) Millis {
	if i < len(l.Panes) {
		return l.paneAt(i)
	}
	return l.Entries[i-len(l.Panes)].At
}

// pane returns element i as a pane.
func (l *List) pane(i int) Pane {
	if i < len(l.Panes) {
		return l.Panes[i]
	}
	e := l.Entries[i-len(l.Panes)]
	return Pane{End: e.At, N: 1, Sum: Int128{}.Add(e.Num), Min: e.Num, Max: e.Num}
}

// span returns the elements with now - w < t <= now as [i, j).
func (l *List) span(now, w Millis) (i, j int) {
	j = l.size()
	for j > 0 && l.at(j-1) > now {
		j--
	}
	if len(l.Panes) > 0 {
		return sort.Search(j, func(i int) bool { return l.at(i) > now-w }), j
	}
	// Mostly what has left is few: it was cut off at the last event.
	for i < j && l.Entries[i].At <= now-w {
		if i++; i == 8 {
			return i + sort.Search(j-i, func(k int) bool { return l.Entries[i+k].At > now-w }), j
		}
	}
	return i, j
}

// Append appends reach, panes and entries; times as differences.
func (l *List) Append(b []byte) []byte {
	b = appendInstant(b, l.From)
	b = binary.AppendUvarint(b, uint64(len(l.Panes)))
	if len(l.Panes) > 0 {
		b = binary.AppendUvarint(b, uint64(l.width))
		b = binary.AppendVarint(b, int64(l.coarse))
		for _, p := range l.Panes {
			b = binary.AppendVarint(b, int64(p.End/l.width))
			b = binary.AppendUvarint(b, p.N)
			b = p.Sum.append(b)
			b = binary.AppendVarint(b, p.Min)
			b = binary.AppendVarint(b, p.Max)
		}
	}
	valued := byte(0)
	for _, e := range l.Entries {
		if e.Num != 0 {
			valued = 1
		}
	}
	b = append(b, valued)
	b = binary.AppendUvarint(b, uint64(len(l.Entries)))
	var last Millis
	for i, e := range l.Entries {
		if i == 0 {
			b = binary.AppendVarint(b, int64(e.At))
		} else {
			b = binary.AppendUvarint(b, uint64(e.At-last))
		}
		last = e.At
		if valued == 1 {
			b = binary.AppendVarint(b, e.Num)
		}
	}
	return b
}

// maxWidth bounds a stored pane width: longer than any window.
const maxWidth = Millis(1) << 45

func (l *List) decode(r *Reader) {
	l.From = r.instant()
	if n := r.Count(6); n > 0 {
		l.width = Millis(r.Uvarint())
		if l.width <= 0 || l.width > maxWidth {
			r.bad = true
			return
		}
		l.coarse = r.Millis()
		l.Panes = make([]Pane, n)
		for i := range l.Panes {
			l.Panes[i] = Pane{
				End: r.Millis() * l.width, N: r.Uvarint(), Sum: r.int128(), Min: r.Varint(), Max: r.Varint(),
			}
			r.bad = r.bad || i > 0 && l.Panes[i].End <= l.Panes[i-1].End
		}
	}
	valued := r.Byte()
	n := r.Count(1 + int(valued&1))
	r.bad = r.bad || valued > 1
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
		r.bad = r.bad || i > 0 && less(l.Entries[i], l.Entries[i-1])
	}
}

// appendInstant appends an instant that may be None, in one byte.
func appendInstant(b []byte, t Millis) []byte {
	if t == None {
		return append(b, 0)
	}
	return binary.AppendVarint(append(b, 1), int64(t))
}

func (r *Reader) instant() Millis {
	switch r.Byte() {
	case 0:
		return None
	case 1:
		return r.Millis()
	}
	r.bad = true
	return 0
}

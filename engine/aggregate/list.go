package aggregate

import (
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

// Pane summarises all events of a list with End-width < t <= End: it counts as
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
	reach   Millis  // the reach of the last Prune
	older   *older  // nil as long as the list is exact
	kept    *kept   // derived: totals of windows, of a long list
}

// older is the coarse part of a list.
type older struct {
	panes  []Pane // sorted by End; all at or before coarse
	coarse Millis // events at or before it are in panes
	width  Millis // of a pane
}

// Panes returns the panes of a list, none as long as it is exact.
func (l *List) Panes() []Pane {
	if l.older == nil {
		return nil
	}
	return l.older.panes
}

// Fold inserts one event.
func (l *List) Fold(s *Sample) { l.Insert(Entry{At: s.At, Num: s.Num}) }

// Insert inserts one event. It returns false if it is older than the reach.
func (l *List) Insert(e Entry) bool {
	switch {
	case e.At <= l.From:
		return false
	case l.older != nil && e.At <= l.older.coarse:
		l.kept = nil
		l.older.add(paneOf(e, l.older.width))
	default:
		i := len(l.Entries)
		if i > 0 && less(e, l.Entries[i-1]) {
			l.kept = nil
			i = sort.Search(i, func(i int) bool { return less(e, l.Entries[i]) })
		}
		l.Entries = slices.Insert(l.Entries, i, e)
		if len(l.Entries) > MaxEntries {
			l.coarsen()
		}
	}
	return true
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

func (o *older) add(p Pane) {
	i := sort.Search(len(o.panes), func(i int) bool { return o.panes[i].End >= p.End })
	if i == len(o.panes) || o.panes[i].End != p.End {
		o.panes = slices.Insert(o.panes, i, p)
		return
	}
	q := &o.panes[i]
	q.N += p.N
	q.Sum = q.Sum.Plus(p.Sum)
	q.Min, q.Max = min(q.Min, p.Min), max(q.Max, p.Max)
}

// coarsen turns the older half of the entries into panes.
func (l *List) coarsen() {
	l.kept = nil
	if l.older == nil {
		l.older = &older{width: PaneWidth(l.reach)}
	}
	h := len(l.Entries) / 2
	for h < len(l.Entries) && l.Entries[h].At == l.Entries[h-1].At {
		h++
	}
	l.older.coarse = l.Entries[h-1].At
	for _, e := range l.Entries[:h] {
		l.older.add(paneOf(e, l.older.width))
	}
	l.Entries = slices.Delete(l.Entries, 0, h)
}

// Squeeze makes the list smaller and less exact. It returns false if it is as
// small as it gets.
func (l *List) Squeeze() bool {
	switch {
	case len(l.Entries) > 1:
		l.coarsen()
	case len(l.Panes()) > 1:
		l.kept = nil
		l.older.widen(2 * l.older.width)
	default:
		return false
	}
	return true
}

// widen makes the panes wider.
func (o *older) widen(width Millis) {
	old := o.panes
	o.width, o.panes = width, nil
	for _, p := range old {
		p.End = paneEnd(p.End, width)
		o.add(p)
	}
}

// Coarse reports whether some of the list is panes.
func (l *List) Coarse() bool { return l.older != nil }

// Merge adds the entries of a disjoint list. For each shared event, one of two
// equal entries at its time is dropped.
func (l *List) Merge(o Cell, shared []Shared) bool {
	x := o.(*List)
	l.reach = max(l.reach, x.reach)
	l.prune(max(l.From, x.From))
	left := make(map[Millis]int, len(shared))
	for _, s := range shared {
		left[s.At]++
	}
	exact := len(shared) == 0 || !l.Coarse() && !x.Coarse()
	if x.older != nil {
		l.mergeOlder(x.older)
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
		l.Insert(e)
	}
	return exact
}

// mergeOlder adds panes. Both sides take the greater width, and entries that lie
// in the coarse part of the other side become panes.
func (l *List) mergeOlder(x *older) {
	l.kept = nil
	if l.older == nil {
		l.older = &older{coarse: x.coarse, width: x.width}
	}
	o := l.older
	if x.width > o.width {
		o.widen(x.width)
	}
	o.coarse = max(o.coarse, x.coarse)
	for _, p := range x.panes {
		p.End = paneEnd(p.End, o.width)
		o.add(p)
	}
	n := 0
	for n < len(l.Entries) && l.Entries[n].At <= o.coarse {
		o.add(paneOf(l.Entries[n], o.width))
		n++
	}
	l.Entries = slices.Delete(l.Entries, 0, n)
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
	i, panes := 0, len(l.Panes())
	for i < panes && l.older.time(i) <= from {
		i++
	}
	gone := i
	if i == panes {
		for gone-i < len(l.Entries) && l.Entries[gone-i].At <= from {
			gone++
		}
	}
	if gone == 0 {
		return
	}
	l.kept.pruned(l, gone)
	if n := gone - i; len(l.Entries)-n > longList {
		l.Entries = l.Entries[n:] // what is before it goes when the list grows
	} else if n > 0 {
		l.Entries = slices.Delete(l.Entries, 0, n)
	}
	if l.older == nil {
		return
	}
	if l.older.panes = slices.Delete(l.older.panes, 0, i); len(l.older.panes) == 0 {
		l.older = nil
	}
}

// time is the instant that pane i counts as: never later than an entry.
func (o *older) time(i int) Millis { return min(o.panes[i].End, o.coarse) }

func (l *List) size() int { return len(l.Panes()) + len(l.Entries) }

func (l *List) time(i int) Millis {
	if n := len(l.Panes()); i >= n {
		return l.Entries[i-n].At
	}
	return l.older.time(i)
}

// pane returns element i as a pane.
func (l *List) pane(i int) Pane {
	if i < len(l.Panes()) {
		return l.older.panes[i]
	}
	e := l.Entries[i-len(l.Panes())]
	return Pane{End: e.At, N: 1, Sum: Int128{}.Add(e.Num), Min: e.Num, Max: e.Num}
}

// span returns the elements with now - w < t <= now as [i, j).
func (l *List) span(now, w Millis) (i, j int) {
	if l.older == nil {
		return spanOf(l.Entries, now, w)
	}
	j = l.size()
	for j > 0 && l.time(j-1) > now {
		j--
	}
	return sort.Search(j, func(i int) bool { return l.time(i) > now-w }), j
}

// spanOf is span for entries alone. Mostly few have left the window: they were
// dropped at the last event.
func spanOf(l []Entry, now, w Millis) (i, j int) {
	j = len(l)
	for j > 0 && l[j-1].At > now {
		j--
	}
	for i < j && l[i].At <= now-w {
		if i++; i == 8 {
			return i + sort.Search(j-i, func(k int) bool { return l[i+k].At > now-w }), j
		}
	}
	return i, j
}

package aggregate

// longList is how many elements a list must have more than for the totals of its
// windows to be kept from one event to the next. To add up a shorter one is as fast.
var longList = 64

// kept are the totals of the windows of a long list, which follow it: what enters and
// leaves a window is added and subtracted, so that an event of a customer who has
// thousands of them costs as much as that of another. Least and greatest values can't
// be followed. Whatever changes a list in another way than at its ends drops them.
type kept struct{ windows []keptWindow }

// keptWindow is the window of length w at now: the elements i to j.
type keptWindow struct {
	now, w   Millis
	i, j     int
	n        uint64
	sum      Int128
	negative int // how many of the elements have a value below zero
}

// keptWindow is Look for a long list. Of the total, min is 0, or -1 if there are
// values below zero.
func (l *List) keptWindow(v *Window, now, w Millis) {
	if l.kept == nil {
		l.kept = &kept{}
	}
	k := l.kept.of(w)
	if now < k.now {
		*k = keptWindow{now: None, w: w}
	}
	k.now = now
	// Elements are in order of time, so those that leave come first, and j is the
	// first one that was not in the window or before it.
	for size := l.size(); k.j < size && l.time(k.j) <= now; k.j++ {
		k.add(l, k.j)
	}
	for ; k.i < k.j && l.time(k.i) <= now-w; k.i++ {
		k.drop(l, k.i)
	}
	v.i, v.j, v.total = k.i, k.j, running{n: k.n, sum: k.sum}
	if k.negative > 0 {
		v.total.min = -1
	}
}

// of returns the window of length w, an empty one before all time if there is none.
func (k *kept) of(w Millis) *keptWindow {
	for i := range k.windows {
		if k.windows[i].w == w {
			return &k.windows[i]
		}
	}
	k.windows = append(k.windows, keptWindow{now: None, w: w})
	return &k.windows[len(k.windows)-1]
}

// pruned follows the list when its first elements, so many, are about to go.
func (k *kept) pruned(l *List, gone int) {
	if k == nil {
		return
	}
	for x := range k.windows {
		w := &k.windows[x]
		for ; w.i < min(gone, w.j); w.i++ {
			w.drop(l, w.i)
		}
		w.i, w.j = max(w.i-gone, 0), max(w.j-gone, 0)
	}
}

func (k *keptWindow) add(l *List, i int) {
	p := l.pane(i)
	k.n += p.N
	k.sum = k.sum.Plus(p.Sum)
	if p.Min < 0 {
		k.negative++
	}
}

func (k *keptWindow) drop(l *List, i int) {
	p := l.pane(i)
	k.n -= p.N
	k.sum = k.sum.Minus(p.Sum)
	if p.Min < 0 {
		k.negative--
	}
}

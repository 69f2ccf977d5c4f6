package cache

import "github.com/segmill/segmill/engine"

// wakeUp is the wake-up of a changed customer.
type wakeUp struct {
	at engine.Millis
	e  *Customer
}

func (w wakeUp) before(o wakeUp) bool {
	return w.at < o.at || w.at == o.at && w.e.C.ID < o.e.C.ID
}

// wakeHeap is a binary heap in order of (at, customer) with at most one entry of
// each customer, which knows its place. It is container/heap without a boxed value
// for each change.
type wakeHeap []wakeUp

// set makes at the wake-up of a customer; Never takes it out.
func (h *wakeHeap) set(e *Customer, at engine.Millis) {
	i := e.place
	switch {
	case at == engine.Never && i < 0:
		return
	case at == engine.Never:
		e.place = -1
		last := len(*h) - 1
		moved := (*h)[last]
		(*h)[last] = wakeUp{}
		*h = (*h)[:last]
		if i == last {
			return
		}
		h.put(i, moved)
	case i < 0:
		i = len(*h)
		*h = append(*h, wakeUp{})
		h.put(i, wakeUp{at, e})
	case (*h)[i].at == at:
		return
	default:
		h.put(i, wakeUp{at, e})
	}
	h.fix((*h)[i].e.place)
}

// put places an entry.
func (h wakeHeap) put(i int, w wakeUp) { h[i], w.e.place = w, i }

// fix moves the entry at i, which may be out of order, to where it belongs.
func (h wakeHeap) fix(i int) {
	w := h[i]
	for i > 0 {
		up := (i - 1) / 2
		if !w.before(h[up]) {
			break
		}
		h.put(i, h[up])
		i = up
	}
	for {
		down := 2*i + 1
		if down+1 < len(h) && h[down+1].before(h[down]) {
			down++
		}
		if down >= len(h) || !h[down].before(w) {
			break
		}
		h.put(i, h[down])
		i = down
	}
	h.put(i, w)
}

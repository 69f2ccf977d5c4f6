// Package wakes keeps the wake-ups of things that are due at an instant.
//
// The one rule it keeps: a thing has at most one wake-up. It is moved, not left
// behind, when the instant changes.
package wakes

import "github.com/segmill/segmill/engine/expr"

// Heap holds wake-ups of items of type T, the earliest first. It is container/heap
// without a boxed value and a call for each comparison: a task sets one for each
// customer that an event changes. The zero value is not usable, see [New].
type Heap[T any] struct {
	l      []wake[T]
	before func(a, b T) bool
}

type wake[T any] struct {
	at    expr.Millis
	item  T
	place *Place
}

// Place is where an item is in a Heap. Every item has one, in memory of its own, and
// leaves it to the heap. The zero Place is that of an item without a wake-up.
type Place int

// New returns an empty heap. before gives the order of items that are due at the same
// instant.
func New[T any](before func(a, b T) bool) Heap[T] { return Heap[T]{before: before} }

// Len returns how many wake-ups there are.
func (h *Heap[T]) Len() int { return len(h.l) }

// First returns the item that is due first and when; ok is false if there is none.
func (h *Heap[T]) First() (item T, at expr.Millis, ok bool) {
	if len(h.l) == 0 {
		return item, expr.Never, false
	}
	return h.l[0].item, h.l[0].at, true
}

// Set makes at the wake-up of an item that has the place p; Never takes it out.
func (h *Heap[T]) Set(item T, p *Place, at expr.Millis) {
	i := int(*p) - 1
	switch {
	case i < 0 && at == expr.Never:
	case i < 0:
		h.l = append(h.l, wake[T]{})
		h.up(len(h.l)-1, wake[T]{at, item, p})
	case at == expr.Never:
		h.remove(i)
	case at < h.l[i].at:
		h.up(i, wake[T]{at, item, p})
	case at > h.l[i].at:
		h.down(i, wake[T]{at, item, p})
	}
}

// Clear takes out all wake-ups, and keeps the memory.
func (h *Heap[T]) Clear() {
	for i := range h.l {
		*h.l[i].place = 0
	}
	clear(h.l)
	h.l = h.l[:0]
}

// remove takes out the wake-up at i; the last one takes its place.
func (h *Heap[T]) remove(i int) {
	*h.l[i].place = 0
	last := len(h.l) - 1
	w := h.l[last]
	h.l[last] = wake[T]{}
	h.l = h.l[:last]
	switch {
	case i == last:
	case i > 0 && h.less(&w, &h.l[(i-1)/2]):
		h.up(i, w)
	default:
		h.down(i, w)
	}
}

// less is the order of the heap.
func (h *Heap[T]) less(a, b *wake[T]) bool {
	return a.at < b.at || a.at == b.at && h.before(a.item, b.item)
}

// put makes w the wake-up at i.
func (h *Heap[T]) put(i int, w wake[T]) {
	h.l[i] = w
	*w.place = Place(i + 1)
}

// up puts w at i, which is free, or nearer to the front.
func (h *Heap[T]) up(i int, w wake[T]) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.less(&w, &h.l[parent]) {
			break
		}
		h.put(i, h.l[parent])
		i = parent
	}
	h.put(i, w)
}

// down puts w at i, which is free, or farther from the front.
func (h *Heap[T]) down(i int, w wake[T]) {
	for {
		child := 2*i + 1
		if child+1 < len(h.l) && h.less(&h.l[child+1], &h.l[child]) {
			child++
		}
		if child >= len(h.l) || !h.less(&h.l[child], &w) {
			break
		}
		h.put(i, h.l[child])
		i = child
	}
	h.put(i, w)
}

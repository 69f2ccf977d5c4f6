package consumer

import (
	"container/heap"
	"fmt"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// overhead is about what a decoded customer takes besides its contents, in bytes;
// expansion is how much larger its contents are than their encoded form.
const (
	overhead  = 400
	expansion = 3
)

// cached is a decoded customer. The engine changes it in place, so a cache with
// changes that were not committed can only be thrown away as a whole.
type cached struct {
	c *engine.Customer
	// What was last committed: the digest is kept by subtracting exactly this.
	stored bool
	hash   state.Digest
	wake   engine.Millis // Never if not in the due index

	dirty bool // changed since the last commit
	used  bool // since the hand passed by
	size  int
}

// customers gives the customers of one task: changed ones, cached ones, and those
// in the store. It also knows whose wake-up is next, counting the changes.
type customers struct {
	eng   *engine.Engine
	store *state.Task

	byID  map[string]*cached
	ring  []*cached // all of byID, for the hand of the clock that evicts
	hand  int
	bytes int64

	dirty []*cached
	wakes wakeHeap // of dirty customers; stale entries are skipped

	// due is read ahead from the store's index, up to and including cursor, which
	// is the last entry of the index if ended. Entries of dirty customers are
	// stale.
	due    []state.Due
	cursor state.Due
	ended  bool

	buf  []byte
	hbuf []byte
}

func newCustomers(eng *engine.Engine, store *state.Task) *customers {
	return &customers{eng: eng, store: store, byID: map[string]*cached{}, cursor: state.Due{At: never}}
}

// get returns a customer, a new one if it is not known.
func (cs *customers) get(id string) (*cached, error) {
	if e := cs.byID[id]; e != nil {
		e.used = true
		return e, nil
	}
	b, ok, err := cs.store.Customer(cs.buf[:0], id)
	cs.buf = b
	if err != nil {
		return nil, err
	}
	e := &cached{wake: engine.Never, used: true, size: overhead}
	if !ok {
		e.c = cs.eng.NewCustomer(id)
	} else {
		if e.c, err = cs.eng.Decode(id, b); err != nil {
			return nil, fmt.Errorf("%w: a customer's bytes: %w", errLocal, err)
		}
		e.stored = true
		// Under changed rules the customer wakes up at another time than its bytes,
		// and the due index, say.
		if e.wake, err = engine.WakeOf(b); err != nil {
			return nil, fmt.Errorf("%w: a customer's bytes: %w", errLocal, err)
		}
		e.hash, cs.hbuf = state.DigestOf(id, b, cs.hbuf)
		e.size += expansion * len(b)
	}
	cs.byID[id] = e
	cs.ring = append(cs.ring, e)
	cs.bytes += int64(e.size)
	return e, nil
}

// touch notes that a customer may have changed.
func (cs *customers) touch(e *cached) {
	if !e.dirty {
		e.dirty = true
		cs.dirty = append(cs.dirty, e)
	}
	if w := e.c.Wake(); w != engine.Never && e.c.Known() {
		heap.Push(&cs.wakes, wakeUp{w, e})
	}
}

// readAhead is how many entries of the due index are read at a time.
const readAhead = 256

// next returns the customer with the earliest wake-up at or before upto, in order
// of (due, customer). ok is false if there is none.
func (cs *customers) next(upto engine.Millis) (e *cached, at engine.Millis, ok bool, err error) {
	for len(cs.wakes) > 0 && (!cs.wakes[0].e.dirty || cs.wakes[0].e.c.Wake() != cs.wakes[0].at || !cs.wakes[0].e.c.Known()) {
		heap.Pop(&cs.wakes)
	}
	stored, err := cs.nextStored(upto)
	if err != nil {
		return nil, 0, false, err
	}
	if len(cs.wakes) > 0 {
		w := cs.wakes[0]
		if w.at <= upto && (stored == nil || w.at < stored.At || w.at == stored.At && w.e.c.ID < stored.Customer) {
			return w.e, w.at, true, nil
		}
	}
	if stored == nil {
		return nil, 0, false, nil
	}
	e, err = cs.get(stored.Customer)
	return e, stored.At, err == nil, err
}

// nextStored returns the first entry of the store's due index at or before upto
// that no change has made stale.
func (cs *customers) nextStored(upto engine.Millis) (*state.Due, error) {
	for {
		if len(cs.due) == 0 {
			if cs.ended || cs.cursor.At > upto {
				return nil, nil
			}
			var err error
			if cs.due, err = cs.store.Due(cs.due, cs.cursor, engine.Never, readAhead); err != nil {
				return nil, err
			}
			if len(cs.due) == 0 {
				cs.ended = true
				return nil, nil
			}
			cs.cursor = cs.due[len(cs.due)-1]
		}
		d := &cs.due[0]
		if d.At > upto {
			return nil, nil
		}
		if e := cs.byID[d.Customer]; e == nil || !e.dirty {
			return d, nil
		}
		cs.due = cs.due[1:]
	}
}

// committed takes in that the changes are in the store, and evicts until at most
// limit bytes are cached.
func (cs *customers) committed(limit int64) {
	// Nothing in the index is earlier than first, so that reading it again does
	// not have to step over what was deleted before.
	first := engine.Never
	switch {
	case len(cs.due) > 0:
		first = cs.due[0].At
	case !cs.ended:
		first = cs.cursor.At
	}
	for _, e := range cs.dirty {
		e.dirty = false
		first = min(first, e.wake)
	}
	cs.due, cs.cursor, cs.ended = nil, state.Due{At: first}, first == engine.Never
	cs.dirty, cs.wakes = cs.dirty[:0], cs.wakes[:0]
	for cs.bytes > limit && len(cs.ring) > 0 {
		if cs.hand >= len(cs.ring) {
			cs.hand = 0
		}
		e := cs.ring[cs.hand]
		if e.used {
			e.used = false
			cs.hand++
			continue
		}
		cs.evict(e)
	}
}

// evict drops the customer under the hand.
func (cs *customers) evict(e *cached) {
	last := len(cs.ring) - 1
	cs.ring[cs.hand], cs.ring[last] = cs.ring[last], nil
	cs.ring = cs.ring[:last]
	cs.bytes -= int64(e.size)
	delete(cs.byID, e.c.ID)
}

// wakeUp is the wake-up of a changed customer.
type wakeUp struct {
	at engine.Millis
	e  *cached
}

// wakeHeap is a heap in order of (at, customer).
type wakeHeap []wakeUp

func (h wakeHeap) Len() int { return len(h) }
func (h wakeHeap) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].e.c.ID < h[j].e.c.ID
}
func (h wakeHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push adds x.
func (h *wakeHeap) Push(x any) { *h = append(*h, x.(wakeUp)) }

// Pop removes the last element.
func (h *wakeHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

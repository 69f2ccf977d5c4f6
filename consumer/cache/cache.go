// Package cache keeps the decoded customers of one task: those that a batch has
// changed, those that the store does not have yet, and as many others as there is room
// for.
//
// The one rule it keeps: a customer that has changed leaves memory only once the store
// has it.
package cache

import (
	"cmp"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/wakes"
	"github.com/segmill/segmill/state"
)

// Overhead is about what a decoded customer takes besides its contents, in bytes;
// expansion is how much larger its contents are than their encoded form.
const (
	Overhead  = 900
	expansion = 3
)

// Customer is a decoded customer. The engine changes it in place, so a cache with
// changes that were not committed can only be thrown away as a whole.
//
// A customer is in one of three states: clean, as the store has it; behind, changed
// by transactions since the store was last written; and dirty, changed by the current
// batch, behind or not.
type Customer struct {
	C *engine.Customer
	// What was last committed: the digest is kept by subtracting exactly this.
	Known bool // the changelog has the customer
	Hash  state.Digest
	// indexed is the customer's entry in the due index of the store, Never if it has
	// none.
	indexed engine.Millis

	// Former says that a change of rules is in progress and has yet to bring the customer over.
	Former bool

	Dirty  bool // changed since the last commit
	behind bool // the store does not have what was last committed
	used   bool // since the hand passed by

	dropped bool // no longer cached
	Encoded int  // bytes, as last committed
	Grown   int  // by at most so many bytes since then
	size    int  // what it takes in memory, about
	place   wakes.Place
}

// changed reports whether the store does not have the customer as it is.
func (e *Customer) changed() bool { return e.Dirty || e.behind }

// Customers gives the customers of one task: changed ones, cached ones, and those
// in the store. It also knows whose wake-up is next, counting the changes.
//
// The store is written back to: it is a copy of the changelog that may be behind,
// so it is enough to write it now and then, and then once for a customer however
// often that was committed in the meantime.
type Customers struct {
	// Pass is the number of the change of rules that is in progress (engine.Customer.Brought),
	// 0 if there is none.
	Pass uint32
	// Change is the change of rules, or the rebuild, that is in progress, nil if there is none.
	Change *engine.RuleChange

	eng   *engine.Engine
	store *state.Task

	byID  map[string]*Customer
	ring  []*Customer // all of byID, for the hand of the clock that evicts
	hand  int
	bytes int64

	Dirty  []*Customer
	behind []*Customer
	wakes  wakes.Heap[*Customer] // of changed customers that have a wake-up

	// due is read ahead from the store's index, up to and including cursor, which
	// is the last entry of the index if ended. Entries of changed customers are
	// stale.
	due    []state.Due
	cursor state.Due
	ended  bool

	buf  []byte
	hbuf []byte

	// whole: everybody that the store has is cached, so that a customer that is not cached is new. It is
	// read when first needed, and ends when somebody is dropped.
	whole, asked bool

	people []*engine.Customer // of ahead
	looked int64              // keeps ahead from being left out
}

// earlier is the order of customers that wake up at the same instant.
func earlier(a, b *Customer) bool { return a.C.ID < b.C.ID }

// New returns the customers of a task, none of which is cached.
func New(eng *engine.Engine, store *state.Task) *Customers {
	return &Customers{eng: eng, store: store, byID: map[string]*Customer{}, wakes: wakes.New(earlier), cursor: state.Due{At: changelog.Never}}
}

// Group is of how many customers memory is read ahead at once: as many as the
// processor can wait for at once, and few enough to be still in its cache when they
// are used.
const Group = 16

// Ahead gets customers into the processor's cache. With many customers most are not
// there.
func (cs *Customers) Ahead(l []*Customer) {
	cs.people = cs.people[:0]
	for _, e := range l {
		if e != nil {
			cs.people = append(cs.people, e.C)
		}
	}
	cs.looked += engine.Ahead(cs.people)
}

// AheadIn is ahead for the next customers of a list, when i, the place in it, is the
// first of a group.
func (cs *Customers) AheadIn(l []*Customer, i int) {
	if i%Group == 0 {
		cs.Ahead(l[i:min(i+Group, len(l))])
	}
}

// Cached returns the customer that a record's key names, nil if it is not cached.
func (cs *Customers) Cached(key []byte) *Customer { return cs.byID[string(key)] }

// Len returns how many customers are cached.
func (cs *Customers) Len() int { return len(cs.byID) }

// Bytes returns about how much memory they take.
func (cs *Customers) Bytes() int64 { return cs.bytes }

// All returns the customers that are cached, in no order.
func (cs *Customers) All() iter.Seq[*Customer] { return maps.Values(cs.byID) }

// Find is Get, with a guess at who it is: nil, or somebody who was cached before.
func (cs *Customers) Find(id string, guess *Customer) (*Customer, error) {
	if guess != nil && !guess.dropped && guess.C.ID == id {
		guess.used = true
		return guess, nil
	}
	return cs.Get(id)
}

// Get returns a customer, a new one if it is not known.
func (cs *Customers) Get(id string) (*Customer, error) {
	if e := cs.byID[id]; e != nil {
		e.used = true
		return e, nil
	}
	b, ok, err := cs.load(id)
	if err != nil {
		return nil, err
	}
	e := &Customer{indexed: engine.Never, used: true}
	if !ok {
		e.C = cs.eng.NewCustomer(id)
	} else {
		if e.C, err = cs.decode(id, b); err != nil {
			return nil, fmt.Errorf("%w: a customer's bytes: %w", fault.ErrLocal, err)
		}
		e.Known, e.Former = true, cs.Pass != 0 && e.C.Brought() != cs.Pass
		// Under changed rules the customer wakes up at another time than its bytes,
		// and the due index, say.
		if e.indexed, err = engine.WakeOf(b); err != nil {
			return nil, fmt.Errorf("%w: a customer's bytes: %w", fault.ErrLocal, err)
		}
		e.Hash, cs.hbuf = state.DigestOf(id, b, cs.hbuf)
	}
	cs.byID[id] = e
	cs.ring = append(cs.ring, e)
	cs.Measure(e, len(b))
	return e, nil
}

func (cs *Customers) decode(id string, b []byte) (*engine.Customer, error) {
	if cs.Change != nil {
		return cs.Change.Decode(id, b)
	}
	return cs.eng.Decode(id, b)
}

// Measure notes how many bytes a customer is encoded, and what it takes as it is.
func (cs *Customers) Measure(e *Customer, encoded int) {
	cs.bytes -= int64(e.size)
	e.Grown = 0
	e.Encoded, e.size = encoded, Overhead+expansion*encoded+e.C.Derived()
	cs.bytes += int64(e.size)
}

// load returns what the store has of a customer that is not cached, false if nothing. A
// first load of a history meets nothing but new customers, for whom the store is
// not searched.
func (cs *Customers) load(id string) (b []byte, ok bool, err error) {
	if !cs.asked {
		if cs.whole, err = cs.store.Empty(); err != nil {
			return nil, false, err
		}
		cs.asked = true
	}
	if cs.whole {
		return nil, false, nil
	}
	cs.buf, ok, err = cs.store.Customer(cs.buf[:0], id)
	return cs.buf, ok, err
}

// Touch notes that a customer may have changed.
func (cs *Customers) Touch(e *Customer) {
	if !e.Dirty {
		e.Dirty = true
		cs.Dirty = append(cs.Dirty, e)
	}
	at := e.C.Wake()
	if !e.C.Known() {
		at = engine.Never
	}
	cs.wakes.Set(e, &e.place, at)
}

// Earliest returns an instant before which no wake-up is.
func (cs *Customers) Earliest() engine.Millis {
	_, at, _ := cs.wakes.First()
	switch {
	case len(cs.due) > 0:
		at = min(at, cs.due[0].At)
	case !cs.ended:
		at = min(at, cs.cursor.At)
	}
	return at
}

// readAhead is how many entries of the due index are read at a time.
const readAhead = 256

// Next returns the customer with the earliest wake-up at or before upto, in order
// of (due, customer). ok is false if there is none.
func (cs *Customers) Next(upto engine.Millis) (e *Customer, at engine.Millis, ok bool, err error) {
	stored, err := cs.nextStored(upto)
	if err != nil {
		return nil, 0, false, err
	}
	if e, at, ok := cs.wakes.First(); ok && at <= upto && (stored == nil || at < stored.At || at == stored.At && e.C.ID < stored.Customer) {
		return e, at, true, nil
	}
	if stored == nil {
		return nil, 0, false, nil
	}
	e, err = cs.Get(stored.Customer)
	return e, stored.At, err == nil, err
}

// nextStored returns the first entry of the store's due index at or before upto
// that no change has made stale.
func (cs *Customers) nextStored(upto engine.Millis) (*state.Due, error) {
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
		if e := cs.byID[d.Customer]; e == nil || !e.changed() {
			return d, nil
		}
		cs.due = cs.due[1:]
	}
}

// Value appends what the changelog has, or with the current batch will have, of a
// customer; false if it has nothing.
//
// Of a customer who is clean that is what the store has, and not what encoding again
// would give: under changed rules, or from an older format, these are other bytes
// than those that the digest counts.
func (cs *Customers) Value(b []byte, id string) ([]byte, bool, error) {
	if e := cs.byID[id]; e == nil || !e.changed() {
		return cs.store.Customer(b, id)
	} else if e.C.Known() {
		return cs.eng.Append(b, e.C), true, nil
	}
	return b, false, nil
}

// Committed takes in that the changes are in the changelog, and evicts until at most
// limit bytes are cached. It reports whether the store should be written, because
// otherwise the limit can't be kept.
func (cs *Customers) Committed(limit int64) (full bool) {
	for _, e := range cs.Dirty {
		e.Dirty = false
		if !e.behind {
			e.behind = true
			cs.behind = append(cs.behind, e)
		}
	}
	clear(cs.Dirty) // lets them go, as below: they can be evicted
	cs.Dirty = cs.Dirty[:0]
	return cs.Evict(limit)
}

// Changes gives what the store lacks, in order of the ids: no customer may be dirty. A
// Value is good until the next one.
func (cs *Customers) Changes() iter.Seq[state.Change] {
	slices.SortFunc(cs.behind, func(a, b *Customer) int { return cmp.Compare(a.C.ID, b.C.ID) })
	return func(yield func(state.Change) bool) {
		for i, e := range cs.behind {
			cs.AheadIn(cs.behind, i)
			c := state.Change{Customer: e.C.ID, Old: e.indexed, New: engine.Never}
			if e.C.Known() {
				cs.buf = cs.eng.Append(cs.buf[:0], e.C)
				c.Value, c.New = cs.buf, e.C.Wake()
			}
			if !yield(c) {
				return
			}
		}
	}
}

// Stored takes in that the changes are in the store.
func (cs *Customers) Stored() {
	// Nothing in the index is earlier than first, so that reading it again does
	// not have to step over what was deleted before.
	first := engine.Never
	switch {
	case len(cs.due) > 0:
		first = cs.due[0].At
	case !cs.ended:
		first = cs.cursor.At
	}
	for _, e := range cs.behind {
		e.behind, e.indexed = false, engine.Never
		if e.C.Known() {
			e.indexed = e.C.Wake()
		}
		first = min(first, e.indexed)
	}
	clear(cs.behind)
	cs.wakes.Clear()
	cs.due, cs.cursor, cs.ended = nil, state.Due{At: first}, first == engine.Never
	cs.behind = cs.behind[:0]
}

// Evict drops customers that the store has until at most limit bytes are cached, and
// reports whether that can't be done. The hand passes by everybody twice at most.
func (cs *Customers) Evict(limit int64) (full bool) {
	for passes := 2 * len(cs.ring); cs.bytes > limit; passes-- {
		if passes == 0 {
			return true
		}
		if cs.hand >= len(cs.ring) {
			cs.hand = 0
		}
		switch e := cs.ring[cs.hand]; {
		case e.used || e.changed():
			e.used = false
			cs.hand++
		default:
			cs.drop(e)
		}
	}
	return false
}

// drop drops the customer under the hand.
func (cs *Customers) drop(e *Customer) {
	last := len(cs.ring) - 1
	cs.ring[cs.hand], cs.ring[last] = cs.ring[last], nil
	cs.ring = cs.ring[:last]
	cs.bytes -= int64(e.size)
	delete(cs.byID, e.C.ID)
	e.dropped, cs.whole = true, false
}

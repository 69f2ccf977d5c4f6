package engine

import (
	"iter"
	"slices"
	"sort"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/dedup"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Customer is everything known about one customer: the facts (summaries of its
// events) and emitted state (instant, memberships, trigger memory). It
// belongs to one goroutine at a time. It is small, because many are kept in
// memory, and few pieces, because most are not in the processor's cache.
type Customer struct {
	ID string

	wake    Millis
	instant Millis // emitted state: the latest instant at which rules were evaluated

	members []membership // emitted state, sorted by key
	timed   *timed       // nil if the rules have no triggers and none is remembered

	events uint64       // facts: how many were accepted
	seen   dedup.Memory // facts: recent event ids
	cells  []cell       // facts, sorted by number of the summary

	room      *small // what it is part of, nil of others
	registers uint8  // how many of those there are taken
	// stale: what is derived is not computed yet; wake alone is valid.
	stale   bool
	brought uint32
}

// timed is what triggers need of a customer.
type timed struct {
	memory []Memory // emitted state, sorted by Key
	dues   []Millis // when each trigger is due, by number; derived
}

// dues returns when each trigger is due, by number.
func (c *Customer) dues() []Millis {
	if c.timed == nil {
		return nil
	}
	return c.timed.dues
}

// memory returns what triggers remember, sorted by key.
func (c *Customer) memory() []Memory {
	if c.timed == nil {
		return nil
	}
	return c.timed.memory
}

// cell is one summary of a customer: a list, or any other.
type cell struct {
	next    Millis // derived: when an input computed from it crosses a threshold by time alone
	summary int32
	times   int32 // while it is written: which times its list has
	list    aggregate.List
	other   aggregate.Cell // nil for a list
}

// sum returns the summary. That of a list is the cell's own: it moves with it.
func (c *cell) sum() aggregate.Cell {
	if c.other == nil {
		return &c.list
	}
	return c.other
}

// membership is what was emitted about a customer and one segment.
type membership struct {
	key   plan.Key
	seq   uint32 // odd: a member
	since Millis // of the last entry
}

func (m *membership) in() bool { return m.seq&1 == 1 }

// Memory is what one trigger remembers of one customer.
type Memory struct {
	Key plan.Key
	Seq uint64 // how often it fired
	// Mark is the anchor (last change of the cart, last activity) that it fired
	// for or passed over, None if none.
	Mark Millis
	// Was is whether the trigger's condition was true.
	Was bool
	// Fired are the latest occasions that it fired for, of kinds that have more than one
	// at a time.
	Fired []Occurrence
}

// Occurrence is one return of a date: the date as the profile or the event has it,
// and how many years after it. Of a cart it is the id, and the time of its last change.
type Occurrence struct {
	Date  expr.Value
	Years int64
}

// NewCustomer returns a customer without facts and emitted state.
func (e *Engine) NewCustomer(id string) *Customer {
	c := e.customer(id)
	c.wake, c.instant = Never, aggregate.None
	e.newDues(c)
	return c
}

// newDues makes room for when triggers are due, which they are not.
func (e *Engine) newDues(c *Customer) {
	n := len(e.triggers)
	if n == 0 {
		return
	}
	if c.timed == nil {
		c.timed = &timed{}
	}
	c.timed.dues = make([]Millis, n)
	for i := range c.timed.dues {
		c.timed.dues[i] = Never
	}
}

// Wake returns the earliest instant at which something about the customer can
// change with no further event, Never if there is none.
func (c *Customer) Wake() Millis { return c.wake }

// Instant returns the latest instant at which rules were evaluated for c.
func (c *Customer) Instant() Millis { return c.instant }

// Known reports whether anything is known of the customer: false for a new one
// and after an erasure. A customer that is not known must not be stored.
func (c *Customer) Known() bool { return c.events > 0 }

// Brought returns the number of the change of rules that has brought the customer over and
// is, or was when it was written, in progress; 0 if there is none. Adopt does not set it.
func (c *Customer) Brought() uint32 { return c.brought }

// SetBrought sets the number of a change.
func (c *Customer) SetBrought(change uint32) { c.brought = change }

// Memberships returns the ids of the segments that c is in, sorted.
func (e *Engine) Memberships(c *Customer) []string {
	ids := []string{}
	for i := range e.p.Segments {
		if m := c.member(e.p.Segments[i].Key); m != nil && m.in() {
			ids = append(ids, e.p.Segments[i].ID)
		}
	}
	return ids
}

// Key is what a customer keeps of a segment, a trigger or a summary; see [plan.Key].
type Key = plan.Key

// SegmentKey returns the key of a segment or stage, as Customer.Segments has it.
func SegmentKey(id string) Key { return plan.KeyOf("segment " + id) }

// triggerKey returns the key of a trigger.
func triggerKey(id string) plan.Key { return plan.KeyOf("trigger " + id) }

// Segments returns the keys of the segments and stages that c is in, also of those that the
// rules do not have.
func (c *Customer) Segments() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for i := range c.members {
			if c.members[i].in() && !yield(c.members[i].key) {
				return
			}
		}
	}
}

func (c *Customer) member(key plan.Key) *membership {
	if i := c.placeOf(key); i < len(c.members) && c.members[i].key == key {
		return &c.members[i]
	}
	return nil
}

// memberOrNew returns the membership under key, adding it.
func (c *Customer) memberOrNew(key plan.Key) *membership {
	i := c.placeOf(key)
	if i == len(c.members) || c.members[i].key != key {
		if c.members == nil {
			c.members = make([]membership, 0, firstMembers)
		}
		c.members = slices.Insert(c.members, i, membership{key: key})
	}
	return &c.members[i]
}

// firstMembers is how many memberships a new customer has room for.
const firstMembers = 4

// placeOf returns where the membership under key is or would be.
func (c *Customer) placeOf(key plan.Key) int {
	return sort.Search(len(c.members), func(i int) bool { return c.members[i].key >= key })
}

// memoryOf returns what the trigger under key remembers, to be changed.
func (c *Customer) memoryOf(key plan.Key) *Memory {
	if c.timed == nil {
		c.timed = &timed{}
	}
	l := &c.timed.memory
	i := sort.Search(len(*l), func(i int) bool { return (*l)[i].Key >= key })
	if i == len(*l) || (*l)[i].Key != key {
		*l = slices.Insert(*l, i, Memory{Key: key, Mark: aggregate.None})
	}
	return &(*l)[i]
}

// remembered returns what a trigger remembers, nil if nothing.
func (c *Customer) remembered(key plan.Key) *Memory {
	l := c.memory()
	for i := range l {
		if l[i].Key == key {
			return &l[i]
		}
	}
	return nil
}

// find returns the customer's cell for a summary, nil if nothing was folded into
// it.
func (c *Customer) find(summary int) *cell {
	if i := c.place(summary); i < len(c.cells) && int(c.cells[i].summary) == summary {
		return &c.cells[i]
	}
	return nil
}

// place returns where the cell of a summary is or would be.
func (c *Customer) place(summary int) int {
	return sort.Search(len(c.cells), func(i int) bool { return int(c.cells[i].summary) >= summary })
}

func (e *Engine) cell(c *Customer, summary int) *cell {
	i := c.place(summary)
	if i == len(c.cells) || int(c.cells[i].summary) != summary {
		n := cell{summary: int32(summary), next: Never}
		switch f := e.p.Summaries[summary].Family; {
		case f == aggregate.FamList:
			n.list.From = aggregate.None
		case f.IsRegister():
			n.other = c.register(f)
		default:
			n.other = f.New()
		}
		c.cells = slices.Insert(c.cells, i, n)
	}
	return &c.cells[i]
}

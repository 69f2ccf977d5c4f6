package engine

import (
	"encoding/binary"
	"slices"
	"sort"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/zeebo/xxh3"
)

// Customer is everything known about one customer: the facts (summaries of its
// events) and what it was told (instant, memberships, trigger memory). It
// belongs to one goroutine at a time.
type Customer struct {
	ID string

	wake    Millis
	instant Millis // told: the latest instant at which rules were evaluated

	members []membership // told, sorted by key
	memory  []Memory     // told, sorted by Key

	events uint64             // facts: how many were accepted
	seen   []aggregate.Shared // facts: recent event ids, sorted by time, then hash
	cells  []cell             // facts, sorted by number of the summary

	dues []Millis // when each trigger is due, by number; derived
	// stale: what is derived is not computed yet; wake alone stands.
	stale bool
}

// cell is one summary of a customer.
type cell struct {
	summary int
	aggregate.Cell
	next Millis // derived: when an input computed from it crosses a threshold by time alone
}

// membership is what a customer was told of one segment.
type membership struct {
	key   uint32
	seq   uint64 // odd: a member
	since Millis // of the last entry
}

func (m *membership) in() bool { return m.seq&1 == 1 }

// Memory is what one trigger remembers of one customer.
type Memory struct {
	Key uint32
	Seq uint64 // how often it fired
	// Mark is the anchor (last change of the cart, last activity) that it fired
	// for or passed over, None if none.
	Mark Millis
	// Was is whether the condition of a rule trigger was true.
	Was bool
	// Past are the latest occurrences of an anniversary that fired.
	Past []Occurrence
}

// Occurrence identifies one anniversary: the date as the profile or the event has
// it, and how many years after it.
type Occurrence struct {
	Date  expr.Value
	Years int64
}

// NewCustomer returns a customer of whom nothing is known yet.
func (e *Engine) NewCustomer(id string) *Customer {
	c := &Customer{ID: id, wake: Never, instant: aggregate.None, dues: make([]Millis, len(e.triggers))}
	for i := range c.dues {
		c.dues[i] = Never
	}
	return c
}

// Wake returns the earliest instant at which something about the customer can
// change with no further event, Never if there is none.
func (c *Customer) Wake() Millis { return c.wake }

// Instant returns the latest instant at which rules were evaluated for c.
func (c *Customer) Instant() Millis { return c.instant }

// Known reports whether anything is known of the customer: false for a new one
// and after an erasure. A customer that is not known must not be stored.
func (c *Customer) Known() bool { return c.events > 0 }

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

func (c *Customer) member(key uint32) *membership {
	i := sort.Search(len(c.members), func(i int) bool { return c.members[i].key >= key })
	if i < len(c.members) && c.members[i].key == key {
		return &c.members[i]
	}
	return nil
}

// memberOrNew returns the membership under key, adding it.
func (c *Customer) memberOrNew(key uint32) *membership {
	i := sort.Search(len(c.members), func(i int) bool { return c.members[i].key >= key })
	if i == len(c.members) || c.members[i].key != key {
		c.members = slices.Insert(c.members, i, membership{key: key})
	}
	return &c.members[i]
}

func (c *Customer) memoryOf(key uint32) *Memory {
	i := sort.Search(len(c.memory), func(i int) bool { return c.memory[i].Key >= key })
	if i == len(c.memory) || c.memory[i].Key != key {
		c.memory = slices.Insert(c.memory, i, Memory{Key: key, Mark: aggregate.None})
	}
	return &c.memory[i]
}

// remembered returns what a trigger remembers, nil if nothing.
func (c *Customer) remembered(key uint32) *Memory {
	for i := range c.memory {
		if c.memory[i].Key == key {
			return &c.memory[i]
		}
	}
	return nil
}

// find returns the customer's cell for a summary, nil if nothing was folded into
// it.
func (c *Customer) find(summary int) *cell {
	if i := c.place(summary); i < len(c.cells) && c.cells[i].summary == summary {
		return &c.cells[i]
	}
	return nil
}

// place returns where the cell of a summary is or would be.
func (c *Customer) place(summary int) int {
	lo, hi := 0, len(c.cells)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); c.cells[m].summary < summary {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

func (e *Engine) cell(c *Customer, summary int) *cell {
	i := c.place(summary)
	if i == len(c.cells) || c.cells[i].summary != summary {
		c.cells = slices.Insert(c.cells, i, cell{
			summary: summary, Cell: aggregate.New(e.p.Summaries[summary].Family), next: Never,
		})
	}
	return &c.cells[i]
}

// identity is the 64-bit hash of (stream, source, id) that an event is
// remembered by.
func identity(ev *Event) uint64 {
	var buf [128]byte
	b := append(buf[:0], byte(ev.Stream))
	b = append(binary.AppendUvarint(b, uint64(len(ev.Source))), ev.Source...)
	return xxh3.Hash(append(b, ev.ID...))
}

// remembers reports whether an event newer than the dedup horizon had this hash.
func (e *Engine) remembers(c *Customer, hash uint64) bool {
	for i := len(c.seen) - 1; i >= 0; i-- {
		switch {
		case c.seen[i].At <= c.instant-e.opt.DedupHorizon:
			return false
		case c.seen[i].Hash == hash:
			return true
		}
	}
	return false
}

// remember adds an event id and drops those that are no newer than the horizon.
func (e *Engine) remember(c *Customer, s aggregate.Shared, instant Millis) {
	i, _ := slices.BinarySearchFunc(c.seen, s, compareShared)
	c.seen = slices.Insert(c.seen, i, s)
	e.forget(c, instant)
}

func (e *Engine) forget(c *Customer, instant Millis) {
	n := sort.Search(len(c.seen), func(i int) bool { return c.seen[i].At > instant-e.opt.DedupHorizon })
	c.seen = slices.Delete(c.seen, 0, max(n, len(c.seen)-MaxSeen))
}

func compareShared(a, b aggregate.Shared) int {
	switch {
	case a.At != b.At:
		return int(max(-1, min(1, a.At-b.At)))
	case a.Hash < b.Hash:
		return -1
	case a.Hash > b.Hash:
		return 1
	}
	return 0
}

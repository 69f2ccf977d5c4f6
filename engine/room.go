package engine

import (
	"strings"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/dedup"
)

// small is a customer in one piece with room for what it has under few rules: what
// an event of it needs lies together. What does not fit goes elsewhere, as that of
// any other customer does.
type small struct {
	Customer
	last    [2]aggregate.Register
	seen    [8]dedup.ID // no dearer than five: the allocator rounds the piece up
	cells   [smallCells]cell
	members [10]membership
}

// smallCells is how many summaries the rules have at most for customers to be small.
const smallCells = 4

// customer returns an empty customer.
func (e *Engine) customer(id string) *Customer {
	if len(e.p.Summaries) > smallCells {
		return &Customer{ID: id}
	}
	s := &small{Customer: Customer{ID: id}}
	s.Customer.cells, s.Customer.members, s.Customer.seen = s.cells[:0], s.members[:0], dedup.In(s.seen[:])
	s.room = s
	return &s.Customer
}

// register returns an empty register of a family.
func (c *Customer) register(f *aggregate.Family) *aggregate.Register {
	var r *aggregate.Register
	if c.room != nil && int(c.registers) < len(c.room.last) {
		r = &c.room.last[c.registers]
		c.registers++
	} else {
		r = new(aggregate.Register)
	}
	r.Init(f)
	return r
}

// firstEntries is how many entries a new list has room for.
const firstEntries = 4

// makeRoom makes room for the entries of lists that are folded into and have none,
// side by side: what one event goes into mostly gets the next ones, too.
func (x *Evaluator) makeRoom() {
	lists := 0
	for i := range x.matched {
		if x.matched[i].roomless() {
			lists++
		}
	}
	slab := make([]aggregate.Entry, lists*firstEntries)
	for i := range x.matched {
		if m := &x.matched[i]; m.roomless() {
			m.cell.list.Entries, slab = slab[:0:firstEntries], slab[firstEntries:]
		}
	}
}

func (m *match) roomless() bool { return m.cell.other == nil && cap(m.cell.list.Entries) == 0 }

// texts gives texts that were seen before in place of equal ones, so that equal
// values of many customers are one place in memory, and hold no event's. It takes up
// what comes twice in a row where it belongs, and keeps it.
type texts struct {
	known  [1 << textBits]string
	missed [1 << textBits]uint32 // hashes of what was not found there last
}

// textBits says how many texts are known, maxText how long one is at most.
const (
	textBits = 6
	maxText  = 40
)

// of returns s, or a text that equals it.
func (t *texts) of(s string) string {
	if len(s) == 0 || len(s) > maxText {
		return s
	}
	h := uint32(len(s))
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	k := &t.known[h>>(32-textBits)]
	if *k == s {
		return *k
	}
	if m := &t.missed[h>>(32-textBits)]; *k != "" || *m != h {
		*m = h
		return s
	}
	*k = strings.Clone(s)
	return *k
}

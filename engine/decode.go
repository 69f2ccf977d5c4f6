package engine

import (
	"fmt"
	"math"
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/plan"
)

// Decode reads a customer from its bytes. Summaries, memberships and memories
// that no rule of this engine knows are kept if they are emitted state, dropped if they
// are facts. The error wraps ErrFormat or aggregate.ErrFormat.
//
// While a change of rules is in progress, customers are read with [RuleChange.Decode].
func (e *Engine) Decode(id string, b []byte) (*Customer, error) { return e.decode(id, b, nil) }

// Decode is [Engine.Decode] of a customer whom the change may have yet to come by: one that a
// version wrote whose keys have 32 bits can have been under the rules before the change.
func (r *RuleChange) Decode(id string, b []byte) (*Customer, error) { return r.e.decode(id, b, r) }

func (e *Engine) decode(id string, b []byte, change *RuleChange) (*Customer, error) {
	wake, err := WakeOf(b)
	if err != nil {
		return nil, err
	}
	c := e.customer(id)
	c.wake, c.stale = wake, true
	d := decoder{Reader: aggregate.NewReader(b[headSize:], b[0]), e: e, change: change, v1: b[0] == 1, halves: b[0] < firstWhole}
	r := &d.Reader
	if b[0] == formatBrought || b[0] == oldBrought {
		c.brought = uint32(r.UvarintTo(math.MaxUint32))
		r.Check(c.brought > 0)
		if change != nil && c.brought == change.number {
			d.change = nil // it has come by
		}
	}
	c.instant = r.Millis()
	r.Base(c.instant)
	d.members(c)
	d.memory(c)
	c.events = r.Uvarint()
	if b[0] < 3 {
		c.seen.ReadOld(r, c.instant, d.v1)
	} else {
		c.seen.Read(r, c.instant, e.ownKeys)
	}
	if err := d.cells(c); err != nil {
		return nil, fmt.Errorf("customer: %w", err)
	}
	if d.doubt != nil {
		return nil, e.explain(d.doubt, change)
	}
	if !r.Done() {
		return nil, ErrFormat
	}
	return c, nil
}

// decoder reads a customer.
type decoder struct {
	aggregate.Reader
	e      *Engine
	change *RuleChange // that has yet to come by, nil if there is none
	v1     bool
	halves bool  // keys have 32 bits
	doubt  error // the first half that cannot be told
}

// key reads a key.
func (d *decoder) key() plan.Key {
	if d.halves {
		return plan.ShortKey(d.Uint32())
	}
	return plan.Key(d.Uint64())
}

// keySize returns how many bytes a key has.
func (d *decoder) keySize() int {
	if d.halves {
		return keySize / 2
	}
	return keySize
}

// whole returns a short key of a segment or trigger whole, if it is known.
func (d *decoder) whole(key plan.Key, of func(*keys) plan.Keys) plan.Key {
	found, err := key, error(nil)
	if d.change != nil {
		if found, err = whole(key, of(&d.change.former)); err != nil {
			if was, other := whole(key, of(&d.change.unchanged)); other == nil && !was.Short() {
				return was
			}
		}
	}
	if found.Short() && err == nil {
		found, err = whole(key, of(&d.e.keys))
	}
	if err != nil && d.doubt == nil {
		d.doubt = err
	}
	return found
}

func segmentKeys(k *keys) plan.Keys { return k.segments }
func triggerKeys(k *keys) plan.Keys { return k.triggers }

// sized returns room, which is empty, with n elements, or n elements elsewhere.
func sized[T any](room []T, n int) []T {
	if n > cap(room) {
		return make([]T, n)
	}
	return room[:n]
}

func (d *decoder) members(c *Customer) {
	r := &d.Reader
	n := r.Count(d.keySize() + 1)
	if n == 0 {
		return
	}
	c.members = sized(c.members, n)
	last := c.instant
	for i := range c.members {
		m := &c.members[i]
		if m.key = d.key(); m.key.Short() {
			m.key = d.whole(m.key, segmentKeys)
		}
		seq := r.Uvarint()
		m.seq = uint32(seq)
		if m.in() {
			if d.v1 {
				last = 0
			}
			m.since = last - r.Millis()
			if d.v1 {
				m.since = -m.since
			}
			last = m.since
		}
		r.Check(seq <= math.MaxUint32 && (i == 0 || m.key > c.members[i-1].key))
	}
}

func (d *decoder) memory(c *Customer) {
	r := &d.Reader
	n := r.Count(d.keySize() + 2)
	if n == 0 {
		return
	}
	c.timed = &timed{memory: make([]Memory, n)}
	for i := range c.timed.memory {
		m := &c.timed.memory[i]
		if m.Key = d.key(); m.Key.Short() {
			m.Key = d.whole(m.Key, triggerKeys)
		}
		m.Seq, m.Mark = r.Uvarint(), aggregate.None
		f := r.Byte()
		m.Was = f&flagWas != 0
		if f&flagMark != 0 {
			m.Mark = r.Time()
		}
		if f&flagFired != 0 {
			m.Fired = make([]Occurrence, r.Count(2))
			for k := range m.Fired {
				m.Fired[k] = Occurrence{Date: r.Value(), Years: r.Varint()}
			}
		}
		r.Check(f < flagFired<<1 && (i == 0 || m.Key > c.timed.memory[i-1].Key))
	}
}

func (d *decoder) cells(c *Customer) error {
	e, r := d.e, &d.Reader
	var buf [64]aggregate.Entry
	var ebuf [8]int
	times, ends, total := buf[:0], ebuf[:0], uint64(0)
	if !d.v1 {
		total = r.Uvarint()
		times, ends = readTimes(r, times, ends)
	}
	cells := r.Count(d.keySize() + 1)
	if cells == 0 {
		return nil
	}
	n := min(cells, len(e.keys.summaries))
	c.cells = sized(c.cells, n)[:0]
	lists := entries{left: int(min(total, uint64(n*len(times))))}
	if lists.left > 0 {
		lists.slab = make([]aggregate.Entry, lists.left+spare*n)
	}
	for range cells {
		key := d.key()
		sub := r.Sub()
		i, ok, err := e.summary(key, d.change)
		if err != nil {
			return e.explain(err, d.change)
		}
		if !ok {
			continue // of a rule that is gone: dropped when it is written again
		}
		cl := cell{summary: int32(i), next: Never}
		switch f := e.p.Summaries[i].Family; {
		case f.IsRegister():
			reg := c.register(f)
			cl.other, err = reg, reg.Read(&sub)
		case f != aggregate.FamList:
			cl.other, err = f.Read(&sub)
		case d.v1:
			err = cl.list.ReadV1(&sub)
		default:
			t, ok := timesOf(times, ends, sub.Uvarint())
			if cl.list.Entries = lists.cut(t); !ok || len(cl.list.Entries) < len(t) {
				return aggregate.ErrFormat
			}
			err = cl.list.ReadValues(&sub)
		}
		if err != nil {
			return err
		}
		if len(c.cells) > 0 && cl.summary <= c.cells[len(c.cells)-1].summary {
			return aggregate.ErrFormat
		}
		c.cells = append(c.cells, cl)
	}
	return nil
}

// readTimes reads the different times of lists, and where each ends.
func readTimes(r *aggregate.Reader, times []aggregate.Entry, ends []int) ([]aggregate.Entry, []int) {
	for {
		n := r.Count(1)
		if n == 0 {
			return times, ends
		}
		from := len(times)
		times = slices.Grow(times, n)[:from+n]
		r.Times(times[from:])
		ends = append(ends, len(times))
	}
}

// timesOf returns times number i: 0 is none, and false one that there is not.
func timesOf(times []aggregate.Entry, ends []int, i uint64) ([]aggregate.Entry, bool) {
	switch {
	case i == 0:
		return nil, true
	case i > uint64(len(ends)):
		return nil, false
	case i == 1:
		return times[:ends[0]], true
	}
	return times[ends[i-2]:ends[i-1]], true
}

// entries hands out what lists keep their entries in.
type entries struct {
	slab []aggregate.Entry
	left int // how many the lists may still have
}

// spare is how many entries a list can take before it is moved.
const spare = 1

// cut returns a copy of times, nil if there is no room.
func (s *entries) cut(times []aggregate.Entry) []aggregate.Entry {
	n := len(times)
	if n == 0 || n > s.left {
		return nil
	}
	l := s.slab[: n : n+spare]
	copy(l, times)
	s.slab, s.left = s.slab[n+spare:], s.left-n
	return l
}

// refresh computes what is derived from facts and emitted state: the next crossing of
// every cell, when triggers are due, and the wake-up.
func (e *Engine) refresh(x *Evaluator) {
	c := x.c
	c.stale = false
	e.newDues(c)
	for i := range c.cells {
		c.cells[i].next = e.next(x, &c.cells[i])
	}
	dues := c.dues()
	for i := range dues {
		dues[i] = e.due(x, i, c.instant) // what was due until then was judged
	}
	e.schedule(c)
}

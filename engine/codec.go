package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/plan"
)

// The customer format, version 1. Integers are varints (signed ones zigzag)
// unless a width is given; keys are 32-bit little-endian hashes.
//
//	+---------+------------------+-------------------------------------------+
//	| 0x01    | wake: 8 bytes BE | instant                                   |
//	+---------+------------------+-------------------------------------------+
//	| n | n x ( key, seq, [since if seq is odd] )                 memberships |
//	| n | n x ( key, seq, flags, [mark], [n, n x (value, years)] )   triggers |
//	+------------------------------------------------------------------------+
//	| events                                                                 |
//	| n | n x ( time since the one before, 8 bytes LE hash )        event ids |
//	| n | n x ( key, length, bytes of the family )                  summaries |
//	+------------------------------------------------------------------------+
//
// The part below the second line are the facts; what stands above is told.
const (
	formatVersion = 1
	headSize      = 9
)

// MaxCustomerBytes is the size above which a customer's lists are coarsened.
const MaxCustomerBytes = 512 << 10

// ErrFormat is returned for bytes that are not a customer.
var ErrFormat = errors.New("malformed customer record")

// Flags of a trigger's memory.
const (
	flagMark = 1 << iota
	flagWas
	flagPast
)

// WakeOf reads the wake-up instant from the head of a customer's bytes without
// decoding the rest.
func WakeOf(b []byte) (Millis, error) {
	if len(b) < headSize || b[0] != formatVersion {
		return 0, ErrFormat
	}
	return Millis(binary.BigEndian.Uint64(b[1:])), nil
}

// Append appends the customer's bytes to b and returns it. Lists are cut to what
// windows can still see; a record above MaxCustomerBytes has its lists coarsened
// until it fits.
func (e *Engine) Append(b []byte, c *Customer) []byte {
	start := len(b)
	for {
		b = e.append(b[:start], c)
		if len(b)-start <= MaxCustomerBytes || !e.squeeze(c) {
			return b
		}
	}
}

func (e *Engine) append(b []byte, c *Customer) []byte {
	b = append(b, formatVersion)
	b = binary.BigEndian.AppendUint64(b, uint64(c.wake))
	b = binary.AppendVarint(b, int64(c.instant))
	b = binary.AppendUvarint(b, uint64(len(c.members)))
	for _, m := range c.members {
		b = binary.LittleEndian.AppendUint32(b, m.key)
		b = binary.AppendUvarint(b, m.seq)
		if m.in() {
			b = binary.AppendVarint(b, int64(m.since))
		}
	}
	b = appendMemory(b, c.memory)
	return e.AppendFacts(b, c, c.instant)
}

func appendMemory(b []byte, all []Memory) []byte {
	n := 0
	for i := range all {
		if all[i].flags() != 0 || all[i].Seq > 0 {
			n++
		}
	}
	b = binary.AppendUvarint(b, uint64(n))
	for i := range all {
		m := &all[i]
		f := m.flags()
		if f == 0 && m.Seq == 0 {
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, m.Key)
		b = append(binary.AppendUvarint(b, m.Seq), f)
		if f&flagMark != 0 {
			b = binary.AppendVarint(b, int64(m.Mark))
		}
		if f&flagPast != 0 {
			b = binary.AppendUvarint(b, uint64(len(m.Past)))
			for _, o := range m.Past {
				b = binary.AppendVarint(aggregate.AppendValue(b, o.Date), o.Years)
			}
		}
	}
	return b
}

func (m *Memory) flags() (f byte) {
	if m.Mark != aggregate.None {
		f |= flagMark
	}
	if m.Was {
		f |= flagWas
	}
	if len(m.Past) > 0 {
		f |= flagPast
	}
	return f
}

// AppendFacts appends the facts alone, cut to what can be seen at instant at.
// Folding the same events in another order gives the same bytes.
func (e *Engine) AppendFacts(b []byte, c *Customer, at Millis) []byte {
	e.forget(c, at)
	b = binary.AppendUvarint(b, c.events)
	b = binary.AppendUvarint(b, uint64(len(c.seen)))
	var last Millis
	for _, s := range c.seen {
		b = binary.AppendVarint(b, int64(s.At-last))
		b = binary.LittleEndian.AppendUint64(b, s.Hash)
		last = s.At
	}
	b = binary.AppendUvarint(b, uint64(len(c.cells)))
	var buf [256]byte
	for i := range c.cells {
		cl := &c.cells[i]
		s := &e.p.Summaries[cl.summary]
		cl.Prune(at, s.Reach)
		payload := cl.Append(buf[:0])
		b = binary.LittleEndian.AppendUint32(b, s.Key)
		b = binary.AppendUvarint(b, uint64(len(payload)))
		b = append(b, payload...)
	}
	return b
}

// squeeze makes the biggest list of a customer smaller and less exact; false if
// none can be.
func (e *Engine) squeeze(c *Customer) bool {
	type big struct{ cell, size int }
	var all []big
	for i := range c.cells {
		all = append(all, big{i, len(c.cells[i].Append(nil))})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].size > all[j].size })
	for _, b := range all {
		if s, ok := c.cells[b.cell].Cell.(interface{ Squeeze() bool }); ok && s.Squeeze() {
			return true
		}
	}
	return false
}

// Decode reads a customer from its bytes. Summaries, memberships and memories
// that no rule of this engine knows are kept if they were told, dropped if they
// are facts.
func (e *Engine) Decode(id string, b []byte) (*Customer, error) {
	wake, err := WakeOf(b)
	if err != nil {
		return nil, err
	}
	c := &Customer{ID: id, wake: wake, stale: true}
	r := aggregate.NewReader(b[headSize:])
	c.instant = r.Millis()
	c.members = make([]membership, r.Count(5))
	for i := range c.members {
		m := &c.members[i]
		m.key, m.seq = r.Uint32(), r.Uvarint()
		if m.in() {
			m.since = r.Millis()
		}
		r.Check(i == 0 || m.key > c.members[i-1].key)
	}
	decodeMemory(r, c)
	c.events = r.Uvarint()
	c.seen = make([]aggregate.Shared, r.Count(9))
	var last Millis
	for i := range c.seen {
		last += r.Millis()
		c.seen[i] = aggregate.Shared{At: last, Hash: r.Uint64()}
		r.Check(i == 0 || compareShared(c.seen[i-1], c.seen[i]) <= 0)
	}
	if err := e.decodeCells(r, c); err != nil {
		return nil, fmt.Errorf("customer: %w", err)
	}
	if !r.Done() {
		return nil, ErrFormat
	}
	return c, nil
}

func decodeMemory(r *aggregate.Reader, c *Customer) {
	c.memory = make([]Memory, r.Count(6))
	for i := range c.memory {
		m := &c.memory[i]
		m.Key, m.Seq, m.Mark = r.Uint32(), r.Uvarint(), aggregate.None
		f := r.Byte()
		m.Was = f&flagWas != 0
		if f&flagMark != 0 {
			m.Mark = r.Millis()
		}
		if f&flagPast != 0 {
			m.Past = make([]Occurrence, r.Count(2))
			for k := range m.Past {
				m.Past[k] = Occurrence{Date: r.Value(), Years: r.Varint()}
			}
		}
		r.Check(f < flagPast<<1 && (i == 0 || m.Key > c.memory[i-1].Key))
	}
}

func (e *Engine) decodeCells(r *aggregate.Reader, c *Customer) error {
	n := r.Count(5)
	c.cells = make([]cell, 0, n)
	for range n {
		key, payload := r.Uint32(), r.Bytes()
		i, ok := slices.BinarySearchFunc(e.p.Summaries, key, func(s plan.Summary, k uint32) int {
			return int(int64(s.Key) - int64(k))
		})
		if !ok {
			continue // of a rule that is gone: dropped when it is written again
		}
		s, err := aggregate.Decode(e.p.Summaries[i].Family, payload)
		if err != nil {
			return err
		}
		r.Check(len(c.cells) == 0 || i > c.cells[len(c.cells)-1].summary)
		c.cells = append(c.cells, cell{summary: i, Cell: s, next: Never})
	}
	return nil
}

// refresh computes what is derived from facts and told: the next crossing of
// every cell, when triggers are due, and the wake-up.
func (e *Engine) refresh(x *exec) {
	c := x.c
	c.stale = false
	if c.dues == nil {
		c.dues = make([]Millis, len(e.triggers))
	}
	for i := range c.cells {
		c.cells[i].next = e.next(c, &c.cells[i], c.instant)
	}
	for i := range c.dues {
		if c.dues[i] = e.due(x, i); c.dues[i] <= c.instant {
			c.dues[i] = Never // was judged
		}
	}
	e.schedule(c)
}

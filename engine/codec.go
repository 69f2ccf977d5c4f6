package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/segmill/segmill/engine/aggregate"
)

// The customer format, version 5. Integers are varints (signed ones zigzag)
// unless a width is given; keys (plan.Key) are 8 bytes little-endian; "ago" is the
// distance of an instant to the customer's, so that recent ones are short.
//
//	+---------+------------------+-------------------------------------------+
//	| 5 or 6  | wake: 8 bytes BE | [brought, in version 6] | instant         |
//	+---------+------------------+-------------------------------------------+
//	| n | n x ( key, seq, [since, if seq is odd] )                memberships |
//	| n | n x ( key, seq, flags, [mark ago], [n, n x (value, years)] )        |
//	|                                                                triggers |
//	+------------------------------------------------------------------------+
//	| events                                                                 |
//	| n | see dedup.Memory.Append                                   event ids |
//	| entries | n x ( n, n x time ) | 0              times of lists           |
//	| n | n x ( key, length, bytes of the family )   summaries                |
//	+------------------------------------------------------------------------+
//
// The part below the second line is the facts; the part above is emitted state.
// One membership may be no segment's: that of plan.RenamedKey, whose seq is the mark of the
// last change of ids that the customer has been through. It is written if that cannot be told
// otherwise, and stays until rules change again.
//
// A since is the distance to the one before, the first to the instant. Of the
// times of a list the first is ago, the others distances to the one before. Lists whose entries have the same instants (the number and the
// sum of purchases) have their times once: the bytes of a list begin with the
// number of its times, 0 for no entry. entries is the number of entries of all
// lists.
//
// Version 6 is written of a customer that a change of rules has brought over, while that is
// in progress: see Customer.Brought.
//
// A short key (plan.Key.Short) is one that was read in an earlier version, of a segment or
// trigger that no rule had then. It waits for rules that know the whole of it; see keys.go.
//
// Versions 1 to 4 are read, not written. Their keys are halves, of 4 bytes. But for that,
// versions 3 and 4 are as 5 and 6. Versions 1 and 2 have event ids without their stream,
// as a time and a 64-bit hash each: version 2 as distances, the newest first, version 1
// the oldest first. Version 1 also has instants as they are and the times of a list
// among its own bytes.
const (
	formatPlain   = 5
	formatBrought = 6
	headSize      = 9
	keySize       = 8

	firstWhole = 5 // the first version with whole keys
	oldBrought = 4 // was formatBrought until then
)

// MaxCustomerBytes is the size above which a customer's lists are coarsened.
const MaxCustomerBytes = 512 << 10

// ErrFormat is returned for bytes that are not a customer.
var ErrFormat = errors.New("malformed customer record")

// Flags of a trigger's memory.
const (
	flagMark = 1 << iota
	flagWas
	flagFired
)

// WakeOf reads the wake-up instant from the head of a customer's bytes without
// decoding the rest. Its error wraps ErrFormat, and says so if a later version wrote them.
func WakeOf(b []byte) (Millis, error) {
	switch {
	case len(b) > 0 && b[0] > formatBrought:
		return 0, fmt.Errorf("%w: its format is %d, and this version reads 1 to %d: use the version that wrote it, or a later one", ErrFormat, b[0], formatBrought)
	case len(b) < headSize || b[0] == 0:
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
	if c.brought == 0 {
		b = binary.BigEndian.AppendUint64(append(b, formatPlain), uint64(c.wake))
	} else {
		b = binary.BigEndian.AppendUint64(append(b, formatBrought), uint64(c.wake))
		b = binary.AppendUvarint(b, uint64(c.brought))
	}
	b = binary.AppendVarint(b, int64(c.instant))
	b = appendMembers(b, c.members, c.instant)
	b = appendMemory(b, c.memory(), c.instant)
	return e.AppendFacts(b, c, c.instant)
}

func appendMembers(b []byte, all []membership, last Millis) []byte {
	b = binary.AppendUvarint(b, uint64(len(all)))
	from := len(b)
	b = slices.Grow(b, len(all)*(keySize+2*aggregate.MaxVarint))
	p, k := b[from:cap(b)], 0
	for i := range all {
		m := &all[i]
		binary.LittleEndian.PutUint64(p[k:], uint64(m.key))
		k += keySize
		k += aggregate.Put(p[k:], uint64(m.seq))
		if m.in() {
			k += aggregate.PutSigned(p[k:], int64(last-m.since))
			last = m.since
		}
	}
	return b[:from+k]
}

func appendMemory(b []byte, all []Memory, at Millis) []byte {
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
		b = binary.LittleEndian.AppendUint64(b, uint64(m.Key))
		b = append(binary.AppendUvarint(b, m.Seq), f)
		if f&flagMark != 0 {
			b = binary.AppendVarint(b, int64(at-m.Mark))
		}
		if f&flagFired != 0 {
			b = binary.AppendUvarint(b, uint64(len(m.Fired)))
			for _, o := range m.Fired {
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
	if len(m.Fired) > 0 {
		f |= flagFired
	}
	return f
}

// AppendFacts appends the facts alone, cut to what can be seen at instant at.
// Folding the same events in another order gives the same bytes.
func (e *Engine) AppendFacts(b []byte, c *Customer, at Millis) []byte {
	c.seen.Forget(at, &e.dedup)
	b = binary.AppendUvarint(b, c.events)
	b = c.seen.Append(b, at, e.ownKeys)
	b = e.appendTimes(b, c, at)
	b = binary.AppendUvarint(b, uint64(len(c.cells)))
	for i := range c.cells {
		cl := &c.cells[i]
		b = binary.LittleEndian.AppendUint64(b, uint64(e.p.Summaries[cl.summary].Key))
		start := len(b)
		b = append(b, 0) // the length, most often one byte
		if cl.other == nil {
			b = binary.AppendUvarint(b, uint64(cl.times))
			b = cl.list.AppendValues(b, at)
		} else {
			b = cl.other.Append(b, at)
		}
		b = putLength(b, start)
	}
	return b
}

// putLength writes the length of what follows a byte that was left for it.
func putLength(b []byte, start int) []byte {
	n := len(b) - start - 1
	if n < 0x80 {
		b[start] = byte(n)
		return b
	}
	var buf [binary.MaxVarintLen64]byte
	return slices.Replace(b, start, start+1, binary.AppendUvarint(buf[:0], uint64(n))...)
}

// appendTimes cuts all summaries, appends the different times of lists, and
// numbers them.
func (e *Engine) appendTimes(b []byte, c *Customer, at Millis) []byte {
	entries := 0
	for i := range c.cells {
		cl := &c.cells[i]
		reach := e.p.Summaries[cl.summary].Reach
		if cl.other != nil {
			cl.other.Prune(at, reach)
			continue
		}
		cl.list.Prune(at, reach)
		entries += len(cl.list.Entries)
	}
	b = binary.AppendUvarint(b, uint64(entries))
	n := int32(0)
	for i := range c.cells {
		cl := &c.cells[i]
		if cl.times = 0; len(cl.list.Entries) == 0 {
			continue
		}
		for k := range c.cells[:i] {
			if o := &c.cells[k]; o.times > 0 && cl.list.SameTimes(&o.list) {
				cl.times = o.times
				break
			}
		}
		if cl.times == 0 {
			n++
			cl.times = n
			b = cl.list.AppendTimes(b, at)
		}
	}
	return append(b, 0)
}

// squeeze makes the biggest list of a customer smaller and less exact; false if
// none can be.
func (e *Engine) squeeze(c *Customer) bool {
	type big struct{ cell, size int }
	var all []big
	for i := range c.cells {
		all = append(all, big{i, len(c.cells[i].sum().Append(nil, c.instant))})
	}
	sort.Slice(all, func(i, j int) bool { return all[i].size > all[j].size })
	for _, b := range all {
		if s, ok := c.cells[b.cell].sum().(interface{ Squeeze() bool }); ok && s.Squeeze() {
			return true
		}
	}
	return false
}

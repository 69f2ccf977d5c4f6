package engine

import (
	"encoding/binary"

	"github.com/segmill/segmill/engine/dedup"
)

// ForgetIDs drops the event ids that c remembers.
func (c *Customer) ForgetIDs() { c.seen = dedup.Memory{} }

// SeenBytes returns how many bytes of c's encoded form are event ids, and how many
// there are.
func (c *Customer) SeenBytes() (bytes, ids int) {
	return len(c.seen.Append(nil, c.instant, nil)) - 1, c.seen.Len()
}

// AppendOld appends what versions 3 and 4 of the format have of a customer: halves of keys.
func (e *Engine) AppendOld(b []byte, c *Customer) []byte {
	half := func(b []byte, half uint32) []byte { return binary.LittleEndian.AppendUint32(b, half) }
	if c.brought == 0 {
		b = binary.BigEndian.AppendUint64(append(b, 3), uint64(c.wake))
	} else {
		b = binary.BigEndian.AppendUint64(append(b, oldBrought), uint64(c.wake))
		b = binary.AppendUvarint(b, uint64(c.brought))
	}
	b = binary.AppendVarint(b, int64(c.instant))
	b = binary.AppendUvarint(b, uint64(len(c.members)))
	last := c.instant
	for i := range c.members {
		m := &c.members[i]
		b = binary.AppendUvarint(half(b, m.key.Half()), uint64(m.seq))
		if m.in() {
			b = binary.AppendVarint(b, int64(last-m.since))
			last = m.since
		}
	}
	n := len(b)
	b = append(b, 0)
	for _, m := range c.memory() { // of fewer than 128
		if one := appendMemory(nil, []Memory{m}, c.instant); one[0] == 1 {
			b = append(half(b, m.Key.Half()), one[1+keySize:]...)
			b[n]++
		}
	}
	c.seen.Forget(c.instant, &e.dedup)
	b = binary.AppendUvarint(b, c.events)
	b = c.seen.Append(b, c.instant, e.ownKeys)
	b = e.appendTimes(b, c, c.instant)
	b = binary.AppendUvarint(b, uint64(len(c.cells)))
	for i := range c.cells {
		cl := &c.cells[i]
		b = half(b, e.p.Summaries[cl.summary].Key.Half())
		start := len(b)
		b = append(b, 0)
		if cl.other == nil {
			b = binary.AppendUvarint(b, uint64(cl.times))
			b = cl.list.AppendValues(b, c.instant)
		} else {
			b = cl.other.Append(b, c.instant)
		}
		b = putLength(b, start)
	}
	return b
}

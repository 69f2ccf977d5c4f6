package job

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Change is a membership change: what the hash of a run is over.
type Change struct {
	Customer, Segment []byte
	Entered           bool
	At                int64 // ms
	Sequence          int64
	// No part of the hash: why, as the engine says it, and the event, empty if it was none.
	Why   int64
	Cause []byte
}

// Reasons of a change, of those in schemas/membership_change.avsc.
const (
	ByEvent = 1
	ByTimer = 2
)

// ReadChange reads a framed MembershipChange of schemas/membership_change.avsc, up to
// what is needed of it. Slices point into b.
func ReadChange(b []byte, c *Change) error {
	if len(b) < 5 || b[0] != 0 {
		return fmt.Errorf("a change of %d bytes is not in Confluent's frame", len(b))
	}
	w := walk{b: b, i: 5}
	w.bytes() // change_id
	c.Customer, c.Segment = w.bytes(), w.bytes()
	action := w.long()
	c.At = w.long()
	w.long() // emitted_at
	c.Sequence = w.long()
	c.Why = w.long()
	c.Cause = w.optional()
	if w.bad || action != 1 && action != 2 {
		return fmt.Errorf("a change of %d bytes does not follow its schema", len(b))
	}
	c.Entered = action == 1
	return nil
}

// AppendChange appends a change in the form of `limit exact`.
func AppendChange(b []byte, c *Change) []byte {
	b = appendBytes(appendBytes(b, c.Customer), c.Segment)
	action := byte(2)
	if c.Entered {
		action = 1
	}
	return binary.AppendVarint(binary.AppendVarint(append(b, action), c.At), c.Sequence)
}

// idBytes is how long the id is that limit's records begin with.
const idBytes = 16

// ReadExact reads a record of `limit exact`: an id, a change, and more. Slices point
// into b.
func ReadExact(b []byte, c *Change) error {
	w := walk{b: b, i: idBytes}
	c.Customer, c.Segment = w.bytes(), w.bytes()
	if w.bad || w.i == len(b) || len(b) < idBytes {
		return fmt.Errorf("a record of %d bytes is no change", len(b))
	}
	c.Entered = b[w.i] == 1
	w.i++
	c.At, c.Sequence = w.long(), w.long()
	if w.bad {
		return fmt.Errorf("a change of %d bytes is cut off", len(b))
	}
	return nil
}

// Hash is a sum of hashes, so that the order of what is added does not matter.
type Hash struct {
	hi, lo uint64
	buf    []byte
}

// AddChange adds a change: its customer, segment, action, instant and sequence.
func (h *Hash) AddChange(c *Change) {
	h.buf = AppendChange(h.buf[:0], c)
	h.Add(h.buf)
}

// Add adds some bytes.
func (h *Hash) Add(b []byte) {
	s := xxh3.Hash128(b)
	lo := h.lo + s.Lo
	if lo < h.lo {
		h.hi++
	}
	h.hi, h.lo = h.hi+s.Hi, lo
}

// String returns the sum in hexadecimal.
func (h *Hash) String() string { return fmt.Sprintf("%016x%016x", h.hi, h.lo) }

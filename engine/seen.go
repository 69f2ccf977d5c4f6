package engine

import (
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine/aggregate"
)

// identity is the 64-bit hash of (stream, source, id) that an event is
// remembered by.
func identity(ev *Event) uint64 {
	var buf [128]byte
	b := append(buf[:0], byte(ev.Stream))
	b = append(binary.AppendUvarint(b, uint64(len(ev.Source))), ev.Source...)
	return xxh3.Hash(append(b, ev.ID...))
}

// longSeen is how many event ids are looked through one by one; of more there is a
// map, which takes more memory.
const longSeen = 64

// remembers reports whether an event newer than the dedup horizon had this hash.
func (e *Engine) remembers(c *Customer, hash uint64) bool {
	after := c.instant - e.opt.DedupHorizon
	if len(c.seen) > longSeen {
		at, ok := c.seenAt()[hash]
		return ok && at > after
	}
	for i := len(c.seen) - 1; i >= 0 && c.seen[i].At > after; i-- {
		if c.seen[i].Hash == hash {
			return true
		}
	}
	return false
}

// seenAt returns when each of a long list was. A hash that is there twice, which an
// old event and one that came after it was forgotten can be, has the later time.
func (c *Customer) seenAt() map[uint64]Millis {
	if c.ids == nil {
		c.ids = make(map[uint64]Millis, len(c.seen))
		for _, s := range c.seen {
			c.ids[s.Hash] = s.At
		}
	}
	return c.ids
}

// idBytes is about what an event id takes in the map.
const idBytes = 40

// Derived returns about how many bytes c takes for what is not in its encoded form.
func (c *Customer) Derived() int { return idBytes * len(c.ids) }

// remember adds an event id and drops those that are no newer than the horizon.
func (e *Engine) remember(c *Customer, s aggregate.Shared, instant Millis) {
	e.forget(c, instant) // before the insertion: mostly it makes room
	if s.At <= instant-e.opt.DedupHorizon {
		return
	}
	i := len(c.seen)
	for i > 0 && compareShared(c.seen[i-1], s) > 0 {
		i--
	}
	c.seen = slices.Insert(c.seen, i, s)
	if at, ok := c.ids[s.Hash]; c.ids != nil && (!ok || at < s.At) {
		c.ids[s.Hash] = s.At
	}
	if len(c.seen) > MaxSeen {
		c.forgetFirst(1)
	}
}

// forget drops event ids that are no newer than the horizon.
func (e *Engine) forget(c *Customer, instant Millis) {
	n := max(0, len(c.seen)-MaxSeen)
	for n < len(c.seen) && c.seen[n].At <= instant-e.opt.DedupHorizon {
		n++
	}
	if n > 0 {
		c.forgetFirst(n)
	}
}

// forgetFirst drops the first n event ids. Of a long list nothing moves: what is
// dropped goes when the list grows out of its memory.
func (c *Customer) forgetFirst(n int) {
	if len(c.seen)-n <= longSeen {
		c.ids = nil
		c.seen = slices.Delete(c.seen, 0, n)
		return
	}
	if c.ids != nil {
		for _, s := range c.seen[:n] {
			if c.ids[s.Hash] == s.At {
				delete(c.ids, s.Hash)
			}
		}
	}
	c.seen = c.seen[n:]
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

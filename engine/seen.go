package engine

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/plan"
)

// MaxSeen is how many event ids a customer remembers at most, the newest.
// ReservedSeen of them are for streams whose events are few and dear: see
// plan.StreamInfo.Frequent.
const (
	MaxSeen      = 4096
	ReservedSeen = 1024
)

// eventID is what is remembered of an accepted event: until when, and what it takes to
// recognize a duplicate and to find the event in a list.
type eventID struct {
	// mark is the instant with which the id is remembered, shifted by streamBits,
	// and the number of the stream: ids are sorted by it.
	mark int64
	// word is the hash of the identity in the upper 56 bits, and how much later
	// than the event's time the mark is in the lowest eight, see lagOf.
	word uint64
}

const (
	streamBits = 16
	maxMark    = 1<<(63-streamBits) - 1 // ms, the year 6429
	lagMask    = 0xff
	lagUnit    = 128 // ms
)

// identity is the 56-bit hash of (stream, source, id) that an event is remembered
// by, in the upper bits. Of 10^9 events a day, each compared with 30 others, two
// have one hash in 6,000 years.
func identity(ev *Event) uint64 {
	var buf [128]byte
	b := append(buf[:0], byte(ev.Stream))
	b = append(binary.AppendUvarint(b, uint64(len(ev.Source))), ev.Source...)
	return xxh3.Hash(append(b, ev.ID...)) &^ lagMask
}

// lagOf returns the smallest code whose lag is not less than a length of time: in
// units of lagUnit, rounded up to four significant bits. The greatest is 65 years.
func lagOf(d Millis) uint64 {
	if d <= 0 {
		return 0
	}
	n := (uint64(d) + lagUnit - 1) / lagUnit
	shift := max(0, bits.Len64(n)-4)
	n = (n + 1<<shift - 1) >> shift // of 8 to 16 if shift > 0
	if shift > 0 {
		n += uint64(shift) << 3
	}
	return min(n, lagMask)
}

// lag returns the length of time of a code.
func lag(code uint64) Millis {
	if code < 16 {
		return Millis(code) * lagUnit
	}
	return Millis(8+code&7) << (code>>3 - 1) * lagUnit
}

// idOf returns what is remembered of an event with that hash. It is remembered with
// the later of its own time and its record's.
func idOf(ev *Event, hash uint64) eventID {
	s := eventID{word: hash | lagOf(ev.Lag)}
	s.put(ev.Stream, ev.At+lag(s.word&lagMask))
	return s
}

func (s *eventID) put(stream plan.Stream, remembered Millis) {
	s.mark = int64(max(-maxMark, min(maxMark, remembered)))<<streamBits | int64(stream)
}

// remembered returns the instant with which the id is remembered.
func (s eventID) remembered() Millis { return Millis(s.mark >> streamBits) }

func (s eventID) stream() plan.Stream { return plan.Stream(s.mark) }

func (s eventID) hash() uint64 { return s.word &^ lagMask }

// at returns the time of the event.
func (s eventID) at() Millis { return s.remembered() - lag(s.word&lagMask) }

// later returns s with the time of another copy of the event, if that is later.
func (s eventID) later(o eventID) eventID {
	if o.mark>>streamBits > s.mark>>streamBits {
		at := s.at()
		s.word = s.hash() | lagOf(o.remembered()-at)
		s.put(s.stream(), at+lag(s.word&lagMask))
	}
	return s
}

func compareIDs(a, b eventID) int {
	switch {
	case a.mark != b.mark:
		if a.mark < b.mark {
			return -1
		}
		return 1
	case a.word < b.word:
		return -1
	case a.word > b.word:
		return 1
	}
	return 0
}

// keeps reports whether an id is still remembered at an instant.
func (e *Engine) keeps(s eventID, instant Millis) bool {
	return s.remembered() > instant-e.dedup[s.stream()]
}

// longSeen is how many event ids are looked through one by one; of more there is an
// index, which takes more memory.
const longSeen = 64

// idIndex finds the ids of a customer that has many.
type idIndex struct {
	marks    map[uint64]int64 // by hash
	frequent int              // how many are of streams that are Frequent
}

// idBytes is about what an event id takes in the index.
const idBytes = 40

// Derived returns about how many bytes c takes for what is not in its encoded form.
func (c *Customer) Derived() int {
	if c.ids == nil {
		return 0
	}
	return idBytes * len(c.ids.marks)
}

// index returns the index of a long list of ids.
func (c *Customer) index() *idIndex {
	if c.ids == nil {
		c.ids = &idIndex{marks: make(map[uint64]int64, len(c.seen))}
		for _, s := range c.seen {
			c.ids.add(s)
		}
	}
	return c.ids
}

func (x *idIndex) add(s eventID) {
	x.marks[s.hash()] = s.mark
	if s.stream().Info().Frequent {
		x.frequent++
	}
}

func (x *idIndex) remove(s eventID) {
	delete(x.marks, s.hash())
	if s.stream().Info().Frequent {
		x.frequent--
	}
}

// findID returns where in c.seen an id is, -1 if it is not. It may be one that is no
// longer remembered and was not removed yet.
func (c *Customer) findID(hash uint64) int {
	if len(c.seen) <= longSeen {
		for i := len(c.seen) - 1; i >= 0; i-- {
			if c.seen[i].hash() == hash {
				return i
			}
		}
		return -1
	}
	mark, ok := c.index().marks[hash]
	if !ok {
		return -1
	}
	i, _ := slices.BinarySearchFunc(c.seen, eventID{mark: mark}, compareIDs)
	for c.seen[i].hash() != hash {
		i++
	}
	return i
}

// duplicate reports whether an event with this id was folded before and is
// remembered. The later of both records' times is kept: so what is remembered does
// not depend on which copy came first.
func (e *Engine) duplicate(c *Customer, s eventID, out *Output) bool {
	i := c.findID(s.hash())
	if i < 0 {
		return false
	}
	old := c.seen[i]
	if !e.keeps(old, c.instant) {
		c.drop(i)
		return false
	}
	out.Stats.Duplicates++
	if old.at() != s.at() {
		out.Stats.Conflicts++
	}
	if now := old.later(s); now != old {
		out.Stats.Prolonged++
		c.drop(i)
		c.insert(now)
	}
	return true
}

// insert adds an id that is not in the list.
func (c *Customer) insert(s eventID) {
	i := len(c.seen)
	for i > 0 && compareIDs(c.seen[i-1], s) > 0 {
		i--
	}
	c.seen = slices.Insert(c.seen, i, s)
	if c.ids != nil {
		c.ids.add(s)
	}
}

// drop removes the id at place i. Of a long list nothing moves when the first goes: its
// memory goes when the list grows out of the rest.
func (c *Customer) drop(i int) {
	if c.ids != nil {
		c.ids.remove(c.seen[i])
	}
	if len(c.seen)-1 <= longSeen {
		c.ids = nil
	}
	if i == 0 && len(c.seen) > longSeen {
		c.seen = c.seen[1:]
		return
	}
	c.seen = slices.Delete(c.seen, i, i+1)
}

// remember adds an id that is not in the list, unless it is too old at an instant.
// Ids that are no longer remembered are removed only to make room: who finds one asks.
func (e *Engine) remember(c *Customer, s eventID, instant Millis) {
	if !e.keeps(s, instant) {
		return
	}
	if len(c.seen) == cap(c.seen) || len(c.seen) >= MaxSeen-ReservedSeen {
		e.forget(c, instant)
	}
	c.insert(s)
	e.bound(c)
}

// bound drops the oldest ids while there are too many: all in all, or of streams that
// may not use what is reserved.
func (e *Engine) bound(c *Customer) {
	for len(c.seen) > MaxSeen-ReservedSeen && c.index().frequent > MaxSeen-ReservedSeen {
		c.drop(slices.IndexFunc(c.seen, func(s eventID) bool { return s.stream().Info().Frequent }))
	}
	for len(c.seen) > MaxSeen {
		c.drop(0)
	}
}

// forget drops the ids that are no longer remembered at an instant.
func (e *Engine) forget(c *Customer, instant Millis) {
	i := slices.IndexFunc(c.seen, func(s eventID) bool { return !e.keeps(s, instant) })
	if i < 0 {
		return
	}
	n := i
	for _, s := range c.seen[i:] {
		if e.keeps(s, instant) {
			c.seen[n] = s
			n++
		} else if c.ids != nil {
			c.ids.remove(s)
		}
	}
	c.seen = c.seen[:n]
	if n <= longSeen {
		c.ids = nil
	}
}

// mergeIDs adds the ids of src to those of dst, both cut to an instant, and returns
// the events that both remember.
func (e *Engine) mergeIDs(dst *Customer, src []eventID, instant Millis) (shared []aggregate.Shared) {
	for _, s := range src {
		if !e.keeps(s, instant) {
			continue
		}
		if i := dst.findID(s.hash()); i >= 0 {
			shared = append(shared, aggregate.Shared{At: s.at(), Hash: s.hash()})
			s = dst.seen[i].later(s)
			dst.drop(i)
		}
		dst.insert(s)
	}
	e.bound(dst)
	return shared
}

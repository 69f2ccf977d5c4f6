// Package dedup remembers which events of a customer were folded, so that each counts
// once.
//
// Its one rule: what is remembered is a function of the records that came, whatever
// their order. An id is remembered with the later of the event's time and its record's,
// of two copies with the later one, for as long as its stream says; see plan.StreamInfo.
package dedup

import (
	"encoding/binary"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Max is how many ids a customer remembers at most, the newest. Reserved of them are for
// streams whose events are few and dear: see plan.StreamInfo.Frequent.
const (
	Max      = 4096
	Reserved = 1024
)

// Event is what tells an event from others, and when it was.
type Event struct {
	Stream     plan.Stream
	Key        uint32 // of a stream of one's own: see plan.StreamInfo.Key
	Source, ID string
	At         expr.Millis
	// Lag is how much later than At the record came into Kafka, in ms.
	Lag expr.Millis
}

// ID is what is remembered of an event: until when, and what it takes to recognize
// a duplicate and to find the event in a list.
type ID struct {
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
)

// Of returns what is remembered of an event.
//
// The hash is over (stream, source, id). Of 10^9 events a day, each compared with 30
// others, two have one hash in 6,000 years.
func Of(ev *Event) ID {
	var buf [128]byte
	b := append(buf[:0], byte(ev.Stream))
	if ev.Stream >= plan.NumBuiltin {
		b = binary.LittleEndian.AppendUint32(append(buf[:0], ownMark), ev.Key)
	}
	b = append(binary.AppendUvarint(b, uint64(len(ev.Source))), ev.Source...)
	hash := xxh3.Hash(append(b, ev.ID...)) &^ lagMask
	s := ID{word: hash | lagOf(ev.Lag)}
	s.put(ev.Stream, ev.At+lag(s.word&lagMask))
	return s
}

func (s *ID) put(stream plan.Stream, remembered expr.Millis) {
	s.mark = int64(max(-maxMark, min(maxMark, remembered)))<<streamBits | int64(stream)
}

// remembered returns the instant with which the id is remembered.
func (s ID) remembered() expr.Millis { return expr.Millis(s.mark >> streamBits) }

func (s ID) stream() plan.Stream { return plan.Stream(s.mark) }

// frequent reports whether the id may not use what is reserved: those of streams of
// one's own may not either.
func (s ID) frequent() bool {
	return s.stream() >= plan.NumBuiltin || s.stream().Builtin().Frequent
}

func (s ID) hash() uint64 { return s.word &^ lagMask }

// at returns the time of the event.
func (s ID) at() expr.Millis { return s.remembered() - lag(s.word&lagMask) }

// later returns s with the time of another copy of the event, if that is later.
func (s ID) later(o ID) ID {
	if o.remembered() > s.remembered() {
		at := s.at()
		s.word = s.hash() | lagOf(o.remembered()-at)
		s.put(s.stream(), at+lag(s.word&lagMask))
	}
	return s
}

func compare(a, b ID) int {
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

// Horizons are how far behind a customer's instant ids are remembered, by stream, in ms.
type Horizons []expr.Millis

// keeps reports whether an id is still remembered at an instant.
func (h *Horizons) keeps(s ID, instant expr.Millis) bool {
	return s.remembered() > instant-(*h)[s.stream()]
}

// Memory is the ids of a customer. The zero Memory is empty.
type Memory struct {
	ids   []ID   // sorted
	index *index // derived, if there are many; or nil
}

// In returns an empty memory that keeps its first ids in room.
func In(room []ID) Memory { return Memory{ids: room[:0]} }

// Len returns how many ids there are, with those that are no longer remembered and were
// not removed yet.
func (m *Memory) Len() int { return len(m.ids) }

// Touch reads the memory at both ends of the list, for who wants it in the processor's
// cache. The result means nothing.
func (m *Memory) Touch() int64 {
	if len(m.ids) == 0 {
		return 0
	}
	return m.ids[0].mark + m.ids[len(m.ids)-1].mark
}

// many is how many ids are looked through one by one; of more there is an index, which
// takes more memory.
const many = 64

// index finds the ids of a customer that has many.
type index struct {
	marks    map[uint64]int64 // by hash
	frequent int              // how many are of streams that are Frequent
}

// indexBytes is about what an id takes in the index.
const indexBytes = 40

// Derived returns about how many bytes m takes for what is not in its encoded form.
func (m *Memory) Derived() int {
	if m.index == nil {
		return 0
	}
	return indexBytes * len(m.index.marks)
}

// indexed returns the index of a long list.
func (m *Memory) indexed() *index {
	if m.index == nil {
		m.index = &index{marks: make(map[uint64]int64, len(m.ids))}
		for _, s := range m.ids {
			m.index.add(s)
		}
	}
	return m.index
}

func (x *index) add(s ID) {
	x.marks[s.hash()] = s.mark
	if s.frequent() {
		x.frequent++
	}
}

func (x *index) remove(s ID) {
	delete(x.marks, s.hash())
	if s.frequent() {
		x.frequent--
	}
}

// find returns where an id is, -1 if it is not there. It may be one that is no longer
// remembered and was not removed yet.
func (m *Memory) find(hash uint64) int {
	if len(m.ids) <= many {
		for i := len(m.ids) - 1; i >= 0; i-- {
			if m.ids[i].hash() == hash {
				return i
			}
		}
		return -1
	}
	mark, ok := m.indexed().marks[hash]
	if !ok {
		return -1
	}
	i, _ := slices.BinarySearchFunc(m.ids, ID{mark: mark}, compare)
	for m.ids[i].hash() != hash {
		i++
	}
	return i
}

// Verdict is what a memory says of an event.
type Verdict struct {
	Duplicate bool
	Conflict  bool // a duplicate whose time is not that of the first
	Prolonged bool // a duplicate because of which the id is remembered longer
}

// Judge says whether an event was folded before and is remembered at an instant, and
// takes note of the copy.
func (m *Memory) Judge(s ID, instant expr.Millis, h *Horizons) (v Verdict) {
	i := m.find(s.hash())
	if i < 0 {
		return v
	}
	old := m.ids[i]
	if !h.keeps(old, instant) {
		m.drop(i)
		return v
	}
	v.Duplicate, v.Conflict = true, old.at() != s.at()
	if now := old.later(s); now != old {
		v.Prolonged = true
		m.drop(i)
		m.insert(now)
	}
	return v
}

// insert adds an id that is not in the list.
func (m *Memory) insert(s ID) {
	i := len(m.ids)
	for i > 0 && compare(m.ids[i-1], s) > 0 {
		i--
	}
	if i == len(m.ids) { // as most are
		m.ids = append(m.ids, s)
	} else {
		m.ids = slices.Insert(m.ids, i, s)
	}
	if m.index != nil {
		m.index.add(s)
	}
}

// drop removes the id at place i. Of a long list nothing moves when the first goes: its
// memory goes when the list grows out of the rest.
func (m *Memory) drop(i int) {
	if m.index != nil {
		m.index.remove(m.ids[i])
	}
	if len(m.ids)-1 <= many {
		m.index = nil
	}
	if i == 0 && len(m.ids) > many {
		m.ids = m.ids[1:]
		return
	}
	m.ids = slices.Delete(m.ids, i, i+1)
}

// Remember adds an id that [Memory.Judge] does not know, unless it is too old at an
// instant. Ids that are no longer remembered are removed only to make room.
func (m *Memory) Remember(s ID, instant expr.Millis, h *Horizons) {
	if !h.keeps(s, instant) {
		return
	}
	if len(m.ids) == cap(m.ids) || len(m.ids) >= Max-Reserved {
		m.Forget(instant, h)
	}
	m.insert(s)
	m.bound()
}

// bound drops the oldest ids while there are too many: all in all, or of streams that
// may not use what is reserved.
func (m *Memory) bound() {
	for len(m.ids) > Max-Reserved && m.indexed().frequent > Max-Reserved {
		m.drop(slices.IndexFunc(m.ids, ID.frequent))
	}
	for len(m.ids) > Max {
		m.drop(0)
	}
}

// Forget drops the ids that are no longer remembered at an instant.
func (m *Memory) Forget(instant expr.Millis, h *Horizons) {
	ids, n := m.ids, 0
	for n < len(ids) && h.keeps(ids[n], instant) {
		n++
	}
	if n == len(ids) {
		return
	}
	for _, s := range ids[n:] {
		if h.keeps(s, instant) {
			m.ids[n] = s
			n++
		} else if m.index != nil {
			m.index.remove(s)
		}
	}
	m.ids = m.ids[:n]
	if n <= many {
		m.index = nil
	}
}

// Merge adds the ids of src, cut to an instant, and returns the events that both
// remember.
func (m *Memory) Merge(src *Memory, instant expr.Millis, h *Horizons) (shared []aggregate.Shared) {
	for _, s := range src.ids {
		if !h.keeps(s, instant) {
			continue
		}
		if i := m.find(s.hash()); i >= 0 {
			shared = append(shared, aggregate.Shared{At: s.at(), Hash: s.hash()})
			s = m.ids[i].later(s)
			m.drop(i)
		}
		m.insert(s)
	}
	m.bound()
	return shared
}

package dedup

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Bytes of the ids: their number, and unless that is 0, for each stream that has any
// its number, twice how many, and each, the newest first:
//
//	+------------------------------------+-------------------------------------+
//	| 8 bytes LE: 56 bits hash, lag code | 4 bytes LE: base - mark             |
//	+------------------------------------+-------------------------------------+
//
// The base is idsAhead after the customer's instant, so that four bytes reach from 12
// days ahead of the instant to 37 behind it. Where that is not enough for all ids of a
// stream (history that was written to Kafka long after it happened), twice their number
// is plus one, and the newest mark follows, which is the base. A mark that is not in
// reach even so has its four bytes all set, and 8 bytes follow.
//
// The number of a stream of one's own depends on the rule set. In its place is ownMark,
// and four bytes, the key of the stream: a hash of its name. They come after those of the
// others, in the order of their names. Ids of a stream that the rules no longer declare
// are forgotten when they are read.
const (
	idsAhead = 1 << 30 // ms
	idsFar   = math.MaxUint32
	ownMark  = 0xff // is the number of no stream
)

// Keys are the keys of a rule set's own streams, in the order of its table.
type Keys []uint32

// stream returns the stream with a key, false if the rules declare none.
func (k Keys) stream(key uint32) (plan.Stream, bool) {
	i := slices.Index(k, key)
	return plan.NumBuiltin + plan.Stream(i), i >= 0
}

// Append appends the bytes of the ids of a customer whose instant is at.
func (m *Memory) Append(b []byte, at expr.Millis, keys Keys) []byte {
	b = binary.AppendUvarint(b, uint64(len(m.ids)))
	stream := plan.Stream(0)
	for left := len(m.ids); left > 0; stream++ {
		stream = m.streamFrom(stream)
		if stream < plan.NumBuiltin {
			b = append(b, byte(stream))
		} else {
			b = binary.LittleEndian.AppendUint32(append(b, ownMark), keys[stream-plan.NumBuiltin])
		}
		n := m.count(stream)
		b = m.appendStream(b, stream, n, at)
		left -= n
	}
	return b
}

// streamFrom returns the first stream from least on that has ids; there is one.
func (m *Memory) streamFrom(least plan.Stream) plan.Stream {
	first := plan.Stream(ownMark)
	for _, s := range m.ids {
		if of := s.stream(); of >= least && of < first {
			first = of
		}
	}
	return first
}

// count returns how many ids a stream has.
func (m *Memory) count(stream plan.Stream) (n int) {
	for _, s := range m.ids {
		if s.stream() == stream {
			n++
		}
	}
	return n
}

// appendStream appends the n ids of a stream, with how many there are.
func (m *Memory) appendStream(b []byte, stream plan.Stream, n int, at expr.Millis) []byte {
	is := func(s ID) bool { return s.stream() == stream }
	oldest := m.ids[slices.IndexFunc(m.ids, is)].remembered()
	last := len(m.ids) - 1
	for !is(m.ids[last]) {
		last--
	}
	newest := m.ids[last].remembered()
	base := at + idsAhead
	// The ids are sorted by their marks: if both ends are in reach, all are.
	far := !inReach(base, oldest) || !inReach(base, newest)
	if !far {
		b = binary.AppendUvarint(b, uint64(n)<<1)
	} else {
		base = newest
		b = binary.AppendUvarint(b, uint64(n)<<1|1)
		b = binary.AppendVarint(b, int64(base-at))
	}
	b = slices.Grow(b, idBytes*n)
	for _, s := range slices.Backward(m.ids[:last+1]) {
		if !is(s) {
			continue
		}
		mark := s.remembered()
		b = binary.LittleEndian.AppendUint64(b, s.word)
		if far && !inReach(base, mark) {
			b = binary.LittleEndian.AppendUint32(b, idsFar)
			b = binary.LittleEndian.AppendUint64(b, uint64(mark))
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(base-mark))
	}
	return b
}

// idBytes is what an id takes that is in reach.
const idBytes = 12

func inReach(base, mark expr.Millis) bool { return mark <= base && base-mark < idsFar }

// Read reads what Append wrote, into m, which is empty. What is wrong is the reader's to
// say.
func (m *Memory) Read(r *aggregate.Reader, at expr.Millis, keys Keys) {
	n := r.Count(idBytes)
	if n == 0 {
		return
	}
	m.ids = sized(m.ids, n)[:0]
	last := plan.Stream(0)
	for n > 0 {
		stream, known, base := plan.Stream(r.Byte()), true, at+idsAhead
		if stream == ownMark {
			stream, known = keys.stream(r.Uint32())
		} else {
			r.Check(stream < plan.NumBuiltin)
		}
		k := r.Uvarint()
		if k&1 != 0 {
			base = at + r.Millis()
		}
		k >>= 1
		r.Check((!known || len(m.ids) == 0 || stream > last) && k > 0 && k <= uint64(n))
		if r.Bad() {
			return
		}
		n -= int(k)
		first := len(m.ids)
		for i := range int(k) {
			m.ids = append(m.ids, decodeID(r, stream, base))
			r.Check(i == 0 || compare(m.ids[first+i], m.ids[first+i-1]) < 0)
		}
		if !known {
			m.ids = m.ids[:first]
			continue
		}
		slices.Reverse(m.ids[first:])
		last = stream
	}
	slices.SortFunc(m.ids, compare)
}

func decodeID(r *aggregate.Reader, stream plan.Stream, base expr.Millis) ID {
	s := ID{word: r.Uint64()}
	mark := base - expr.Millis(r.Uint32())
	if base-mark == idsFar {
		mark = expr.Millis(r.Uint64())
		r.Check(!inReach(base, mark) && mark >= -maxMark && mark <= maxMark)
	}
	s.put(stream, mark)
	return s
}

// unknownStream is the stream, the first of the table, whose ids are remembered for a
// day, too, unless the options say otherwise.
const unknownStream plan.Stream = 0

// ReadOld reads the ids of versions 1 and 2 of the customer format. They were
// remembered for a day, and their stream is not known: they are taken for events of
// unknownStream.
func (m *Memory) ReadOld(r *aggregate.Reader, at expr.Millis, v1 bool) {
	n := r.Count(9)
	if n == 0 {
		return
	}
	m.ids = sized(m.ids, n)
	last := at
	if v1 {
		last = 0
	}
	for i := range m.ids {
		if d := r.Millis(); v1 {
			last += d
		} else {
			last -= d
		}
		m.ids[i] = ID{word: r.Uint64() &^ lagMask}
		m.ids[i].put(unknownStream, last)
	}
	slices.SortFunc(m.ids, compare)
}

// sized returns room, which is empty, with n elements, or n elements elsewhere.
func sized(room []ID, n int) []ID {
	if n > cap(room) {
		return make([]ID, n)
	}
	return room[:n]
}

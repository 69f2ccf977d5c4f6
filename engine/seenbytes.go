package engine

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
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
const (
	idsAhead = 1 << 30 // ms
	idsFar   = math.MaxUint32
)

func appendIDs(b []byte, seen []eventID, at Millis) []byte {
	b = binary.AppendUvarint(b, uint64(len(seen)))
	left := len(seen)
	for stream := plan.Stream(0); left > 0; stream++ {
		n, base, newest := 0, at+idsAhead, Millis(0)
		far := false
		for _, s := range seen {
			if s.stream() == stream {
				n, newest = n+1, s.remembered()
				far = far || !inReach(base, newest)
			}
		}
		if n == 0 {
			continue
		}
		left -= n
		b = append(b, byte(stream))
		if !far {
			b = binary.AppendUvarint(b, uint64(n)<<1)
		} else {
			base = newest
			b = binary.AppendUvarint(b, uint64(n)<<1|1)
			b = binary.AppendVarint(b, int64(base-at))
		}
		for i := len(seen) - 1; i >= 0; i-- {
			if seen[i].stream() == stream {
				b = appendID(b, seen[i], base)
			}
		}
	}
	return b
}

func inReach(base, mark Millis) bool { return mark <= base && base-mark < idsFar }

func appendID(b []byte, s eventID, base Millis) []byte {
	b = binary.LittleEndian.AppendUint64(b, s.word)
	if inReach(base, s.remembered()) {
		return binary.LittleEndian.AppendUint32(b, uint32(base-s.remembered()))
	}
	b = binary.LittleEndian.AppendUint32(b, idsFar)
	return binary.LittleEndian.AppendUint64(b, uint64(s.remembered()))
}

// decodeIDs reads what appendIDs wrote.
func decodeIDs(r *aggregate.Reader, c *Customer) {
	n := r.Count(12)
	if n == 0 {
		return
	}
	c.seen = sized(c.seen, n)[:0]
	last := -1
	for len(c.seen) < n {
		stream, k, base := r.Byte(), r.Uvarint(), c.instant+idsAhead
		if k&1 != 0 {
			base = c.instant + r.Millis()
		}
		k >>= 1
		r.Check(int(stream) > last && stream < byte(plan.NumStreams) && k > 0 && k <= uint64(n-len(c.seen)))
		if r.Bad() {
			return
		}
		last = int(stream)
		first := len(c.seen)
		for i := range int(k) {
			c.seen = append(c.seen, decodeID(r, plan.Stream(stream), base))
			r.Check(i == 0 || compareIDs(c.seen[first+i], c.seen[first+i-1]) < 0)
		}
	}
	slices.SortFunc(c.seen, compareIDs)
}

func decodeID(r *aggregate.Reader, stream plan.Stream, base Millis) eventID {
	s := eventID{word: r.Uint64()}
	mark := base - Millis(r.Uint32())
	if base-mark == idsFar {
		mark = Millis(r.Uint64())
		r.Check(!inReach(base, mark) && mark >= -maxMark && mark <= maxMark)
	}
	s.put(stream, mark)
	return s
}

// unknownStream is the stream, the first of the table, whose ids are remembered for a
// day, too, unless the options say otherwise.
const unknownStream plan.Stream = 0

// decodeOldIDs reads the ids of versions 1 and 2 of the customer format. They were
// remembered for a day, and their stream is not known: they are taken for events of
// unknownStream.
func decodeOldIDs(r *aggregate.Reader, c *Customer, v1 bool) {
	n := r.Count(9)
	if n == 0 {
		return
	}
	c.seen = sized(c.seen, n)
	last := c.instant
	if v1 {
		last = 0
	}
	for i := range c.seen {
		if d := r.Millis(); v1 {
			last += d
		} else {
			last -= d
		}
		c.seen[i] = eventID{word: r.Uint64() &^ lagMask}
		c.seen[i].put(unknownStream, last)
	}
	slices.SortFunc(c.seen, compareIDs)
}

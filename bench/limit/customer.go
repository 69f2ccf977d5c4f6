package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/bench/internal/job"
)

// maxEntries is how many events of a customer are kept, the newest: more than any
// threshold of the rules needs. The engine keeps as many exactly.
const maxEntries = 4096

// dedupHorizon is how far back event ids are remembered, in ms.
const dedupHorizon = 30 * job.Day

// exactCustomer is a customer of exact.
type exactCustomer struct {
	customer
	instant int64 // as of which the rules were last judged
	lastAt  int64 // of the latest event, which Channel and Currency are of
	lastID  []byte
	facts   job.Facts // at instant
	entries []entry   // in the window, by time
	seen    []seen    // by time
	bits    uint32
	wake    int64 // when an event leaves and a comparison changes
	queued  int64 // where the heap has the customer, never if it has not

	sequence [16]uint32 // of each rule
}

type entry struct{ at, amount int64 }

type seen struct {
	at   int64
	hash uint64
}

// identity is the hash that an event is remembered by.
func identity(d *job.Decoded) uint64 {
	var buf [128]byte
	b := append(append(buf[:0], byte(len(d.Source))), d.Source...)
	return xxh3.Hash(append(b, d.ID...))
}

func (c *exactCustomer) remembers(hash uint64) bool {
	for i := len(c.seen) - 1; i >= 0 && c.seen[i].at > c.instant-dedupHorizon; i-- {
		if c.seen[i].hash == hash {
			return true
		}
	}
	return false
}

// fold adds an event; base is the later of the customer's instant and its time.
func (c *exactCustomer) fold(d *job.Decoded, base int64, hash uint64) {
	i := len(c.seen)
	for i > 0 && c.seen[i-1].at > d.At {
		i--
	}
	c.seen = slices.Insert(c.seen, i, seen{d.At, hash})
	n := 0
	for c.seen[n].at <= base-dedupHorizon {
		n++
	}
	c.seen = c.seen[n:]

	c.leave(base)
	if d.At > base-job.WindowMillis {
		i := len(c.entries)
		for i > 0 && c.entries[i-1].at > d.At {
			i--
		}
		c.entries = slices.Insert(c.entries, i, entry{d.At, d.Revenue})
		c.facts.Count++
		c.facts.Sum += d.Revenue
	}
	if len(c.entries) > maxEntries {
		c.drop()
	}
	if d.At > c.lastAt || d.At == c.lastAt && bytes.Compare(d.ID, c.lastID) > 0 {
		c.lastAt, c.lastID = d.At, append(c.lastID[:0], d.ID...)
		c.facts.Channel, c.facts.Currency = job.ChannelCode(d.Channel), job.CurrencyCode(d.Currency)
	}
}

// leave drops what is not in the window that ends at an instant.
func (c *exactCustomer) leave(at int64) {
	for len(c.entries) > 0 && c.entries[0].at <= at-job.WindowMillis {
		c.drop()
	}
}

func (c *exactCustomer) drop() {
	c.facts.Count--
	c.facts.Sum -= c.entries[0].amount
	c.entries = c.entries[1:]
}

// schedule finds the first instant at which an event leaves and a comparison changes.
// With nothing but leaving, numbers only fall: the next one to change is of the
// greatest threshold that is met, and that is kept up by the newest events.
func (c *exactCustomer) schedule() {
	c.wake = never
	for i := len(job.CountCuts) - 1; i >= 0; i-- {
		if n := job.CountCuts[i]; c.facts.Count >= n {
			c.wake = c.entries[len(c.entries)-int(n)].at + job.WindowMillis
			break
		}
	}
	for i := len(job.SumCuts) - 1; i >= 0; i-- {
		cut := job.SumCuts[i]
		if c.facts.Sum <= cut {
			continue
		}
		total := int64(0)
		for j := len(c.entries) - 1; ; j-- {
			if total += c.entries[j].amount; total > cut {
				c.wake = min(c.wake, c.entries[j].at+job.WindowMillis)
				break
			}
		}
		break
	}
}

// evaluate returns a bit for each rule that holds.
func evaluate(f *job.Facts) uint32 {
	var bits uint32
	for i := range job.Ten {
		if job.Ten[i].Holds(f) {
			bits |= 1 << i
		}
	}
	return bits
}

// comparison is a comparison whose truth changes with time, and the rules that have
// it.
type comparison struct {
	count, sum int64 // one of them is given
	rules      uint32
}

var comparisons = listComparisons()

// compare returns a bit for each comparison that is true.
func compare(f *job.Facts) uint32 {
	var bits uint32
	for i := range comparisons {
		c := &comparisons[i]
		if c.count > 0 && f.Count >= c.count || c.sum > 0 && f.Sum > c.sum {
			bits |= 1 << i
		}
	}
	return bits
}

// listComparisons finds the rules of a threshold by asking them on both sides of it,
// with whatever else they look at.
func listComparisons() []comparison {
	var l []comparison
	for _, n := range job.CountCuts {
		l = append(l, comparison{count: n})
	}
	for _, s := range job.SumCuts {
		l = append(l, comparison{sum: s})
	}
	for i := range l {
		c := &l[i]
		for ch := range uint16(len(job.Channels)) {
			for cu := range uint16(len(job.Currencies)) {
				for _, other := range []int64{0, math.MaxInt32 * 1_000_000} {
					f := job.Facts{Count: other, Sum: other, Channel: ch, Currency: cu}
					below := f
					if c.count > 0 {
						f.Count, below.Count = c.count, c.count-1
					} else {
						f.Sum, below.Sum = c.sum+1, c.sum
					}
					c.rules |= evaluate(&f) ^ evaluate(&below)
				}
			}
		}
	}
	return l
}

// encode appends the state: varints, times as differences.
func (c *exactCustomer) encode(b []byte) []byte {
	b = binary.AppendVarint(b, c.instant)
	b = binary.AppendVarint(b, c.wake)
	b = binary.AppendVarint(b, c.lastAt)
	b = append(append(b, byte(len(c.lastID))), c.lastID...)
	b = append(b, byte(c.facts.Channel), byte(c.facts.Currency))
	for i := range job.Ten {
		b = binary.AppendUvarint(b, uint64(c.sequence[i]))
	}
	last := c.lastAt
	b = binary.AppendUvarint(b, uint64(len(c.seen)))
	for _, s := range c.seen {
		b = binary.AppendVarint(b, s.at-last)
		b = binary.LittleEndian.AppendUint64(b, s.hash)
		last = s.at
	}
	b = binary.AppendUvarint(b, uint64(len(c.entries)))
	for _, e := range c.entries {
		b = binary.AppendVarint(b, e.at-last)
		b = binary.AppendVarint(b, e.amount)
		last = e.at
	}
	return b
}

package engine

import "github.com/segmill/segmill/engine/aggregate"

// Ahead reads from the memory of customers what their next events will: of each a
// little, then of each what that leads to. The processor waits for many places at
// once in this way, and not for one after the other, and has them in its cache when
// the events are folded. It changes nothing. The result means nothing, but has to be
// used, lest the reading be left out.
func Ahead(l []*Customer) (sum int64) {
	for _, c := range l {
		sum += int64(c.wake) + int64(c.events)
	}
	for _, c := range l {
		if n := len(c.members); n > 0 {
			sum += int64(c.members[0].seq) + int64(c.members[n-1].seq)
		}
		sum += c.seen.Touch()
		for i := range c.cells {
			sum += int64(c.cells[i].next)
		}
	}
	for _, c := range l {
		for i := range c.cells {
			cl := &c.cells[i]
			if e := cl.list.Entries; len(e) > 0 {
				sum += int64(e[0].At) + int64(e[len(e)-1].At)
			} else if r, ok := cl.other.(*aggregate.Register); ok {
				sum += int64(r.At)
				if r.Set && len(r.ID) > 0 {
					sum += int64(r.ID[0])
				}
			}
		}
	}
	return sum
}

package backtest

import (
	"cmp"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/triggers"
)

// The sides of a comparison, as bits of where a customer is.
const (
	inOld uint8 = 1 << iota
	inNew
)

// sideNames are how reports name where somebody is who is in one alone.
var sideNames = map[uint8]string{inOld: "old", inNew: "new"}

// comparison follows who is where under two rule sets. It takes what both have emitted up
// to the same instant of the clock, so that the effects of a customer can be put in the
// order of their own instants.
type comparison struct {
	line     *timeline
	segments []*compared // by id
	byID     map[string]int
	triggers map[string]*fired
	people   map[string][]place

	batch   []moved // effects on memberships
	recent  []begun // differences that may turn out to have lasted no time
	settled uint32  // how many are no longer in recent
}

// compared is what is counted of a segment or stage.
type compared struct {
	id   string
	only [3]*tally // by the side that the members are in alone
	ever int
	past []Example // of customers, the ones of the least hashes
}

// place is where a customer is, of one segment.
type place struct {
	segment int32
	in      uint8
	ever    bool          // it was in one alone
	recent  uint32        // 1 and the number of what began then among all, 0 if it is settled
	began   engine.Millis // when it came to be in one alone
}

// alone returns the side that the customer is in alone, 0 if it is in both or none.
func (p *place) alone() uint8 {
	if p.in == inOld|inNew {
		return 0
	}
	return p.in
}

// moved is an effect and the side it is of.
type moved struct {
	side   uint8
	effect *engine.Effect
}

// begun is the beginning of a difference.
type begun struct {
	customer string
	segment  int32
	at       engine.Millis
	in       uint8         // where the customer is alone
	side     uint8         // that made the difference; 0: nobody remembers
	why      []engine.Pair // that side's evidence
}

// fired is what is counted of a trigger.
type fired struct {
	both     int
	only     [3]int       // by the side that fired alone
	examples [3][]Instant // of those
}

// mostExamples is how many examples a rule has.
const mostExamples = 10

func newComparison(r *run) *comparison {
	c := &comparison{line: r.line, byID: map[string]int{}, triggers: map[string]*fired{}, people: map[string][]place{}}
	var ids []string
	for _, s := range r.sides {
		ids = append(ids, s.segments.ids...)
		for _, id := range s.triggers.ids {
			c.triggers[id] = &fired{}
		}
	}
	slices.Sort(ids)
	for i, id := range slices.Compact(ids) {
		c.byID[id] = i
		c.segments = append(c.segments, &compared{id: id, only: [3]*tally{inOld: r.line.tally(), inNew: r.line.tally()}})
	}
	return c
}

// take takes what both sides have emitted up to an instant of the clock.
func (c *comparison) take(before, after []engine.Effect, clock engine.Millis) {
	if len(before)+len(after) > 0 {
		var old, fresh []*engine.Effect
		c.batch = c.batch[:0]
		c.sort(before, inOld, &old)
		c.sort(after, inNew, &fresh)
		slices.SortStableFunc(c.batch, func(a, b moved) int { return cmp.Compare(a.effect.At, b.effect.At) })
		for _, m := range c.batch {
			c.move(m)
		}
		c.fired(old, fresh)
	}
	c.settle(clock)
}

// sort puts effects of a side on memberships into the batch, and firings into a list, but
// for those from before the first period.
func (c *comparison) sort(effects []engine.Effect, side uint8, firings *[]*engine.Effect) {
	for i := range effects {
		switch e := &effects[i]; {
		case e.Action != engine.Fired:
			c.batch = append(c.batch, moved{side, e})
		case e.At >= c.line.from:
			*firings = append(*firings, e)
		}
	}
}

// move moves a customer into a segment on one side, or out of it.
func (c *comparison) move(m moved) {
	e := m.effect
	segment := c.byID[e.Name]
	s, p := c.segments[segment], c.place(e.Customer, int32(segment))
	was := p.alone()
	p.in ^= m.side
	is := p.alone()
	if was != 0 {
		c.line.add(s.only[was], e.At, 0, 1)
		c.ended(p, e.At, begun{customer: e.Customer, segment: p.segment, at: p.began, in: was})
	}
	if is != 0 {
		c.line.add(s.only[is], e.At, 1, 0)
		c.recent = append(c.recent, begun{e.Customer, p.segment, e.At, is, m.side, e.Evidence})
		p.began, p.recent = e.At, c.settled+uint32(len(c.recent))
	}
}

// place returns where a customer is, of one segment.
func (c *comparison) place(customer string, segment int32) *place {
	l := c.people[customer]
	i, ok := slices.BinarySearchFunc(l, segment, func(p place, segment int32) int { return cmp.Compare(p.segment, segment) })
	if !ok {
		l = slices.Insert(l, i, place{segment: segment})
		c.people[customer] = l
	}
	return &l[i]
}

// ended notes that a difference ended at an instant. One that lasted no time is none, nor is
// one from before the first period.
func (c *comparison) ended(p *place, at engine.Millis, b begun) {
	until, s := at.String(), c.segments[b.segment]
	if p.recent > 0 {
		b = c.recent[p.recent-1-c.settled]
		p.recent = 0
	} else {
		for i := range s.past {
			if x := &s.past[i]; x.Customer == b.customer && x.Until == nil {
				x.Until = &until
			}
		}
	}
	if at > max(b.at, c.line.from) {
		c.note(p, &b, &until)
	}
}

// settle notes the recent differences that last: the clock has passed their beginning, so
// that nothing is emitted as of it any more. Those from before the first period are noted
// when they end.
func (c *comparison) settle(clock engine.Millis) {
	n := 0
	for ; n < len(c.recent) && c.recent[n].at < clock; n++ {
		b := &c.recent[n]
		p := c.place(b.customer, b.segment)
		if p.recent != c.settled+uint32(n)+1 {
			continue // it has ended
		}
		if p.recent = 0; b.at >= c.line.from {
			c.note(p, b, nil)
		}
	}
	clear(c.recent[:n])
	c.recent = c.recent[n:]
	c.settled += uint32(n)
}

// note counts a difference and makes it an example if there is room, or its customer has
// a lesser hash than one of them. Of a customer the first difference is one.
func (c *comparison) note(p *place, b *begun, until *string) {
	if p.ever {
		return
	}
	p.ever = true
	s := c.segments[p.segment]
	s.ever++
	s.past = keepLeast(s.past, b.customer, func(x *Example) string { return x.Customer }, func() Example {
		x := Example{Customer: b.customer, In: sideNames[b.in], Since: b.at.String(), Until: until}
		switch b.side {
		case inOld:
			x.Old = values(b.why)
		case inNew:
			x.New = values(b.why)
		}
		return x
	})
}

// keepLeast inserts what example returns into a list of examples by the hashes of their
// customers, if it is among the first of them and the customer has no other.
func keepLeast[X any](l []X, customer string, of func(*X) string, example func() X) []X {
	h := xxh3.HashString(customer)
	i := len(l)
	for i > 0 && xxh3.HashString(of(&l[i-1])) > h {
		i--
	}
	if i == mostExamples || i > 0 && of(&l[i-1]) == customer {
		return l
	}
	l = slices.Insert(l, i, example())
	return l[:min(mostExamples, len(l))]
}

// values are values by name.
func values(l []engine.Pair) map[string]string {
	m := map[string]string{}
	for _, p := range l {
		m[p.Name] = p.Value
	}
	return m
}

// fired compares firings: those of one trigger and customer with one due instant are the
// same.
func (c *comparison) fired(old, fresh []*engine.Effect) {
	slices.SortStableFunc(old, compareFirings)
	slices.SortStableFunc(fresh, compareFirings)
	for len(old) > 0 || len(fresh) > 0 {
		switch {
		case len(fresh) == 0 || len(old) > 0 && compareFirings(old[0], fresh[0]) < 0:
			c.firedOnce(old[0], inOld)
			old = old[1:]
		case len(old) == 0 || compareFirings(old[0], fresh[0]) > 0:
			c.firedOnce(fresh[0], inNew)
			fresh = fresh[1:]
		default:
			c.triggers[old[0].Name].both++
			old, fresh = old[1:], fresh[1:]
		}
	}
}

func compareFirings(a, b *engine.Effect) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.Due, b.Due))
}

// firedOnce counts what fired on one side alone.
func (c *comparison) firedOnce(e *engine.Effect, in uint8) {
	t := c.triggers[e.Name]
	t.only[in]++
	t.examples[in] = keepLeast(t.examples[in], e.Customer, func(x *Instant) string { return x.Customer }, func() Instant {
		return Instant{Customer: e.Customer, In: sideNames[in], At: e.At.String(), Why: triggers.Why(e.Message)}
	})
}

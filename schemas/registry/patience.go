package registry

import (
	"slices"
	"time"
)

// How long an id that the registry does not have, or has for others, is given to
// appear. A replica of a registry is behind by less. But what waits is a partition: so
// an id that stays unknown is given time again only after ever longer pauses, and when
// very many ids come that nobody knows, new ones are given none.
const (
	patienceFor   = 3 * time.Second
	patienceFlood = time.Second
	flood         = 8 // new ids within patienceFor
	// The pause between two grants to one id doubles from 2 s up to this.
	maxGrantAgain = time.Minute
	maxGrants     = 64               // at once, for all ids
	grantEvery    = 10 * time.Second // one more
)

// patience says which ids are given time to appear.
type patience struct {
	spent    int         // grants that are not there, of maxGrants
	refilled time.Time   // when there was last one more
	unknown  []time.Time // when new ids were found to be unknown, those within patienceFor
}

// has reports whether an id is to be looked up again before it is judged.
func (p *patience) has(e *lookup, now time.Time) bool {
	p.unknown = slices.DeleteFunc(p.unknown, func(at time.Time) bool { return now.Sub(at) > patienceFor })
	flooded := len(p.unknown) > flood
	if !e.counted {
		e.counted = true
		p.unknown = append(p.unknown[max(0, len(p.unknown)-flood):], now)
	}
	if e.unsure.IsZero() {
		if flooded || e.grants > 0 && now.Sub(e.granted) < min(time.Second<<min(e.grants, 10), maxGrantAgain) || !p.take(now) {
			return false
		}
		e.unsure, e.granted, e.grants = now, now, e.grants+1
	}
	if flooded {
		return now.Sub(e.unsure) < patienceFlood
	}
	return now.Sub(e.unsure) < patienceFor
}

// take takes a grant, if there is one.
func (p *patience) take(now time.Time) bool {
	if more := int(now.Sub(p.refilled) / grantEvery); more > 0 {
		p.spent, p.refilled = max(0, p.spent-more), now
	}
	if p.spent == maxGrants {
		return false
	}
	p.spent++
	return true
}

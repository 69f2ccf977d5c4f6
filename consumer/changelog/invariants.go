package changelog

import "github.com/segmill/segmill/internal/invariants"

// CheckStep checks, in builds with invariants, that a position follows another one of
// the same partition: one number further, with no clock, offset or count going back and
// no source forgotten but the topic of history, when that has been read to its end. Positions
// are the only record of what was read, so one that goes back would read events again. It does
// nothing in a release.
func CheckStep(before, after *Position) {
	if !invariants.Enabled {
		return
	}
	switch {
	case after.Seq != before.Seq+1:
		invariants.Broken("position %d follows position %d", after.Seq, before.Seq)
	case after.Clock < before.Clock:
		invariants.Broken("position %d: the clock went back from %v to %v", after.Seq, before.Clock, after.Clock)
	case after.Latest < before.Latest:
		invariants.Broken("position %d: the greatest event time went back from %v to %v", after.Seq, before.Latest, after.Latest)
	case after.Folded < before.Folded || after.DeadLetters < before.DeadLetters || after.Forwarded < before.Forwarded:
		invariants.Broken("position %d: a count went back", after.Seq)
	}
	for in, was := range before.Sources {
		now, ok := after.Sources[in]
		switch {
		case !ok && in.Topic == after.App+".history": // it has been read to its end
		case !ok:
			invariants.Broken("position %d has forgotten %v", after.Seq, in)
		case now.First != was.First:
			invariants.Broken("position %d: %v was read from offset %d on, and now from %d", after.Seq, in, was.First, now.First)
		case now.Next < was.Next:
			invariants.Broken("position %d: %v went back from offset %d to %d", after.Seq, in, was.Next, now.Next)
		case now.Seen < was.Seen:
			invariants.Broken("position %d: the greatest event time of %v went back", after.Seq, in)
		}
	}
}

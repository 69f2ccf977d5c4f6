package engine

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/segmill/segmill/engine/plan"
)

// Up to version 4 of the format, customers have halves of keys. Whoever reads one finds the
// whole of it among the rules that the customer can be under:
//
//  1. While a change is in progress, and before it has come by the customer, these are first the
//     rules before it, since it was they who wrote the half. One of them that the rules no
//     longer have must not be taken for one that they have now.
//  2. Then the engine's. A half that is none of theirs either belongs to a rule of long ago, and
//     stays as it is.
//
// Rules of earlier versions had no two keys with one half. Those of today may, so a half can
// stand for two of them, but only in a change that adds one of them: it writes every customer
// again, with whole keys. In the change it is known which of the two was there before. If it
// was given up for another change, both were there before that; then it is the one that was
// there all along. Where that does not tell, reading the customer is an error that names both.

// keys are those of some rules.
type keys struct{ segments, triggers, summaries plan.Keys }

func keysOf(p *plan.Plan) keys {
	segments, triggers, summaries := []plan.Key{markKey}, []plan.Key(nil), []plan.Key(nil)
	for i := range p.Segments {
		segments = append(segments, p.Segments[i].Key)
	}
	for i := range p.Triggers {
		triggers = append(triggers, p.Triggers[i].Key)
	}
	for i := range p.Summaries {
		summaries = append(summaries, p.Summaries[i].Key)
	}
	return keys{plan.Sorted(segments), plan.Sorted(triggers), plan.Sorted(summaries)}
}

// ids returns the ids, as Engine.Versions has them, of all former rules.
func (f *Former) ids() map[string]bool {
	ids := map[string]bool{}
	for id := range f.Versions {
		ids[id] = true
	}
	for i := range f.Renamed {
		for id := range f.Renamed[i].To {
			ids[id] = true
		}
	}
	return ids
}

// keysOfIDs returns the keys of rules. Their summaries are not known.
func keysOfIDs(ids iter.Seq[string]) keys {
	segments, triggers := []plan.Key{markKey}, []plan.Key(nil)
	for id := range ids {
		if name, ok := triggerID(id); ok {
			triggers = append(triggers, triggerKey(name))
		} else if isSegment(id) {
			segments = append(segments, SegmentKey(id))
		}
	}
	return keys{segments: plan.Sorted(segments), triggers: plan.Sorted(triggers)}
}

// whole returns the key of rules that a short one stands for, itself if there is none.
func whole(short plan.Key, rules plan.Keys) (plan.Key, error) {
	switch first, end := rules.Whole(short); end - first {
	case 0:
		return short, nil
	case 1:
		return rules[first], nil
	default:
		return short, &doubt{rules[first], rules[first+1]}
	}
}

// doubt is the error of a half that can be that of two keys.
type doubt struct{ a, b plan.Key }

func (d *doubt) Error() string { return fmt.Sprintf("keys %x and %x have one half", d.a, d.b) }

// explain names the rules that an error is about.
func (e *Engine) explain(err error, change *RuleChange) error {
	var d *doubt
	if !errors.As(err, &d) {
		return err
	}
	return fmt.Errorf("%w: an earlier version wrote it, for which %s and %s have the same hash of 32 bits, and it is not known which of them is meant: "+
		"change the id of the newer one or, if they are values, how it is written", ErrFormat, e.nameOf(d.a, change), e.nameOf(d.b, change))
}

// nameOf returns what has a key, in words.
func (e *Engine) nameOf(key plan.Key, change *RuleChange) string {
	ids := map[string]bool{}
	for id := range e.Versions() {
		ids[id] = true
	}
	if change != nil {
		maps.Copy(ids, change.formerIDs)
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		name, ok := triggerID(id)
		switch {
		case ok && triggerKey(name) == key:
			return fmt.Sprintf("trigger %q", name)
		case !ok && SegmentKey(id) == key:
			return fmt.Sprintf("segment %q", id)
		}
	}
	for i := range e.p.Summaries {
		s := &e.p.Summaries[i]
		if s.Key != key {
			continue
		}
		for _, in := range s.Inputs {
			if text := e.p.Spec.Inputs[in].Text; e.Reader(text) != "" {
				return fmt.Sprintf("%s, which %q reads,", text, e.Reader(text))
			}
		}
		return fmt.Sprintf("%q", s.Text)
	}
	return fmt.Sprintf("the key %x", key)
}

// summary returns the number of the summary that has a key, false if there is none. Of several
// that have its half, it is the one that the rules before the change had, too.
func (e *Engine) summary(key plan.Key, change *RuleChange) (int, bool, error) {
	first, end := e.keys.summaries.Whole(key)
	if end-first < 2 {
		return first, first < end, nil
	}
	var kept []int
	for i := first; i < end && change != nil; i++ {
		if !change.differs.Facts[i] {
			kept = append(kept, i)
		}
	}
	if len(kept) != 1 {
		l := e.keys.summaries
		return 0, false, &doubt{l[first], l[first+1]}
	}
	return kept[0], true, nil
}

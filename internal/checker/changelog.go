package checker

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/state"
)

// judgeChangelog is I4 and I5: positions by themselves, and the last value of
// every key against the last of them.
func (j *judgement) judgeChangelog(context.Context) error {
	topic := j.cfg.changelog()
	for _, p := range slices.Sorted(maps.Keys(j.parts)) {
		part := j.parts[p]
		values := map[string]state.Digest{}
		var sum state.Digest
		var buf []byte
		records := j.h.Topics[topic][p]
		if j.cfg.AtLeastOnce {
			var err error
			if records, err = changelog.Counting(records); err != nil {
				return err
			}
		}
		for _, r := range records {
			switch key := string(r.Key); {
			case strings.HasPrefix(key, changelog.CustomerPrefix):
				id := key[len(changelog.CustomerPrefix):]
				sum = sum.Sub(values[id])
				delete(values, id)
				if r.Value != nil {
					values[id], buf = state.DigestOf(id, r.Value, buf)
					sum = sum.Add(values[id])
				}
			case key == changelog.PositionKey:
				pos, err := changelog.DecodePosition(r.Value)
				if err != nil {
					j.violate("I4", "%s: %v", place(r), err)
					continue
				}
				j.judgePosition(place(r), part.last, pos)
				part.last = pos
				part.bySeq[pos.Seq] = pos.Digest
				// A compacted changelog lacks customers that were written again, so only
				// the end can be judged.
				if !j.cfg.Compacted && sum != pos.Digest {
					j.violate("I5", "%s: position %d has digest %v, the records up to it have %v", place(r), pos.Seq, pos.Digest, sum)
				}
			case key != changelog.VersionsKey:
				j.violate("I4", "%s: no engine writes the key %q", place(r), key)
			}
		}
		if part.last == nil {
			if len(values) > 0 {
				j.violate("I4", "%s/%d: customers and no position", topic, p)
			}
			continue
		}
		if sum != part.last.Digest {
			j.violate("I5", "%s/%d: the last position (%d) has digest %v, the %d customers have %v",
				topic, p, part.last.Seq, part.last.Digest, len(values), sum)
		}
		j.r.Transactions += part.last.Seq
	}
	return nil
}

// judgePosition compares a position with the one before it.
func (j *judgement) judgePosition(where string, before, pos *changelog.Position) {
	if before == nil {
		if pos.Seq != 1 && !j.cfg.Compacted {
			j.violate("I4", "%s: the first position is %d", where, pos.Seq)
		}
		return
	}
	if pos.Seq != before.Seq+1 && (!j.cfg.Compacted || pos.Seq <= before.Seq) {
		j.violate("I4", "%s: position %d after %d", where, pos.Seq, before.Seq)
	}
	if pos.Clock < before.Clock {
		j.violate("I4", "%s: the clock goes back from %v to %v", where, before.Clock, pos.Clock)
	}
	_, readsHistory := pos.Sources[changelog.Input{Topic: j.cfg.history()}]
	if _, did := before.Sources[changelog.Input{Topic: j.cfg.history()}]; readsHistory && !did {
		j.violate("I4", "%s: history is read again, or was not read at once", where)
	}
	for in, s := range before.Sources {
		if in.Topic == j.cfg.history() && !readsHistory {
			continue // it has been read to its end
		}
		if pos.Sources[in].Next < s.Next {
			j.violate("I4", "%s: the offset of %v goes back from %d to %d", where, in, s.Next, pos.Sources[in].Next)
		}
	}
	if pos.Folded < before.Folded || pos.DeadLetters < before.DeadLetters || pos.Forwarded < before.Forwarded {
		j.violate("I4", "%s: a count goes back", where)
	}
}

// judgeStores is the part of I5 about local copies.
func (j *judgement) judgeStores(ctx context.Context) error {
	for i, store := range j.cfg.Stores {
		for _, p := range slices.Sorted(maps.Keys(j.parts)) {
			if _, ok, err := store.Task(p).Meta(); err != nil {
				return err
			} else if !ok {
				continue
			}
			part := j.parts[p]
			v, err := replica.Verify(ctx, store, p)
			if err != nil {
				j.violate("I5", "store %d, partition %d: %v", i, p, err)
				continue
			}
			want, ok := part.bySeq[v.Seq]
			switch {
			case part.last == nil || v.Seq > part.last.Seq:
				j.violate("I5", "store %d, partition %d: at position %d, ahead of the changelog", i, p, v.Seq)
			case !ok && !j.cfg.Compacted:
				j.violate("I5", "store %d, partition %d: at position %d, which the changelog never had", i, p, v.Seq)
			case ok && v.Digest != want:
				j.violate("I5", "store %d, partition %d: digest %v at position %d, the changelog says %v", i, p, v.Digest, v.Seq, want)
			}
		}
	}
	return nil
}

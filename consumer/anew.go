package consumer

import (
	"context"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
)

// lookBack is how many offsets before the end of a changelog its last position
// stands, at most: the largest transactions of many batches that were not completed.
const lookBack = 500_000

// hasPosition reports whether the changelog, which begins at first, has a
// committed position. Its length does not tell: a client may have written to a
// topic that was created anew before it noticed, and have aborted that.
func (r *replay) hasPosition(ctx context.Context, first int64) (bool, error) {
	past := &replay{o: r.o, n: r.n, next: max(first, r.end-lookBack)}
	defer past.close()
	for past.next < r.end {
		if err := past.fetch(ctx, r.end); err != nil {
			return false, err
		}
		for _, rec := range past.rest {
			if !rec.Attrs.IsControl() && string(rec.Key) == changelog.PositionKey {
				return true, nil
			}
			past.next = rec.Offset + 1
		}
	}
	return false, nil
}

// checkTopic makes sure that the changelog is the one that the engine started
// with. A copy of a former one is not given up for a changelog without a position:
// the state would begin from nothing, and everything be told again.
func (r *replay) checkTopic(ctx context.Context, first int64) error {
	topic := r.o.cfg.changelog()
	if before, ok := r.o.ids[topic]; ok && before != (changelog.TopicID{}) && before != r.topicID {
		return fault.Stopped(r.n, "%s was created anew while the engine ran, and the state was in it: restore it, or begin with another app name", topic)
	}
	meta, ok, err := r.store.Meta()
	if err != nil || !ok || meta.TopicID == r.topicID {
		return err
	}
	if ok, err = r.hasPosition(ctx, first); err != nil || ok {
		return err
	}
	return fault.Stopped(r.n, "%s was created anew and is empty, and the local copy is of the former one: restore it, or begin with another app name", topic)
}

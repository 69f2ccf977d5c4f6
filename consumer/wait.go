package consumer

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/segmill/segmill/consumer/feed"
)

// overdue adds to the waits that a task has published what it could not: answers that
// it is still waiting for, since when its loop last went round, and ends of inputs
// that no broker reports.
func (t *TaskStatus) overdue(now time.Time, unanswered map[string]time.Time) {
	if t.State != Running {
		return
	}
	if now.Sub(t.looped) > feed.StallAfter {
		t.Waits = append(slices.Clip(t.Waits), feed.Wait{Since: t.looped, Reason: "its loop has not gone round: Kafka does not answer a request"})
	}
	for _, topic := range slices.Sorted(maps.Keys(unanswered)) {
		if since := unanswered[topic]; now.Sub(since) > feed.StallAfter && !slices.ContainsFunc(t.Waits, func(w feed.Wait) bool { return w.Topic == topic }) {
			t.Waits = append(slices.Clip(t.Waits), feed.Wait{Topic: topic, Since: since, Reason: "no broker says where the partition ends: is its leader down?"})
		}
	}
}

// showWaits puts what a task waits for into the metrics and, when that begins and
// when it is over, into the log.
func (o *Owner) showWaits(t TaskStatus) {
	partition := strconv.Itoa(int(t.Partition))
	among := func(l []feed.Wait, topic string) bool {
		return slices.ContainsFunc(l, func(w feed.Wait) bool { return w.Topic == topic })
	}
	before := o.waiting[t.Partition]
	for _, w := range before {
		if !among(t.Waits, w.Topic) {
			o.cfg.Metrics.Waiting.WithLabelValues(partition, w.Topic).Set(0)
			o.cfg.Logger.Info("partition no longer waits", "partition", t.Partition, "topic", w.Topic)
		}
	}
	for _, w := range t.Waits {
		o.cfg.Metrics.Waiting.WithLabelValues(partition, w.Topic).Set(o.cfg.Now().Sub(w.Since).Seconds())
		if !among(before, w.Topic) {
			o.cfg.Logger.Warn("partition waits", "partition", t.Partition, "topic", w.Topic, "since", w.Since.UTC(), "reason", w.Reason)
		}
	}
	if o.waiting == nil {
		o.waiting = map[int32][]feed.Wait{}
	}
	o.waiting[t.Partition] = t.Waits
}

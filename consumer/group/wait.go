package group

import (
	"slices"
	"strconv"

	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
)

// showWaits puts what a task waits for into the metrics and, when that begins and
// when it is over, into the log.
func (o *Owner) showWaits(t task.Status) {
	partition := strconv.Itoa(int(t.Partition))
	among := func(l []feed.Wait, topic string) bool {
		return slices.ContainsFunc(l, func(w feed.Wait) bool { return w.Topic == topic })
	}
	before := o.waiting[t.Partition]
	for _, w := range before {
		if !among(t.Waits, w.Topic) {
			o.Config.Metrics.Waiting.WithLabelValues(partition, w.Topic).Set(0)
			o.Config.Logger.Info("partition no longer waits", "partition", t.Partition, "topic", w.Topic)
		}
	}
	for _, w := range t.Waits {
		o.Config.Metrics.Waiting.WithLabelValues(partition, w.Topic).Set(o.Config.Now().Sub(w.Since).Seconds())
		if !among(before, w.Topic) {
			o.Config.Logger.Warn("partition waits", "partition", t.Partition, "topic", w.Topic, "since", w.Since.UTC(), "reason", w.Reason)
		}
	}
	if o.waiting == nil {
		o.waiting = map[int32][]feed.Wait{}
	}
	o.waiting[t.Partition] = t.Waits
}

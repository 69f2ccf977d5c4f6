package group

import (
	"slices"
	"strconv"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
)

// showWaits puts what a task waits for into the metrics and, when that begins and
// when it is over, into the log.
func (o *Owner) showWaits(t task.Status) {
	among := func(l []feed.Wait, in broker.Partition) bool {
		return slices.ContainsFunc(l, func(w feed.Wait) bool { return w.Input == in })
	}
	before := o.waiting[t.Partition]
	for _, w := range before {
		if !among(t.Waits, w.Input) {
			o.Config.Metrics.Waiting.WithLabelValues(waitLabels(w)...).Set(0)
			o.Config.Logger.Info("partition no longer waits", "partition", t.Partition, "topic", w.Input.Topic, "of_partition", w.Input.Number)
		}
	}
	for _, w := range t.Waits {
		o.gauged[t.Partition][w.Input] = true
		o.Config.Metrics.Waiting.WithLabelValues(waitLabels(w)...).Set(o.Config.Now().Sub(w.Since).Seconds())
		if !among(before, w.Input) {
			o.Config.Logger.Warn("partition waits", "partition", t.Partition, "topic", w.Input.Topic, "of_partition", w.Input.Number, "since", w.Since.UTC(), "reason", w.Reason)
		}
	}
	if o.waiting == nil {
		o.waiting = map[int32][]feed.Wait{}
	}
	o.waiting[t.Partition] = t.Waits
}

// waitLabels are the partition and the topic that is waited for; the task's own number
// and no topic if that is none of the inputs.
func waitLabels(w feed.Wait) []string {
	if w.Input.Topic == "" {
		return []string{strconv.Itoa(int(w.Task)), ""}
	}
	return []string{strconv.Itoa(int(w.Input.Number)), w.Input.Topic}
}

package feed

import (
	"fmt"
	"strings"
	"time"

	"github.com/segmill/segmill/consumer/broker"
)

// StallAfter is how long a running task may be without progress, while there is
// something to do, before that is shown.
const StallAfter = 5 * time.Second

// Wait is something that a running task waits for.
type Wait struct {
	// Input is what is waited for, without a topic if it is none of the inputs.
	Input broker.Partition
	// Task is the number of the task that waits.
	Task int32
	// Since is when there was progress last.
	Since time.Time
	// Reason says what is waited for.
	Reason string
}

// pulse is when an input last moved.
type pulse struct {
	next int64 // was its next offset then
	at   time.Time
}

// beat takes in how far an input is. It returns since when it has been stuck with
// records unread, zero if it does not.
func (p *pulse) beat(in *Input, now time.Time) (since time.Time) {
	if !in.unread() && (!in.open() || in.passesOver()) || in.Next != p.next || p.at.IsZero() {
		p.next, p.at = in.Next, now
		return time.Time{}
	}
	return p.at
}

// Waits returns what the inputs wait for: one that is stuck for StallAfter
// although it is not read to its end.
func (f *Feed) Waits() (l []Wait) {
	now := f.Config.Now()
	for _, in := range f.inputs {
		since := in.pulse.beat(in, now)
		if w, ok := f.waitsForTask(in, now); ok {
			l = append(l, w)
			continue
		}
		if err := in.hold.shown; err != nil {
			l = append(l, Wait{Input: in.Place(), Task: f.Partition, Since: in.hold.since, Reason: err.Error()})
			continue
		}
		if since.IsZero() || now.Sub(since) < StallAfter || in.open() && f.passOver(in, now.Sub(since)) {
			continue
		}
		w := Wait{Input: in.Place(), Task: f.Partition, Since: since, Reason: "its next record does not come: does the leader of the partition answer?"}
		switch {
		case in.open():
			w.Reason = fmt.Sprintf("a transaction is open at offset %d: its producer has neither committed nor aborted it (kafka-transactions.sh find-hanging says who); timers wait, for %v at most (max_open_transaction)",
				in.Next, f.Config.Time.MaxOpenTransaction)
		case in.loaded:
			w.Reason = "its next record waits for those of the other topics"
		}
		l = append(l, w)
	}
	return l
}

// waitsForTask returns what the clock waits for if a task that forwards to this one has not
// spoken for StallAfter.
func (f *Feed) waitsForTask(in *Input, now time.Time) (w Wait, ok bool) {
	if !in.bound.any || in.bound != in.heard.bound || in.heard.at.IsZero() {
		in.heard.bound, in.heard.at = in.bound, now
		return Wait{}, false
	}
	if now.Sub(in.heard.at) < StallAfter {
		return Wait{}, false
	}
	return Wait{Input: in.Place(), Task: f.Partition, Since: in.heard.at, Reason: fmt.Sprintf(
		"timers wait for task %d, which has not said how far its inputs have been read: does it run? Its records are forwarded to other tasks, since not every input has as many partitions as there are tasks, or a multiple of it",
		in.bound.task)}, true
}

// passOver reports whether a transaction has been open on an input for too long to be
// waited for, and notes it.
func (f *Feed) passOver(in *Input, open time.Duration) bool {
	if open < f.Config.Time.MaxOpenTransaction {
		return false
	}
	in.passed = in.Next
	f.Config.Metrics.PassedOver.WithLabelValues(in.Topic).Inc()
	f.Log.Error("a transaction stays open; timers go on without waiting for the records in it and after it",
		"topic", in.Topic, "of_partition", in.Partition, "offset", in.Next, "open_for", open.Round(time.Second))
	return true
}

// String says what is waited for and since when, for people.
func (w Wait) String() string {
	what := w.Input.Topic
	if what != "" && w.Input.Number != w.Task {
		what = w.Input.String()
	}
	return strings.TrimSpace(fmt.Sprintf("%s since %s: %s", what, w.Since.UTC().Format(time.TimeOnly), w.Reason))
}

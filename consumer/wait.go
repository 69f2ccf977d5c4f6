package consumer

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// stallAfter is how long a running task may be without progress, while there is
// something to do, before that is shown.
const stallAfter = 5 * time.Second

// Wait is something that a running task waits for.
type Wait struct {
	// Topic is the input, "" if it is not one of them that is waited for.
	Topic string
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

// beat takes in how far an input is. It returns since when it stands still with
// records unread, zero if it does not.
func (p *pulse) beat(in *input, now time.Time) (since time.Time) {
	if !in.unread() && (!in.open() || in.passesOver()) || in.next != p.next || p.at.IsZero() {
		p.next, p.at = in.next, now
		return time.Time{}
	}
	return p.at
}

// waits returns what the inputs wait for: one that stands still for stallAfter
// although it is not read to its end.
func (s *session) waits() (l []Wait) {
	now := s.cfg.Now()
	for _, in := range s.inputs {
		since := in.pulse.beat(in, now)
		if err := in.hold.shown; err != nil {
			l = append(l, Wait{Topic: in.topic, Since: in.hold.since, Reason: err.Error()})
			continue
		}
		if since.IsZero() || now.Sub(since) < stallAfter || in.open() && s.passOver(in, now.Sub(since)) {
			continue
		}
		w := Wait{Topic: in.topic, Since: since, Reason: "its next record does not come: does the leader of the partition answer?"}
		switch {
		case in.open():
			w.Reason = fmt.Sprintf("a transaction is open at offset %d: its producer has neither committed nor aborted it (kafka-transactions.sh find-hanging says who); timers wait, for %v at most (max_open_transaction)",
				in.next, s.cfg.Time.MaxOpenTransaction)
		case in.loaded:
			w.Reason = "its next record waits for those of the other topics"
		}
		l = append(l, w)
	}
	return l
}

// passOver reports whether a transaction has been open on an input for too long to be
// waited for, and notes it.
func (s *session) passOver(in *input, open time.Duration) bool {
	if open < s.cfg.Time.MaxOpenTransaction {
		return false
	}
	in.passed = in.next
	s.cfg.Metrics.PassedOver.WithLabelValues(in.topic).Inc()
	s.t.log.Error("a transaction stays open; timers go on without waiting for what stands in it and behind it",
		"topic", in.topic, "offset", in.next, "open_for", open.Round(time.Second))
	return true
}

// overdue adds to the waits that a task has published what it could not: answers that
// it is still waiting for, since when its loop last went round, and ends of inputs
// that no broker reports.
func (t *TaskStatus) overdue(now time.Time, unanswered map[string]time.Time) {
	if t.State != Running {
		return
	}
	if now.Sub(t.looped) > stallAfter {
		t.Waits = append(slices.Clip(t.Waits), Wait{Since: t.looped, Reason: "its loop has not gone round: Kafka does not answer a request"})
	}
	for _, topic := range slices.Sorted(maps.Keys(unanswered)) {
		if since := unanswered[topic]; now.Sub(since) > stallAfter && !slices.ContainsFunc(t.Waits, func(w Wait) bool { return w.Topic == topic }) {
			t.Waits = append(slices.Clip(t.Waits), Wait{Topic: topic, Since: since, Reason: "no broker says where the partition ends: is its leader down?"})
		}
	}
}

// String says what is waited for and since when, for people.
func (w Wait) String() string {
	return strings.TrimSpace(fmt.Sprintf("%s since %s: %s", w.Topic, w.Since.UTC().Format(time.TimeOnly), w.Reason))
}

// showWaits puts what a task waits for into the metrics and, when that begins and
// when it is over, into the log.
func (o *Owner) showWaits(t TaskStatus) {
	partition := strconv.Itoa(int(t.Partition))
	among := func(l []Wait, topic string) bool {
		return slices.ContainsFunc(l, func(w Wait) bool { return w.Topic == topic })
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
		o.waiting = map[int32][]Wait{}
	}
	o.waiting[t.Partition] = t.Waits
}

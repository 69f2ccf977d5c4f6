package task

import (
	"time"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
)

// How long the loop waits, and when it commits.

// wait returns how long poll may wait.
func (s *session) wait() time.Duration {
	if s.feed.Ready() || s.pass != nil && s.batch.state <= sliceBytes {
		return 0
	}
	if s.batch.deferred || s.feed.Missing() {
		return feed.ShortWait
	}
	if s.batch.empty() {
		return feed.Interval
	}
	return max(0, min(feed.Interval, s.pause()))
}

// timerPatience is for how long a due timer has the ends requested more often:
// what takes longer would not be helped by more requests.
const timerPatience = engine.Millis(1_000)

// untilTimer returns how long it is until there may be a timer to fire. One that is
// due needs to know that nothing older is still to come.
func (s *session) untilTimer() time.Duration {
	at := s.customers.Earliest()
	if s.cfg.Time.Clock == config.EventsClock || at == engine.Never {
		return feed.Interval
	}
	over := s.cfg.NowMillis() - engine.Millis(s.cfg.Time.Silence().Milliseconds()) - at
	switch {
	case over < -timerPatience || over > timerPatience:
		return feed.Interval
	case over < 0:
		return time.Duration(-over) * time.Millisecond
	}
	s.feed.Hurry()
	return feed.ShortWait
}

// timersWait reports whether there are timers to fire as soon as the current batch is
// committed.
func (s *session) timersWait() bool {
	at := s.customers.Earliest()
	return s.cfg.Time.Clock == config.WallClock && at > s.feed.Clock.Now && at <= s.feed.Heard()
}

// pause returns how long it is until a batch that is not full may be committed. What
// comes after a time of silence need not wait at all; under load there is one
// transaction in each interval; and behind a backlog, where everything is late
// anyway, transactions are large, since each writes a customer once.
func (s *session) pause() time.Duration {
	interval := s.cfg.Batch.Interval
	switch {
	case s.feed.Lag() > backlog:
		interval = max(interval, backlogInterval)
	case s.batch.timers || s.timersWait():
		interval /= 2 // a timer waits for two transactions, an event for one
	}
	return interval - s.cfg.Now().Sub(s.committedAt)
}

// backlog is how many records a task must be behind for the interval between its
// transactions to be backlogInterval: more than come in the longest time that a
// transaction usually takes.
const (
	backlog         = 10_000
	backlogInterval = 2 * time.Second
)

package task

import (
	"context"
	"fmt"
	"sync"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
)

// Until is a run that has an end: the inputs are read to the end they had at
// the start; once every task has committed that, the repartition topic to its
// end; then every clock is turned to the instant. All tasks must be on this
// instance, since it is here that they wait for each other.
type Until struct {
	instant engine.Millis
	ends    map[broker.Partition]broker.Listed // of the inputs, at the start

	mu       sync.Mutex
	arrived  map[int32]bool // tasks that have committed the inputs
	all      chan struct{}  // closed when all have
	finished map[int32]bool
	done     chan struct{} // closed when all have finished
	want     int
}

// NewUntil returns a run that ends at an instant and reads the inputs up to ends, by so
// many tasks.
func NewUntil(instant engine.Millis, ends map[broker.Partition]broker.Listed, tasks int) *Until {
	return &Until{
		instant: instant, ends: ends, want: tasks,
		arrived: map[int32]bool{}, all: make(chan struct{}),
		finished: map[int32]bool{}, done: make(chan struct{}),
	}
}

// Over returns a channel that is closed when the run has ended; nil if it has no
// end.
func (u *Until) Over() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.done
}

// note adds a task to a set, and closes the channel when all are in it.
func (u *Until) note(set map[int32]bool, task int32, complete chan struct{}) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if set[task] {
		return
	}
	set[task] = true
	if len(set) == u.want {
		close(complete)
	}
}

// phase says what a task of a run with an end is doing.
type phase uint8

const (
	readingInputs phase = iota
	waitingForOthers
	readingForwarded
	firingTimers
)

// untilTask is the part of one session in a run with an end.
type untilTask struct {
	*Until
	phase phase
}

// endOf returns where the reading of an input ends at first: forwarded records are read
// once all tasks have committed what they forward.
func (u *Until) endOf(in *feed.Input) int64 {
	if in.Forwarded {
		return in.Next
	}
	return u.ends[in.Place()].Offset
}

// reachedEnd moves the task from phase to phase. It returns true when the task
// has finished.
func (s *session) reachedEnd(ctx context.Context) (bool, error) {
	u := s.until
	if u == nil || s.pass != nil || !s.feed.Exhausted() {
		return false, nil
	}
	switch u.phase {
	case readingInputs:
		if err := s.commit(ctx); err != nil {
			return false, err
		}
		if err := s.at("inputs read"); err != nil {
			return false, err
		}
		u.note(u.arrived, s.t.Partition, u.all)
		u.phase = waitingForOthers
	case waitingForOthers:
		select {
		case <-u.all:
			return false, s.readForwarded(ctx)
		default:
		}
	case readingForwarded:
		if err := s.at("forwarded read"); err != nil {
			return false, err
		}
		c := &s.feed.Clock
		c.Now, c.Order = max(c.Now, u.instant), max(c.Order, u.instant)
		s.batch.moved = true // the clock, which is to be committed
		u.phase = firingTimers
	case firingTimers:
		if s.batch.full(s.limits()) {
			return false, nil
		}
		if err := s.finish(ctx); err != nil {
			return false, err
		}
		if n := s.feed.Unread(); n > 0 {
			s.t.log.Warn("records were left unread because they follow a later one", "records", n, "until", u.instant)
		}
		s.t.set(func(st *Status) { st.State = Finished })
		u.note(u.finished, s.t.Partition, u.done)
		return true, nil
	}
	return false, nil
}

// readForwarded lets the repartition topic be read to its end: all tasks have
// committed what they forward.
func (s *session) readForwarded(ctx context.Context) error {
	topic := s.cfg.Repartition()
	end, err := s.t.Instance.Cluster.ListOne(ctx, broker.LastStable, []string{topic}, s.t.Partition)
	if err != nil {
		return fmt.Errorf("end of %s: %w", topic, err)
	}
	for _, in := range s.feed.Inputs() {
		if in.Forwarded {
			in.EndAt(end[topic])
		}
	}
	s.until.phase = readingForwarded
	return nil
}

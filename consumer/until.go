package consumer

import (
	"context"
	"fmt"
	"sync"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// untilRun is a run that has an end: the inputs are read to the end they had at
// the start; once every task has committed that, the repartition topic to its
// end; then every clock is turned to the instant. All tasks must be on this
// instance, since it is here that they wait for each other.
type untilRun struct {
	instant engine.Millis
	ends    map[string]map[int32]broker.Listed // of the inputs, at the start

	mu       sync.Mutex
	arrived  map[int32]bool // tasks that have committed the inputs
	all      chan struct{}  // closed when all have
	finished map[int32]bool
	done     chan struct{} // closed when all have finished
	want     int
}

// prepareUntil asks where the inputs end.
func (o *Owner) prepareUntil(ctx context.Context) error {
	if o.cfg.Time.Until == 0 {
		return nil
	}
	parts := make([]int32, o.partitions)
	for i := range parts {
		parts[i] = int32(i)
	}
	// Transactions that are open at the start are waited for: their records are there.
	ends, err := o.cluster.List(ctx, broker.HighWatermark, o.cfg.Inputs, parts)
	o.until = &untilRun{
		instant: o.cfg.Time.Until, ends: ends, want: len(parts),
		arrived: map[int32]bool{}, all: make(chan struct{}),
		finished: map[int32]bool{}, done: make(chan struct{}),
	}
	return err
}

// over returns a channel that is closed when the run has ended; nil if it has no
// end.
func (u *untilRun) over() <-chan struct{} {
	if u == nil {
		return nil
	}
	return u.done
}

// note adds a task to a set, and closes the channel when all are in it.
func (u *untilRun) note(set map[int32]bool, task int32, complete chan struct{}) {
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
	*untilRun
	phase  phase
	behind int // records behind one that is too late, and not too late themselves
}

// limitInputs bounds what a session reads.
func (s *session) limitInputs() {
	u := s.t.o.until
	if u == nil {
		return
	}
	s.until = &untilTask{untilRun: u}
	for _, in := range s.inputs {
		if in.limit = in.next; !in.origin {
			in.limit = max(in.next, u.ends[in.topic][s.t.n].Offset)
		}
		if in.end = in.limit; in.origin {
			in.stable = in.limit
		}
	}
}

// closes reports whether the head that was just read is later than the instant,
// so that the reading of its partition ends before it.
func (u *untilTask) closes(h *head) bool {
	return u != nil && !h.bad() && h.result == schemas.IsEvent && h.ev.At > u.instant
}

// lookBehind counts a record that stays unread because it stands behind one that
// is too late.
func (u *untilTask) lookBehind(h *head) {
	if h.bad() || h.result == schemas.IsEvent && h.ev.At <= u.instant {
		u.behind++
	}
}

// reachedEnd moves the task from phase to phase. It returns true when the task
// has finished.
func (s *session) reachedEnd(ctx context.Context) (bool, error) {
	u := s.until
	if u == nil || !s.exhausted() {
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
		u.note(u.arrived, s.t.n, u.all)
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
		s.clock.now, s.clock.order = max(s.clock.now, u.instant), max(s.clock.order, u.instant)
		s.batch.moved = true // the clock, which is to be committed
		u.phase = firingTimers
	case firingTimers:
		if s.batch.full(s.limits()) {
			return false, nil
		}
		if err := s.finish(ctx); err != nil {
			return false, err
		}
		if u.behind > 0 {
			s.t.log.Warn("records were left unread because they stand behind a later one", "records", u.behind, "until", u.instant)
		}
		s.t.set(func(st *TaskStatus) { st.State = Finished })
		u.note(u.finished, s.t.n, u.done)
		return true, nil
	}
	return false, nil
}

// exhausted reports whether everything up to the limits has been taken.
func (s *session) exhausted() bool {
	for _, in := range s.inputs {
		if in.loaded || in.unread() || in.closed && in.scanned < in.limit {
			return false
		}
	}
	return true
}

// readForwarded lets the repartition topic be read to its end: all tasks have
// committed what they forward.
func (s *session) readForwarded(ctx context.Context) error {
	topic := s.cfg.Repartition()
	end, err := s.t.o.cluster.ListOne(ctx, broker.LastStable, []string{topic}, s.t.n)
	if err != nil {
		return fmt.Errorf("end of %s: %w", topic, err)
	}
	for _, in := range s.inputs {
		if in.origin {
			in.limit = max(in.next, end[topic])
			in.end, in.stable = in.limit, in.limit
		}
	}
	s.until.phase = readingForwarded
	return nil
}

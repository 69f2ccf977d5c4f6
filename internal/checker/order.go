package checker

import (
	"math"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// never is earlier than every instant.
const never engine.Millis = math.MinInt64

// turn is one record of a partition at its turn, with the task clock at that
// moment.
type turn struct {
	in    *input
	clock engine.Millis
	late  bool // older than the clock
}

// order returns the records that a partition folds, in the order in which a task
// takes them that is never interrupted.
func (j *judgement) order(p int32) (turns []turn, end engine.Millis) {
	m := &order{mode: j.cfg.Clock, grace: j.cfg.Grace, horizon: j.cfg.Horizon, now: never, latest: never}
	if m.horizon == 0 {
		m.horizon = engine.Never
	}
	inputs := j.inputsOf(p)
	forwarded := inputs[len(inputs)-1]
	for _, of := range inputs[:len(inputs)-1] {
		m.add(of, j.parts[p].sources[of])
	}
	m.run()
	// What was forwarded came when it came; a run with an end reads it after all
	// else.
	m.queues = nil
	m.turn = source{}
	m.sweeping = false
	m.add(forwarded, j.parts[p].sources[forwarded])
	m.run()
	return m.turns, m.now
}

// order is the merge of one partition's inputs, written down once more: by time
// across topics, by offset within one. A head that is older than the clock, can't
// be read, or is too far ahead has no claim to a time; of those each topic gives
// one after every record that has one.
type order struct {
	mode           config.ClockMode
	grace, horizon engine.Millis
	queues         []*queue // by topic and partition
	turn           source   // the input that gave a record without claim last
	sweeping       bool     // such records have their turn now
	now, latest    engine.Millis
	turns          []turn
}

// queue is what is left of one input.
type queue struct {
	of   source
	left []*input
	mark engine.Millis // the greatest event time up to and including the head
}

func (m *order) add(of source, l []*input) {
	q := &queue{of: of, left: l, mark: never}
	q.look(m.horizon)
	m.queues = append(m.queues, q)
}

// look takes the time of the head.
func (q *queue) look(horizon engine.Millis) {
	if len(q.left) == 0 {
		return
	}
	if in := q.left[0]; in.result == schemas.IsEvent && in.ev.At <= horizon {
		q.mark = max(q.mark, in.at)
	}
}

// run takes every record.
func (m *order) run() {
	for {
		m.tick()
		q := m.next()
		if q == nil {
			return
		}
		in := q.left[0]
		q.left = q.left[1:]
		q.look(m.horizon)
		for _, part := range in.parts() { // the clock is the same for all of them
			m.take(part)
		}
	}
}

func (m *order) take(in *input) {
	if in.fate != folded {
		return
	}
	if in.result == schemas.IsEvent {
		m.latest = max(m.latest, in.ev.At)
	}
	m.turns = append(m.turns, turn{in: in, clock: m.now, late: in.at < m.now})
}

// tick moves the clock: it follows the topic that is furthest behind, and once
// all are read the latest event. With the wall clock the records alone move
// nothing that could be foreseen; records that came in time are not late.
func (m *order) tick() {
	if m.mode == config.WallClock {
		return
	}
	least, open := engine.Never, false
	for _, q := range m.queues {
		if len(q.left) > 0 {
			least, open = min(least, q.mark), true
		}
	}
	if !open {
		least = m.latest
	}
	if least > never+m.grace {
		m.now = max(m.now, least-m.grace)
	}
}

func (m *order) claims(q *queue) bool {
	in := q.left[0]
	switch {
	case in.result == 0 || in.result == schemas.IsSkipped: // not readable, or no event
		return false
	case in.result == schemas.IsTombstone:
		return in.at >= m.now && in.at <= m.horizon
	}
	return in.at >= m.now && in.ev.At <= m.horizon
}

func (m *order) next() *queue {
	var left []*queue
	for _, q := range m.queues {
		if len(q.left) > 0 {
			left = append(left, q)
		}
	}
	if m.sweeping {
		for _, q := range left {
			if q.of.compare(m.turn) > 0 && !m.claims(q) {
				m.turn = q.of
				return q
			}
		}
		m.sweeping, m.turn = false, source{}
	}
	var best *queue
	for _, q := range left {
		if m.claims(q) && (best == nil || q.left[0].at < best.left[0].at) {
			best = q
		}
	}
	if best != nil {
		m.sweeping, m.turn = true, source{}
		return best
	}
	// Nobody has a claim: the next topic in turn, and after the last the first.
	for _, q := range left {
		if q.of.compare(m.turn) > 0 {
			m.turn = q.of
			return q
		}
	}
	if len(left) == 0 {
		return nil
	}
	m.turn = left[0].of
	return left[0]
}

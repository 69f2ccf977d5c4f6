package feed

import (
	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// merge decides the order in which a task takes records: by time across inputs,
// by offset within one. A head has a claim if its time says when it should be
// taken, which for an erasure is its time in Kafka. Old, unreadable and far-future
// ones have none: they go one of each partition after every record with a claim,
// so that a topic full of them neither stops the others nor is stopped.
type merge struct {
	inputs []*Input // sorted by topic and partition
	task   int32
	mode   config.ClockMode
	turn   changelog.Turn
}

// claims reports whether an input's head has a claim. horizon is the greatest
// event time that is not too far ahead.
func (m *merge) claims(in *Input, clock, horizon engine.Millis) bool {
	h := &in.Head
	switch {
	case !in.loaded || h.Bad() || h.Result == schemas.IsSkipped:
		return false
	case h.Result == schemas.IsTombstone:
		return h.At >= clock && h.At <= horizon
	default:
		return h.At >= clock && h.Ev.At <= horizon
	}
}

// next returns the input whose head is to be taken now, nil if no head is in
// hand. It moves the turn, so the head must then be taken.
func (m *merge) next(clock, horizon engine.Millis) *Input {
	start := m.start()
	if m.turn.Sweeping {
		for _, in := range m.inputs[start:] {
			if in.loaded && !m.claims(in, clock, horizon) {
				m.turn.After = changelog.InputOf(in.Topic, in.Partition, m.task)
				return in
			}
		}
		m.turn, start = changelog.Turn{}, 0
	}
	var best *Input
	for _, in := range m.inputs {
		if m.claims(in, clock, horizon) && (best == nil || in.Head.At < best.Head.At) {
			best = in
		}
	}
	if best != nil {
		m.turn = changelog.Turn{Sweeping: true}
		return best
	}
	for i := range m.inputs {
		if in := m.inputs[(start+i)%len(m.inputs)]; in.loaded {
			m.turn.After = changelog.InputOf(in.Topic, in.Partition, m.task)
			return in
		}
	}
	return nil
}

// start returns the index of the input after the one that had its turn last.
func (m *merge) start() int {
	last := m.turn.After
	if last.Topic == "" {
		return 0
	}
	after := broker.Partition{Topic: last.Topic, Number: last.Partition(m.task)}
	for i, in := range m.inputs {
		if in.Place().Compare(after) > 0 {
			return i
		}
	}
	return len(m.inputs)
}

// missing returns an input that the others should wait for, nil if there is none:
// its next record is not in hand, or, with the wall clock, it may have a record
// that is older than the oldest one in hand. Such a record is there when the ends
// are requested after the other one has come, so one answer ends the wait.
func (m *merge) missing() *Input {
	oldest := engine.Never
	for _, in := range m.inputs {
		if in.missing() {
			return in
		}
		if in.loaded {
			oldest = min(oldest, in.Head.At, in.Head.came)
		}
	}
	if m.mode == config.EventsClock || oldest == engine.Never {
		return nil
	}
	for _, in := range m.inputs {
		if !in.loaded && !in.closed && !in.Over() && in.asOf < oldest {
			return in
		}
	}
	return nil
}

package consumer

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// unknown is an offset that has not been reported yet.
const unknown = -1

// input is one input partition as its task sees it: what was fetched and not yet
// taken, and how far it is known to go.
type input struct {
	topic  string
	id     changelog.TopicID
	origin bool // the repartition topic: records carry the coordinates of another one
	queue  []*kgo.Record
	// near are the customers of the first records of the queue, as far as looked
	// ahead, in nearby; nil where not cached.
	near    []*cache.Customer
	nearby  [cache.Group]*cache.Customer
	bytes   int // of the records in the queue
	head    head
	loaded  bool      // head is valid
	hold    hold      // of the next record
	fetched time.Time // when the queue last got records
	// refused are batches of which a record in the queue only holds the place, by
	// its offset.
	refused map[int64]*refused
	large   *largeBatch // that the next records come from, nil if none
	late    time.Time   // since when the next record does not come, zero if it need not

	pulse pulse
	// next is the offset of the first record that is not taken, past control
	// records; limit ends the reading of a run that has an end.
	next, limit int64
	// end is the high watermark and stable the last stable offset as last reported,
	// unknown before the first report.
	end, stable int64
	// passed is where a transaction stands that was open for too long: it is as if
	// there were nothing. unknown if there is none.
	passed int64
	// closed: a run that has an end met a record beyond it. Nothing more is taken;
	// what follows, up to scanned, was only looked at.
	closed  bool
	scanned int64

	// asOf is when the last end was asked for that the partition has been read up
	// to: nothing older than that is still to come.
	asOf engine.Millis
	// mark is the instant up to which the partition has spoken; it never goes
	// back. seen is the greatest event time up to and including the head.
	mark, seen engine.Millis
}

// head is the next record of a partition, read.
type head struct {
	rec    *kgo.Record
	ev     engine.Event
	result schemas.Result
	err    *schemas.BadInput
	from   origin
	batch  *refused // what the record holds the place of, nil if it is one
	// at is what the order goes by: the event time, with the wall clock at most
	// the record's timestamp.
	at engine.Millis
	// near is whom the record's key names, nil if not cached then.
	near *cache.Customer
	// came is the wall clock when the record was in hand.
	came engine.Millis
}

// bad reports whether the record can't be read.
func (h *head) bad() bool { return h.err != nil }

// records returns how many records the head stands for.
func (h *head) records() int {
	if h.batch != nil {
		return h.batch.records
	}
	return 1
}

func newInput(topic string, next int64, isOrigin bool) *input {
	return &input{topic: topic, origin: isOrigin, next: next, limit: math.MaxInt64, end: unknown, stable: unknown, passed: unknown, asOf: changelog.Never, mark: changelog.Never, seen: changelog.Never}
}

// unread reports whether records below the reported end are left. Records that other
// tasks forward in a transaction that is still open have no place in the order to be
// waited for; they end with a commit of the engine itself.
func (in *input) unread() bool {
	end := in.end
	if in.origin {
		end = in.stable
	}
	return !in.closed && in.next < min(end, in.limit) && !in.passesOver()
}

// open reports whether a transaction is open where the input has been read to.
func (in *input) open() bool { return in.stable != unknown && in.stable <= in.next && in.next < in.end }

// passesOver reports whether the input is read up to a transaction that is no longer
// waited for.
func (in *input) passesOver() bool { return in.passed != unknown && in.passed == in.next && in.open() }

// missing reports whether the next record is known to exist, or may exist, but is
// not in hand.
func (in *input) missing() bool {
	return !in.loaded && !in.closed && (in.end == unknown || in.unread())
}

// skip notes that there is nothing to take before an offset.
func (in *input) skip(to int64) {
	if in.closed {
		in.scanned = to
	} else {
		in.next = to
	}
}

// queued returns how many bytes a record takes in a queue.
func queued(r *kgo.Record) int { return broker.Size(r) + recordBytes }

// push appends records to the queue.
func (in *input) push(records ...*kgo.Record) {
	in.queue = append(in.queue, records...)
	for _, r := range records {
		in.bytes += queued(r)
	}
}

// shift drops the first record of the queue.
func (in *input) shift() {
	in.bytes -= queued(in.queue[0])
	in.queue[0] = nil
	in.queue = in.queue[1:]
	if len(in.near) > 0 {
		in.near = in.near[1:]
	}
}

// pop drops the head.
func (in *input) pop() {
	in.next = in.head.rec.Offset + 1
	in.head.rec, in.loaded = nil, false
}

// merge decides the order in which a task takes records: by time across topics,
// by offset within one. A head has a claim if its time says when it should be
// taken, which for an erasure is its time in Kafka. Old, unreadable and far-future
// ones have none: they go one of each partition after every record with a claim,
// so that a topic full of them neither stops the others nor is stopped.
type merge struct {
	inputs []*input // sorted by topic
	mode   config.ClockMode
	turn   changelog.Turn
}

// claims reports whether an input's head has a claim. horizon is the greatest
// event time that is not too far ahead.
func (m *merge) claims(in *input, clock, horizon engine.Millis) bool {
	h := &in.head
	switch {
	case !in.loaded || h.bad():
		return false
	case h.result == schemas.IsTombstone:
		return h.at >= clock && h.at <= horizon
	default:
		return h.at >= clock && h.ev.At <= horizon
	}
}

// next returns the input whose head is to be taken now, nil if no head is in
// hand. It moves the turn, so the head must then be taken.
func (m *merge) next(clock, horizon engine.Millis) *input {
	start := m.start()
	if m.turn.Sweeping {
		for _, in := range m.inputs[start:] {
			if in.loaded && !m.claims(in, clock, horizon) {
				m.turn.After = in.topic
				return in
			}
		}
		m.turn, start = changelog.Turn{}, 0
	}
	var best *input
	for _, in := range m.inputs {
		if m.claims(in, clock, horizon) && (best == nil || in.head.at < best.head.at) {
			best = in
		}
	}
	if best != nil {
		m.turn = changelog.Turn{Sweeping: true}
		return best
	}
	for i := range m.inputs {
		if in := m.inputs[(start+i)%len(m.inputs)]; in.loaded {
			m.turn.After = in.topic
			return in
		}
	}
	return nil
}

// start returns the index of the input after the one that had its turn last.
func (m *merge) start() int {
	for i, in := range m.inputs {
		if in.topic > m.turn.After {
			return i
		}
	}
	return len(m.inputs)
}

// missing returns an input that the others should wait for, nil if there is none:
// its next record is not in hand, or, with the wall clock, it may have a record
// that is older than the oldest one in hand. Such a record is there when the ends
// are asked for after the other one has come, so one answer ends the wait.
func (m *merge) missing() *input {
	oldest := engine.Never
	for _, in := range m.inputs {
		if in.missing() {
			return in
		}
		if in.loaded {
			oldest = min(oldest, in.head.at, in.head.came)
		}
	}
	if m.mode == config.EventsClock || oldest == engine.Never {
		return nil
	}
	for _, in := range m.inputs {
		if !in.loaded && !in.closed && in.asOf < oldest {
			return in
		}
	}
	return nil
}

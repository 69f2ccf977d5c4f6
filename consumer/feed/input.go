package feed

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// unknown is an offset that has not been reported yet.
const unknown = -1

// Input is one input partition as its task sees it: what was fetched and not yet
// taken, and how far it is known to go.
type Input struct {
	Topic     string
	Partition int32
	ID        changelog.TopicID
	First     int64 // where reading began, 0 if at the beginning
	Forwarded bool  // the repartition topic: records carry the coordinates of another one
	// Imported: the topic of history, whose records stand for those of an input. It is read to
	// an end that is known, and nothing is to be heard of it.
	Imported bool
	queue    []*kgo.Record
	// near are the customers of the first records of the queue, as far as looked
	// ahead, in nearby; nil where not cached.
	near    []*cache.Customer
	nearby  [cache.Group]*cache.Customer
	bytes   int // of the records in the queue
	Head    Head
	loaded  bool      // head is valid
	hold    hold      // of the next record
	fetched time.Time // when the queue last got records
	// refused are batches of which a record in the queue only holds the place, by
	// its offset.
	refused map[int64]*refused
	large   *largeBatch // that the next records come from, nil if none
	late    time.Time   // since when the next record does not come, zero if it need not

	pulse pulse
	// Next is the offset of the first record that is not taken, past control
	// records; limit ends the reading of a run that has an end.
	Next, limit int64
	// end is the high watermark and stable the last stable offset as last reported,
	// unknown before the first report.
	end, stable int64
	// passed is the offset of a transaction that was open for too long: it is as if
	// there were nothing. unknown if there is none.
	passed int64
	// closed: a run that has an end met a record beyond it. Nothing more is taken;
	// what follows, up to scanned, was only looked at.
	closed  bool
	scanned int64

	// asOf is when the last end was requested that the partition has been read up
	// to: nothing older than that is still to come.
	asOf engine.Millis
	// Of the repartition topic: bound is what is known of the tasks that forward to it, as
	// of the last report; awaited the report whose end is waited for, nil if none is; and
	// spoken the instant up to which all that they forward has been read.
	bound   bound
	awaited *report
	spoken  engine.Millis
	heard   struct { // when bound was last another one
		bound bound
		at    time.Time
	}
	// mark is the instant up to which the partition has spoken; it never goes
	// back. Seen is the greatest event time up to and including the head.
	mark, Seen engine.Millis
}

// Head is the next record of a partition, read.
type Head struct {
	Rec    *kgo.Record
	Ev     engine.Event
	Result schemas.Result
	Err    *schemas.BadInput
	// More is what the record is beside Ev, or beside Err.
	More  schemas.More
	From  Origin
	batch *refused // what the record holds the place of, nil if it is one
	// At is what the order goes by: the event time, with the wall clock at most
	// the record's timestamp.
	At engine.Millis
	// Near is whom the record's key names, nil if not cached then.
	Near *cache.Customer
	// came is the wall clock when the record was in hand.
	came engine.Millis
}

// Bad reports whether the record can't be read.
func (h *Head) Bad() bool { return h.Err != nil }

// Records returns how many records the head represents.
func (h *Head) Records() int {
	if h.batch != nil {
		return h.batch.records
	}
	return 1
}

// Parts returns of how many parts the record is, each of which is an event or is refused by
// itself; 1 of nearly all.
func (h *Head) Parts() int { return 1 + len(h.More.Events) + len(h.More.Refused) }

// Part returns a part of the record as a record of its own: first its events in order of
// time, then what is refused of it. A part has the time of its own event, and the place in
// the order of the whole.
func (h *Head) Part(n int) *Head {
	if h.Parts() == 1 {
		return h
	}
	part := *h
	part.More = schemas.More{}
	if n < len(h.More.Texts) {
		part.More.Texts = h.More.Texts[n : n+1]
	}
	switch {
	case n == 0:
	case n <= len(h.More.Events):
		part.Ev, part.Near = h.More.Events[n-1], nil
	default:
		part.Err, part.Near = h.More.Refused[n-1-len(h.More.Events)], nil
	}
	return &part
}

// NewInput returns a partition of an input from an offset on. forwarded says that it is
// of the repartition topic.
func NewInput(of broker.Partition, next int64, forwarded bool) *Input {
	return &Input{Topic: of.Topic, Partition: of.Number, Forwarded: forwarded, Next: next, limit: math.MaxInt64, end: unknown, stable: unknown, passed: unknown, asOf: changelog.Never, spoken: changelog.Never, mark: changelog.Never, Seen: changelog.Never}
}

// Place returns which partition it is.
func (in *Input) Place() broker.Partition {
	return broker.Partition{Topic: in.Topic, Number: in.Partition}
}

// unread reports whether records below the reported end are left. Records that other
// tasks forward in a transaction that is still open have no place in the order to be
// waited for; they end with a commit of the engine itself.
func (in *Input) unread() bool {
	end := in.end
	if in.Forwarded {
		end = in.stable
	}
	return !in.closed && in.Next < min(end, in.limit) && !in.passesOver()
}

// open reports whether a transaction is open where the input has been read to.
func (in *Input) open() bool { return in.stable != unknown && in.stable <= in.Next && in.Next < in.end }

// passesOver reports whether the input is read up to a transaction that is no longer
// waited for.
func (in *Input) passesOver() bool { return in.passed != unknown && in.passed == in.Next && in.open() }

// missing reports whether the next record is known to exist, or may exist, but is
// not in hand.
func (in *Input) missing() bool {
	return !in.loaded && !in.closed && (in.end == unknown || in.unread())
}

// skip notes that there is nothing to take before an offset.
func (in *Input) skip(to int64) {
	if in.closed {
		in.scanned = to
	} else {
		in.Next = to
	}
}

// queued returns how many bytes a record takes in a queue.
func queued(r *kgo.Record) int { return broker.Size(r) + recordBytes }

// push appends records to the queue.
func (in *Input) push(records ...*kgo.Record) {
	in.queue = append(in.queue, records...)
	for _, r := range records {
		in.bytes += queued(r)
	}
}

// shift drops the first record of the queue.
func (in *Input) shift() {
	in.bytes -= queued(in.queue[0])
	in.queue[0] = nil
	in.queue = in.queue[1:]
	if len(in.near) > 0 {
		in.near = in.near[1:]
	}
}

// Pop drops the head.
func (in *Input) Pop() {
	in.Next = in.Head.Rec.Offset + 1
	in.Head.Rec, in.loaded = nil, false
}

// NewImported returns a partition of the topic of history, which is read from one offset up
// to another.
func NewImported(of broker.Partition, next, end int64) *Input {
	in := NewInput(of, next, false)
	in.Imported = true
	in.EndAt(end)
	return in
}

// Over reports whether an imported input has been read to its end, so that nothing is to come
// of it.
func (in *Input) Over() bool { return in.Imported && !in.loaded && !in.closed && in.Next >= in.limit }

// EndAt ends the reading at an offset, or at once if it has been read to there.
func (in *Input) EndAt(offset int64) {
	in.limit = max(in.Next, offset)
	in.end = in.limit
	if in.Forwarded || in.Imported {
		in.stable = in.limit
	}
}

// IsBatch reports whether the head represents records of a batch that was refused.
func (h *Head) IsBatch() bool { return h.batch != nil }

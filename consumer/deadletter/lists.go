package deadletter

import (
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/feed"
)

// A batch of 280 KB can hold 200,000 records that are refused, and each dead letter has
// some 200 bytes of headers besides. So there is a rate, by the engine's clock, for each
// cause and task: a producer that does something wrong for a few seconds, or a slow one
// that does it for ever, has all of its dead letters; a flood costs 200 KB a second. In
// place of those beyond the rate there is one dead letter, which lists their offsets.

// Rate and Burst bound the dead letters of one cause and task.
const (
	Rate  = 1_000  // a second
	Burst = 10_000 // at once
)

// logEach is how often records without a dead letter of their own are logged, by cause.
const logEach = time.Minute

// limit bounds the dead letters of one cause.
type limit struct {
	tokens   float64
	refilled time.Time
	logged   time.Time
	unlogged int // records that were left out since
}

// allowed reports whether a dead letter may be written now.
func (w *Writer) allowed(cause string) bool {
	now := w.Config.Now()
	l := w.limits[cause]
	if l == nil {
		l = &limit{tokens: Burst, refilled: now}
		if w.limits == nil {
			w.limits = map[string]*limit{}
		}
		w.limits[cause] = l
	}
	l.tokens = min(Burst, l.tokens+Rate*max(0, now.Sub(l.refilled).Seconds()))
	l.refilled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// origin is what the records of one list have in common.
type origin struct {
	topic     string
	partition int32
	cause     string
}

// list names records of one batch that have no dead letter of their own.
type list struct {
	origin
	n           int
	first, last int64  // offsets
	ranges      []byte // "3-9,11": all offsets but those of the last range
	from, to    int64  // the last range
}

// listBytes is how long the list of offsets of one dead letter may become, about. A
// broker takes much larger ones.
const listBytes = 128 << 10

// leaveOut notes a record that gets no dead letter of its own.
func (w *Writer) leaveOut(h *feed.Head, cause string) {
	of, at := origin{h.From.Topic, h.From.Partition, cause}, h.From.Offset
	if w.lists == nil {
		w.lists = map[origin]*list{}
	}
	l := w.lists[of]
	switch {
	case l == nil:
		l = &list{origin: of, first: at, last: at, from: at, to: at}
		w.lists[of] = l
		w.inOrder = append(w.inOrder, l)
	case at == l.to+1:
		l.to = at
	default:
		l.ranges = append(appendRange(l.ranges, l.from, l.to), ',')
		l.from, l.to = at, at
	}
	l.n++
	l.first, l.last = min(l.first, at), max(l.last, at)
	if len(l.ranges) >= listBytes {
		delete(w.lists, of) // the next one begins another
	}
}

func appendRange(b []byte, from, to int64) []byte {
	b = strconv.AppendInt(b, from, 10)
	if to == from {
		return b
	}
	return strconv.AppendInt(append(b, '-'), to, 10)
}

// Lists returns the dead letters that name the records of the batch that have none of
// their own. They are part of its transaction.
func (w *Writer) Lists(at time.Time) (records []*kgo.Record) {
	number := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
	for _, l := range w.inOrder {
		records = append(records, &kgo.Record{
			Topic: w.Config.DeadLetters(), Partition: w.Partition, Value: appendRange(l.ranges, l.from, l.to),
			Headers: []kgo.RecordHeader{
				{Key: "dlq.error", Value: fmt.Appendf(nil, "%d records have no dead letter of their own, since there were more than %d a second: the value lists their offsets", l.n, Rate)},
				{Key: "dlq.cause", Value: []byte(l.cause)},
				{Key: "dlq.topic", Value: []byte(l.topic)},
				{Key: "dlq.partition", Value: number(int64(l.partition))},
				{Key: "dlq.offset", Value: number(l.first)},
				{Key: "dlq.at", Value: []byte(at.Format(time.RFC3339Nano))},
				{Key: "dlq.last_offset", Value: number(l.last)},
				{Key: "dlq.left_out", Value: number(int64(l.n))},
			},
		})
	}
	return records
}

// countLeftOut counts and logs the records of a committed batch that are in lists.
func (w *Writer) countLeftOut() {
	now := w.Config.Now()
	for _, l := range w.inOrder {
		w.Config.Metrics.LeftOut.WithLabelValues(l.cause).Add(float64(l.n))
		of := w.limits[l.cause]
		if of.unlogged += l.n; now.Sub(of.logged) < logEach {
			continue
		}
		w.Log.Error("more records are refused than get a dead letter of their own; others name their offsets",
			"cause", l.cause, "left_out", of.unlogged, "topic", l.topic, "of_partition", l.partition, "first_offset", l.first, "last_offset", l.last,
			"dead_letters", w.Config.DeadLetters())
		of.logged, of.unlogged = now, 0
	}
}

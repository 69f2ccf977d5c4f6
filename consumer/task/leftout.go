package task

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
// the place of those beyond stands one dead letter, which names their offsets.
// LetterRate and LetterBurst bound the dead letters of one cause and task.
const (
	LetterRate  = 1_000  // a second
	LetterBurst = 10_000 // at once
)

// logLeftOutEach is how often dead letters that are left out are logged, by cause.
const logLeftOutEach = time.Minute

// letterLimit bounds the dead letters of one cause.
type letterLimit struct {
	tokens   float64
	refilled time.Time
	logged   time.Time
	unlogged int // that were left out since
}

// letterAllowed reports whether a dead letter may be written now.
func (s *session) letterAllowed(cause string) bool {
	now := s.cfg.Now()
	l := s.letters[cause]
	if l == nil {
		l = &letterLimit{tokens: LetterBurst, refilled: now}
		if s.letters == nil {
			s.letters = map[string]*letterLimit{}
		}
		s.letters[cause] = l
	}
	l.tokens = min(LetterBurst, l.tokens+LetterRate*max(0, now.Sub(l.refilled).Seconds()))
	l.refilled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

// leftOutOf is what one dead letter stands for that names records which have none.
type leftOutOf struct {
	topic     string
	partition int32
	cause     string
}

// leftOut are records without a dead letter of their own in one transaction.
type leftOut struct {
	leftOutOf
	n           int
	first, last int64  // offsets
	ranges      []byte // "3-9,11": all offsets but those of the last range
	from, to    int64  // the last range
}

// leftOutBytes is how long the list of offsets of one dead letter may become, about. A broker
// takes much larger ones.
const leftOutBytes = 128 << 10

// leaveOut notes a record that gets no dead letter of its own.
func (s *session) leaveOut(h *feed.Head, cause string) {
	b := &s.batch
	of, at := leftOutOf{h.From.Topic, h.From.Partition, cause}, h.From.Offset
	if b.leftOut == nil {
		b.leftOut = map[leftOutOf]*leftOut{}
	}
	l := b.leftOut[of]
	switch {
	case l == nil:
		l = &leftOut{leftOutOf: of, first: at, last: at, from: at, to: at}
		b.leftOut[of] = l
		b.inOrder = append(b.inOrder, l)
	case at == l.to+1:
		l.to = at
	default:
		l.ranges = append(appendRange(l.ranges, l.from, l.to), ',')
		l.from, l.to = at, at
	}
	l.n++
	l.first, l.last = min(l.first, at), max(l.last, at)
	if len(l.ranges) >= leftOutBytes {
		delete(b.leftOut, of) // the next one begins another
	}
}

func appendRange(b []byte, from, to int64) []byte {
	b = strconv.AppendInt(b, from, 10)
	if to == from {
		return b
	}
	return strconv.AppendInt(append(b, '-'), to, 10)
}

// summarize writes the dead letters that stand for those that were left out of the
// batch: they are part of its transaction.
func (s *session) summarize() {
	for _, l := range s.batch.inOrder {
		number := func(n int64) []byte { return strconv.AppendInt(nil, n, 10) }
		s.emit(&kgo.Record{
			Topic: s.cfg.DeadLetters(), Partition: s.t.Partition, Value: appendRange(l.ranges, l.from, l.to),
			Headers: []kgo.RecordHeader{
				{Key: "dlq.error", Value: fmt.Appendf(nil, "%d records have no dead letter of their own, since there were more than %d a second: the value lists their offsets", l.n, LetterRate)},
				{Key: "dlq.cause", Value: []byte(l.cause)},
				{Key: "dlq.topic", Value: []byte(l.topic)},
				{Key: "dlq.partition", Value: number(int64(l.partition))},
				{Key: "dlq.offset", Value: number(l.first)},
				{Key: "dlq.at", Value: []byte(s.wall.Time().Format(time.RFC3339Nano))},
				{Key: "dlq.last_offset", Value: number(l.last)},
				{Key: "dlq.left_out", Value: number(int64(l.n))},
			},
		})
	}
}

// countLeftOut counts and logs what was left out of a batch that was committed.
func (s *session) countLeftOut() {
	now := s.cfg.Now()
	for _, l := range s.batch.inOrder {
		s.cfg.Metrics.LeftOut.WithLabelValues(l.cause).Add(float64(l.n))
		limit := s.letters[l.cause]
		if limit.unlogged += l.n; now.Sub(limit.logged) < logLeftOutEach {
			continue
		}
		s.t.log.Error("more records are refused than get a dead letter of their own; others name their offsets",
			"cause", l.cause, "left_out", limit.unlogged, "topic", l.topic, "of_partition", l.partition, "first_offset", l.first, "last_offset", l.last,
			"dead_letters", s.cfg.DeadLetters())
		limit.logged, limit.unlogged = now, 0
	}
}

package consumer

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// batch is what one transaction will hold.
type batch struct {
	steps  int  // records taken and timers fired
	bytes  int  // of records read and to be written, about
	state  int  // bytes of the customers that it changes, as they were
	moved  bool // an offset has moved
	timers bool // a timer has fired

	records []*kgo.Record // outputs, dead letters, forwards
	slab    slab
	changes []change
	// transaction are all records of it.
	transaction []*kgo.Record

	eval    *engine.Evaluator // nil where no events are folded
	out     engine.Output
	encoded int       // effects that are in records
	counted []counted // the effects that are in records
	effect  schemas.Output
	// Memory of records' keys, values and headers; kept until they are written.
	memory  arena[byte]
	headers arena[kgo.RecordHeader]

	folded, dead, forwarded uint64
	erased                  bool // a customer: it is not to linger in the store
	// results and causes are counted when the batch has committed.
	results map[result]int
	causes  map[string]int
	// leftOut and inOrder are records without a dead letter of their own.
	leftOut map[leftOutOf]*leftOut
	inOrder []*leftOut
	run     result // of the records taken last, which are so many
	runs    int
	// only is the record taken last, for a batch of one step; zero for a timer.
	only place
	// deferred: overdue timers are left because of their rate.
	deferred bool
}

// result is what became of a record of a topic.
type result struct{ topic, what string }

// became notes what became of n records. Mostly it is what became of those before.
func (b *batch) became(r result, n int) {
	if r != b.run && b.runs > 0 {
		b.results[b.run] += b.runs
		b.runs = 0
	}
	b.run = r
	b.runs += n
}

// newBatch returns an empty batch. e is nil where no events are folded.
func newBatch(e *engine.Engine) batch {
	var eval *engine.Evaluator
	if e != nil {
		eval = e.Evaluator()
	}
	return batch{
		eval:    eval,
		results: map[result]int{}, causes: map[string]int{},
		memory: arena[byte]{chunk: 64 << 10}, headers: arena[kgo.RecordHeader]{chunk: 1 << 10},
	}
}

func (b *batch) empty() bool { return b.steps == 0 }

// stateShare is how many times as many bytes of customers as of records a transaction
// may have. Few customers are so large that they come near to it; were they not
// counted, a transaction of them could be too long to be written in its time, again
// and again.
const stateShare = 8

// full reports whether the batch has reached a limit.
func (b *batch) full(steps, bytes int) bool {
	return b.steps >= steps || b.bytes >= bytes || b.state >= stateShare*bytes
}

func (b *batch) reset() {
	b.out.Reset()
	b.slab.reset()
	b.memory.reset()
	b.headers.reset()
	clear(b.records) // lets dead letters go, which can be large
	clear(b.transaction)
	clear(b.results)
	clear(b.causes)
	*b = batch{
		records: b.records[:0], slab: b.slab, changes: b.changes[:0], transaction: b.transaction[:0],
		eval: b.eval, out: b.out, memory: b.memory, headers: b.headers, counted: b.counted[:0],
		results: b.results, causes: b.causes, deferred: b.deferred,
	}
}

// record returns an empty record that lives as long as the batch.
func (b *batch) record() *kgo.Record { return b.slab.next() }

// slab is memory of records that is used again: records are made by the ten thousand
// and all end with their transaction.
type slab struct {
	chunks [][]kgo.Record
	n      int
}

const slabChunk = 512

func (s *slab) next() *kgo.Record {
	i, j := s.n/slabChunk, s.n%slabChunk
	if i == len(s.chunks) {
		s.chunks = append(s.chunks, make([]kgo.Record, slabChunk))
	}
	s.n++
	return &s.chunks[i][j]
}

func (s *slab) reset() {
	for i := 0; i*slabChunk < s.n; i++ {
		clear(s.chunks[i][:min(slabChunk, s.n-i*slabChunk)])
	}
	s.n = 0
}

// step counts one step. only is its record, zero for a timer.
func (s *session) step(only place, bytes int) {
	b := &s.batch
	b.steps++
	b.bytes += bytes
	b.only = only
}

// touch notes that a customer may have changed, who will be a record of the batch.
func (s *session) touch(e *cache.Customer) {
	if !e.Dirty {
		s.batch.state += e.Encoded
	}
	s.customers.Touch(e)
}

// take takes the head of an input.
func (s *session) take(in *input) error {
	h := &in.head
	at := place{in.topic, h.rec.Offset}
	s.step(at, len(h.rec.Value))
	s.batch.moved = true
	what, err := s.dispatch(in, h, at)
	if err != nil {
		return err
	}
	s.batch.became(result{h.from.topic, what}, h.records())
	rec := h.rec
	in.pop()
	rec.Recycle() // what is kept of it is not the record itself
	return nil
}

// dispatch does with a record what is to be done, and says what that was.
func (s *session) dispatch(in *input, h *head, at place) (what string, err error) {
	switch {
	case len(s.t.poison) > 0 && s.t.poison[at]:
		return s.deadLetter(h, "output", "what follows from the record can't be written to Kafka"), nil
	case h.bad():
		return s.deadLetter(h, string(h.err.Cause), h.err.Error()), nil
	case h.result == schemas.IsEvent && h.ev.At > s.horizon:
		return s.deadLetter(h, "future", "the event is dated "+h.ev.At.String()+
			", more than "+s.cfg.Time.MaxFutureSkew.String()+" ahead of the clock"), nil
	case s.route.Partition(h.ev.Customer) != s.t.n:
		if in.origin {
			return s.deadLetter(h, "misrouted", "the record was forwarded to a partition that is not its customer's"), nil
		}
		return s.forward(h), nil
	}
	e, err := s.customers.Find(h.ev.Customer, h.near)
	if err != nil {
		return "", err
	}
	if h.result == schemas.IsEvent {
		if ok, err := s.fits(e, h); err != nil {
			return "", err
		} else if !ok {
			return s.tooFat(e, h), nil
		}
	}
	s.batch.folded++
	out := &s.batch.out
	if h.result == schemas.IsTombstone {
		s.batch.eval.Erase(e.C, s.askedAt(h), max(s.clock.now, 0), out)
		what, s.batch.erased = "erasure", true
	} else {
		late := h.at < s.clock.order
		s.clock.latest = max(s.clock.latest, h.ev.At)
		if !s.batch.eval.Apply(e.C, &h.ev, s.clock.now, out) {
			return "duplicate", nil
		}
		if what = "folded"; late {
			what = "late"
		}
	}
	s.touch(e)
	s.encode()
	return what, nil
}

// askedAt returns the instant at which an erasure was asked for: its time in Kafka.
// One that lies too far ahead says nothing, and one behind the end of a run counts
// as of the end.
func (s *session) askedAt(h *head) engine.Millis {
	switch {
	case h.at > s.horizon:
		return changelog.Never
	case s.until != nil:
		return min(h.at, s.until.instant)
	}
	return h.at
}

// overdueAfter is how late a timer must be for its rate to be bounded.
const overdueAfter = engine.Millis(60_000)

// fire fires the timers that are due by the task clock, in order of (due,
// customer), each as one step.
func (s *session) fire() error {
	if s.cfg.Time.Clock == config.WallClock && !s.t.o.guard.ok() {
		return nil
	}
	for !s.batch.full(s.limits()) {
		e, at, ok, err := s.customers.Next(s.clock.now)
		if err != nil || !ok {
			return err
		}
		if !s.allowed(at) {
			return nil
		}
		s.step(place{}, 0)
		s.batch.timers = true
		s.batch.eval.Advance(e.C, at, &s.batch.out)
		if e.C.Wake() <= at {
			return fault.Stopped(s.t.n, "a customer's wake-up at %v did not go away when it fired; this is a defect", at)
		}
		s.touch(e)
		s.encode()
		s.cfg.Metrics.TimerDelay.Observe(float64(s.wall-at) / 1000)
	}
	return nil
}

// allowed reports whether a timer may fire now. After an outage there can be very
// many overdue ones; they fire at a bounded rate, so that events get their turn.
func (s *session) allowed(at engine.Millis) bool {
	if s.cfg.Time.Clock == config.EventsClock || s.clock.now-at < overdueAfter {
		return true
	}
	rate := float64(s.cfg.Time.OverdueRate)
	now := s.cfg.Now()
	if s.refilled.IsZero() {
		s.tokens, s.refilled = rate/10, now
	}
	s.tokens = min(rate, s.tokens+rate*now.Sub(s.refilled).Seconds())
	s.refilled = now
	if s.tokens < 1 {
		s.batch.deferred = true
		s.cfg.Metrics.Overdue.Inc()
		return false
	}
	s.tokens--
	return true
}

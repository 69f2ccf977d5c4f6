package task

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// The loop of a task. Each time round it waits for records, takes as many as there are
// and as a batch may have, fires what is due between them, and commits when it is time:
//
//	for live {
//		ledger.Alive()                      // or somebody else has the partition
//		feed.Poll(wait)                     // records, and where the inputs end
//		if batch is empty { feed.Begin() }  // the clock hears of the ends
//		for batch is not full {
//			feed.Load()                     // read the heads; move the clock
//			fire what is due by the clock, in order of (due, customer)
//			in := feed.Next()               // the next record in order, or none yet
//			take in's head: fold, forward, or dead letter
//		}
//		if it is time { commit: changelog, outputs and position, all or none }
//		if it is time { write the local copy }
//	}
//
// A record is taken only after everything that was due before it has fired, and a timer
// fires only by the clock, which does not pass what is known to be unread: so what
// comes out does not depend on how records were fetched or where batches end.

// run takes records and fires timers until live ends.
func (s *session) run(live, hard context.Context) error {
	for live.Err() == nil {
		if wrong := s.t.wrong.Swap(nil); wrong != nil {
			return *wrong
		}
		if err := s.follow(); err != nil {
			return err
		}
		wait := s.wait()
		if wait > 0 {
			wait = min(wait, s.untilTimer())
		}
		if err := s.feed.Poll(live, wait, s.t.Instance.Present); err != nil {
			return err
		}
		if s.batch.empty() {
			if over, err := s.between(live, hard); over || err != nil {
				return err
			}
		}
		start := s.cfg.Now()
		took := s.batch.steps
		if err := s.steps(); err != nil {
			return err
		}
		if s.batch.steps > took {
			metrics.Since(s.cfg.Metrics.Fold, start, s.cfg.Now())
		}
		if s.pass != nil {
			if err := s.bringSome(hard); err != nil {
				return err
			}
		}
		done, err := s.reachedEnd(hard)
		if err != nil || done {
			return err
		}
		if s.batch.full(s.limits()) || !s.batch.empty() && s.pause() <= 0 || len(s.rewrite) > 0 {
			if err := s.commit(hard); err != nil {
				return err
			}
		}
		if s.batch.empty() && s.storeDue() {
			if err := s.store(); err != nil {
				return err
			}
		}
		s.publish()
		if s.batch.empty() {
			s.speak()
		}
	}
	return s.finish(hard)
}

// between does what is done between two batches, and begins the next. It ends the session,
// with errNewRules, if the task goes over to other rules.
func (s *session) between(live, hard context.Context) (bool, error) {
	if err := s.leaveHistory(hard); err != nil {
		return true, err
	}
	if err := s.takeUp(live); err != nil {
		return true, err
	}
	if over, err := s.changeBeside(); err != nil {
		return true, err
	} else if over {
		if err := s.finish(hard); err != nil {
			return true, err
		}
		return true, errNewRules
	}
	s.begin()
	return false, nil
}

// finish commits the current batch and writes the store.
func (s *session) finish(ctx context.Context) error {
	if err := s.commit(ctx); err != nil {
		return err
	}
	return s.store()
}

// speak lets other tasks know up to which instant what they get from this one is
// committed.
func (s *session) speak() {
	if at, ok := s.feed.Spoken(); ok {
		s.t.Instance.Ends.Marks.Say(s.t.Partition, at)
	}
}

// begin reads the wall clock: once per batch, before its first record.
func (s *session) begin() {
	s.wall = s.cfg.NowMillis()
	s.batch.deferred = false
	s.feed.Begin()
}

// steps takes records and fires timers until the batch is full or there is
// nothing to do.
func (s *session) steps() error {
	for !s.batch.full(s.limits()) {
		if err := s.feed.Load(); err != nil {
			return err
		}
		if err := s.fire(); err != nil || s.batch.full(s.limits()) {
			return err
		}
		in := s.feed.Next()
		if in == nil {
			return nil
		}
		if err := s.take(in); err != nil {
			return err
		}
		s.feed.Taken()
	}
	return nil
}

// lookAhead gets the customers of records that are taken soon into the processor's
// cache, and says who they are, as far as they are in ours.
func (s *session) lookAhead(records []*kgo.Record, near []*cache.Customer) {
	for i, r := range records {
		near[i] = s.customers.Cached(r.Key)
	}
	s.customers.Ahead(near)
}

// limits returns how large a batch may be.
func (s *session) limits() (steps, bytes int) { return s.t.limit, s.cfg.Batch.Bytes }

// step counts one step. only is its record, zero for a timer.
func (s *folder) step(only place, bytes int) {
	b := &s.batch
	b.steps++
	b.bytes += bytes
	b.only = only
}

// touch notes that a customer may have changed, who will be a record of the batch.
func (s *folder) touch(e *cache.Customer) {
	if !e.Dirty {
		s.batch.state += e.Encoded
	}
	s.customers.Touch(e)
}

// take takes the head of an input, with all events of its record: a transaction has all of
// a record or nothing.
func (s *session) take(in *feed.Input) error {
	h := &in.Head
	at := place{in.Topic, in.Partition, h.Rec.Offset}
	s.step(at, len(h.Rec.Value))
	s.batch.moved = true
	for n := range h.Parts() {
		part := h.Part(n)
		what, err := s.dispatch(in, part, at)
		if err != nil {
			return err
		}
		s.batch.became(result{h.From.Topic, what}, part.Records())
	}
	rec := h.Rec
	in.Pop()
	rec.Recycle() // what is kept of it is not the record itself
	return nil
}

// dispatch does with a record what is to be done, and says what that was.
func (s *session) dispatch(in *feed.Input, h *feed.Head, at place) (what string, err error) {
	switch {
	case len(s.t.poison) > 0 && s.t.poison[at]:
		return s.deadLetter(h, "output", "what follows from the record can't be written to Kafka"), nil
	case h.Bad():
		return s.deadLetter(h, string(h.Err.Cause), h.Err.Error()), nil
	case h.Result == schemas.IsSkipped:
		return "skipped", nil
	case h.Result == schemas.IsEvent && h.Ev.At > s.feed.Horizon():
		return s.deadLetter(h, "future", "the event is dated "+h.Ev.At.String()+
			", more than "+s.cfg.Time.MaxFutureSkew.String()+" ahead of the clock"), nil
	case s.route.Partition(h.Ev.Customer) != s.t.Partition:
		switch {
		case in.Forwarded:
			return s.deadLetter(h, "misrouted", "the record was forwarded to a partition that is not its customer's"), nil
		case in.Imported:
			return s.deadLetter(h, "misrouted", "the record was imported to a partition that is not its customer's"), nil
		}
		return s.forward(h), nil
	}
	e, err := s.customers.Find(h.Ev.Customer, h.Near)
	if err != nil {
		return "", err
	}
	if e.Former {
		if err := s.bringFirst(e); err != nil {
			return "", err
		}
	}
	if h.Result == schemas.IsEvent {
		if ok, err := s.fits(e, h); err != nil {
			return "", err
		} else if !ok {
			return s.tooFat(e, h), nil
		}
	}
	s.batch.folded++
	out := &s.batch.out
	if h.Result == schemas.IsTombstone {
		if !e.C.Known() {
			if err := s.noteNobody(h); err != nil {
				return "", err
			}
		}
		s.batch.eval.Erase(e.C, engine.Erasure{At: s.askedAt(h), Place: h.From.String()}, max(s.feed.Clock.Now, 0), out)
		what, s.batch.erased = "erasure", true
	} else {
		late := h.At < s.feed.Clock.Order
		s.feed.Clock.Latest = max(s.feed.Clock.Latest, h.Ev.At)
		s.believe(h)
		before := out.Stats
		if !s.batch.eval.Apply(e.C, &h.Ev, s.feed.Clock.Now, out) {
			return s.duplicate(e, &before), nil
		}
		if what = "folded"; late {
			what = "late"
		}
	}
	s.touch(e)
	s.encode()
	return what, nil
}

// believe takes back what a record's time in Kafka adds to how long its event is
// remembered, if that time lies too far ahead to be one: a producer that writes it in
// microseconds must not have its ids remembered for ever.
func (s *folder) believe(h *feed.Head) {
	if h.From.At > s.feed.Horizon() {
		h.Ev.Lag = 0
	}
}

// duplicate takes note of an event that was folded before, and returns what became of
// it. It changes the customer only if the id is remembered longer because of it.
func (s *session) duplicate(e *cache.Customer, before *engine.Stats) string {
	if s.batch.out.Stats.Prolonged > before.Prolonged {
		s.touch(e)
	}
	if s.batch.out.Stats.Conflicts > before.Conflicts {
		return "conflict"
	}
	return "duplicate"
}

// askedAt returns the instant at which an erasure was requested: its time in Kafka.
// One that lies too far ahead says nothing, and one behind the end of a run counts
// as of the end.
func (s *session) askedAt(h *feed.Head) engine.Millis {
	switch {
	case h.At > s.feed.Horizon():
		return changelog.Never
	case s.until != nil:
		return min(h.At, s.until.instant)
	}
	return h.At
}

// overdueAfter is how late a timer must be for its rate to be bounded.
const overdueAfter = engine.Millis(60_000)

// fire fires the timers that are due by the task clock, in order of (due,
// customer), each as one step.
func (s *session) fire() error {
	if s.cfg.Time.Clock == config.WallClock && !s.t.Instance.Guard.OK() {
		return nil
	}
	for !s.batch.full(s.limits()) {
		e, at, ok, err := s.customers.Next(s.feed.Clock.Now)
		if err != nil || !ok {
			return err
		}
		if e.Former {
			if err := s.bring(e); err != nil {
				return err
			}
			continue // who wakes up at another time now
		}
		if !s.allowed(at) {
			return nil
		}
		s.step(place{}, 0)
		s.batch.timers = true
		s.batch.eval.Advance(e.C, at, &s.batch.out)
		if e.C.Wake() <= at {
			return wokenAgain(s.t.Partition, at)
		}
		s.touch(e)
		s.encode()
		s.cfg.Metrics.TimerDelay.Observe(float64(s.wall-at) / 1000)
	}
	return nil
}

// wokenAgain is the error of a timer that would fire for ever.
func wokenAgain(partition int32, at engine.Millis) error {
	return fault.Stopped(partition, "a customer's wake-up at %v did not go away when it fired; this is a defect", at)
}

// allowed reports whether a timer may fire now. After an outage there can be very
// many overdue ones; they fire at a bounded rate, so that events get their turn.
func (s *session) allowed(at engine.Millis) bool {
	if s.cfg.Time.Clock == config.EventsClock || s.feed.Clock.Now-at < overdueAfter || s.overdue.take(float64(s.cfg.Time.OverdueRate), s.cfg.Now()) {
		return true
	}
	s.batch.deferred = true
	s.cfg.Metrics.Overdue.Inc()
	return false
}

// bucket is a token bucket that holds what comes in a second, and at first a tenth.
type bucket struct {
	tokens   float64
	refilled time.Time
}

// take takes a token, of which rate come a second. It returns false if there is none.
func (b *bucket) take(rate float64, now time.Time) bool {
	if b.refilled.IsZero() {
		b.tokens, b.refilled = rate/10, now
	}
	b.tokens = min(rate, b.tokens+rate*now.Sub(b.refilled).Seconds())
	b.refilled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

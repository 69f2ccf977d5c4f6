package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// session is one acquisition of a task: everything here is thrown away by any
// error. The position is what was last committed; the clock, the merge and the
// inputs run ahead of it by the batch at hand.
type session struct {
	t   *Task
	cfg *config.Config

	ledger ledger.Ledger
	fetch  *fetcher
	route  broker.Router

	pos       *changelog.Position
	stored    *changelog.Versions // those of the position
	versions  *changelog.Versions // to be written with the next transaction, nil if they stand there
	next      int64               // next changelog offset
	topicID   [16]byte
	customers *cache.Customers

	logged  changelog.Claim     // under which the changelog's records count
	rewrite map[string]struct{} // keys whose newest record in the changelog is void

	inputs []*input
	merge  merge
	clock  clock
	batch  batch
	// reading is the record that is read.
	reading schemas.Record
	fat     fat
	letters map[string]*letterLimit // by cause

	polled   engine.Millis // the wall clock when records were last asked for, as reports of ends have it
	wall     engine.Millis // the wall clock, read once per batch
	horizon  engine.Millis // events beyond it are dead letters
	blocked  time.Time     // since when a topic has been waited for, zero if none
	gaveUp   bool          // it is not waited for any longer
	tokens   float64       // overdue timers that may fire
	refilled time.Time
	until    *untilTask // of a run that has an end
	// rules and rebuilding are those of the next position.
	rules      [16]byte
	rebuilding bool
	commits    int
	// committedAt is when the last transaction began, or the session.
	committedAt time.Time
	told        effectCounters
	headers     *schemas.Headers[kgo.RecordHeader]

	// What was committed and is not in the store: so many records, and versions.
	unstored         int
	unstoredVersions []byte
	asOf             engine.Millis // the wall clock when the position was committed
	storedAt         time.Time
	// arrival: records are ordered by when they came to Kafka. To facts the order is
	// all one; but an erasure deletes what had come before it, not what is older.
	arrival bool
	// move is what the changelog says of a resharding, nil if nothing; mover is set
	// for the session of a resharding itself.
	move  *changelog.Move
	mover bool
}

// idleWait is how long to wait for records when there is nothing to do: as long
// as new ends take to be asked for.
const idleWait = endsInterval

// shortWait is how long to wait when overdue timers are held back, or for an
// answer.
const shortWait = 5 * time.Millisecond

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
		if err := s.fetch.poll(live, wait); err != nil {
			return err
		}
		s.polled = s.t.o.present()
		s.hear()
		if s.batch.empty() {
			s.begin()
		}
		start := s.cfg.Now()
		took := s.batch.steps
		if err := s.steps(); err != nil {
			return err
		}
		if s.batch.steps > took {
			metrics.Since(s.cfg.Metrics.Fold, start, s.cfg.Now())
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
	}
	return s.finish(hard)
}

// finish commits the batch at hand and writes the store.
func (s *session) finish(ctx context.Context) error {
	if err := s.commit(ctx); err != nil {
		return err
	}
	return s.store()
}

// wait returns how long poll may wait.
func (s *session) wait() time.Duration {
	if s.ready() {
		return 0
	}
	if s.batch.deferred || s.merge.missing() != nil {
		return shortWait
	}
	if s.batch.empty() {
		return idleWait
	}
	return max(0, min(idleWait, s.pause()))
}

// timerPatience is for how long a timer that is due makes the ends be asked for more often:
// what takes longer is not for want of asking.
const timerPatience = engine.Millis(1_000)

// untilTimer returns how long it is until there may be a timer to fire. One that is
// due needs to know that nothing older is still to come.
func (s *session) untilTimer() time.Duration {
	at := s.customers.Earliest()
	if s.cfg.Time.Clock == config.EventsClock || at == engine.Never {
		return idleWait
	}
	over := s.cfg.NowMillis() - s.clock.silence - at
	switch {
	case over < -timerPatience || over > timerPatience:
		return idleWait
	case over < 0:
		return time.Duration(-over) * time.Millisecond
	}
	s.t.o.ends.hurry()
	return shortWait
}

// timersWait reports whether there are timers to fire as soon as the batch at hand is
// committed.
func (s *session) timersWait() bool {
	at := s.customers.Earliest()
	return s.cfg.Time.Clock == config.WallClock && at > s.clock.now && at <= s.clock.heard(s.inputs)
}

// pause returns how long it is until a batch that is not full may be committed. What
// comes after a time of silence need not wait at all; under load there is one
// transaction in each interval; and behind a backlog, where everything is late
// anyway, transactions are large, since each writes a customer once.
func (s *session) pause() time.Duration {
	interval := s.cfg.Batch.Interval
	switch {
	case s.lag() > backlog:
		interval = max(interval, backlogInterval)
	case s.batch.timers || s.timersWait():
		interval /= 2 // a timer waits for two transactions, an event for one
	}
	return interval - s.cfg.Now().Sub(s.committedAt)
}

// backlog is how many records a task must be behind for the interval between its
// transactions to be backlogInterval: more than come in the longest time that a
// transaction usually takes.
const (
	backlog         = 10_000
	backlogInterval = 2 * time.Second
)

// lag returns how many records are not yet taken, as last reported.
func (s *session) lag() (lag int64) {
	for _, in := range s.inputs {
		if in.end != unknown && !in.closed {
			lag += max(0, min(in.end, in.limit)-in.next)
		}
	}
	return lag
}

// ready reports whether there is a record to take now.
func (s *session) ready() bool {
	some := false
	for _, in := range s.inputs {
		if len(in.queue) == 0 && (in.missing() || s.merge.missing() == in) {
			return false
		}
		some = some || in.loaded || in.hold.since.IsZero() && !in.closed && len(in.queue) > 0 && in.queue[0].Offset < in.limit
	}
	return some
}

// limits returns how large a batch may be.
func (s *session) limits() (steps, bytes int) { return s.t.limit, s.cfg.Batch.Bytes }

// begin reads the wall part of the clock: once per batch, before its first
// record.
func (s *session) begin() {
	s.readWall()
	s.batch.deferred = false
	for _, in := range s.inputs {
		s.clock.begin(in)
	}
}

// hear takes in what is known of the ends of the inputs. The clock hears of it
// with the next batch.
func (s *session) hear() {
	reports := s.t.o.ends.of(s.t.n)
	for _, in := range s.inputs {
		if r, ok := reports[in.topic]; ok {
			in.hear(r)
		}
	}
	s.clock.held = s.cfg.Time.HoldSilence && s.clock.mode == config.WallClock && !s.t.o.ends.led(s.t.n, leaderlessFor)
}

// leaderlessFor is for how long after a partition was without a leader its producers
// may still be sending what they could not: with the defaults of their clients that
// was seen to be 49 s.
const leaderlessFor = time.Minute

func (s *session) readWall() {
	s.wall = s.cfg.NowMillis()
	s.horizon = s.cfg.SkewNow() + millis(s.cfg.Time.MaxFutureSkew)
}

// steps takes records and fires timers until the batch is full or there is
// nothing to do.
func (s *session) steps() error {
	for !s.batch.full(s.limits()) {
		if err := s.load(); err != nil {
			return err
		}
		s.clock.advance(s.inputs)
		if err := s.fire(); err != nil || s.batch.full(s.limits()) {
			return err
		}
		if s.waitForMissing() {
			return nil
		}
		in := s.merge.next(s.clock.order, s.horizon)
		if in == nil {
			return nil
		}
		if err := s.take(in); err != nil {
			return err
		}
		if !s.gaveUp {
			s.blocked = time.Time{}
		}
	}
	return nil
}

// waitForMissing reports whether to wait for a topic whose next record is not in
// hand. After MaxMergeWait the others go on without it; the clock still waits.
func (s *session) waitForMissing() bool {
	missing := s.merge.missing()
	if missing == nil {
		s.blocked, s.gaveUp = time.Time{}, false
		return false
	}
	if !missing.missing() {
		s.t.o.ends.hurry()
	}
	now := s.cfg.Now()
	if s.blocked.IsZero() {
		s.blocked = now
	}
	if now.Sub(s.blocked) < s.cfg.Time.MaxMergeWait {
		return true
	}
	if !s.gaveUp {
		s.gaveUp = true
		s.cfg.Metrics.MergeWaits.Inc()
		s.t.log.Warn("records of a topic do not arrive; the others go on without them, timers wait",
			"topic", missing.topic, "waited", s.cfg.Time.MaxMergeWait)
	}
	return false
}

// load reads the next record of every input that has none in hand.
func (s *session) load() error {
	for _, in := range s.inputs {
		if in.loaded || len(in.queue) == 0 {
			continue
		}
		if err := s.loadOne(in); err != nil {
			return err
		}
	}
	return nil
}

// lookAhead gets the customers of the next records into the processor's cache, and
// returns that of the first, nil if it is not known. A resharding has none.
func (s *session) lookAhead(in *input) *cache.Customer {
	if s.customers == nil {
		return nil
	}
	if len(in.near) == 0 {
		in.near = in.nearby[:min(len(in.queue), cache.Group)]
		for i, r := range in.queue[:len(in.near)] {
			in.near[i] = s.customers.Cached(r.Key)
		}
		s.customers.Ahead(in.near)
	}
	return in.near[0]
}

func (s *session) loadOne(in *input) error {
	for len(in.queue) > 0 && !in.loaded {
		r := in.queue[0]
		if r.Offset >= in.limit {
			in.skip(in.limit) // nothing is left below it
			return nil
		}
		if r.Attrs.IsControl() {
			in.skip(r.Offset + 1)
			in.shift()
			continue
		}
		if !in.hold.since.IsZero() && s.cfg.Now().Before(in.hold.retry) {
			return nil
		}
		if err := s.read(in, r); err != nil {
			s.hold(in, r, err) // nothing is known of the record: it is as good as not in hand
			return s.follow()  // a registry that hangs is no standing still
		}
		s.release(in)
		in.head.near = s.lookAhead(in)
		in.shift()
		if in.closed {
			in.scanned = r.Offset + 1
			s.until.lookBehind(&in.head)
			continue
		}
		if s.until.closes(&in.head) {
			in.closed, in.scanned = true, r.Offset+1
			continue
		}
		in.loaded = true
		if h := &in.head; !h.bad() && h.result == schemas.IsEvent && h.ev.At <= s.horizon {
			in.seen = max(in.seen, h.at)
		}
		s.clock.look(in)
	}
	return nil
}

// read makes a record the head of its input. An error means that it could not be
// read now.
func (s *session) read(in *input, r *kgo.Record) error {
	h := &in.head
	h.rec, h.err, h.at, h.came = r, nil, changelog.Never, s.polled
	rec := &s.reading
	fill(rec, r)
	if in.hold.came.IsZero() {
		in.hold.came = in.fetched
	}
	rec.Came = in.hold.came
	h.from = origin{topic: r.Topic, partition: r.Partition, offset: r.Offset, at: rec.Time}
	if h.batch = in.refused[r.Offset]; h.batch != nil {
		delete(in.refused, r.Offset)
		h.from.offset, h.err = h.batch.first, h.batch.bad(r.Offset)
		return nil
	}
	if in.origin {
		if h.from, h.err = originOf(r, s.cfg.Inputs); h.err != nil {
			return nil
		}
		rec.Topic, rec.Time = h.from.topic, h.from.at
	}
	var err error
	if h.result, err = s.cfg.Read(rec, &h.ev); err != nil {
		var bad *schemas.BadInput
		if errors.As(err, &bad) {
			h.err = bad
			return nil
		}
		return err
	}
	h.at = h.ev.At
	switch {
	case s.arrival:
		h.at = rec.Time
	case s.cfg.Time.Clock == config.WallClock:
		h.at = min(h.at, rec.Time)
	}
	return nil
}

// fill makes rec what a reader needs of a record.
func fill(rec *schemas.Record, r *kgo.Record) {
	rec.Topic, rec.Key, rec.Value, rec.Time = r.Topic, r.Key, r.Value, engine.Millis(r.Timestamp.UnixMilli())
	rec.Headers = rec.Headers[:0]
	for _, h := range r.Headers {
		rec.Headers = append(rec.Headers, schemas.Header(h))
	}
}

// publish makes the state of the session visible.
func (s *session) publish() {
	lag := s.lag()
	behind := make(map[string]engine.Millis, len(s.inputs))
	for _, in := range s.inputs {
		behind[in.topic] = 0
		if in.unread() && in.seen != changelog.Never {
			behind[in.topic] = max(0, s.wall-in.seen)
		}
	}
	waits, now := s.waits(), s.cfg.Now()
	held := s.held()
	s.t.set(func(st *TaskStatus) {
		switch {
		case held != nil:
			st.State, st.Error = Waiting, held.Error()
		case st.State == Waiting:
			st.State, st.Error = Running, ""
		}
		st.Clock, st.Lag, st.Customers, st.behind = s.clock.now, lag, s.customers.Len(), behind
		st.Waits, st.looped = waits, now
	})
}

// at passes a point of the protocol.
func (s *session) at(point string) error {
	return s.t.at(point)
}

func (s *session) close() {
	if s.fetch != nil {
		s.fetch.close()
	}
	if s.ledger != nil {
		s.ledger.Close()
	}
}

func millis(d time.Duration) engine.Millis { return engine.Millis(d.Milliseconds()) }

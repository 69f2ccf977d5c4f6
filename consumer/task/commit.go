package task

import (
	"context"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// commit writes the batch in one Kafka transaction, and the store if it is due. A
// batch that changed nothing and moved no offset writes nothing. After an error it
// is not known whether the transaction took place, and the session must end.
func (s *session) commit(ctx context.Context) error {
	if !s.batch.moved && len(s.customers.Dirty) == 0 && len(s.rewrite) == 0 {
		s.batch.reset()
		return nil
	}
	start := s.cfg.Now()
	s.committedAt = start
	for _, r := range s.letters.Lists(s.wall.Time()) {
		s.emit(r)
	}
	pos := s.nextPosition()
	changes := s.changes(pos)
	if err := s.write(ctx, pos, changes); err != nil {
		return err
	}
	metrics.Since(s.cfg.Metrics.Commit, start, s.cfg.Now())
	s.count()
	if s.cfg.OnEffects != nil && len(s.batch.out.Effects) > 0 {
		s.cfg.OnEffects(s.t.Partition, s.batch.out.Effects)
	}
	full, erased := s.customers.Committed(s.t.Instance.cacheShare()), s.batch.erased
	s.batch.reset()
	s.commits++
	s.t.grow()
	s.unstored += len(changes) + 1
	if err := s.at("applied"); err != nil || !full && !erased {
		return err
	}
	if err := s.store(); err != nil {
		return err
	}
	s.customers.Evict(s.t.Instance.cacheShare())
	return nil
}

// write writes one transaction, and moves the position.
func (s *session) write(ctx context.Context, pos *changelog.Position, changes []change) error {
	var versions []byte
	if s.versions != nil {
		versions = s.versions.Append(nil)
	}
	records, err := s.transaction(pos, changes, versions)
	if err != nil {
		return err
	}
	offset, err := s.deliver(ctx, records)
	if err != nil {
		s.cfg.Metrics.Transactions.WithLabelValues("error").Inc()
		return err
	}
	s.cfg.Metrics.Transactions.WithLabelValues("committed").Inc()
	if err := s.at("ended"); err != nil {
		return err
	}
	changelog.CheckStep(s.pos, pos)
	if s.versions != nil {
		s.before = s.versions
	}
	s.pos, s.versions, s.next, s.asOf = pos, nil, offset+1, s.cfg.NowMillis()
	if versions != nil {
		s.unstoredVersions = versions
	}
	s.logged = s.ledger.Claim()
	clear(s.rewrite)
	s.ledger.TakeVoid(s.rewrite)
	s.t.committed(pos)
	return nil
}

// nextPosition returns the position that the batch leads to, without its digest.
func (s *session) nextPosition() *changelog.Position {
	pos := s.pos.Clone()
	pos.Seq++
	pos.Clock, pos.Latest, pos.Turn = s.feed.Clock.Now, s.feed.Clock.Latest, s.feed.Turn()
	pos.Rules, pos.Rebuilding, pos.Claim = s.rules, s.rebuilding, s.ledger.Claim()
	pos.Folded += s.batch.folded
	pos.DeadLetters += s.letters.Refused()
	pos.Forwarded += s.batch.forwarded
	_, history := s.t.historyPlace()
	delete(pos.Sources, history)
	for _, in := range s.feed.Inputs() {
		if in.Over() {
			continue // it is never read again as an input
		}
		pos.Sources[changelog.InputOf(in.Topic, in.Partition, s.t.Partition)] = changelog.Source{First: in.First, Next: in.Next, Seen: in.Seen, ID: in.ID}
	}
	for topic := range s.met {
		// A task that has no partition of it must not take the first one that is added
		// for an input that it meets.
		own := changelog.Input{Topic: topic}
		if _, ok := pos.Sources[own]; !ok {
			pos.Sources[own] = changelog.Source{Seen: changelog.Never}
		}
	}
	return pos
}

// change is a record of the changelog about a customer, who is gone if value is nil.
type change struct {
	customer   string
	key, value []byte
}

// changes encodes the changed customers and moves the digest of pos.
func (s *folder) changes(pos *changelog.Position) []change {
	cs, b := s.customers, &s.batch
	changes := slices.Grow(b.changes[:0], len(cs.Dirty))
	for i, e := range cs.Dirty {
		cs.AheadIn(cs.Dirty, i)
		if !e.Known && !e.C.Known() {
			continue
		}
		c := change{customer: e.C.ID}
		var hash state.Digest
		piece := append(append(b.memory.room(pieceBytes), changelog.CustomerPrefix...), c.customer...)
		key := len(piece)
		if e.C.Known() {
			piece = state.AppendSubject(piece, c.customer)
			value := len(piece)
			e.C.SetBrought(0)
			piece = s.cfg.Engine.Append(piece, e.C)
			if hash = state.DigestOfSubject(piece[key:]); e.Known && hash == e.Hash {
				continue
			}
			if cs.Pass != 0 {
				e.C.SetBrought(cs.Pass)
				piece = s.cfg.Engine.Append(piece[:value], e.C)
				if hash = state.DigestOfSubject(piece[key:]); e.Known && hash == e.Hash {
					continue
				}
			}
			c.value = piece[value:len(piece):len(piece)]
		}
		c.key = b.memory.keep(piece)[:key:key]
		if e.Known {
			pos.Digest = pos.Digest.Sub(e.Hash)
		}
		pos.Digest = pos.Digest.Add(hash) // zero for a customer that is gone
		e.Known, e.Hash = c.value != nil, hash
		cs.Measure(e, len(c.value))
		changes = append(changes, c)
	}
	b.changes = changes
	return changes
}

// transaction returns the records of the transaction, the position last.
func (s *session) transaction(pos *changelog.Position, changes []change, versions []byte) ([]*kgo.Record, error) {
	b := &s.batch
	records := slices.Grow(b.transaction[:0], len(changes)+len(b.records)+1)
	var stamped []kgo.RecordHeader
	claim := s.ledger.Claim()
	if claim != (changelog.Claim{}) {
		stamped = []kgo.RecordHeader{changelog.Stamp{Claim: claim, Seq: pos.Seq}.Header()}
	}
	topic := s.cfg.Changelog()
	add := func(key, value []byte) {
		r := b.record()
		r.Topic, r.Partition, r.Key, r.Value, r.Headers = topic, s.t.Partition, key, value, stamped
		records = append(records, r)
	}
	if claim != s.logged {
		add(changelog.ClaimKey(), claim[:]) // transactions come after a time without
	}
	if err := s.again(add); err != nil {
		return nil, err
	}
	if versions != nil {
		add([]byte(changelog.VersionsKey), versions)
	}
	for i := range changes {
		add(changes[i].key, changes[i].value)
	}
	records = append(records, b.records...)
	add([]byte(changelog.PositionKey), pos.Append(nil))
	b.transaction = records
	return records, nil
}

// deliver commits records, and returns the offset of the position. It makes the next
// batch smaller if this one would fail again.
func (s *session) deliver(ctx context.Context, records []*kgo.Record) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.Fixed.CommitTimeout)
	defer cancel()
	offset, err := s.ledger.Commit(ctx, records)
	if err != nil && broker.IsDeterministic(err) {
		err = s.t.shrink(s.batch.steps, s.batch.only, err)
	}
	return offset, err
}

// count takes the committed batch into the metrics.
func (s *session) count() {
	m, b := s.cfg.Metrics, &s.batch
	b.became(result{}, 0) // the last run is complete
	for r, n := range b.results {
		m.Events.WithLabelValues(r.topic, r.what).Add(float64(n))
	}
	s.letters.Committed()
	m.Forwarded.Add(float64(b.forwarded))
	m.Nobody.Add(float64(b.nobody.n))
	b.nobody.warn(s)
	m.EarlyWakes.Add(float64(b.out.Stats.EarlyWakes))
	m.Coarsened.Add(float64(b.out.Stats.Coarsened))
	m.Unmatched.Add(float64(b.out.Stats.Unmatched))
	now := s.cfg.NowMillis()
	for _, e := range b.effects.counted {
		s.emitted.counters[e.kind].Inc()
		if e.byEvent {
			m.EndToEnd.Observe(float64(now-e.at) / 1000)
		}
	}
}

// counted is an effect as far as it is counted.
type counted struct {
	kind    int32
	byEvent bool // a change that an event caused
	at      engine.Millis
}

// effectKind is what effects are counted by.
type effectKind struct {
	name   string
	action engine.Action
	cause  engine.Cause
}

// effectCounters are the counters of effects, each looked up once.
type effectCounters struct {
	kinds    map[effectKind]int32
	counters []prometheus.Counter
}

func newEffectCounters() effectCounters { return effectCounters{kinds: map[effectKind]int32{}} }

// kind returns the number of an effect's counter.
func (c *effectCounters) kind(m *metrics.Metrics, e *engine.Effect) int32 {
	k := effectKind{e.Name, e.Action, e.Cause}
	i, ok := c.kinds[k]
	if !ok {
		i = int32(len(c.counters))
		c.kinds[k] = i
		if e.Action == engine.Fired {
			c.counters = append(c.counters, m.Triggers.WithLabelValues(e.Name))
		} else {
			c.counters = append(c.counters, m.Changes.WithLabelValues(e.Name, e.Action.String(), e.Cause.String()))
		}
	}
	return i
}

// committed makes a position visible.
func (t *Task) committed(pos *changelog.Position) {
	t.set(func(s *Status) {
		s.Seq, s.Folded, s.DeadLetters, s.Forwarded = pos.Seq, pos.Folded, pos.DeadLetters, pos.Forwarded
		s.Sources = pos.Sources
	})
}

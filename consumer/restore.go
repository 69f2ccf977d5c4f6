package consumer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// restoreChunk and restoreBytes are how many changelog records are written to the
// store at a time, about; a transaction is never divided.
const (
	restoreChunk = 40_000
	restoreBytes = 8 << 20
)

// noteInterval is how often a copy that is current is noted to be so.
const noteInterval = time.Minute

// restore brings the copy in the store to the end of the changelog, which is not
// before the claim, and reads the position there. It is said how far it has come
// meanwhile.
func (s *session) restore(ctx context.Context) error {
	r, err := s.t.o.replay(ctx, s.t.n, s.t.store, s.t.log, broker.HighWatermark, s.ledger.Begin())
	if err != nil {
		return err
	}
	defer r.close()
	s.topicID = r.topicID
	var done func()
	r.progress, done = s.t.showRestore(r.next, r.end)
	defer done()
	if err := r.to(ctx, r.end); err != nil {
		return err
	}
	if own := s.ledger.Claim(); own != (changelog.Claim{}) && r.filter.Claim() != own {
		return ledger.ErrClaimed
	}
	if err := r.flush(); err != nil {
		return err
	}
	if err := s.at("replayed"); err != nil {
		return err
	}
	s.move = r.move
	if err := s.checkMove(); err != nil {
		return err
	}
	if err := r.verify(ctx); err != nil {
		return err
	}
	return s.continueFrom(r)
}

// continueFrom gives the session the position of a copy that is verified.
func (s *session) continueFrom(r *replay) error {
	s.logged, s.rewrite = r.filter.Claim(), r.filter.Void()
	if r.pos == nil && r.first > 0 {
		return fault.Stopped(s.t.n, "the changelog begins at offset %d and has no position: its records were deleted, and with them the state. "+
			"Restore %s from a copy; or, to begin with no state, delete the topic: everything that the inputs retain is then read again, and told a second time", r.first, s.cfg.changelog())
	}
	if r.pos == nil {
		s.first(r.end)
		return nil
	}
	if r.records > 0 {
		s.t.log.Info("restored", "records", r.records, "tail", r.began, "seq", r.pos.Seq, "took", r.progress.took())
	}
	if r.began {
		s.t.o.verifier.later(s.t)
	}
	s.pos, s.next = r.pos, r.next
	return s.readVersions(r.versions)
}

// replay lays a changelog over the copy of one partition. There are two kinds. A
// tail is laid over a copy that is there, transaction by transaction, so that the
// copy is always at some position. A whole changelog is loaded blindly into an
// empty task, and indexed and hashed afterwards in one scan: compaction has left
// customers without the transactions that wrote them, and until the end the copy
// has no position. From then on it is a tail.
type replay struct {
	o     *Owner
	n     int32
	store *state.Task
	log   *slog.Logger
	cl    *kgo.Client // once something has to be read

	tail        bool // whether the copy has been verified at some position
	began       bool // as a tail
	topicID     [16]byte
	end         int64        // where the changelog ended
	asked       state.Millis // when that was asked for
	asOf        state.Millis // the copy lacks nothing that was written before
	written     int64        // meta.Next and meta.AppliedAt in the store
	writtenAsOf state.Millis

	first    int64         // the first offset that the changelog has
	next     int64         // the next offset
	rest     []*kgo.Record // fetched and not taken in
	pending  []state.Change
	bytes    int                 // of pending since the last flush
	upTo     int                 // how many of pending are followed by a position
	at       int64               // the offset after that position
	digest   state.Digest        // of the copy
	pos      *changelog.Position // the last one
	versions []byte              // the last ones
	coming   []byte              // versions that are not followed by a position yet
	fresh    []byte              // versions that the copy does not have
	records  int
	progress *progress       // nil if nobody watches
	move     *changelog.Move // what the changelog says of a resharding

	filter *changelog.Filter
	last   int64 // the offset after the last position
}

// replay sees what the changelog has and what the local copy of a partition lacks.
// The changelog ends at the high watermark, or at the last stable offset where an
// owner may be writing, and not before the least that is known of its end. A copy
// that can't be continued is dropped.
func (o *Owner) replay(ctx context.Context, n int32, store *state.Task, log *slog.Logger, until broker.Edge, least int64) (*replay, error) {
	topics := []string{o.cfg.changelog()}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	r := &replay{o: o, n: n, store: store, log: log, filter: changelog.NewFilter()}
	var err error
	if r.topicID, err = o.topicID(ctx, topics[0]); err != nil {
		return nil, err
	}
	if r.topicID == (changelog.TopicID{}) {
		r.topicID = noTopicID
	}
	first, err := o.cluster.ListOne(ctx, broker.Start, topics, n)
	if err != nil {
		return nil, err
	}
	r.asked = o.cfg.now()
	end, err := o.cluster.ListOne(ctx, until, topics, n)
	if err != nil {
		return nil, err
	}
	r.first = first[topics[0]]
	r.next, r.end = r.first, max(end[topics[0]], least)
	if err := r.checkTopic(ctx, r.next); err != nil {
		return nil, err
	}
	meta, pos, err := r.local(r.next)
	if err != nil {
		return nil, err
	}
	if pos == nil {
		return r, store.Drop()
	}
	r.tail, r.began = true, true
	r.pos, r.versions, r.digest = pos, meta.Versions, pos.Digest
	r.filter, r.last = changelog.FilterAfter(pos), meta.Next
	r.next, r.written, r.asOf, r.writtenAsOf = meta.Next, meta.Next, meta.AppliedAt, meta.AppliedAt
	return r, nil
}

// to reads the changelog up to an offset, and not beyond.
func (r *replay) to(ctx context.Context, end int64) error {
	for r.next < end {
		if len(r.rest) == 0 {
			if err := r.fetch(ctx, end); err != nil {
				return err
			}
		}
		for len(r.rest) > 0 && r.next < end {
			rec := r.rest[0]
			if rec.Offset >= end {
				r.next = end
				break
			}
			r.rest = r.rest[1:]
			if err := r.record(rec); err != nil {
				return err
			}
		}
		if len(r.pending) >= restoreChunk || r.bytes >= restoreBytes {
			if err := r.flush(); err != nil {
				return err
			}
		}
		r.progress.read(r.next)
	}
	return nil
}

// fetch waits for records.
func (r *replay) fetch(ctx context.Context, end int64) error {
	if r.cl == nil {
		opts := append(r.o.cluster.ConsumerOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			r.o.cfg.changelog(): {r.n: kgo.NewOffset().At(r.next)},
		}))
		var err error
		if r.cl, err = kgo.NewClient(opts...); err != nil {
			return err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	fetches := r.cl.PollFetches(waiting)
	if errs := fetches.Errors(); len(errs) > 0 {
		err := errs[0].Err
		if ctx.Err() == nil && waiting.Err() != nil {
			err = broker.ErrNoProgress
		}
		return fmt.Errorf("changelog at offset %d of %d: %w", r.next, end, err)
	}
	r.rest = fetches.Records()
	return nil
}

// close ends what to began.
func (r *replay) close() {
	if r.cl != nil {
		r.cl.Close()
	}
}

// record takes in one record of the changelog.
func (r *replay) record(rec *kgo.Record) error {
	r.next = rec.Offset + 1
	if rec.Attrs.IsControl() {
		return nil
	}
	if changelog.IsMove(string(rec.Key)) {
		var err error
		if r.move, err = changelog.DecodeMove(rec.Value); err != nil {
			return fault.Stopped(r.n, "changelog offset %d: %w", rec.Offset, err)
		}
		return nil
	}
	r.records++
	r.progress.record(len(rec.Key) + len(rec.Value))
	by, err := r.filter.Judge(rec)
	if err == nil && by != nil {
		err = r.take(string(rec.Key), rec, *by)
	}
	if err != nil {
		return fault.Stopped(r.n, "changelog offset %d: %w", rec.Offset, err)
	}
	return nil
}

// take takes in a record that is not void.
func (r *replay) take(key string, rec *kgo.Record, by changelog.Stamp) error {
	switch {
	case strings.HasPrefix(key, changelog.CustomerPrefix):
		if rec.Value != nil {
			if _, err := engine.WakeOf(rec.Value); err != nil {
				return err
			}
		}
		r.pending = append(r.pending, state.Change{Customer: key[len(changelog.CustomerPrefix):], Value: rec.Value})
		r.bytes += len(key) + len(rec.Value)
		r.filter.Open(key, by)
	case key == changelog.VersionsKey:
		r.coming = rec.Value
		r.filter.Open(key, by)
	case key == changelog.PositionKey:
		pos, err := changelog.DecodePosition(rec.Value)
		if err != nil {
			return err
		}
		r.pos, r.upTo, r.at, r.last = pos, len(r.pending), r.next, r.next
		if r.coming != nil {
			r.versions, r.fresh, r.coming = r.coming, r.coming, nil
		}
		r.filter.Close()
	default:
		return fmt.Errorf("its key is one that no version writes: somebody else writes to %s", rec.Topic)
	}
	return nil
}

// flush writes what is pending: of a tail, what is followed by a position.
func (r *replay) flush() error {
	r.bytes = 0
	if !r.tail {
		err := r.store.Load(r.pending)
		clear(r.pending) // lets the values go
		r.pending, r.upTo = r.pending[:0], 0
		return err
	}
	if r.at == 0 {
		return nil
	}
	var err error
	if r.digest, err = r.store.Replay(r.pending[:r.upTo], r.meta(r.at), r.digest); err != nil {
		return err
	}
	r.pending = append(r.pending[:0], r.pending[r.upTo:]...)
	r.upTo, r.at, r.fresh = 0, 0, nil
	return nil
}

// meta returns the meta of the copy at the last position, which is below next.
func (r *replay) meta(next int64) *state.Meta {
	return &state.Meta{
		Position: r.pos.Append(nil), Versions: r.fresh,
		TopicID: knowing(r.topicID, r.filter.Foreign()), Next: next, AppliedAt: r.asOf,
	}
}

// verify writes the rest of what was read, compares the digest of the copy with
// that of the last position, and notes that the copy was current when the end was
// asked for. An error that wraps errLocal blames the copy.
func (r *replay) verify(ctx context.Context) error {
	if err := r.flush(); err != nil {
		return err
	}
	if r.pos == nil && r.filter.Shadowed() {
		return fault.Stopped(r.n, "the changelog has lost its last position to compaction, which must wait for a day (min.compaction.lag.ms): restore it, or begin with another app name")
	}
	if r.pos == nil && r.filter.Unstamped() > 0 {
		return fault.Stopped(r.n, "the changelog has %d records and no position", r.records)
	}
	if !r.tail {
		var err error
		if err = r.undo(ctx); err != nil {
			return err
		}
		if r.digest, _, err = r.store.Index(func(customers int) error {
			r.progress.indexed(customers)
			return ctx.Err()
		}); err != nil {
			return err
		}
	}
	var want state.Digest
	if r.pos != nil {
		want = r.pos.Digest
	}
	if len(r.pending) > 0 && len(r.filter.Opened()) == 0 || r.digest != want {
		return fmt.Errorf("%w: digest %v, the position says %v, after %d records", fault.ErrLocal, r.digest, want, r.records)
	}
	return r.current(r.asked)
}

// current notes that the copy, which has come to next, lacks nothing that was
// written before an instant. If only the instant is new it is not noted each time.
func (r *replay) current(asOf state.Millis) error {
	r.tail, r.asOf = true, asOf
	next := r.next
	if r.pos != nil && r.filter.Claim() != r.pos.Claim || len(r.filter.Opened()) > 0 || r.move != nil {
		// From next, the copy would be continued under the claim of its position,
		// without the beginning of a batch, or as if the state had not been moved.
		next = r.last
	}
	if r.pos == nil || next == r.written && asOf-r.writtenAsOf < millis(noteInterval) {
		return nil // of a partition that has never run there is nothing to note
	}
	if err := r.store.Apply(nil, r.meta(next)); err != nil {
		return err
	}
	r.at, r.fresh, r.written, r.writtenAsOf = 0, nil, next, asOf
	return nil
}

// local returns the copy's meta if the copy can be used with the changelog, which
// begins at first.
func (r *replay) local(first int64) (state.Meta, *changelog.Position, error) {
	meta, ok, err := r.store.Meta()
	if err != nil || !ok {
		return meta, nil, err
	}
	pos, err := changelog.DecodePosition(meta.Position)
	var why string
	switch {
	case err != nil:
		why = err.Error()
		r.o.cfg.Metrics.damaged.WithLabelValues(damagedDigest).Inc()
	case meta.TopicID == [16]byte{}:
		why = "it does not say which records of the changelog are still to be written again"
	case meta.TopicID != r.topicID:
		why = "it is of another changelog topic of the same name"
	case meta.Next > r.end:
		return meta, nil, fault.Stopped(r.n, "the changelog ends at offset %d and the local copy was made up to %d: the changelog has lost committed records",
			r.end, meta.Next)
	case meta.Next < first:
		why = "the changelog no longer has what follows it"
	case meta.Next < r.end && r.asked-meta.AppliedAt > millis(tombstonesKept-staleMargin):
		// The tombstones of customers that were deleted since may be gone, and the
		// copy would bring the customers back.
		why = "it is too old"
	default:
		return meta, pos, nil
	}
	r.log.Info("local copy is not used", "reason", why)
	return meta, nil, nil
}

// first is the position of a task that has never run.
func (s *session) first(end int64) {
	s.pos = &changelog.Position{
		App: s.cfg.App, Partitions: s.t.o.partitions, Clock: changelog.Never, Latest: changelog.Never,
		Rules: changelog.HashVersions(s.cfg.Engine.Versions()), Sources: map[string]changelog.Source{},
	}
	s.next = end
	s.versions = &changelog.Versions{Hashes: s.cfg.Engine.Versions()}
}

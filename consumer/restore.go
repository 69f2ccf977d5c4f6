package consumer

import (
	"context"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// restoreChunk is how many changelog records are written to the store at a time,
// about; a transaction is never divided.
const restoreChunk = 10_000

// restore brings the copy in the store to the end of the changelog and reads the
// position there.
func (s *session) restore(ctx context.Context) error {
	changelog := s.cfg.changelog()
	asking, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	var err error
	if s.topicID, err = s.t.o.topicID(asking, changelog); err != nil {
		return err
	}
	first, err := listOne(asking, s.t.o.admin, []string{changelog}, s.t.n, highWatermark, atStart)
	if err != nil {
		return err
	}
	end, err := listOne(asking, s.t.o.admin, []string{changelog}, s.t.n, highWatermark, atEnd)
	if err != nil {
		return err
	}
	from, to := first[changelog], end[changelog]
	meta, pos, err := s.local(from, to)
	if err != nil {
		return err
	}
	r := &restoring{s: s, tail: pos != nil, pos: pos, versions: meta.Versions, next: from}
	if r.tail {
		r.next, r.digest = meta.Next, pos.Digest
	} else if err := s.t.store.Drop(); err != nil {
		return err
	}
	if err := r.replay(ctx, to); err != nil {
		return err
	}
	return r.finish(to)
}

// restoring is the replay of a changelog. There are two kinds. A tail is laid over
// a copy, transaction by transaction, so that the copy is always at some position.
// A whole changelog is loaded blindly into an empty task, and indexed and hashed
// afterwards in one scan: compaction has left customers without the transactions
// that wrote them, and until the end the copy has no position.
type restoring struct {
	s    *session
	tail bool

	next     int64 // the next offset
	pending  []state.Change
	upTo     int          // how many of pending are followed by a position
	at       int64        // the offset after that position
	digest   state.Digest // of the copy
	pos      *Position    // the last one
	versions []byte
	fresh    []byte // versions that came with the replay
	records  int
}

// replay reads the changelog from r.next up to end.
func (r *restoring) replay(ctx context.Context, end int64) error {
	if r.next >= end {
		return nil
	}
	s := r.s
	opts := append(consumerOpts(s.t.o.opts()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		s.cfg.changelog(): {s.t.n: kgo.NewOffset().At(r.next)},
	}))
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for r.next < end {
		waiting, cancel := context.WithTimeout(ctx, acquireTimeout)
		fetches := cl.PollFetches(waiting)
		cancel()
		for _, e := range fetches.Errors() {
			if ctx.Err() == nil && waiting.Err() != nil {
				e.Err = errNoProgress
			}
			return fmt.Errorf("changelog at offset %d of %d: %w", r.next, end, e.Err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			if err := r.record(it.Next()); err != nil {
				return err
			}
		}
		if len(r.pending) >= restoreChunk {
			if err := r.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// record takes in one record of the changelog.
func (r *restoring) record(rec *kgo.Record) error {
	r.next = rec.Offset + 1
	if rec.Attrs.IsControl() {
		return nil
	}
	r.records++
	switch key := string(rec.Key); {
	case strings.HasPrefix(key, customerPrefix):
		c := state.Change{Customer: key[len(customerPrefix):], Value: rec.Value}
		if rec.Value != nil {
			if _, err := engine.WakeOf(rec.Value); err != nil {
				return stopped(r.s.t.n, "changelog offset %d: %w", rec.Offset, err)
			}
		}
		r.pending = append(r.pending, c)
	case key == versionsKey:
		r.fresh = rec.Value
	case key == positionKey:
		pos, err := decodePosition(rec.Value)
		if err != nil {
			return stopped(r.s.t.n, "changelog offset %d: %w", rec.Offset, err)
		}
		r.pos, r.upTo, r.at = pos, len(r.pending), rec.Offset+1
	default:
		return stopped(r.s.t.n, "changelog offset %d has a key that no version writes: somebody else writes to %s", rec.Offset, rec.Topic)
	}
	return nil
}

// flush writes what is pending: of a tail, what is followed by a position.
func (r *restoring) flush() error {
	if !r.tail {
		err := r.s.t.store.Load(r.pending)
		r.pending, r.upTo = r.pending[:0], 0
		return err
	}
	if r.at == 0 {
		return nil
	}
	var err error
	r.digest, err = r.s.t.store.Replay(r.pending[:r.upTo], r.meta(), r.digest)
	r.pending = append(r.pending[:0], r.pending[r.upTo:]...)
	r.upTo, r.at = 0, 0
	return err
}

// meta returns the meta of the copy at the last position.
func (r *restoring) meta() *state.Meta {
	return &state.Meta{
		Position: r.pos.append(nil), Versions: r.fresh,
		TopicID: r.s.topicID, Next: r.at, AppliedAt: r.s.cfg.now(),
	}
}

// finish writes the rest, verifies the copy, and gives the session its position.
func (r *restoring) finish(end int64) error {
	s := r.s
	if err := r.flush(); err != nil {
		return err
	}
	if err := s.at("replayed"); err != nil {
		return err
	}
	s.cfg.Metrics.restored.Add(float64(r.records))
	if r.fresh != nil {
		r.versions = r.fresh
	}
	if r.pos == nil {
		if r.records > 0 {
			return stopped(s.t.n, "the changelog has %d records and no position", r.records)
		}
		s.first(end)
		return nil
	}
	if !r.tail {
		var err error
		if r.digest, _, err = s.t.store.Index(); err != nil {
			return err
		}
	}
	if len(r.pending) > 0 || r.digest != r.pos.Digest {
		return fmt.Errorf("%w: digest %v, the position says %v, after %d records", errLocal, r.digest, r.pos.Digest, r.records)
	}
	if !r.tail {
		if err := s.t.store.Apply(nil, r.meta()); err != nil {
			return err
		}
	}
	if r.records > 0 {
		s.t.log.Info("restored", "records", r.records, "tail", r.tail, "seq", r.pos.Seq)
	}
	if r.tail {
		s.t.o.verifier.later(s.t)
	}
	s.pos, s.next = r.pos, r.next
	return s.readVersions(r.versions)
}

// first is the position of a task that has never run.
func (s *session) first(end int64) {
	s.pos = &Position{
		App: s.cfg.App, Partitions: s.t.o.partitions, Clock: never, Latest: never,
		Rules: hashVersions(s.cfg.Engine.Versions()), Sources: map[string]Source{},
	}
	s.next = end
	s.versions = &Versions{Hashes: s.cfg.Engine.Versions()}
}

package replica

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// chunk and chunkBytes are how many changelog records are written to the store at a
// time, about; a transaction is never divided.
const (
	chunk      = 40_000
	chunkBytes = 8 << 20
)

// reader reads a changelog partition from an offset on. It asks for nothing until
// something is to be read.
type reader struct {
	*broker.Cluster
	topic     string
	partition int32
	cl        *kgo.Client
	next      int64         // the next offset
	rest      []*kgo.Record // fetched and not taken in
}

// fetch waits for records up to end.
func (l *reader) fetch(ctx context.Context, end int64) error {
	if l.cl == nil {
		var err error
		if l.cl, err = kgo.NewClient(append(l.ConsumerOptions(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			l.topic: {l.partition: kgo.NewOffset().At(l.next)},
		}))...); err != nil {
			return err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	fetches := l.cl.PollFetches(waiting)
	if errs := fetches.Errors(); len(errs) > 0 {
		err := errs[0].Err
		if ctx.Err() == nil && waiting.Err() != nil {
			err = broker.ErrNoProgress
		}
		return fmt.Errorf("changelog at offset %d of %d: %w", l.next, end, err)
	}
	l.rest = fetches.Records()
	return nil
}

func (l *reader) close() {
	if l.cl != nil {
		l.cl.Close()
	}
}

// pending is what was read and is not in the store.
type pending struct {
	changes []state.Change
	bytes   int    // of changes since the last flush
	upTo    int    // how many of changes are followed by a position
	at      int64  // the offset after that position, 0 if there is none
	coming  []byte // versions that are not followed by a position yet
	fresh   []byte // versions that are, and that the store does not have
}

// Read reads the changelog up to an offset, and not beyond.
func (r *Replica) Read(ctx context.Context, end int64) error {
	l := &r.log
	for l.next < end {
		if len(l.rest) == 0 {
			if err := l.fetch(ctx, end); err != nil {
				return err
			}
		}
		for len(l.rest) > 0 && l.next < end {
			rec := l.rest[0]
			if rec.Offset >= end {
				l.next = end
				break
			}
			l.rest = l.rest[1:]
			if err := r.record(rec); err != nil {
				return err
			}
		}
		if len(r.batch.changes) >= chunk || r.batch.bytes >= chunkBytes {
			if err := r.Flush(); err != nil {
				return err
			}
		}
		r.progress.Read(l.next)
	}
	return nil
}

// record takes in one record of the changelog.
func (r *Replica) record(rec *kgo.Record) error {
	r.log.next = rec.Offset + 1
	if rec.Attrs.IsControl() {
		return nil
	}
	if changelog.IsMove(string(rec.Key)) {
		var err error
		if r.move, err = changelog.DecodeMove(rec.Value); err != nil {
			return fault.Stopped(r.Partition, "changelog offset %d: %w", rec.Offset, err)
		}
		return nil
	}
	r.records++
	r.progress.Record(len(rec.Key) + len(rec.Value))
	by, err := r.filter.Judge(rec)
	if err == nil && by != nil {
		err = r.take(string(rec.Key), rec, *by)
	}
	if err != nil {
		return fault.Stopped(r.Partition, "changelog offset %d: %w", rec.Offset, err)
	}
	return nil
}

// take takes in a record that is not void.
func (r *Replica) take(key string, rec *kgo.Record, by changelog.Stamp) error {
	b := &r.batch
	id, ok := changelog.Customer(key)
	switch {
	case ok:
		if rec.Value != nil {
			if _, err := engine.WakeOf(rec.Value); err != nil {
				return err
			}
		}
		b.changes = append(b.changes, state.Change{Customer: id, Value: rec.Value})
		b.bytes += len(key) + len(rec.Value)
		r.filter.Open(key, by)
	case key == changelog.VersionsKey:
		b.coming = rec.Value
		r.filter.Open(key, by)
	case key == changelog.PositionKey:
		pos, err := changelog.DecodePosition(rec.Value)
		if err != nil {
			return err
		}
		r.pos, r.last = pos, r.log.next
		b.upTo, b.at = len(b.changes), r.log.next
		if b.coming != nil {
			r.versions, b.fresh, b.coming = b.coming, b.coming, nil
		}
		r.filter.Close()
	default:
		return fmt.Errorf("its key is one that no version writes: somebody else writes to %s", rec.Topic)
	}
	return nil
}

// Flush writes what was read to the store: of a tail, what is followed by a position.
func (r *Replica) Flush() error {
	b := &r.batch
	b.bytes = 0
	if !r.tail {
		err := r.Store.Load(b.changes)
		clear(b.changes) // lets the values go
		b.changes, b.upTo = b.changes[:0], 0
		return err
	}
	if b.at == 0 {
		return nil
	}
	var err error
	if r.digest, err = r.Store.Replay(b.changes[:b.upTo], r.meta(b.at), r.digest); err != nil {
		return err
	}
	b.changes = append(b.changes[:0], b.changes[b.upTo:]...)
	b.upTo, b.at, b.fresh = 0, 0, nil
	return nil
}

// each calls visit with the records of the changelog from one offset up to another,
// those of transactions' ends apart. An error of visit ends it.
func (r *Replica) each(ctx context.Context, from, to int64, visit func(*kgo.Record) error) error {
	l := reader{Cluster: r.Cluster, topic: r.Topic, partition: r.Partition, next: from}
	defer l.close()
	for l.next < to {
		if err := l.fetch(ctx, to); err != nil {
			return err
		}
		for _, rec := range l.rest {
			if l.next = rec.Offset + 1; rec.Attrs.IsControl() || rec.Offset >= to {
				continue
			}
			if err := visit(rec); err != nil {
				return err
			}
		}
	}
	return nil
}

// undo takes back the batch that the log ends with if no position follows it: a
// whole changelog is loaded blindly, and what the customers of that batch were
// before it has to be looked for. Whoever reads on reads the batch again.
func (r *Replica) undo(ctx context.Context) error {
	if len(r.filter.Opened()) == 0 {
		return nil
	}
	before := map[string][]byte{}
	for key := range r.filter.Opened() {
		if id, ok := changelog.Customer(key); ok {
			before[id] = nil
		}
	}
	filter := changelog.NewFilter()
	err := r.each(ctx, r.first, r.last, func(rec *kgo.Record) error {
		by, err := filter.Judge(rec)
		if err != nil {
			return err
		}
		id, ok := changelog.Customer(string(rec.Key))
		if _, open := before[id]; by != nil && ok && open {
			before[id] = rec.Value
		}
		return nil
	})
	if err != nil {
		return err
	}
	changes := make([]state.Change, 0, len(before))
	for id, value := range before {
		changes = append(changes, state.Change{Customer: id, Value: value})
	}
	r.log.close()
	r.log.cl, r.log.rest, r.log.next = nil, nil, max(r.first, r.last)
	r.batch.coming = nil
	return r.Store.Load(changes)
}

// LookBack is how many offsets before the end of a changelog its last position is, at
// most: the largest transactions of many batches that were not completed.
const LookBack = 500_000

// errFound ends a search.
var errFound = errors.New("found")

// hasPosition reports whether the changelog has a committed position. Its length does
// not tell: a client may have written to a topic that was recreated before it
// noticed, and have aborted that.
func (r *Replica) hasPosition(ctx context.Context) (bool, error) {
	err := r.each(ctx, max(r.first, r.end-LookBack), r.end, func(rec *kgo.Record) error {
		if string(rec.Key) == changelog.PositionKey {
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	return false, err
}

// checkTopic makes sure that the changelog is the one that the engine started
// with. A copy of a former one is not given up for a changelog without a position:
// the state would begin from nothing, and everything be emitted again.
func (r *Replica) checkTopic(ctx context.Context) error {
	if r.Known != (changelog.TopicID{}) && r.Known != r.topicID {
		return fault.Stopped(r.Partition, "%s was recreated while the engine ran, and the state was in it: restore it, or begin with another app name", r.Topic)
	}
	meta, ok, err := r.Store.Meta()
	if err != nil || !ok || meta.TopicID == r.topicID {
		return err
	}
	if ok, err = r.hasPosition(ctx); err != nil || ok {
		return err
	}
	return fault.Stopped(r.Partition, "%s was recreated and is empty, and the local copy is of the former one: restore it, or begin with another app name", r.Topic)
}

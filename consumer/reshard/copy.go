package reshard

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// closeOld writes the move to every partition of the old changelog. A former
// owner that comes back in between fences us, and this fails.
func (r *resharding) closeOld(ctx context.Context) error {
	for _, s := range r.parts {
		if s.move != nil {
			continue
		}
		if err := s.inOne(ctx, []*kgo.Record{r.move.Record(r.old.Config.Changelog(), s.Partition)}); err != nil {
			return fmt.Errorf("close partition %d of %s: %w", s.Partition, r.From.App, err)
		}
		if err := s.At("closed"); err != nil {
			return err
		}
	}
	return nil
}

// openNew creates the topics of the new application and writes the move to every
// partition of its changelog, all in one transaction. An instance that was started
// too early is fenced then, and a later one finds the move.
func (r *resharding) openNew(ctx context.Context) error {
	r.new.Config.Create.Topics = true
	f, err := r.new.Topics().Prepare(ctx)
	if err != nil {
		return err
	}
	r.new.Found(f)
	topic := r.new.Config.Changelog()
	var records []*kgo.Record
	for p := range r.done.To {
		records = append(records, r.move.Record(topic, p))
	}
	if err := r.writer.inOne(ctx, records); err != nil {
		return fmt.Errorf("begin %s: %w", r.To.App, err)
	}
	for p := range r.done.To {
		if err := r.fenceNew(ctx, p); err != nil {
			return fmt.Errorf("begin partition %d of %s: %w", p, r.To.App, err)
		}
		first, end, err := r.bounds(ctx, topic, p)
		if err != nil {
			return err
		}
		n, err := r.new.Cluster.ReadRange(ctx, topic, p, first, end, func(*kgo.Record) error { return nil })
		if err != nil {
			return err
		}
		if n != 1 {
			return r.startedMeanwhile()
		}
	}
	return r.writer.At("opened")
}

// fenceNew keeps out an instance of the new application that was started too early,
// however the application delivers.
func (r *resharding) fenceNew(ctx context.Context, p int32) error {
	opts, err := task.New(r.new, p).LedgerOptions()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	l, err := ledger.NewTransactions(ctx, r.new.Config.TransactionalID(p), r.new.Config.Fixed.BrokerTimeout, opts)
	if err == nil {
		l.Close()
	}
	return err
}

// writer writes into the topics of the new application.
type writer struct {
	*task.Task
	ledger *ledger.Transactions
}

func (w *writer) inOne(ctx context.Context, records []*kgo.Record) error {
	return inOne(ctx, w.ledger, records)
}

// makeWriter makes what writes to all partitions of the new application.
func (r *resharding) makeWriter(ctx context.Context) error {
	t := task.New(r.new, 0)
	opts, err := t.LedgerOptions()
	if err != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, reshardTimeout)
	defer cancel()
	l, err := ledger.NewTransactions(waiting, r.To.App+"-reshard", ledger.Timeout, opts)
	if err != nil {
		return err
	}
	r.writer = &writer{t, l}
	return nil
}

// bulk gathers records and writes them in transactions.
type bulk struct {
	w       *writer
	records []*kgo.Record
	bytes   int
}

func (b *bulk) add(ctx context.Context, r *kgo.Record) error {
	b.records = append(b.records, r)
	if b.bytes += len(r.Key) + len(r.Value) + 64; b.bytes < b.w.Instance.Config.Batch.Bytes && len(b.records) < b.w.Instance.Config.Batch.Records {
		return nil
	}
	return b.flush(ctx)
}

func (b *bulk) flush(ctx context.Context) error {
	if len(b.records) == 0 {
		return nil
	}
	err := b.w.inOne(ctx, b.records)
	b.records, b.bytes = nil, 0
	return err
}

// copyCustomers writes every customer to its new partition, and verifies on the
// way that the old partitions hold what their positions say.
func (r *resharding) copyCustomers(ctx context.Context) error {
	route := broker.NewRouter(r.done.To)
	r.digests = make([]state.Digest, r.done.To)
	out := bulk{w: r.writer}
	for _, s := range r.parts {
		var sum state.Digest
		old := broker.NewRouter(r.done.From)
		var buf []byte
		err := s.Store.Scan("", func(id string, value []byte) error {
			if old.Partition(id) != s.Partition {
				return fmt.Errorf("partition %d holds a customer of partition %d", s.Partition, old.Partition(id))
			}
			var d state.Digest
			d, buf = state.DigestOf(id, value, buf)
			sum = sum.Add(d)
			p := route.Partition(id)
			r.digests[p] = r.digests[p].Add(d)
			r.done.Customers++
			return out.add(ctx, &kgo.Record{
				Topic: r.new.Config.Changelog(), Partition: p,
				Key: []byte(changelog.CustomerPrefix + id), Value: slices.Clone(value),
			})
		})
		if err != nil {
			return err
		}
		if sum != s.pos.Digest {
			return fmt.Errorf("partition %d: the customers have the digest %v, the position says %v", s.Partition, sum, s.pos.Digest)
		}
		if err := s.At("copied"); err != nil {
			return err
		}
	}
	return out.flush(ctx)
}

// switchOver makes the new application complete, all partitions in one
// transaction. What follows a claim of an instance without transactions that was
// started too early would be void: there must be none behind a customer, and one
// that comes now is ended by ours.
func (r *resharding) switchOver(ctx context.Context) error {
	positions, versions, err := r.positions(ctx)
	if err != nil {
		return err
	}
	if err := r.unclaimed(ctx); err != nil {
		return err
	}
	topic := r.new.Config.Changelog()
	var none *changelog.Move
	var records []*kgo.Record
	for p, pos := range positions {
		var transactions changelog.Claim
		records = append(records, none.Record(topic, int32(p)),
			&kgo.Record{Topic: topic, Partition: int32(p), Key: changelog.ClaimKey(), Value: transactions[:]},
			&kgo.Record{Topic: topic, Partition: int32(p), Key: []byte(changelog.VersionsKey), Value: versions},
			&kgo.Record{Topic: topic, Partition: int32(p), Key: []byte(changelog.PositionKey), Value: pos.Append(nil)})
	}
	if err := r.writer.At("switching"); err != nil {
		return err
	}
	if err := r.writer.inOne(ctx, records); err != nil {
		return fmt.Errorf("switch: it is unknown whether the move is complete; run this again to find out: %w", err)
	}
	return nil
}

// unclaimed makes sure that no instance has claimed a partition of the new
// application.
func (r *resharding) unclaimed(ctx context.Context) error {
	topic := r.new.Config.Changelog()
	for p := range r.done.To {
		first, end, err := r.bounds(ctx, topic, p)
		if err != nil {
			return err
		}
		if _, err := r.new.Cluster.ReadRange(ctx, topic, p, first, end, func(rec *kgo.Record) error {
			if changelog.IsClaim(string(rec.Key)) {
				return r.startedMeanwhile()
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

func (r *resharding) startedMeanwhile() error {
	return fmt.Errorf("%s was started in the meantime: stop it, delete its topics %s and %s, and run this again", r.To.App, r.new.Config.Changelog(), r.new.Config.Repartition())
}

// positions returns the first position of every new partition, and the versions.
// Counts are carried to the partition of the same number, modulo the new count, so
// that their sums stay.
func (r *resharding) positions(ctx context.Context) ([]*changelog.Position, []byte, error) {
	now, latest := clockOf(r.parts)
	repartition := r.new.Config.Repartition()
	all := make([]*changelog.Position, r.done.To)
	for p := range r.done.To {
		_, end, err := r.bounds(ctx, repartition, p)
		if err != nil {
			return nil, nil, err
		}
		all[p] = &changelog.Position{
			App: r.To.App, Partitions: r.done.To, Seq: 1, Clock: now, Latest: latest, Digest: r.digests[p],
			Sources: map[changelog.Input]changelog.Source{{Topic: repartition}: {Next: end, Seen: changelog.Never}},
		}
	}
	var versions []byte
	for _, s := range r.parts {
		if s.pos.Seq == 0 {
			continue
		}
		versions = s.versions.Append(nil)
		to := all[s.Partition%r.done.To]
		to.Folded += s.pos.Folded
		to.DeadLetters += s.pos.DeadLetters
		to.Forwarded += s.pos.Forwarded
		for _, pos := range all {
			pos.Rules = s.pos.Rules
		}
		// An input that goes on is read on where it was, now or later, by the task that now
		// reads the partition; its new partitions and new topics are read from their beginning.
		for in, at := range s.pos.Sources {
			if p := in.Partition(s.Partition); r.continues(in.Topic) {
				all[p%r.done.To].Sources[changelog.InputOf(in.Topic, p, p%r.done.To)] = at
			}
		}
	}
	for _, pos := range all {
		r.know(pos)
	}
	return all, versions, nil
}

// continues reports whether an input goes on, be it one that is not read for now.
func (r *resharding) continues(topic string) bool {
	return slices.Contains(r.new.Config.Inputs, topic) ||
		slices.ContainsFunc(r.new.Config.NotRead, func(n config.NotRead) bool { return n.Topic == topic })
}

// know keeps inputs that continue old ones from being read from now on only: the new task
// would take them for inputs that it meets.
func (r *resharding) know(pos *changelog.Position) {
	for _, topic := range r.new.Config.FromNow {
		for _, continues := range r.Streams {
			own := changelog.Input{Topic: topic}
			if _, ok := pos.Sources[own]; !ok && continues == topic {
				pos.Sources[own] = changelog.Source{Seen: changelog.Never}
			}
		}
	}
}

// clockOf returns the clock of the new tasks: the least one. A customer's own
// instant keeps its effects from being emitted again; a clock that is ahead of
// one's own would make its next events late.
func clockOf(parts []*oldPart) (now, latest engine.Millis) {
	now, latest = engine.Never, changelog.Never
	for _, s := range parts {
		if s.pos.Seq > 0 {
			now, latest = min(now, s.pos.Clock), max(latest, s.pos.Latest)
		}
	}
	return now, latest
}

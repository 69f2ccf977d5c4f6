package task

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/deadletter"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas"
)

// acquire takes the task over:
//
//  1. Fence: from here on no older owner can write, and what it had open is
//     decided.
//  2. End: ask for the end of the changelog, including what is not committed. The
//     last stable offset would not do: an end of transaction that is still being
//     written is below the one and above the other.
//  3. Local: see whether the copy in the store is a copy of this changelog.
//  4. Restore: replay what the copy lacks.
//  5. Verify: the digest of the copy must be that of the last position.
//  6. Read: fetch the inputs from the position's offsets.
//
// The session is returned also with an error, to be closed.
func (t *Task) acquire(ctx context.Context) (*session, error) {
	l, err := t.Fence(ctx)
	if err != nil {
		return nil, fmt.Errorf("fence: %w", err)
	}
	s := &session{
		folder: newFolder(t, t.Store), ledger: l, emitted: newEffectCounters(),
		letters: deadletter.Writer{
			Config: &t.Instance.Config, Partition: t.Partition, Log: t.log, MostBytes: t.Instance.MaxCopied(t.Instance.Config.DeadLetters()),
		},
		headers: schemas.HeadersOf[kgo.RecordHeader](t.Instance.Config.Encoder, t.Instance.Config.Headers), committedAt: t.Instance.Config.Now(),
	}
	if err := s.at("fenced"); err != nil {
		return s, err
	}
	start := s.cfg.Now()
	restored, err := t.Restore(ctx, l, t.checkMove)
	if err == nil {
		err = s.continueFrom(restored)
	}
	if err != nil {
		return s, fmt.Errorf("restore: %w", err)
	}
	metrics.Since(s.cfg.Metrics.Restore, start, s.cfg.Now())
	if err := s.at("restored"); err != nil {
		return s, err
	}
	if err := t.CheckPosition(s.pos); err != nil {
		return s, err
	}
	if s.pos.Seq == 0 {
		if err := t.checkOthers(ctx); err != nil {
			return s, err
		}
	}
	inputs, err := s.placeInputs(ctx)
	if err != nil {
		return s, err
	}
	if u := t.Instance.Until; u != nil {
		s.until = &untilTask{Until: u}
	}
	s.feed = feed.Live(s.feedOptions(), t.Instance.Ends, inputs, s.pos)
	if err := s.checkRules(ctx); err != nil {
		return s, err
	}
	t.committed(s.pos)
	return s, s.at("acquired")
}

// feedOptions returns what the feed of a session needs.
func (s *session) feedOptions() feed.Options {
	o := s.t.FeedOptions()
	o.LookAhead, o.Alive = s.lookAhead, s.follow // a registry that hangs does not stop the task
	if s.until != nil {
		o.Until = s.until.instant
	}
	return o
}

// FeedOptions returns what the feed of a past needs.
func (t *Task) FeedOptions() feed.Options {
	return feed.Options{
		Config: &t.Instance.Config, Cluster: t.Instance.Cluster, Partition: t.Partition, Log: t.log, QueueBytes: t.Instance.queueShare(),
		LookAhead: func([]*kgo.Record, []*cache.Customer) {},
		Alive:     func() error { return nil },
		Waiting:   t.showRebuilding,
		Until:     engine.Never,
	}
}

// Fence returns the ledger of a task, which keeps older owners from writing what
// counts.
func (t *Task) Fence(ctx context.Context) (ledger.Ledger, error) {
	opts, err := t.LedgerOptions()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	if t.Instance.Config.Delivery == config.AtLeastOnce {
		l, err := ledger.NewClaims(ctx, t.Instance.Config.Group.SessionTimeout, opts)
		if err != nil {
			return nil, err
		}
		return l, nil
	}
	l, err := ledger.NewTransactions(ctx, t.Instance.Config.TransactionalID(t.Partition), t.Instance.Config.Fixed.BrokerTimeout, opts)
	if err != nil {
		return nil, err // not l, which is a nil of a type
	}
	return l, nil
}

// LedgerOptions returns what a ledger of the task needs. It is an error if the settings
// of compression do not fit together.
func (t *Task) LedgerOptions() (ledger.Options, error) {
	c := &t.Instance.Config
	compressor, err := broker.NewCompressor(c.Compression, c.IsOutput())
	return ledger.Options{
		Cluster: t.Instance.Cluster, Topic: c.Changelog(), Partition: t.Partition,
		Compressor: compressor, BatchBytes: t.batchBytes, Points: c.Points,
	}, err
}

// At passes a point of the protocol.
func (t *Task) At(point string) error { return t.Instance.Config.Points.At(t.Partition, point) }

// batchBytes returns how large a batch of a topic is at most: what brokers take by
// default, but for copies of records, which can be as large as inputs have them.
func (t *Task) batchBytes(topic string) int32 {
	if topic == t.Instance.Config.Repartition() || topic == t.Instance.Config.DeadLetters() {
		return int32(t.Instance.batchBytes(topic))
	}
	return 1_000_012 // the client's own default
}

// CheckPosition makes sure that the position is one of this engine.
func (t *Task) CheckPosition(p *changelog.Position) error {
	if p.Seq == 0 {
		return nil
	}
	if p.Partitions != t.Instance.Partitions {
		return t.otherCount(p.Partitions)
	}
	if p.App != t.Instance.Config.App {
		return fault.Fatal("the changelog %s was written by %q and not by %q", t.Instance.Config.Changelog(), p.App, t.Instance.Config.App)
	}
	return nil
}

func (t *Task) otherCount(was int32) error {
	n := t.Instance.Partitions
	return fault.Fatal("the state of %s was written for %d partitions, and the inputs now have %d: records of a customer would go to another partition than their state; go back to topics of %d partitions, or move the state with segmill state reshard",
		t.Instance.Config.App, was, n, was)
}

// checkOthers makes sure, for a partition that has never run, that those that have
// run were as many as there are now: somebody may have added partitions to all
// topics, the changelog too. The lowest partition that has run decides.
func (t *Task) checkOthers(ctx context.Context) error {
	o, topic := t.Instance, t.Instance.Config.Changelog()
	var others []int32
	for p := range o.Partitions {
		if p != t.Partition {
			others = append(others, p)
		}
	}
	if len(others) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	first, err := o.Cluster.List(ctx, broker.Start, []string{topic}, others)
	if err != nil {
		return err
	}
	end, err := o.Cluster.List(ctx, broker.LastStable, []string{topic}, others)
	if err != nil {
		return err
	}
	for _, p := range others {
		from, to := first[topic][p].Offset, end[topic][p].Offset
		if from >= to {
			continue
		}
		var last *changelog.Position
		_, err := o.Cluster.ReadRange(ctx, topic, p, max(from, to-replica.LookBack), to, func(r *kgo.Record) (err error) {
			if string(r.Key) == changelog.PositionKey {
				last, err = changelog.DecodePosition(r.Value)
			}
			return err
		})
		if err != nil {
			return err
		}
		if last != nil {
			if last.Partitions != o.Partitions {
				return t.otherCount(last.Partitions)
			}
			return nil
		}
	}
	return nil
}

// placeInputs decides where every source is read from: at the position's offset,
// or at the earliest record that is left if it was never read.
func (s *session) placeInputs(ctx context.Context) (inputs []*feed.Input, err error) {
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	topics := s.cfg.Sources()
	infos, err := s.t.Instance.Cluster.Describe(ctx, topics...)
	if err != nil {
		return nil, err
	}
	first, err := s.t.Instance.Cluster.ListOne(ctx, broker.Start, topics, s.t.Partition)
	if err != nil {
		return nil, err
	}
	last, err := s.t.Instance.Cluster.ListOne(ctx, broker.HighWatermark, topics, s.t.Partition)
	if err != nil {
		return nil, err
	}
	for _, topic := range topics {
		at, ok := s.pos.Sources[topic]
		id, next := infos[topic].ID, at.Next
		switch {
		case ok && at.ID != changelog.TopicID{} && id != changelog.TopicID{} && at.ID != id:
			return nil, fault.Stopped(s.t.Partition, "%s was read up to offset %d and has been recreated since: its records would be mistaken for others; begin with another app name",
				topic, next)
		case !ok:
			next, at.Seen = first[topic], changelog.Never
		case next > last[topic]:
			return nil, fault.Stopped(s.t.Partition, "%s ends at offset %d and was read up to %d: it has lost records or was recreated; restore it, or begin with another app name",
				topic, last[topic], next)
		case next < first[topic] && !s.cfg.SkipDeleted:
			return nil, fault.Stopped(s.t.Partition, "records %d to %d of %s were deleted before they were read; to go on without them, set skip_deleted",
				next, first[topic]-1, topic)
		case next < first[topic]:
			s.t.log.Error("records were deleted before they were read; going on without them", "topic", topic, "from", next, "to", first[topic]-1)
			next = first[topic]
		}
		in := feed.NewInput(topic, next, topic == s.cfg.Repartition())
		in.Seen, in.ID = at.Seen, id
		s.cfg.Metrics.PassedOver.WithLabelValues(topic) // so that the first one is an increase
		if u := s.t.Instance.Until; u != nil {
			in.EndAt(u.endOf(in, s.t.Partition))
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

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
	s, err := t.begin(ctx, l)
	if err != nil {
		l.Close()
		return nil, err
	}
	if err := t.CheckPosition(s.pos); err != nil {
		return s, err
	}
	if s.pos.Seq == 0 {
		if err := t.checkOthers(ctx); err != nil {
			return s, err
		}
	}
	t.Instance.Learn(t.Partition, s.pos)
	if err := t.Instance.meetInputs(ctx, s.cfg); err != nil {
		return s, err
	}
	growth := t.Instance.growth()
	places := t.Instance.InputsOf(t.Partition, s.cfg)
	t.Instance.Ends.Watch(t.Partition, places)
	s.meet()
	inputs, err := s.placeInputs(ctx, places)
	if err != nil {
		return s, err
	}
	if inputs, err = s.withHistory(ctx, inputs); err != nil {
		return s, err
	}
	if u := t.Instance.Until; u != nil {
		s.until = &untilTask{Until: u}
	}
	s.growth = growth
	s.feed = feed.Live(s.feedOptions(), t.Instance.Ends, inputs, s.pos)
	if err := s.checkRules(ctx); err != nil {
		return s, err
	}
	if err := s.decide(ctx); err != nil {
		return s, err
	}
	t.committed(s.pos)
	return s, s.at("acquired")
}

// begin restores the copy, and begins a session under the rules that it is under.
func (t *Task) begin(ctx context.Context, l ledger.Ledger) (*session, error) {
	if err := t.At("fenced"); err != nil {
		return nil, err
	}
	c := &t.Instance.Config
	start := c.Now()
	restored, err := t.Restore(ctx, l, t.checkMove)
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	cfg, err := t.configOf(ctx, restored.Position)
	if err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	s := &session{
		folder: newFolder(t, cfg, t.Store), ledger: l, emitted: newEffectCounters(),
		letters: deadletter.Writer{
			Config: cfg, Partition: t.Partition, Log: t.log, MostBytes: t.Instance.MaxCopied(cfg.DeadLetters()),
		},
		headers: schemas.HeadersOf[kgo.RecordHeader](cfg.Encoder, cfg.Headers), committedAt: c.Now(),
	}
	if err := s.continueFrom(restored); err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	metrics.Since(c.Metrics.Restore, start, c.Now())
	return s, t.At("restored")
}

// configOf returns the configuration with the rules that a position is under, as far as they
// are known, and otherwise with the newest.
func (t *Task) configOf(ctx context.Context, pos *changelog.Position) (*config.Config, error) {
	newest := t.Instance.current()
	if p := t.prepared(pos); p != nil {
		return p.to.config, nil
	}
	if pos == nil || pos.Rules == newest.versions {
		return newest.config, nil
	}
	if t.under != nil && pos.Rules == t.under.versions {
		return t.under.config, nil
	}
	if known := t.Instance.Config.Known; known != nil {
		r, err := known(ctx, pos.Rules)
		if err != nil {
			return nil, err
		}
		if r != nil {
			return t.Instance.with(r).config, nil
		}
	}
	return newest.config, nil
}

// feedOptions returns what the feed of a session needs.
func (s *session) feedOptions() feed.Options {
	o := s.t.FeedOptions(s.cfg)
	o.LookAhead, o.Alive = s.lookAhead, s.follow // a registry that hangs does not stop the task
	if s.until != nil {
		o.Until = s.until.instant
	}
	return o
}

// FeedOptions returns what the feed of a past needs.
func (t *Task) FeedOptions(cfg *config.Config) feed.Options {
	return feed.Options{
		Config: cfg, Cluster: t.Instance.Cluster, Partition: t.Partition, Log: t.log, QueueBytes: t.Instance.queueShare(),
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
	return fault.Fatal("the state of %s was written for %d partitions, and the changelog now has %d: records of a customer would go to another partition than their state; go back to a changelog of %d partitions, or move the state with segmill state reshard",
		t.Instance.Config.App, was, n, was)
}

// checkOthers makes sure, for a partition that has never run, that those that have
// run were as many as there are now: somebody may have added partitions to the
// changelog. The lowest partition that has run decides.
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

// placeInputs decides where inputs are read from: at the position's offset; or, if one
// was never read, at the earliest record that is left, or at its end if it is one that
// the task meets now and that is read from now on.
func (s *session) placeInputs(ctx context.Context, places []broker.Partition) (inputs []*feed.Input, err error) {
	if len(places) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	cluster := s.t.Instance.Cluster
	infos, err := cluster.Describe(ctx, s.cfg.Sources()...)
	if err != nil {
		return nil, err
	}
	for _, of := range places {
		if err := s.checkInput(of, infos[of.Topic]); err != nil {
			return nil, err
		}
	}
	first, err := cluster.Offsets(ctx, broker.Start, places)
	if err != nil {
		return nil, err
	}
	last, err := cluster.Offsets(ctx, broker.HighWatermark, places)
	if err != nil {
		return nil, err
	}
	for _, of := range places {
		in, err := s.placeInput(of, infos[of.Topic].ID, first[of], last[of])
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// checkInput makes sure that an input is a partition of the topic that was read, and that
// there is one.
func (s *session) checkInput(of broker.Partition, topic broker.Topic) error {
	at := s.pos.Sources[changelog.InputOf(of.Topic, of.Number, s.t.Partition)]
	none := changelog.TopicID{}
	switch {
	case at.ID != none && topic.ID != none && at.ID != topic.ID:
		return fault.Stopped(s.t.Partition, "%s was read up to offset %d and has been recreated since: its records would be mistaken for others; begin with another app name",
			s.named(of), at.Next)
	case topic.Err == nil && of.Number >= topic.Partitions:
		return fmt.Errorf("%v: a broker says that the topic has %d partitions", of, topic.Partitions)
	}
	return nil
}

// placeInput decides where an input is read from that has records from first on and ends
// at last.
func (s *session) placeInput(of broker.Partition, id changelog.TopicID, first, last int64) (*feed.Input, error) {
	at, ok := s.pos.Sources[changelog.InputOf(of.Topic, of.Number, s.t.Partition)]
	next := at.Next
	switch {
	case !ok:
		next, at.Seen = first, changelog.Never
		if s.met[of.Topic] {
			next, at.First = last, last
			s.t.log.Info("an input is read from now on", "topic", of.Topic, "of_partition", of.Number, "from", next)
		}
	case next > last:
		return nil, fault.Stopped(s.t.Partition, "%s ends at offset %d and was read up to %d: it has lost records or was recreated; restore it, or begin with another app name",
			s.named(of), last, next)
	case next < first && !s.cfg.SkipDeleted:
		return nil, fault.Stopped(s.t.Partition, "records %d to %d of %s were deleted before they were read; to go on without them, set skip_deleted",
			next, first-1, s.named(of))
	case next < first:
		s.t.log.Error("records were deleted before they were read; going on without them", "topic", of.Topic, "of_partition", of.Number, "from", next, "to", first-1)
		next = first
	}
	in := feed.NewInput(of, next, of.Topic == s.cfg.Repartition())
	in.First, in.Seen, in.ID = at.First, at.Seen, id
	s.cfg.Metrics.PassedOver.WithLabelValues(of.Topic) // so that the first one is an increase
	if u := s.t.Instance.Until; u != nil {
		in.EndAt(u.endOf(in))
	}
	return in, nil
}

// named names an input in an error of its task: the number of its partition is said where
// it is not the task's.
func (s *session) named(of broker.Partition) string {
	if of.Number == s.t.Partition {
		return of.Topic
	}
	return of.String()
}

package consumer

import (
	"context"
	"log/slog"
	"strconv"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/state"
)

// restoreChunk and restoreBytes are how many customers a rebuild gathers before it
// writes them to its scratch space, about.
const (
	restoreChunk = 40_000
	restoreBytes = 8 << 20
)

// copyOptions are where the copy of the task's state is.
func (t *Task) copyOptions() replica.Options { return t.o.copyOptions(t.n, t.store, t.log) }

func (o *Owner) copyOptions(n int32, store *state.Task, log *slog.Logger) replica.Options {
	topic := o.cfg.Changelog()
	return replica.Options{
		Cluster: o.cluster, Topic: topic, Partition: n, Store: store, Log: log, Known: o.ids[topic],
		Damaged: func() { o.cfg.Metrics.Damaged.WithLabelValues(metrics.DamagedDigest).Inc() },
	}
}

// restore brings the copy in the store to the end of the changelog, which is not
// before the claim, and reads the position there. It is said how far it has come
// meanwhile.
func (s *session) restore(ctx context.Context) error {
	r, err := replica.Open(ctx, s.t.copyOptions(), broker.HighWatermark, s.ledger.Begin())
	if err != nil {
		return err
	}
	defer r.Close()
	progress, done := s.t.showRestore(r.Next(), r.End())
	defer done()
	r.Watch(progress)
	if err := r.Read(ctx, r.End()); err != nil {
		return err
	}
	if own := s.ledger.Claim(); own != (changelog.Claim{}) && r.Claim() != own {
		return ledger.ErrClaimed
	}
	if err := r.Flush(); err != nil {
		return err
	}
	if err := s.at("replayed"); err != nil {
		return err
	}
	s.move = r.Move()
	if err := s.checkMove(); err != nil {
		return err
	}
	if err := r.Verify(ctx); err != nil {
		return err
	}
	return s.continueFrom(r.State(), progress)
}

// continueFrom gives the session the position of a copy that is verified.
func (s *session) continueFrom(r replica.State, progress *replica.Progress) error {
	s.topicID, s.logged, s.rewrite = r.TopicID, r.Claim, r.Void
	if r.Position == nil && r.First > 0 {
		return fault.Stopped(s.t.n, "the changelog begins at offset %d and has no position: its records were deleted, and with them the state. "+
			"Restore %s from a copy; or, to begin with no state, delete the topic: everything that the inputs retain is then read again, and told a second time", r.First, s.cfg.Changelog())
	}
	if r.Position == nil {
		s.first(r.Next)
		return nil
	}
	if r.Records > 0 {
		s.t.log.Info("restored", "records", r.Records, "tail", r.Tail, "seq", r.Position.Seq, "took", progress.Took())
	}
	if r.Tail {
		s.t.o.verifier.later(s.t)
	}
	s.pos, s.next = r.Position, r.Next
	return s.readVersions(r.Versions)
}

// showRestore begins to show a restore of the task until done is called.
func (t *Task) showRestore(from, end int64) (p *replica.Progress, done func()) {
	m := t.o.cfg.Metrics
	n := strconv.Itoa(int(t.n))
	p = replica.Display{
		Now: t.o.cfg.Now, Log: t.log, Left: m.Restoring.WithLabelValues(n), Counter: m.Restored,
		Show: func(r *replica.Status) { t.set(func(st *TaskStatus) { st.Restore = r }) },
	}.Begin(from, end)
	return p, func() {
		p.Show(nil)
		m.Restoring.DeleteLabelValues(n)
	}
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

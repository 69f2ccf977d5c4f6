package task

import (
	"context"
	"strconv"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/replica"
)

// restoreChunk and restoreBytes are how many customers a rebuild gathers before it
// writes them to its scratch space, about.
const (
	restoreChunk = 40_000
	restoreBytes = 8 << 20
)

// copyOptions are where the copy of the task's state is.
func (t *Task) copyOptions() replica.Options {
	return t.Instance.CopyOptions(t.Partition, t.Store, t.log)
}

// Restore brings the copy in the store to the end of the changelog, which is not
// before the claim of a ledger, and returns what it holds. It is said how far it has
// come meanwhile. check is asked about a resharding before the copy is verified.
func (t *Task) Restore(ctx context.Context, l ledger.Ledger, check func(*changelog.Move) error) (replica.State, error) {
	none := replica.State{}
	r, err := replica.Open(ctx, t.copyOptions(), broker.HighWatermark, l.Begin())
	if err != nil {
		return none, err
	}
	defer r.Close()
	progress, done := t.showRestore(r.Next(), r.End())
	defer done()
	r.Watch(progress)
	if err := r.Read(ctx, r.End()); err != nil {
		return none, err
	}
	if own := l.Claim(); own != (changelog.Claim{}) && r.Claim() != own {
		return none, ledger.ErrClaimed
	}
	if err := r.Flush(); err != nil {
		return none, err
	}
	if err := t.At("replayed"); err != nil {
		return none, err
	}
	if err := check(r.Move()); err != nil {
		return none, err
	}
	if err := r.Verify(ctx); err != nil {
		return none, err
	}
	s := r.State()
	if s.Position == nil && s.First > 0 {
		return none, fault.Stopped(t.Partition, "the changelog begins at offset %d and has no position: its records were deleted, and with them the state. "+
			"Restore %s from a copy; or, to begin with no state, delete the topic: everything that the inputs retain is then read again, and its effects are emitted a second time", s.First, t.Instance.Config.Changelog())
	}
	if s.Position != nil && s.Records > 0 {
		t.log.Info("restored", "records", s.Records, "tail", s.Tail, "seq", s.Position.Seq, "took", progress.Took())
	}
	if s.Position != nil && s.Tail {
		t.Instance.Verify(t)
	}
	return s, nil
}

// continueFrom gives the session the position of a copy that is verified.
func (s *session) continueFrom(c replica.State) error {
	s.topicID, s.logged, s.rewrite, s.next = c.TopicID, c.Claim, c.Void, c.Next
	if c.Position == nil {
		s.pos = s.t.FirstPosition(s.cfg)
		s.versions = &changelog.Versions{Hashes: s.cfg.Engine.Versions(), Kept: s.own()}
		return nil
	}
	s.pos = c.Position
	var err error
	s.before, err = ReadVersions(c.Versions)
	return err
}

// showRestore begins to show a restore of the task until done is called.
func (t *Task) showRestore(from, end int64) (p *replica.Progress, done func()) {
	m := t.Instance.Config.Metrics
	n := strconv.Itoa(int(t.Partition))
	p = replica.Display{
		Now: t.Instance.Config.Now, Log: t.log, Left: m.Restoring.WithLabelValues(n), Counter: m.Restored,
		Show: func(r *replica.Status) { t.set(func(st *Status) { st.Restore = r }) },
	}.Begin(from, end)
	return p, func() {
		p.Show(nil)
		m.Restoring.DeleteLabelValues(n)
	}
}

// FirstPosition is the position of a task that has never run.
func (t *Task) FirstPosition(cfg *config.Config) *changelog.Position {
	return &changelog.Position{
		App: cfg.App, Partitions: t.Instance.Partitions, Clock: changelog.Never, Latest: changelog.Never,
		Rules: changelog.HashVersions(cfg.Engine.Versions()), Sources: map[changelog.Input]changelog.Source{},
	}
}

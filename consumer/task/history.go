package task

import (
	"context"
	"sync/atomic"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// history folds facts that rules lack of what a task has read into scratch space, in the
// order of a run over history.
type history struct {
	folder
	scratch *state.Task
	limit   int64           // bytes of decoded customers
	waiting func(why error) // is shown why it waits for a record; nil ends that
	folded  *atomic.Int64   // records so far
}

func newHistory(t *Task, cfg *config.Config, scratch *state.Task) *history {
	return &history{
		folder: newFolder(t, cfg, scratch), scratch: scratch, limit: t.Instance.cacheShare(), waiting: t.showRebuilding, folded: &atomic.Int64{},
	}
}

// fold folds a part of the past behind what was folded before, and writes it to the scratch
// space.
func (s *history) fold(ctx context.Context, past *past) error {
	o := s.t.FeedOptions(s.cfg)
	o.Waiting = s.waiting
	s.feed = feed.Past(o, past.from, past.next)
	defer s.feed.Close()
	for {
		in, err := s.feed.Following(ctx)
		if err != nil {
			return err
		}
		if in == nil {
			return s.spill()
		}
		for n := range in.Head.Parts() {
			if h := in.Head.Part(n); past.takes(h) {
				if err := s.foldFact(h); err != nil {
					return err
				}
			}
		}
		in.Pop()
		s.folded.Add(1)
		if len(s.customers.Dirty) >= restoreChunk || s.batch.state >= restoreBytes {
			if err := s.spill(); err != nil {
				return err
			}
		}
	}
}

// foldFact folds one record if the run folded it.
func (s *history) foldFact(h *feed.Head) error {
	if h.Bad() || h.Result == schemas.IsSkipped || s.route.Partition(h.Ev.Customer) != s.t.Partition || h.Result == schemas.IsEvent && h.Ev.At > s.feed.Horizon() {
		return nil
	}
	e, err := s.customers.Get(h.Ev.Customer)
	if err != nil {
		return err
	}
	if h.Result == schemas.IsEvent {
		if ok, err := s.fits(e, h); err != nil || !ok {
			return err // it was refused then, too
		}
	}
	if h.Result == schemas.IsTombstone {
		e.C = s.cfg.Engine.NewCustomer(h.Ev.Customer)
	} else {
		s.feed.Clock.Latest = max(s.feed.Clock.Latest, h.Ev.At)
		s.believe(h)
		s.batch.eval.FoldFacts(e.C, &h.Ev, &s.batch.out)
	}
	s.touch(e)
	return nil
}

// spill writes changed customers to the scratch space.
func (s *history) spill() error {
	var ignored changelog.Position
	s.changes(&ignored)
	s.customers.Committed(s.limit)
	if err := s.scratch.Fill(s.customers.Changes()); err != nil {
		return err
	}
	s.customers.Stored()
	s.customers.Evict(s.limit)
	s.batch.reset()
	return nil
}

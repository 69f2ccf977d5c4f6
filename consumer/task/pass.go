package task

import (
	"context"
	"errors"
	"time"

	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// pass brings customers under the rules of the engine: with the facts that were kept, and
// with those in scratch space that were not. Who is in scratch space alone has nothing that
// was kept, and is not made known by it.
//
// Each customer is brought over once, in one step: before the next step that the customer
// has, or when the pass comes by. The customer's bytes say that it was done, until the change
// is complete (engine.Customer.Brought); a customer whose bytes do not change need not be
// known for it, since doing it again changes nothing.
type pass struct {
	change  *engine.RuleChange
	scratch *state.Task
	after   string // the customer who was looked at last
	final   *changelog.Versions
	buf     []byte
	done    int // customers
}

// A slice of a pass lasts so long at most, and changes so many bytes of customers, so that
// the transaction with which records wait for it stays small.
const (
	sliceTime  = 20 * time.Millisecond
	sliceBytes = 128 << 10
)

// errSliced ends a slice.
var errSliced = errors.New("a slice of the pass is over")

// slice brings some more customers over, and reports whether all are.
func (s *session) slice(until time.Time) (all bool, err error) {
	p := s.pass
	err = s.t.Store.Scan(p.after, func(id string, _ []byte) error {
		if s.batch.full(s.limits()) || s.batch.state > sliceBytes || p.done%16 == 0 && !until.IsZero() && s.cfg.Now().After(until) {
			return errSliced
		}
		p.after = id
		p.done++
		e, err := s.customers.Get(id)
		if err != nil || !e.Former {
			return err
		}
		return s.bring(e)
	})
	if errors.Is(err, errSliced) {
		return false, nil
	}
	return err == nil, err
}

// bring brings one customer over.
func (s *session) bring(e *cache.Customer) error {
	var fresh *engine.Customer
	p := s.pass
	if p.change.NeedsHistory() {
		b, ok, err := p.scratch.Customer(p.buf[:0], e.C.ID)
		if err != nil {
			return err
		}
		if p.buf = b; ok {
			if fresh, err = s.cfg.Engine.Decode(e.C.ID, b); err != nil {
				return err
			}
		}
	}
	s.step(place{}, 0)
	s.batch.eval.Adopt(e.C, fresh, p.change, &s.batch.out)
	e.Former = false
	s.touch(e)
	s.encode()
	return nil
}

// bringFirst brings a customer over who has another step, and fires what came due since: the
// step is of now.
func (s *session) bringFirst(e *cache.Customer) error {
	if err := s.bring(e); err != nil {
		return err
	}
	for at := e.C.Wake(); at <= s.feed.Clock.Now; at = e.C.Wake() {
		s.batch.eval.Advance(e.C, at, &s.batch.out)
		if e.C.Wake() <= at {
			return wokenAgain(s.t.Partition, at)
		}
		s.touch(e)
		s.encode()
	}
	return nil
}

// bringSome brings customers over in what time records leave, and completes the change when
// all are.
func (s *session) bringSome(ctx context.Context) error {
	all, err := s.slice(s.cfg.Now().Add(sliceTime))
	if err != nil || !all {
		return err
	}
	return s.completeChange(ctx)
}

// bringAll brings all customers over before anything else is done.
func (s *session) bringAll(ctx context.Context) error {
	for {
		all, err := s.slice(time.Time{})
		if err != nil {
			return err
		}
		if all {
			return s.completeChange(ctx)
		}
		s.batch.moved = true
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
}

// completeChange commits that all customers are under the rules.
func (s *session) completeChange(ctx context.Context) error {
	if err := s.at("reemitted"); err != nil {
		return err
	}
	s.versions, s.rebuilding = s.pass.final, false
	s.batch.moved = true
	if err := s.commit(ctx); err != nil {
		return err
	}
	scratch := s.pass.scratch
	s.t.log.Info("the rules are in force", "rules", s.cfg.Name, "customers", s.pass.done)
	s.pass, s.customers.Pass, s.customers.Change = nil, 0, nil
	return scratch.Drop()
}

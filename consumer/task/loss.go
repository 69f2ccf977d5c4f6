package task

import (
	"context"
	"strings"

	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// losses counts the customers of a partition who lose facts in a rebuild. Looking changes
// nothing.
type losses struct {
	s       *session
	scratch *state.Task
	change  *engine.RuleChange
	at      engine.Millis // as of when facts count
	buf     []byte
	found   bool // whether buf is what the inputs say of the customer
	// all: the inputs no longer mention them. some: the inputs have fewer events of theirs
	// than were counted, and a summary of the rules differs.
	customers, all, some int
}

func (s *session) losses(scratch *state.Task, change *engine.RuleChange, at engine.Millis) *losses {
	return &losses{s: s, scratch: scratch, change: change, at: at}
}

// fresh returns what the inputs say of a customer, until the next call, and false if they
// say nothing.
func (l *losses) fresh(id string) ([]byte, bool, error) {
	var err error
	l.buf, l.found, err = l.scratch.Customer(l.buf[:0], id)
	return l.buf, l.found, err
}

// look counts a customer whose stored bytes are given, after fresh.
func (l *losses) look(id string, stored []byte) error {
	e := l.s.cfg.Engine
	l.customers++
	old, err := l.change.Decode(id, stored)
	if err != nil {
		return err
	}
	var fresh *engine.Customer
	if l.found {
		if fresh, err = e.Decode(id, l.buf); err != nil {
			return err
		}
	}
	switch {
	case !e.LosesFacts(old, fresh, l.at):
	case l.found:
		l.some++
	default:
		l.all++
	}
	return nil
}

// tell logs and counts what a rebuild has lost.
func (l *losses) tell() {
	l.s.cfg.Metrics.Losses.WithLabelValues("all").Add(float64(l.all))
	l.s.cfg.Metrics.Losses.WithLabelValues("some").Add(float64(l.some))
	if l.all+l.some > 0 {
		l.s.t.log.Warn("customers have lost facts, because the inputs no longer have all of their events", "all_facts", l.all, "some_facts", l.some)
	}
}

// sayShort logs which inputs are short, before they are read for what may be hours.
func (s *session) sayShort(p *past, forget bool) {
	for _, in := range p.short {
		switch {
		case s.cfg.AcceptLoss && !forget:
			s.t.log.Warn("new facts are incomplete: " + in.String()) //nolint:sloglint // the text of the error
			continue
		case s.cfg.AcceptLoss:
			s.t.log.Warn("facts are lost by the rebuild: " + in.String()) //nolint:sloglint // the text of the error
			continue
		}
		s.t.Instance.refused.Store(true)
		if !forget {
			continue
		}
		s.t.log.Warn("the rebuild would lose facts and is refused as soon as those are counted: " + in.String()) //nolint:sloglint // as above
	}
}

// refuse counts who would lose facts, and returns the error that says so.
func (s *session) refuse(p *past, l *losses) error {
	if err := s.t.Store.Scan("", func(id string, stored []byte) error {
		if _, _, err := l.fresh(id); err != nil {
			return err
		}
		return l.look(id, stored)
	}); err != nil {
		return err
	}
	if err := l.scratch.Drop(); err != nil {
		return err
	}
	return fault.Fatal("--rebuild is refused, because records that rules look back to have been deleted: %s. "+
		"Of %d customers of partition %d, %d would lose all facts, because the inputs no longer mention them, and %d some. "+
		"%s. Put the records back; or go on without them, with --rebuild --accept-loss",
		strings.Join(p.shorts(), "; "), l.customers, s.t.Partition, l.all, l.some, s.untouched())
}

// goAhead returns when no other task of the instance has refused the rebuild: the
// instance then ends, and this one has to leave everything as it is.
func (s *session) goAhead(ctx context.Context) error {
	if !s.t.Instance.refused.Load() {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

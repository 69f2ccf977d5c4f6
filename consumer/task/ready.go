package task

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// Rules change beside the loop of a session, so that no event waits:
//
//  1. A preparation folds the facts that the new rules lack into scratch space, of what the
//     task had read when it began; then of what it has read since, again and again, until
//     that is little. The session goes on under the rules before.
//  2. The session commits, writes the copy and ends (errNewRules). The next one begins
//     under the new rules: it folds the little that is left, and says in its first
//     transaction that the change is in progress, and as of when.
//  3. That session brings customers over: each before the customer's next step, and all in
//     the order of their ids in what time its records leave (see pass).
//
// No customer who is yet to be brought over has had a step since 2: so what the scratch space
// has of such a customer is complete whenever it is made, from then on. After a crash in 3 it
// is made again if it is lost.

// errNewRules ends a session whose task has what it needs for other rules.
var errNewRules = errors.New("the task goes over to other rules")

// preparation makes the facts that rules lack, beside a session. It is used by the goroutine
// of the session but for what is said otherwise.
type preparation struct {
	to   *ruled
	base [16]byte // the rules of the session
	past *past    // what was folded; nil if nothing is lacking
	// history is what folds it. It belongs to the goroutine of the preparation until done.
	history *history

	// token is put into the scratch space before anything else, so it is there as long as all
	// of that is there which was folded: a copy that turns out to be wrong is dropped with all
	// that is beside it.
	token []byte

	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed

	total  atomic.Int64 // records that are to be folded, as far as that is known
	folded atomic.Int64
}

// little is how many records may be left when a session ends for other rules. They are folded
// while its events wait.
const little = 500

// prepare begins to make what the rules lack.
func (s *session) prepare(to *ruled) *preparation {
	ctx, cancel := context.WithCancel(context.Background())
	p := &preparation{to: to, base: s.pos.Rules, cancel: cancel, done: make(chan struct{})}
	plan := to.config.Engine.Plan()
	lacking := s.before.Kept.Common(plan, s.renamesTo(to.config.Engine)).To(plan).Facts
	if !slices.Contains(lacking, true) {
		close(p.done)
		return p
	}
	scratch := s.cfg.Store.Scratch(s.t.Partition)
	p.token = []byte(rand.Text())
	p.history = newHistory(s.t, to.config, scratch)
	p.history.waiting = func(why error) {
		if why != nil {
			s.t.log.Warn("a change of rules waits", "error", why)
		}
	}
	p.history.folded = &p.folded
	at := s.feed.Clock.Now
	go func() {
		defer close(p.done)
		p.err = p.run(ctx, s.t, at, lacking)
	}()
	return p
}

// run folds until little is left. It runs on its own goroutine.
func (p *preparation) run(ctx context.Context, t *Task, at engine.Millis, lacking []bool) error {
	if err := t.Instance.aside.enter(ctx); err != nil {
		return err
	}
	defer t.Instance.aside.leave()
	cfg, scratch := p.to.config, p.history.scratch
	if err := errors.Join(scratch.Drop(), scratch.Apply(nil, &state.Meta{Versions: p.token})); err != nil {
		return err
	}
	past, err := t.historyOf(ctx, cfg, t.Status().Sources, at, cfg.LookBackOf(func(summary int) bool { return lacking[summary] }))
	if err != nil {
		return err
	}
	if len(past.short) > 0 && !cfg.AcceptLoss {
		return fault.Fatal("%w", &shortError{past.shorts()})
	}
	for before := int64(math.MaxInt64); ; {
		n := past.records()
		p.total.Add(n)
		if err := p.history.fold(ctx, past); err != nil {
			return err
		}
		p.past = past
		if n <= little || n > before/2 { // or it would never be little: as many come as are folded
			if !p.whole(scratch) {
				return errDropped
			}
			return t.At("aside")
		}
		before = n
		if past, err = past.goOn(ctx, t, cfg, t.Status().Sources); err != nil {
			return err
		}
	}
}

// errDropped ends a preparation that has lost some of what it had folded.
var errDropped = errors.New("the scratch space was dropped meanwhile")

// shortError says that inputs no longer have what rules look back to.
type shortError struct{ shorts []string }

func (e *shortError) Error() string {
	return fmt.Sprintf("new or changed rules look back to records that have been deleted: %s", e.shorts)
}

// stop ends a preparation, and waits for that.
func (p *preparation) stop() {
	p.cancel()
	<-p.done
}

// whole reports whether scratch space still has what was folded.
func (p *preparation) whole(scratch *state.Task) bool {
	m, ok, err := scratch.Meta()
	return err == nil && ok && bytes.Equal(m.Versions, p.token)
}

// String says how far the preparation has come.
func (p *preparation) String() string {
	total := p.total.Load()
	if total == 0 {
		return "building"
	}
	return fmt.Sprintf("building %d %%", min(99, 100*p.folded.Load()/total))
}

// aside bounds how many preparations fold at once, so that they leave events a processor.
type aside chan struct{}

func (a aside) enter(ctx context.Context) error {
	select {
	case a <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a aside) leave() { <-a }

// changeBeside begins to go over to the newest rules, if those are others, and reports
// whether the session has to end for it. It is called between two batches.
func (s *session) changeBeside() (bool, error) {
	to := s.t.Instance.current()
	p := s.t.preparing
	switch {
	case to.versions == s.rules:
		s.t.drop()
		s.t.refused = nil
		return false, nil
	case to == s.t.refused:
		return false, nil
	case s.pos.Seq == 0:
		return s.until == nil, nil // there is nothing that the rules before would be kept for
	case s.pass != nil || s.until != nil || s.before.Kept == nil:
		return false, nil // one after the other; and a run that has an end has its rules to its end
	case p == nil || p.to != to:
		s.t.drop()
		s.t.refused = nil
		s.t.log.Info("the rules change", "to", to.config.Name, "rules", difference(s.before.Hashes, to.config.Engine.Versions(), s.renamesTo(to.config.Engine)))
		s.t.preparing = s.prepare(to)
		return false, nil
	}
	select {
	case <-p.done:
	default:
		return false, nil
	}
	if p.err != nil {
		s.t.drop()
		if !fault.IsFatal(p.err) {
			s.t.log.Warn("a change of rules is prepared again", "error", p.err)
			return false, nil
		}
		s.t.refused = to
		s.t.log.Error("the rules stay as they are: "+p.err.Error(), "to", to.config.Name) //nolint:sloglint // the text of the error
		s.t.set(func(st *Status) { st.Refused = p.err.Error() })
		return false, nil
	}
	return true, s.at("prepared")
}

// drop ends the preparation of a change, if there is one.
func (t *Task) drop() {
	if t.preparing != nil {
		t.preparing.stop()
		t.preparing = nil
	}
}

// clearScratch drops what a change has left that was completed elsewhere.
func (t *Task) clearScratch() error {
	scratch := t.Instance.Config.Store.Scratch(t.Partition)
	if empty, err := scratch.Empty(); err != nil || empty || t.preparing != nil {
		return err
	}
	return scratch.Drop()
}

// prepared returns the preparation that a session begins with: nil if there is none for what
// the position is under.
func (t *Task) prepared(pos *changelog.Position) *preparation {
	p := t.preparing
	if p == nil || pos == nil || pos.Rules != p.base || pos.Rebuilding {
		return nil
	}
	select {
	case <-p.done:
	default:
		return nil
	}
	if p.err != nil {
		return nil
	}
	return p
}

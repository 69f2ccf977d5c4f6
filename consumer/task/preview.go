package task

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/retained"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/state"
)

// Preview is what a change to the rules of the engine would do to the customers of a
// partition. It takes nothing over and writes to the store of the instance alone, so the
// partition may have an owner meanwhile. It is to be closed.
type Preview struct {
	s       *session
	rules   [16]byte    // the hash of the rules of the engine
	scratch *state.Task // nil unless the facts that are lacking were folded

	// Position is the one that the state was read at, nil if the partition has never run.
	Position *changelog.Position
	// Before are the versions of the rules in force.
	Before map[string]string
	// Same says that they are those of the engine.
	Same bool
	// Former says that the rules of the engine were in force before, and were replaced.
	Former bool
	// Kept is what both rule sets have in common, Differs how those of the engine differ.
	Kept    ruleset.Set
	Differs *ruleset.Change
	// Renamed are the rules that have other ids then, by the ids of now. Unmet are those that
	// say they had ids which are not in force.
	Renamed ruleset.Renames
	Unmet   []string
	// At is the task clock that the change would have: where the inputs have got to now, or
	// the clock of the position if that cannot be determined, or follows the events.
	At engine.Millis
	// Short are the inputs that no longer reach as far back as the facts that are lacking,
	// once these are folded.
	Short []retained.Short
}

// Preview reads the state of the partition from the changelog, as far as it is committed.
// show is called with how far that has come, and with nil at its end.
func (t *Task) Preview(ctx context.Context, show func(*replica.Status)) (*Preview, error) {
	c, err := t.copied(ctx, show)
	if err != nil {
		return nil, err
	}
	p := &Preview{Position: c.Position}
	if c.Position == nil {
		return p, nil
	}
	s := &session{folder: newFolder(t, &t.Instance.Config, t.Store), written: written{pos: c.Position}}
	if s.before, err = ReadVersions(c.Versions); err != nil {
		return nil, err
	}
	if err := t.CheckPosition(s.pos); err != nil {
		return nil, err
	}
	p.s, p.Before, p.At = s, s.before.Hashes, s.pos.Clock
	now := changelog.HashVersions(s.cfg.Engine.Versions())
	p.rules, p.Same, p.Former = now, now == s.pos.Rules, slices.Contains(s.before.Past, now)
	switch {
	case s.pos.Rebuilding:
		return nil, fault.Stopped(t.Partition, "a change of rules is in progress, which comes first: let segmill run complete it")
	case s.before.Kept == nil && !p.Same:
		return nil, fault.Fatal("the state was written by an earlier version, which did not note what is kept for which rules: run this version once with the rules as they were")
	case s.before.Kept == nil:
		p.Kept = *s.own()
	default:
		p.Kept = *s.kept(false)
	}
	p.Renamed, p.Unmet = s.renames(), ruleset.Unmet(s.cfg.Engine.Plan(), s.before.Hashes)
	p.Differs = p.Kept.To(s.cfg.Engine.Plan())
	return p, p.place(ctx)
}

// copied reads the changelog of the partition into the store.
func (t *Task) copied(ctx context.Context, show func(*replica.Status)) (c replica.State, err error) {
	r, err := replica.Open(ctx, t.copyOptions(), broker.LastStable, 0)
	if err != nil {
		return c, err
	}
	defer r.Close()
	m, n := t.Instance.Config.Metrics, strconv.Itoa(int(t.Partition))
	progress := replica.Display{Now: t.Instance.Config.Now, Log: t.log, Left: m.Restoring.WithLabelValues(n), Counter: m.Restored, Show: show}.Begin(r.Next(), r.End())
	defer progress.Show(nil)
	r.Watch(progress)
	if err := r.Read(ctx, r.End()); err != nil {
		return c, err
	}
	if err := r.Flush(); err != nil {
		return c, err
	}
	if err := t.checkMove(r.Move()); err != nil {
		return c, err
	}
	if err := r.Verify(ctx); err != nil {
		return c, err
	}
	if c = r.State(); c.Position == nil && c.First > 0 {
		return c, fault.Stopped(t.Partition, "the changelog begins at offset %d and has no position: its records were deleted, and with them the state", c.First)
	}
	return c, nil
}

// place finds where the inputs are read from, and how far the clock would be.
func (p *Preview) place(ctx context.Context) error {
	s := p.s
	t := s.t
	t.Instance.Learn(t.Partition, s.pos)
	s.meet()
	inputs, err := s.placeInputs(ctx, t.Instance.Inputs(t.Partition))
	if err != nil {
		return err
	}
	if inputs, err = s.withHistory(ctx, inputs); err != nil {
		return err
	}
	s.feed = feed.Live(t.FeedOptions(&t.Instance.Config), nil, inputs, s.pos)
	if !p.Same {
		p.At = s.heard(ctx)
	}
	return nil
}

// NeedsHistory reports whether rules read facts that are lacking.
func (p *Preview) NeedsHistory() bool { return slices.Contains(p.Differs.Facts, true) }

// Oldest returns the time of the earliest record of each input that the facts that are
// lacking are made of: what the partition reads of it, and what was imported last. An input
// without records is left out.
func (p *Preview) Oldest(ctx context.Context) (map[string]engine.Millis, error) {
	back := p.s.cfg.LookBackOf(func(summary int) bool { return p.Differs.Facts[summary] })
	var places []broker.Partition
	for _, in := range p.s.feed.Inputs() {
		if back[in.Topic] > 0 {
			places = append(places, in.Place())
		}
	}
	oldest := map[string]engine.Millis{}
	if len(places) == 0 {
		return oldest, nil
	}
	dated, err := p.s.t.Instance.Cluster.ListAll(ctx, broker.Dated, places)
	if err != nil {
		return nil, err
	}
	for place, d := range dated {
		if at, ok := oldest[place.Topic]; d.Offset >= 0 && (!ok || engine.Millis(d.Time) < at) {
			oldest[place.Topic] = engine.Millis(d.Time)
		}
	}
	return oldest, p.earliest(ctx, back, oldest)
}

// Fold makes the facts that are lacking of what the inputs still have.
func (p *Preview) Fold(ctx context.Context) error {
	s := p.s
	past, err := s.t.historyOf(ctx, s.cfg, s.pos.Sources, p.At, s.cfg.LookBackOf(func(summary int) bool { return p.Differs.Facts[summary] }))
	if err != nil {
		return err
	}
	p.Short, p.scratch = past.short, s.cfg.Store.Scratch(s.t.Partition)
	if err := p.scratch.Drop(); err != nil {
		return err
	}
	return newHistory(s.t, s.cfg, p.scratch).fold(ctx, past)
}

// Each calls visit with every customer who is known and wanted, in the order of their ids:
// with the segments that the customer is in before (see [engine.Customer.Segments]), and with
// what the change would emit, both good until visit returns. Unless Fold was called, rules
// that need history (see [ruleset.Change.NeedHistory]) are judged without it, and what is
// said of them is void.
func (p *Preview) Each(ctx context.Context, wanted func(id string) bool, visit func(before []engine.Key, effects []engine.Effect) error) error {
	e := p.s.cfg.Engine
	kept := p.Kept
	if p.scratch == nil {
		kept.Facts = p.s.own().Facts // those that are lacking begin empty, and the others go on
	}
	former := p.s.former(p.rules)
	change, reads := e.RuleChange(kept, former, p.At), e.RuleChange(p.Kept, former, p.At)
	x, out := e.Evaluator(), engine.Output{}
	var before []engine.Key
	return p.s.t.Store.Scan("", func(id string, stored []byte) error {
		if err := ctx.Err(); err != nil || !wanted(id) {
			return err
		}
		c, err := reads.Decode(id, stored)
		if err != nil {
			return err
		}
		fresh, err := p.fresh(id)
		if err != nil {
			return err
		}
		before = slices.AppendSeq(before[:0], c.Segments())
		out.Reset()
		if !p.Same {
			x.Adopt(c, fresh, change, &out)
		}
		return visit(before, out.Effects)
	})
}

// fresh returns what was folded of a customer, nil if nothing was.
func (p *Preview) fresh(id string) (c *engine.Customer, err error) {
	if p.scratch == nil {
		return c, err
	}
	b, ok, err := p.scratch.Customer(nil, id)
	if err != nil || !ok {
		return c, err
	}
	return p.s.cfg.Engine.Decode(id, b)
}

// Close ends reading and empties the store of what the preview has put there.
func (p *Preview) Close() error {
	if p.s == nil {
		return nil
	}
	if p.s.feed != nil {
		p.s.feed.Close()
	}
	err := p.s.t.Store.Drop()
	if p.scratch != nil {
		err = errors.Join(err, p.scratch.Drop())
	}
	return err
}

package task

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// ReadVersions reads the versions that belong to a position.
func ReadVersions(b []byte) (*changelog.Versions, error) {
	v, err := changelog.DecodeVersions(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fault.ErrLocal, err)
	}
	return v, nil
}

// checkRules compares the rules that customers were judged under with those of the engine.
// If they differ, and that is allowed, it changes them.
func (s *session) checkRules(ctx context.Context) error {
	s.rules = s.pos.Rules
	want := s.cfg.Engine.Versions()
	hash := changelog.HashVersions(want)
	prepared := s.t.prepared(s.pos) != nil
	forget := s.cfg.Rebuild && !prepared // what was made beside the loop is for facts that are kept
	switch same := hash == s.pos.Rules; {
	case same && !s.pos.Rebuilding:
		if s.before != nil && s.before.Kept == nil { // written by an earlier version
			s.versions = &changelog.Versions{Hashes: want, Kept: s.own()}
			s.begin()
			s.batch.moved = true // whether or not anything comes
			return s.commit(ctx)
		}
		return s.t.clearScratch()
	case forget:
	case prepared:
	case same:
		forget = s.before.Forgets || s.before.Kept == nil
	case !s.cfg.Apply:
		return fault.Fatal("the rules are not those that the state was built with (%s): with --apply, new and changed rules are judged by the facts that were kept and by what the inputs still have, and nothing else changes; with --rebuild, the state is made again from the inputs",
			difference(s.before.Hashes, want, s.renames()))
	case s.before.Kept == nil:
		return fault.Fatal("the rules have changed (%s), and the state was written by an earlier version, which did not note what is kept for which rules: run this version once with the rules as they were, and then with the new ones and --apply; or make the state again from the inputs, with --rebuild",
			difference(s.before.Hashes, want, s.renames()))
	case slices.Contains(s.before.Past, hash) && !s.cfg.ApplyFormer:
		return fault.Fatal("these rules were in force before, and others have replaced them since (%s): is this an instance that was not given the new files? To go back to these rules, use --apply-former",
			difference(s.before.Hashes, want, s.renames()))
	default:
		forget = s.pos.Rebuilding && s.before.Forgets // a rebuild that was begun is completed
	}
	return s.changeRules(ctx, s.changeOf(forget))
}

// own returns what customers have of the rules of the engine.
func (s *session) own() *ruleset.Set {
	own := ruleset.Of(s.cfg.Engine.Plan())
	return &own
}

// kept returns what the rules before and those of the engine have in common. A rebuild keeps
// no facts.
func (s *session) kept(forget bool) *ruleset.Set {
	kept := ruleset.Set{}
	if s.before.Kept != nil {
		kept = s.before.Kept.Common(s.cfg.Engine.Plan(), s.renames())
	}
	if forget {
		kept.Facts = nil
	}
	return &kept
}

// difference names what was renamed, changed, added and removed.
func difference(before, after map[string]string, renames ruleset.Renames) string {
	var renamed, changed, added, removed []string
	former := map[string]string{}
	for _, old := range slices.Sorted(maps.Keys(before)) {
		id, ok := renames[old]
		if !ok {
			id = old
		} else {
			renamed = append(renamed, id+" (was "+old+")")
		}
		if hash, ok := after[id]; !ok {
			removed = append(removed, old)
		} else if former[id] = old; hash != before[old] {
			changed = append(changed, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(after)) {
		if _, ok := former[id]; !ok {
			added = append(added, id)
		}
	}
	slices.Sort(changed)
	var parts []string
	for _, p := range []struct {
		word string
		ids  []string
	}{{"renamed", renamed}, {"changed", changed}, {"added", added}, {"removed", removed}} {
		if len(p.ids) > 0 {
			parts = append(parts, p.word+": "+some(p.ids))
		}
	}
	if len(parts) == 0 {
		return "an earlier change was not completed"
	}
	return strings.Join(parts, "; ")
}

// some lists ids, the first few if there are many.
func some(ids []string) string {
	const most = 8
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}

// ruleChange is a change of rules, as its versions say it while it is in progress.
type ruleChange struct {
	*changelog.Versions
	resumed  bool         // it was begun before
	prepared *preparation // beside a session, nil if nothing was
}

// changeOf returns the change to the rules of the engine that is begun, or was.
func (s *session) changeOf(forget bool) *ruleChange {
	want := s.cfg.Engine.Versions()
	hash := changelog.HashVersions(want)
	if s.pos.Rebuilding && hash == s.pos.Rules && s.before.Number > 0 && s.before.Forgets == forget {
		return &ruleChange{Versions: s.before, resumed: true}
	}
	former := s.former(hash)
	return &ruleChange{prepared: s.t.prepared(s.pos), Versions: &changelog.Versions{
		Hashes: want, Former: former.Versions, Renamed: former.Renamed, Kept: s.kept(forget), Forgets: forget, Past: s.before.Replaced(hash), Number: s.before.Number + 1,
	}}
}

// changeRules begins to bring customers under the rules of the engine, or goes on with it, and
// emits the differences. The facts that the rules lack, and all of them in a rebuild, are made
// of what the inputs still have, as far as they were read.
//
// It takes many transactions, and may die between any two. The first one says that a change is
// in progress, under which rule sets effects may have been emitted, what of them is kept, and
// as of when the differences are; every one leaves each customer either as it was or changed;
// the last one says that it is complete.
func (s *session) changeRules(ctx context.Context, c *ruleChange) error {
	doing := Applying
	if c.Forgets {
		doing = Rebuilding
	}
	s.t.set(func(st *Status) { st.State = doing })
	s.t.log.Info("changing the rules", "state", doing, "to", s.cfg.Name, "rules", difference(s.before.Hashes, c.Hashes, s.renames()))
	if unmet := ruleset.Unmet(s.cfg.Engine.Plan(), s.before.All()); len(unmet) > 0 {
		s.t.log.Warn("rules say that they had ids which are not in force: these rules are new", "rules", some(unmet))
	}
	scratch := s.cfg.Store.Scratch(s.t.Partition)
	short, err := s.makeFacts(ctx, c, scratch)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if err := s.goAhead(ctx); err != nil {
		return err
	}
	if err := s.beginChange(ctx, c, scratch); err != nil {
		return err
	}
	change := s.changeTo(c)
	s.customers.Change = change
	s.pass = &pass{
		change: change, scratch: scratch,
		final: &changelog.Versions{Hashes: c.Hashes, Kept: s.own(), Past: c.Past, Number: c.Number},
	}
	switch {
	case c.Forgets:
		err = s.reemit(ctx, scratch, short, change)
	default:
		s.customers.Pass = c.Number
		if !s.t.Instance.live() {
			err = s.bringAll(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// changeTo returns what a change does to customers.
func (s *session) changeTo(c *ruleChange) *engine.RuleChange {
	return s.cfg.Engine.RuleChange(*c.Kept, engine.Former{Versions: c.Former, Renamed: c.Renamed, Number: c.Number}, c.At)
}

// beginChange commits that a change is in progress, and notes that the scratch space has what
// it needs.
func (s *session) beginChange(ctx context.Context, c *ruleChange, scratch *state.Task) error {
	s.rules, s.rebuilding = changelog.HashVersions(c.Hashes), true
	if !c.resumed {
		c.At = s.feed.Clock.Now
		if err := scratch.Apply(nil, &state.Meta{Versions: c.Append(nil)}); err != nil {
			return err
		}
		s.versions = c.Versions
		s.begin()
		s.batch.moved = true
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	s.t.drop()
	return nil
}

// makeFacts makes the facts that are lacking, if any are, and sets the clock to the instant
// of the differences. It reports whether the inputs no longer reach as far back as those
// facts.
func (s *session) makeFacts(ctx context.Context, c *ruleChange, scratch *state.Task) (short bool, err error) {
	lacking := c.Kept.To(s.cfg.Engine.Plan()).Facts
	switch {
	case !slices.Contains(lacking, true):
		err = scratch.Drop()
	case c.prepared != nil && c.prepared.whole(scratch):
		err = s.foldRest(ctx, c.prepared)
	case c.resumed && !c.Forgets && s.hasFacts(c, scratch):
	default:
		if err := scratch.Drop(); err != nil {
			return false, err
		}
		short, err = s.foldLacking(ctx, c, lacking, scratch)
	}
	if err != nil {
		return short, err
	}
	if !s.pos.Rebuilding && c.prepared == nil {
		s.feed.Clock.Now = s.heard(ctx)
		s.feed.Clock.Order = max(s.feed.Clock.Order, s.feed.Clock.Now)
	}
	return short, s.at("refolded")
}

// hasFacts reports whether the scratch space has what was made for a change before it was
// begun. It does not age: see prepare.
func (s *session) hasFacts(c *ruleChange, scratch *state.Task) bool {
	m, ok, err := scratch.Meta()
	return err == nil && ok && bytes.Equal(m.Versions, c.Append(nil))
}

// foldRest folds what the session before has read since its preparation did.
func (s *session) foldRest(ctx context.Context, p *preparation) error {
	if p.past == nil {
		return nil
	}
	rest, err := p.past.goOn(ctx, s.t, s.cfg, s.pos.Sources)
	if err == nil {
		err = p.history.fold(ctx, rest)
	}
	if err != nil {
		s.t.drop() // some of it may be folded
	}
	return err
}

// foldLacking folds what the inputs have into scratch space. That they do not have all that
// the facts look back to is an error, unless that is accepted.
func (s *session) foldLacking(ctx context.Context, c *ruleChange, lacking []bool, scratch *state.Task) (short bool, err error) {
	at := s.feed.Clock.Now
	if !s.pos.Rebuilding {
		at = s.heard(ctx)
	}
	past, err := s.t.historyOf(ctx, s.cfg, s.pos.Sources, at, s.cfg.LookBackOf(func(summary int) bool { return lacking[summary] }))
	if err != nil {
		return false, err
	}
	s.sayShort(past, c.Forgets)
	if err := s.at("surveyed"); err != nil {
		return false, err
	}
	short = len(past.short) > 0
	if short && !s.cfg.AcceptLoss && !c.Forgets {
		return short, s.refuseToApply(past, c)
	}
	if err := newHistory(s.t, s.cfg, scratch).fold(ctx, past); err != nil {
		return short, err
	}
	if short && !s.cfg.AcceptLoss {
		return short, s.refuse(past, s.losses(scratch, s.changeTo(c), at))
	}
	return short, nil
}

// refuseToApply returns the error of a change whose new facts would be incomplete.
func (s *session) refuseToApply(p *past, c *ruleChange) error {
	return fault.Fatal("--apply is refused, because new or changed rules (%s) look back to records that have been deleted: %s. "+
		"%s. Put the records back; or begin those rules with what is left, with --apply --accept-loss: they are then wrong about customers whose events are gone, until their windows have passed; other rules are not",
		difference(s.before.Hashes, c.Hashes, s.renames()), strings.Join(p.shorts(), "; "), s.untouched())
}

// untouched says what a change that is refused has done so far.
func (s *session) untouched() string {
	if s.pos.Rebuilding {
		return "The change had begun before, and is not complete"
	}
	return "Nothing has been changed"
}

// former returns the rules under which customers may be: those in force and, if a change was
// begun before and is done again, to the same rules or others, those before it. hash is that
// of the rules to be.
func (s *session) former(hash [16]byte) engine.Former {
	return engine.Former{Versions: s.before.All(), Renamed: ruleset.Then(s.before.Renamed, s.renames(), s.pos.Rules, hash)}
}

// renames returns which of the rules before have other ids now.
func (s *session) renames() ruleset.Renames {
	return s.renamesTo(s.cfg.Engine)
}

// renamesTo is renames to the rules of another engine.
func (s *session) renamesTo(e *engine.Engine) ruleset.Renames {
	return ruleset.RenamesTo(e.Plan(), s.before.Hashes, s.before.All())
}

// heard returns where the task clock would be if the inputs were read from now on: a
// partition that is read to its end has nothing older than the question, and any other
// nothing older than its next record. It is where it was if that cannot be determined: with
// the clock of events, while a clock that waits for leaders knows nothing of them, where it
// waits for what other tasks have yet to forward, and when the brokers do not answer.
func (s *session) heard(ctx context.Context) engine.Millis {
	c := &s.feed.Clock
	if s.cfg.Time.Clock != config.WallClock || s.cfg.Time.HoldSilence || len(s.t.Instance.Senders(s.t.Partition)) > 0 {
		return c.Now
	}
	asked := s.t.Instance.Present()
	least := asked
	for _, in := range s.feed.Inputs() {
		mark, err := s.markOf(ctx, in, asked)
		if err != nil {
			s.t.log.Warn("the clock stays where it was for the rebuild", "topic", in.Topic, "of_partition", in.Partition, "error", err)
			return c.Now
		}
		least = min(least, mark)
	}
	if silence := engine.Millis(s.cfg.Time.Silence().Milliseconds()); least > changelog.Never+silence {
		return max(c.Now, least-silence)
	}
	return c.Now
}

// errOne ends the reading of a range after its first record.
var errOne = errors.New("one record is enough")

// markOf returns the instant up to which an input has spoken, if it is asked now.
func (s *session) markOf(ctx context.Context, in *feed.Input, asked engine.Millis) (engine.Millis, error) {
	cluster, place := s.t.Instance.Cluster, []broker.Partition{in.Place()}
	end, err := cluster.Offsets(ctx, broker.HighWatermark, place)
	if err != nil {
		return 0, err
	}
	stable, err := cluster.Offsets(ctx, broker.LastStable, place)
	if err != nil {
		return 0, err
	}
	mark := asked
	if stable[place[0]] < end[place[0]] {
		mark = in.Seen // a transaction is open
	}
	reader := feed.Reader{Config: s.cfg}
	_, err = cluster.ReadRange(ctx, in.Topic, in.Partition, in.Next, stable[place[0]], func(r *kgo.Record) error {
		mark = in.Seen
		if h, err := reader.One(r); err == nil && !h.Bad() && h.Result == schemas.IsEvent && h.Ev.At <= feed.Horizon(s.cfg) {
			mark = max(mark, h.At)
		}
		return errOne
	})
	if err != nil && !errors.Is(err, errOne) {
		return 0, err
	}
	return mark, nil
}

// reemit gives every customer its new facts: those that are stored, and then
// those that only the scratch space knows. Losses are counted of all who are stored if the
// inputs are short, and otherwise of those that they do not mention.
func (s *session) reemit(ctx context.Context, scratch *state.Task, short bool, change *engine.RuleChange) error {
	lost := s.losses(scratch, change, s.pos.Clock)
	if err := s.t.Store.Scan("", func(id string, stored []byte) error {
		b, ok, err := lost.fresh(id)
		if err != nil {
			return err
		}
		fresh := s.cfg.Engine.NewCustomer(id)
		if ok {
			if fresh, err = s.cfg.Engine.Decode(id, b); err != nil {
				return err
			}
		}
		if short || !ok {
			if err := lost.look(id, stored); err != nil {
				return err
			}
		}
		return s.reemitOne(ctx, id, fresh, change)
	}); err != nil {
		return err
	}
	lost.tell()
	if err := scratch.Scan("", func(id string, b []byte) error {
		if e, err := s.customers.Get(id); err != nil || e.Known || e.Dirty {
			return err
		}
		fresh, err := s.cfg.Engine.Decode(id, b)
		if err != nil {
			return err
		}
		return s.reemitOne(ctx, id, fresh, change)
	}); err != nil {
		return err
	}
	return s.completeChange(ctx)
}

func (s *session) reemitOne(ctx context.Context, id string, fresh *engine.Customer, change *engine.RuleChange) error {
	e, err := s.customers.Get(id)
	if err != nil {
		return err
	}
	s.step(place{}, 0)
	s.batch.eval.Rebuild(e.C, fresh, change, &s.batch.out)
	e.Former = false
	s.touch(e)
	s.encode()
	if !s.batch.full(s.limits()) {
		return nil
	}
	s.batch.moved = true
	return s.commit(ctx)
}

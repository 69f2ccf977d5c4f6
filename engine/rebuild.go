package engine

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
)

// RuleChange is the change from other rules to those of an engine, at an instant.
type RuleChange struct {
	e       *Engine
	at      Millis
	number  uint32
	differs *ruleset.Change
	// stages are what is left for customers who have had none of the renamings, the first one,
	// and so on; marks, which all but the first have, say who is where. See rename.go.
	stages   []stage
	marks    []uint32
	doubtful doubtful
	// former are the keys of all rules before, unchanged of those that are there still.
	former, unchanged keys
	formerIDs         map[string]bool
}

type removed struct {
	id, version string
	key         plan.Key
}

// RuleChange returns the change from the rules that customers were judged under. kept is
// what those and the engine's have in common, at most: what it lacks has changed. former are the
// rules that customers may have been judged under. The differences are effective at an instant,
// or at the customer's own if that is later.
func (e *Engine) RuleChange(kept ruleset.Set, former Former, at Millis) *RuleChange {
	c := &RuleChange{e: e, at: at, number: former.Number, differs: kept.To(e.p), formerIDs: former.ids()}
	c.former, c.unchanged = keysOfIDs(maps.Keys(c.formerIDs)), keysOfIDs(maps.Keys(kept.Rules))
	for done := range len(former.Renamed) + 1 {
		c.stages = append(c.stages, e.stageAfter(done, former.Renamed, former.Versions))
	}
	for i := range former.Renamed {
		c.marks = append(c.marks, former.Renamed[i].Mark)
	}
	c.doubtful = e.doubtful(&c.stages[0])
	return c
}

// Former are the rules that customers may have been judged under before a change.
type Former struct {
	// Versions are the versions of all of them by id, as Engine.Versions returned them.
	Versions map[string]string
	// Renamed are the changes since in which rules were renamed, the latest last.
	Renamed []ruleset.Renaming
	// Number is that of the change, 0 if it does not count. A customer who has it, see
	// [Customer.Brought], is under the rules of the engine.
	Number uint32
}

// NeedsHistory reports whether the change has facts that are to be made of past events.
func (r *RuleChange) NeedsHistory() bool { return slices.Contains(r.differs.Facts, true) }

// isSegment reports whether an id of Versions is that of a segment or a stage.
func isSegment(id string) bool { return !strings.Contains(id, ":") }

// groupOf returns the lifecycle in the id of a stage, "" for a plain segment.
func groupOf(id string) string {
	group, _, ok := strings.Cut(id, "/")
	if !ok {
		return ""
	}
	return group
}

// Rebuild gives old all facts of fresh (folded by FoldFacts), keeps old's emitted
// state (instant, memberships, sequences, trigger memory), and emits the differences
// with CauseRuleChange. First, what is due of unchanged rules by the instant of the
// change fires by the facts that old had, each as of its own instant and under its former id:
// to them nothing has happened. Then rules take the ids that they have now, which is emitted
// of members. Triggers that are new or changed do not fire for what is due by then.
func (x *Evaluator) Rebuild(old, fresh *Customer, change *RuleChange, out *Output) {
	e := x.e
	now := max(old.instant, fresh.instant, change.at)
	x.rename(old, change.stageOf(old))
	x.begin(old, out)
	n := x.fireUnchanged(change, now)
	x.exitRemoved(now)
	old.cells = fresh.cells
	old.events = max(old.events, fresh.events)
	old.seen.Forget(now, &e.dedup)
	old.seen.Merge(&fresh.seen, now, &e.dedup)
	e.emitAgain(x, now, CauseRuleChange, true)
	sortEffects(out.Effects[n:])
	change.mark(old)
}

// Adopt brings a customer under the rules of the engine. The facts that were kept stay as
// they are; those that were not come from fresh (folded by FoldFacts), or, if that is nil,
// begin with nothing. What is due of unchanged rules by the instant of the change fires
// first, each as of its own instant and under its former id, and that is all that happens to
// them, but for the ids of those that are renamed. Then new and
// changed rules are judged, and the differences are emitted with CauseRuleChange; triggers
// that are new or changed do not fire for what is due by then. A customer for whom nothing is
// emitted keeps the instant. Done again with the same facts, it changes nothing.
func (x *Evaluator) Adopt(old, fresh *Customer, change *RuleChange, out *Output) {
	if change.NeedsHistory() {
		old.cells = adopted(old, fresh, change.differs.Facts)
		old.stale = true
	}
	now := max(old.instant, change.at)
	x.rename(old, change.stageOf(old))
	x.begin(old, out)
	n := x.fireUnchanged(change, now)
	instant := old.instant
	x.exitRemoved(now)
	x.judgeChanged(change.differs, now)
	if len(out.Effects) == n && !x.wouldFire(change.differs, instant, now) {
		old.instant = instant // there is no crossing between it and now
	}
	sortEffects(out.Effects[n:])
	change.mark(old)
}

// judgeChanged evaluates new and changed rules at now and emits the differences. Triggers
// among them take what is due by now as past.
func (x *Evaluator) judgeChanged(differs *ruleset.Change, now Millis) {
	e := x.e
	x.setNow(now)
	for u, changed := range differs.Units {
		if changed {
			x.touched.Add(u)
		}
	}
	x.silent = true
	e.step(x, now, CauseRuleChange, "")
	x.silent = false
	for i, changed := range differs.Triggers {
		if changed {
			t := &e.p.Triggers[i]
			e.triggers[i].Settle(x.viewOf(t), x.c.memoryOf(t.Key))
			x.c.dues()[i] = e.due(x, i, now)
		}
	}
	e.schedule(x.c)
}

// wouldFire reports whether a trigger that is new or changed would fire between two instants
// for a customer of the first. What has lapsed by the second cannot be marked as past there.
func (x *Evaluator) wouldFire(differs *ruleset.Change, from, to Millis) bool {
	x.setNow(from)
	defer x.setNow(to)
	for i, changed := range differs.Triggers {
		if changed && x.e.due(x, i, from) <= to {
			return true
		}
	}
	return false
}

// adopted returns the cells of old that were kept, and the others from fresh.
func adopted(old, fresh *Customer, changed []bool) []cell {
	var cells []cell
	for i := range old.cells {
		if !changed[old.cells[i].summary] {
			cells = append(cells, old.cells[i])
		}
	}
	if fresh != nil {
		for i := range fresh.cells {
			if changed[fresh.cells[i].summary] {
				cells = append(cells, fresh.cells[i])
			}
		}
	}
	slices.SortFunc(cells, func(a, b cell) int { return cmp.Compare(a.summary, b.summary) })
	return cells
}

// exitRemoved lets the customer leave what the rules no longer have.
func (x *Evaluator) exitRemoved(now Millis) {
	for i := range x.stage.removed {
		r := &x.stage.removed[i]
		if m := x.c.member(r.key); m != nil && m.in() {
			m.seq++
			x.out.Effects = append(x.out.Effects, Effect{
				Action: Exited, Customer: x.c.ID, Name: r.id, Version: r.version, At: now, Sequence: uint64(m.seq),
				Cause: CauseRuleChange, Group: groupOf(r.id), MemberFor: now - m.since,
			})
			m.since = 0
		}
	}
}

// fireUnchanged fires what is due of the rules that a change leaves alone. The others are
// judged when the customer has its new facts. Then it is emitted of members how segments are called
// now; it returns how many effects there were before that.
func (x *Evaluator) fireUnchanged(change *RuleChange, to Millis) int {
	n := len(x.out.Effects)
	dues := x.c.dues()
	for i := range dues {
		if change.differs.Triggers[i] {
			dues[i] = Never
		}
	}
	x.e.schedule(x.c)
	x.change = change
	x.e.fire(x, to)
	x.change = nil
	due := x.out.Effects[n:]
	n += len(due)
	x.emitRenames(due, to)
	return n
}

// asEmitted returns segments of today by the ids that were emitted, with those that c has yet
// to leave because they were removed.
func (s *stage) asEmitted(ids []string, c *Customer) []string {
	for i := range ids {
		ids[i] = former(s.formerSegments, ids[i])
	}
	for i := range s.removed {
		if m := c.member(s.removed[i].key); m != nil && m.in() {
			ids = append(ids, s.removed[i].id)
		}
	}
	slices.Sort(ids)
	return ids
}

// LosesFacts reports whether fresh, folded from what is left of a customer's events, has
// fewer events than old, and other facts of the rules as of an instant. A fresh of nil has
// none. Both are changed by it, and fit for nothing else.
func (e *Engine) LosesFacts(old, fresh *Customer, at Millis) bool {
	if fresh == nil {
		fresh = e.NewCustomer(old.ID)
	}
	if fresh.events >= old.events {
		return false
	}
	at = max(at, old.instant, fresh.instant)
	for i := range old.cells {
		was := &old.cells[i]
		is := e.cell(fresh, int(was.summary))
		if !aggregate.Same(was.sum(), is.sum(), at, e.p.Summaries[was.summary].Reach) {
			return true
		}
	}
	return false
}

package sim

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
)

// Changed rules: what is due of the others fires first, exactly the differences are
// emitted, triggers of changed ones that are due by then do not fire, and from then on all
// is as if the rules had never been others.
func TestRebuild(t *testing.T) { changeRules(t, (*Oracle).Rebuild, (*underTest).rebuild) }

// The same, with the facts that both sets of rules have kept as they were, and only the
// others folded again. Rules that have other ids are followed by members and triggers. Of
// unchanged rules nothing is emitted because of the change, and what
// is done again changes nothing.
func TestAdopt(t *testing.T) { changeRules(t, (*Oracle).Adopt, (*underTest).adopt) }

// changeRules changes the rules in the middle of random histories by change, which returns
// what is emitted.
func changeRules(
	t *testing.T, oracle func(o *Oracle, c *Change) []engine.Effect,
	change func(u, next *underTest, o *Oracle, clock Millis) []engine.Effect,
) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		calls := once(RandomHistory(r, rules.Spec, 60))
		before, after := someOf(r, rules.Spec), someOf(r, rules.Spec)
		names := naming{}
		if chance(r, 60) {
			names = anyNaming(r, rules.Spec)
		}
		cut, wait := len(calls)/2, pick(r, 0, 1, Hour, 3*Day, 40*Day)
		judge(t, Rules{Spec: after}, calls, func(t testing.TB, s *plan.Spec, calls []Call) string {
			o, u := NewOracle(before, engine.Options{Zones: Zones}), newSubject(t, before)
			cut := min(cut, len(calls))
			if d := lockstep(o, u, calls[:cut]); d != "" {
				return d
			}
			clock := Millis(0)
			for i := range calls[:cut] {
				clock = max(clock, calls[i].Clock)
			}
			turn := turnAll(u, clock)
			if d := lockstep(o, u, turn); d != "" {
				return d
			}
			clock += wait
			names := names.settled(t, before, s)
			now := names.apply(s)
			want := oracle(o, &Change{now, bothOf(t, before, s), names.moves(t, before, s), clock})
			got := change(u, newSubject(t, now), o, clock)
			for _, l := range [][]engine.Effect{want, got} {
				for i := range l {
					l[i].Group = "" // not known of a stage that is gone
					if len(names) > 0 {
						l[i].Evidence = slices.DeleteFunc(l[i].Evidence, func(p engine.Pair) bool { return strings.HasPrefix(p.Name, "in_segment(") })
					}
				}
			}
			if d := compareEffects(want, got); d != "" {
				return fmt.Sprintf("rebuild at %s after %d calls\nbefore:\n%s\nnames: %v\n%s", clock, cut, specText(before), names, d)
			}
			rest := slices.Clone(calls[cut:])
			for i := range rest {
				rest[i].Clock = max(rest[i].Clock, clock)
			}
			return lockstep(o, u, rest)
		})
	})
}

// bothOf returns the rules that two sets have, without those that read the membership of
// another one.
func bothOf(t testing.TB, before, after *plan.Spec) *plan.Spec {
	t.Helper()
	was, is := newSubject(t, before).e.Versions(), newSubject(t, after).e.Versions()
	differs := func(id string) bool { return was[id] != is[id] }
	stages := func(versions map[string]string, life string) (n int) {
		for id := range versions {
			if strings.HasPrefix(id, life+"/") {
				n++
			}
		}
		return n
	}
	both := *after
	both.Segments = slices.DeleteFunc(slices.Clone(both.Segments), func(g plan.Segment) bool { return differs(g.ID) })
	both.Lifecycles = slices.DeleteFunc(slices.Clone(both.Lifecycles), func(l plan.Lifecycle) bool {
		return stages(was, l.ID) != len(l.Stages) || slices.ContainsFunc(l.Stages, func(g plan.Stage) bool { return differs(l.ID + "/" + g.ID) })
	})
	both.Triggers = slices.DeleteFunc(slices.Clone(both.Triggers), func(g plan.Trigger) bool { return differs("trigger:" + g.ID) })
	for before := -1; before != len(both.Segments)+len(both.Lifecycles)+len(both.Triggers); {
		before = len(both.Segments) + len(both.Lifecycles) + len(both.Triggers)
		has := map[string]bool{}
		for i := range both.Segments {
			has[both.Segments[i].ID] = true
		}
		for i := range both.Lifecycles {
			for _, g := range both.Lifecycles[i].Stages {
				has[both.Lifecycles[i].ID+"/"+g.ID] = true
			}
		}
		readsOther := func(n *expr.Node) bool {
			return n != nil && slices.ContainsFunc(inputsOf(n), func(i int) bool { return both.Inputs[i].Kind == plan.InSegment && !has[both.Inputs[i].Segment] })
		}
		both.Segments = slices.DeleteFunc(both.Segments, func(g plan.Segment) bool { return readsOther(g.When) })
		both.Lifecycles = slices.DeleteFunc(both.Lifecycles, func(l plan.Lifecycle) bool {
			return slices.ContainsFunc(l.Stages, func(g plan.Stage) bool { return readsOther(g.When) })
		})
		both.Triggers = slices.DeleteFunc(both.Triggers, func(g plan.Trigger) bool { return readsOther(g.When) })
	}
	forgetUnread(&both)
	return &both
}

// turnAll returns calls that turn the clock of every customer known.
func turnAll(u *underTest, clock Millis) []Call {
	var l []Call
	for _, id := range slices.Sorted(maps.Keys(u.customers)) {
		l = append(l, Call{Do: DoAdvance, Customer: id, Clock: clock})
	}
	return l
}

// rebuild makes u run the rules of another, with facts folded again from the
// events that the oracle has kept.
func (u *underTest) rebuild(next *underTest, o *Oracle, clock Millis) []engine.Effect {
	var all []engine.Effect
	for _, id := range slices.Sorted(maps.Keys(u.customers)) {
		old, fresh := next.under(u, id), next.refolded(o, id)
		u.out.Reset()
		next.x.Rebuild(old, fresh, next.e.RuleChange(u.kept(next), u.former(next), clock), &u.out)
		all = append(all, u.out.Effects...)
		u.customers[id] = old
	}
	u.e, u.x = next.e, next.x
	return all
}

// kept returns what the rules of two have in common.
func (u *underTest) kept(next *underTest) ruleset.Set {
	return ruleset.Of(u.e.Plan()).Common(next.e.Plan(), u.renames(next))
}

// under returns a customer of another under the rules of u.
func (u *underTest) under(other *underTest, id string) *engine.Customer {
	c, err := u.e.Decode(id, other.e.Append(nil, other.customers[id]))
	if err != nil {
		panic(err)
	}
	return c
}

// refolded returns a customer with facts folded again from the events that the oracle has
// kept.
func (u *underTest) refolded(o *Oracle, id string) *engine.Customer {
	fresh := u.e.NewCustomer(id)
	for _, r := range o.people[id].events {
		u.x.FoldFacts(fresh, r.Event(u.e.Layout(r.Stream)), &u.out)
	}
	return fresh
}

// adopt makes u run the rules of another, with facts that both have as they are.
func (u *underTest) adopt(next *underTest, o *Oracle, clock Millis) []engine.Effect {
	var all []engine.Effect
	kept := u.kept(next)
	change := next.e.RuleChange(kept, u.former(next), clock)
	for _, id := range slices.Sorted(maps.Keys(u.customers)) {
		old := next.under(u, id)
		adopt := func() []engine.Effect {
			var fresh *engine.Customer
			if change.NeedsHistory() {
				fresh = next.refolded(o, id)
			}
			u.out.Reset()
			next.x.Adopt(old, fresh, change, &u.out)
			return slices.Clone(u.out.Effects)
		}
		emitted := adopt()
		all = append(all, emitted...)
		for _, e := range emitted {
			if _, unchanged := kept.Rules[e.Name]; unchanged && e.Cause == engine.CauseRuleChange && e.Action != engine.Fired && e.Action != engine.Renamed {
				panic(fmt.Sprintf("%+v of a rule that has not changed", e))
			}
		}
		was := next.e.Append(nil, old)
		facts := next.e.AppendFacts(nil, next.refolded(o, id), old.Instant())
		if again := adopt(); len(again) > 0 || !bytes.Equal(was, next.e.Append(nil, old)) {
			panic(fmt.Sprintf("done again, it emits %+v and changes\n%x to\n%x", again, was, next.e.Append(nil, old)))
		}
		if !bytes.Equal(facts, next.e.AppendFacts(nil, old, old.Instant())) {
			panic(fmt.Sprintf("facts of %s are\n%x, not\n%x", id, next.e.AppendFacts(nil, old, old.Instant()), facts))
		}
		u.customers[id] = old
	}
	u.e, u.x = next.e, next.x
	return all
}

// once returns calls without events that are sent again and without erasures.
func once(calls []Call) []Call {
	var l []Call
	for i := range calls {
		c := &calls[i]
		again := slices.ContainsFunc(l, func(o Call) bool { return o.Do == DoApply && c.Do == DoApply && o.Record.same(&c.Record) })
		if !again && c.Do != DoErase {
			l = append(l, *c)
		}
	}
	return l
}

// someOf returns a rule set without some of the rules of another, some with other
// conditions.
func someOf(r *rand.Rand, s *plan.Spec) *plan.Spec {
	if n := len(s.Segments); n > 1 && chance(r, 50) {
		c := *s
		c.Segments = slices.Clone(s.Segments)
		i := r.IntN(n - 1)
		c.Segments[i].When, c.Segments[i+1].When = s.Segments[i+1].When, s.Segments[i].When
		if complete(&c) {
			s = &c
		}
	}
	for range r.IntN(3) {
		if l := fewerRules(s); len(l) > 0 {
			s = l[r.IntN(len(l))]
		}
	}
	return s
}

// Two customers that turn out to be one: the differences are emitted, and from then
// on all is as if there had always been one.
func TestMerge(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		calls := once(RandomHistory(r, rules.Spec, 60))
		cut := len(calls) * 2 / 3
		judge(t, rules, calls, func(t testing.TB, s *plan.Spec, calls []Call) string {
			o, u := NewOracle(s, engine.Options{Zones: Zones}), newSubject(t, s)
			cut := min(cut, len(calls))
			if d := lockstep(o, u, calls[:cut]); d != "" {
				return d
			}
			if u.customers["c1"] == nil || u.customers["c2"] == nil {
				return ""
			}
			clock := calls[cut-1].Clock
			if d := lockstep(o, u, turnAll(u, clock)); d != "" {
				return d
			}
			want := o.Merge("c1", "c2", clock)
			u.out.Reset()
			u.x.Merge(u.customers["c1"], u.customers["c2"], clock, &u.out)
			if d := compareEffects(want, u.out.Effects); d != "" {
				return fmt.Sprintf("merge at %s after %d calls\n%s", clock, cut, d)
			}
			for i := cut; i < len(calls); i++ {
				if c := calls[i]; c.Customer == "c1" {
					if d := lockstep(o, u, []Call{c}); d != "" {
						return fmt.Sprintf("merged at %s after %d calls\n%d: %s", clock, cut, i, d)
					}
				}
			}
			return ""
		})
	})
}

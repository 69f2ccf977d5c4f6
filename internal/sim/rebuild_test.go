package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// Changed rules: exactly the differences are emitted, triggers that are due by then
// do not fire, and from then on all is as if the rules had never been others.
func TestRebuild(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		calls := once(RandomHistory(r, rules.Spec, 60))
		before, after := someOf(r, rules.Spec), someOf(r, rules.Spec)
		cut := len(calls) / 2
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
			want := o.Rebuild(s, clock)
			got := u.rebuild(newSubject(t, s), o, clock)
			for _, l := range [][]engine.Effect{want, got} {
				for i := range l {
					l[i].Group = "" // not known of a stage that is gone
				}
			}
			if d := compareEffects(want, got); d != "" {
				return fmt.Sprintf("rebuild at %s after %d calls\nbefore:\n%s\n%s", clock, cut, specText(before), d)
			}
			return lockstep(o, u, calls[cut:])
		})
	})
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
		fresh := next.e.NewCustomer(id)
		for _, r := range o.people[id].events {
			next.x.FoldFacts(fresh, r.Event(next.e.Layout(r.Stream)), &u.out)
		}
		old, err := next.e.Decode(id, u.e.Append(nil, u.customers[id]))
		if err != nil {
			panic(err)
		}
		u.out.Reset()
		next.x.Rebuild(old, fresh, u.e.Versions(), clock, &u.out)
		all = append(all, u.out.Effects...)
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

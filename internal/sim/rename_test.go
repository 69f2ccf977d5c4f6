package sim

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
)

// naming is what rules shall be called, by their ids as versions have them; a lifecycle has the
// prefix "life:". Those that it does not have keep their ids.
type naming map[string]string

// anyNaming gives some rules other ids: fresh ones, or those of other rules.
func anyNaming(r *rand.Rand, s *plan.Spec) naming {
	n := naming{}
	var segments, triggers []string
	for i := range s.Segments {
		segments = append(segments, s.Segments[i].ID)
	}
	for i := range s.Triggers {
		triggers = append(triggers, "trigger:"+s.Triggers[i].ID)
	}
	for _, ids := range [][]string{segments, triggers} {
		r.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		for i, id := range ids {
			switch {
			case chance(r, 30):
				n[id] = fresh(s, id)
			case i > 0 && chance(r, 40) && !(i == 2 && n[ids[0]] == ids[1]):
				n[id] = ids[i-1]
				if i == 1 && chance(r, 50) {
					n[ids[0]] = id // a ring
				}
			}
		}
	}
	for i := range s.Lifecycles {
		l := &s.Lifecycles[i]
		if chance(r, 40) {
			n["life:"+l.ID] = fresh(s, l.ID)
		}
		for _, g := range l.Stages {
			if chance(r, 20) {
				n[l.ID+"/"+g.ID] = fresh(s, g.ID)
			}
		}
	}
	return n
}

// fresh returns an id that no rule of a set has.
func fresh(s *plan.Spec, id string) string {
	prefix := ""
	if name, ok := strings.CutPrefix(id, "trigger:"); ok {
		prefix, id = "trigger:", name
	}
	taken := map[string]bool{}
	for i := range s.Segments {
		taken[s.Segments[i].ID] = true
	}
	for i := range s.Lifecycles {
		taken[s.Lifecycles[i].ID] = true
		for _, g := range s.Lifecycles[i].Stages {
			taken[g.ID] = true
		}
	}
	for i := range s.Triggers {
		taken["trigger:"+s.Triggers[i].ID] = true
	}
	for k := 1; ; k++ {
		if name := fmt.Sprintf("%s%s-%d", prefix, id, k); !taken[name] {
			return name
		}
	}
}

// settled returns the naming with fresh ids where a rule of s cannot have the one that it
// would take: before is a rule that stays, or one that is gone, or the rules went round in a
// ring and nothing shows it: no
// version is that of the former id, and not that of the new one.
func (n naming) settled(t testing.TB, before, s *plan.Spec) naming {
	was, is := newSubject(t, before).e.Versions(), newSubject(t, s).e.Versions()
	own := naming{}
	for id, to := range n {
		if _, ok := is[id]; ok || strings.HasPrefix(id, "life:") || strings.Contains(id, "/") {
			own[id] = to
		}
	}
	shown := func([]string) bool { return true }
	var ok func(id string, seen []string) bool
	ok = func(id string, seen []string) bool {
		to := own[id]
		_, there := is[to]
		_, taken := was[to]
		_, moves := own[to]
		switch {
		case !there && !taken:
			return true
		case !moves || !taken && there || slices.Contains(seen, id) && id != seen[0]:
			return false
		case slices.Contains(seen, id):
			return shown(seen)
		}
		_, had := was[id]
		return had && ok(to, append(seen, id))
	}
	settle := func() {
		for _, id := range slices.Sorted(maps.Keys(own)) {
			if !ok(id, nil) {
				own[id] = fresh(s, id)
			}
		}
	}
	settle()
	shown = func(ring []string) bool {
		now := newSubject(t, own.apply(s)).e.Versions()
		return slices.ContainsFunc(ring, func(id string) bool { return was[id] == now[own[id]] && was[own[id]] != now[own[id]] })
	}
	settle()
	return own
}

// of returns what a rule is called.
func (n naming) of(id string) string {
	life, stage, ok := strings.Cut(id, "/")
	if !ok {
		if to, ok := n[id]; ok {
			return to
		}
		return id
	}
	if to, ok := n[id]; ok {
		stage = to
	}
	if to, ok := n["life:"+life]; ok {
		life = to
	}
	return life + "/" + stage
}

// apply returns the rules under their names, with what they were called before.
func (n naming) apply(s *plan.Spec) *plan.Spec {
	c := *s
	was := func(id, now string) string {
		if id == now {
			return ""
		}
		return id
	}
	c.Inputs = slices.Clone(s.Inputs)
	for i := range c.Inputs {
		if in := &c.Inputs[i]; in.Kind == plan.InSegment {
			in.Segment = n.of(in.Segment)
			in.Text = fmt.Sprintf("in_segment(%q)", in.Segment)
		}
	}
	c.Segments = slices.Clone(s.Segments)
	for i := range c.Segments {
		g := &c.Segments[i]
		g.ID, g.Was = n.of(g.ID), was(g.ID, n.of(g.ID))
	}
	c.Lifecycles = slices.Clone(s.Lifecycles)
	for i := range c.Lifecycles {
		l := &c.Lifecycles[i]
		l.Stages = slices.Clone(l.Stages)
		for k := range l.Stages {
			g := &l.Stages[k]
			_, now, _ := strings.Cut(n.of(l.ID+"/"+g.ID), "/")
			g.ID, g.Was = now, was(g.ID, now)
		}
		if to, ok := n["life:"+l.ID]; ok {
			l.ID, l.Was = to, l.ID
		}
	}
	c.Triggers = slices.Clone(s.Triggers)
	for i := range c.Triggers {
		g := &c.Triggers[i]
		now := strings.TrimPrefix(n.of("trigger:"+g.ID), "trigger:")
		g.ID, g.Was = now, was(g.ID, now)
	}
	return &c
}

// moves returns which rules of two sets go on under other ids.
func (n naming) moves(t testing.TB, before, s *plan.Spec) map[string]string {
	was, is := newSubject(t, before).e.Versions(), newSubject(t, s).e.Versions()
	l := map[string]string{}
	for id := range is {
		if _, ok := was[id]; ok && n.of(id) != id {
			l[id] = n.of(id)
		}
	}
	return l
}

// renames returns which rules go on under other ids in the rules of another.
func (u *underTest) renames(next *underTest) ruleset.Renames {
	return ruleset.RenamesTo(next.e.Plan(), u.e.Versions(), u.e.Versions())
}

// former returns the rules of u as those before the ones of another.
func (u *underTest) former(next *underTest) engine.Former {
	return engine.Former{Versions: u.e.Versions(), Renamed: ruleset.Then(nil, u.renames(next), [16]byte{1}, [16]byte{2})}
}

// docs/semantics.md, 7.14 and 7.15: a change is given up for another one, while some customers
// have been brought under it and others have not. With the next one all come to the same ids,
// whichever rules took which, and nothing else is emitted. Done again, it changes nothing.
func TestRenamedTwice(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		first := newSubject(t, rules.Spec)
		clock := Millis(0)
		for _, c := range once(RandomHistory(r, rules.Spec, 40)) {
			first.Run(&c)
			clock = max(clock, c.Clock)
		}
		for _, c := range turnAll(first, clock) {
			first.Run(&c)
		}
		names := anyNaming(r, rules.Spec).settled(t, rules.Spec, rules.Spec)
		middleSpec := names.apply(rules.Spec)
		more := anyNaming(r, middleSpec).settled(t, middleSpec, middleSpec)
		middle, last := newSubject(t, middleSpec), newSubject(t, more.apply(middleSpec))
		half := first.former(middle)
		ever := maps.Clone(first.e.Versions())
		maps.Copy(ever, middle.e.Versions())
		then := ruleset.RenamesTo(last.e.Plan(), middle.e.Versions(), ever)
		if !maps.Equal(then, more.moves(t, middleSpec, middleSpec)) {
			return // an id was that of a rule which was yet another one before
		}
		whole := engine.Former{Versions: ever, Renamed: ruleset.Then(half.Renamed, then, [16]byte{2}, [16]byte{3})}
		kept := first.kept(middle)
		toMiddle := middle.e.RuleChange(kept, half, clock)
		toLast := last.e.RuleChange(kept.Common(last.e.Plan(), then), whole, clock)
		for id, c := range first.customers {
			var want []string
			for _, name := range first.e.Memberships(c) {
				want = append(want, more.of(names.of(name)))
			}
			slices.Sort(want)
			for _, through := range []bool{false, true} {
				at := first
				if through {
					brought := middle.under(at, id)
					middle.x.Adopt(brought, nil, toMiddle, &middle.out)
					middle.customers[id], at = brought, middle
				}
				c := last.under(at, id)
				last.out.Reset()
				last.x.Adopt(c, nil, toLast, &last.out)
				told := map[string]bool{}
				for _, e := range last.out.Effects {
					if e.Action != engine.Renamed || told[e.Name] {
						t.Errorf("%+v", e)
					}
					told[e.Name] = true
				}
				if got := last.e.Memberships(c); !slices.Equal(got, want) {
					t.Errorf("%s, through the other change %v: in %v, want %v (%v, then %v)", id, through, got, want, names, more)
				}
				last.customers[id] = c
				last.out.Reset()
				again := last.under(last, id)
				last.x.Adopt(again, nil, toLast, &last.out)
				if len(last.out.Effects) > 0 || string(last.e.Append(nil, again)) != string(last.e.Append(nil, c)) {
					t.Errorf("%s: done again, it emits %+v (%v, then %v)", id, last.out.Effects, names, more)
				}
			}
		}
	})
}

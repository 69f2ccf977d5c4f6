package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// The engine emits what the oracle emits, call for call.
func TestEngineEqualsOracle(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		judge(t, rules, RandomHistory(r, rules.Spec, 20+r.IntN(80)), againstOracle)
	})
}

// Long lists are the case that the engine has shortcuts for.
func TestEngineEqualsOracleOverLongHistories(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		judge(t, rules, RandomHistory(r, rules.Spec, 500), againstOracle)
	})
}

// anyRules makes rules that files can hold, or others.
func anyRules(r *rand.Rand) Rules {
	if chance(r, 40) {
		return Rules{Spec: RandomSpec(r, world())}
	}
	return RandomRules(r, world())
}

// Writing a customer down and reading it back between any two calls changes
// nothing.
func TestStoringChangesNothing(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		judge(t, rules, RandomHistory(r, rules.Spec, 60), func(t testing.TB, s *plan.Spec, calls []Call) string {
			a, b := newSubject(t, s), newSubject(t, s)
			b.store = true
			return lockstep(a, b, calls)
		})
	})
}

// againstOracle runs calls on both and returns the first difference. After every
// call, instants must be the same, and memberships those that the events alone
// give at that instant.
func againstOracle(t testing.TB, s *plan.Spec, calls []Call) string {
	o, u := NewOracle(s, engine.Options{Zones: Zones}), newSubject(t, s)
	for i := range calls {
		if d := lockstep(o, u, calls[i:i+1]); d != "" {
			return fmt.Sprintf("%d: %s", i, d)
		}
		c := u.customers[calls[i].Customer]
		if c == nil {
			continue
		}
		if at := o.Instant(c.ID); c.Instant() != at {
			return fmt.Sprintf("%d: %s\ninstant %s, want %s", i, &calls[i], c.Instant(), at)
		}
		if got, want := u.e.Memberships(c), o.Members(c.ID, c.Instant()); !slices.Equal(got, want) {
			return fmt.Sprintf("%d: %s\nmember of %v, want %v", i, &calls[i], got, want)
		}
	}
	return ""
}

// lockstep makes every call on both sides and returns the first difference in
// what they emit, "" if there is none.
func lockstep(want, got runner, calls []Call) string {
	for i := range calls {
		w, accepted := want.Run(&calls[i])
		g, ok := run(got, &calls[i])
		d := compareEffects(w, g)
		if ok != accepted {
			d += fmt.Sprintf("accepted: %v, want %v\n", ok, accepted)
		}
		if d != "" {
			return fmt.Sprintf("call %d: %s\n%s", i, &calls[i], d)
		}
	}
	return ""
}

// run makes a call and turns a panic into an effect that equals none.
func run(r runner, c *Call) (l []engine.Effect, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			l = []engine.Effect{{Name: fmt.Sprint("panic: ", p)}}
		}
	}()
	return r.Run(c)
}

// property returns what is wrong with an engine for a rule set and calls, "" if
// nothing is.
type property func(t testing.TB, s *plan.Spec, calls []Call) string

// judge fails the test if a property does not hold, with the smallest rules and
// calls that it finds for which it does not.
func judge(t *testing.T, rules Rules, calls []Call, p property) {
	t.Helper()
	first := p(t, rules.Spec, calls)
	if first == "" {
		return
	}
	if p(t, rules.Spec, calls) == "" {
		t.Fatalf("fails now and then: %s", first)
	}
	start := time.Now() // long histories cost more to shrink than it is worth
	spec, calls := shrink(rules.Spec, calls, func(s *plan.Spec, c []Call) bool {
		return time.Since(start) < 20*time.Second && p(t, s, c) != ""
	})
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s", p(t, spec, calls), specText(spec))
	for i := range calls {
		fmt.Fprintf(&b, "%3d %s\n", i, &calls[i])
	}
	t.Fatal(b.String())
}

// shrink takes calls and rules away as long as they still fail.
func shrink(s *plan.Spec, calls []Call, fails func(*plan.Spec, []Call) bool) (*plan.Spec, []Call) {
	for size := len(calls) / 2; size > 0; {
		removed := false
		for i := 0; i+size <= len(calls); {
			fewer := slices.Concat(calls[:i], calls[i+size:])
			if fails(s, fewer) {
				calls, removed = fewer, true
			} else {
				i += size
			}
		}
		if !removed || size > len(calls) {
			size /= 2
		}
	}
	for again := true; again; {
		again = false
		for _, f := range fewerRules(s) {
			if fails(f, calls) {
				s, again = f, true
				break
			}
		}
	}
	return s, calls
}

// fewerRules returns copies of a rule set with one rule less, as far as no
// other rule reads it.
func fewerRules(s *plan.Spec) []*plan.Spec {
	var l []*plan.Spec
	add := func(change func(*plan.Spec)) {
		c := *s
		change(&c)
		if complete(&c) {
			l = append(l, &c)
		}
	}
	for i := range s.Segments {
		add(func(c *plan.Spec) { c.Segments = slices.Delete(slices.Clone(c.Segments), i, i+1) })
	}
	for i := range s.Lifecycles {
		add(func(c *plan.Spec) { c.Lifecycles = slices.Delete(slices.Clone(c.Lifecycles), i, i+1) })
		for k := range s.Lifecycles[i].Stages {
			add(func(c *plan.Spec) {
				c.Lifecycles = slices.Clone(c.Lifecycles)
				c.Lifecycles[i].Stages = slices.Delete(slices.Clone(c.Lifecycles[i].Stages), k, k+1)
			})
		}
	}
	for i := range s.Triggers {
		add(func(c *plan.Spec) { c.Triggers = slices.Delete(slices.Clone(c.Triggers), i, i+1) })
	}
	return l
}

// forgetUnread makes inputs that read memberships and that no rule reads any more
// into some other input, so that the segments can go.
func forgetUnread(s *plan.Spec) {
	read := map[int]bool{}
	for _, u := range unitsOf(s) {
		for _, ref := range u.inputs() {
			read[ref] = true
		}
		if u.trigger != nil {
			for _, f := range u.trigger.Fields {
				for _, ref := range inputsOf(f.Node) {
					read[ref] = true
				}
			}
		}
	}
	s.Inputs = slices.Clone(s.Inputs)
	for i := range s.Inputs {
		if in := &s.Inputs[i]; in.Kind == plan.InSegment && !read[i] {
			in.Kind, in.Segment, in.Channel, in.Purpose = plan.InConsent, "", "email", "marketing"
		}
	}
}

// complete reports whether a rule set has every segment that its rules read.
func complete(s *plan.Spec) (ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	units := unitsOf(s) // panics if something that another segment reads is not there
	forgetUnread(s)
	for i := range s.Inputs {
		in := &s.Inputs[i]
		has := func(u *unit) bool { return u.trigger == nil && slices.Contains(u.names, in.Segment) }
		if in.Kind == plan.InSegment && !slices.ContainsFunc(units, has) {
			return false
		}
	}
	return true
}

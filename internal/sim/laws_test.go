package sim

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// docs/semantics.md, 4.7: turning the clock in small steps or in one gives the same
// effects and the same bytes.
func TestStepsOfTheClockDoNotMatter(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		seed := r.Uint64()
		judge(t, rules, RandomHistory(r, rules.Spec, 60), func(t testing.TB, s *plan.Spec, calls []Call) string {
			r := rand.New(rand.NewPCG(seed, 1))
			large, small := newSubject(t, s), newSubject(t, s)
			clock := map[string]Millis{}
			for i := range calls {
				c := &calls[i]
				want, _ := large.Run(c)
				var got []engine.Effect
				if last, ok := clock[c.Customer]; ok && c.Do == DoAdvance {
					for _, at := range between(r, last, c.Clock) {
						l, _ := small.Run(&Call{Do: DoAdvance, Customer: c.Customer, Clock: at})
						got = append(got, l...)
					}
				}
				clock[c.Customer] = c.Clock
				l, _ := small.Run(c)
				if d := compareEffects(want, append(got, l...)); d != "" {
					return fmt.Sprintf("call %d: %s\n%s", i, c, d)
				}
				if !bytes.Equal(large.bytes(c.Customer), small.bytes(c.Customer)) {
					return fmt.Sprintf("call %d: %s\nbytes differ", i, c)
				}
			}
			return ""
		})
	})
}

// between returns a few instants after one and before another, in order.
func between(r *rand.Rand, from, to Millis) []Millis {
	var l []Millis
	for range r.IntN(5) {
		if to-from > 1 {
			l = append(l, from+Millis(r.Int64N(int64(to-from))))
		}
	}
	slices.Sort(l)
	return l
}

// bytes returns a customer as it is stored, nil for one not known.
func (u *underTest) bytes(id string) []byte {
	c := u.customers[id]
	if c == nil {
		return nil
	}
	return u.e.Append(nil, c)
}

// docs/semantics.md, 5.2 and 5.3: no call before the wake-up emits anything, and the
// wake-up is at the head of the bytes.
func TestWakeIsNeverLate(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		judge(t, rules, RandomHistory(r, rules.Spec, 60), func(t testing.TB, s *plan.Spec, calls []Call) string {
			u := newSubject(t, s)
			o := NewOracle(s, engine.Options{Zones: Zones})
			for i := range calls {
				c := &calls[i]
				u.Run(c)
				o.Run(c)
				b := u.bytes(c.Customer)
				if b == nil {
					continue
				}
				wake := u.customers[c.Customer].Wake()
				if at, err := engine.WakeOf(b); err != nil || at != wake {
					return fmt.Sprintf("call %d: wake-up in bytes %s, want %s (%v)", i, at, wake, err)
				}
				if next := o.nextChange(c.Customer, c.Clock+200*Day); next < wake {
					return fmt.Sprintf("call %d: %s\nwake-up at %s, but something changes at %s", i, c, wake, next)
				}
			}
			return ""
		})
	})
}

// nextChange returns the first instant after the customer's own at which time
// alone makes the oracle emit something, Never if there is none up to an instant.
func (o *Oracle) nextChange(customer string, to Millis) Millis {
	if l := o.fire(o.person(customer).clone(), to, nil); len(l) > 0 {
		return l[0].At
	}
	return engine.Never
}

// docs/semantics.md, 1.2: facts do not depend on the order in which events are
// folded, nor on whether they are folded in one place or in two that are merged, nor,
// within the horizon, on how often and when copies of them come (1.9, 1.10).
func TestFactsCommute(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		seed := r.Uint64()
		judge(t, rules, RandomHistory(r, rules.Spec, 80), func(t testing.TB, s *plan.Spec, calls []Call) string {
			r := rand.New(rand.NewPCG(seed, 1))
			opt, most := engine.Options{Zones: Zones}, 1
			if chance(r, 50) {
				most = 3
				for s := range opt.Dedup {
					opt.Dedup[s] = 10_000 * Day
				}
			}
			u := newSubjectThat(t, s, opt)
			events, at := eventsOf(u, calls)
			copies := copiesOf(r, events, most)
			want := u.facts(copies, at)
			r.Shuffle(len(copies), func(i, j int) { copies[i], copies[j] = copies[j], copies[i] })
			if !bytes.Equal(want, u.facts(copies, at)) {
				return "shuffled: other bytes"
			}
			cut := r.IntN(len(events) + 1)
			a, b := u.folded(sameAs(copies, events[:cut])), u.folded(sameAs(copies, events[cut:]))
			u.x.Merge(a, b, at, &u.out)
			if !bytes.Equal(want, u.e.AppendFacts(nil, a, at)) {
				return "merged: other bytes"
			}
			return ""
		})
	})
}

// copiesOf returns each of events up to so many times, as records of different times.
func copiesOf(r *rand.Rand, events []*engine.Event, most int) (l []*engine.Event) {
	for _, ev := range events {
		for range 1 + r.IntN(most) {
			c := *ev
			if c.Lag = 0; chance(r, 60) {
				c.Lag = Millis(r.IntN(int(pick(r, Second, Hour, 50*Day))))
			}
			if l = append(l, &c); ev.Stream >= plan.NumBuiltin {
				break // its horizon is a day, whatever the options
			}
		}
	}
	return l
}

// sameAs returns the copies of some events, in their order.
func sameAs(copies, events []*engine.Event) (l []*engine.Event) {
	for _, c := range copies {
		if slices.ContainsFunc(events, func(ev *engine.Event) bool {
			return ev.Stream == c.Stream && ev.Source == c.Source && ev.ID == c.ID
		}) {
			l = append(l, c)
		}
	}
	return l
}

// eventsOf returns the different events of calls as those of one customer, and
// the latest instant that any of them speaks of.
func eventsOf(u *underTest, calls []Call) (l []*engine.Event, at Millis) {
	var seen []Record
	for i := range calls {
		r := calls[i].Record
		at = max(at, calls[i].Clock, r.At)
		if calls[i].Do == DoApply && !slices.ContainsFunc(seen, func(o Record) bool { return o.same(&r) }) {
			seen = append(seen, r)
			r.Customer = "c1"
			l = append(l, r.Event(u.e.Layout(r.Stream)))
		}
	}
	return l, at
}

func (u *underTest) folded(events []*engine.Event) *engine.Customer {
	c := u.e.NewCustomer("c1")
	for _, ev := range events {
		u.x.FoldFacts(c, ev, &u.out)
	}
	return c
}

func (u *underTest) facts(events []*engine.Event, at Millis) []byte {
	return u.e.AppendFacts(nil, u.folded(events), at)
}

// docs/semantics.md, 4.22 and 4.23: an outage changes nothing. The same events give
// the same effects when each is read as it comes and when all are read afterwards.
func TestOutageChangesNothing(t *testing.T) {
	const grace = 2 * Second
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := anyRules(r)
		calls := RandomHistory(r, rules.Spec, 60)
		seed := r.Uint64()
		judge(t, rules, calls, func(t testing.TB, s *plan.Spec, calls []Call) string {
			l, end := inTime(calls, grace)
			for _, pair := range [][2]runner{
				{NewOracle(s, engine.Options{Zones: Zones}), NewOracle(s, engine.Options{Zones: Zones})},
				{newSubject(t, s), newSubject(t, s)},
			} {
				live := runAll(pair[0], liveCalls(rand.New(rand.NewPCG(seed, 1)), l, grace, end))
				later := runAll(pair[1], laterCalls(l, grace, end))
				if d := cmp.Diff(live, later, cmpopts.EquateEmpty()); d != "" {
					return fmt.Sprintf("%T (-live +after an outage)\n%s", pair[0], d)
				}
			}
			return ""
		})
	})
}

// inTime returns the events of calls as one customer's, in order of time, without
// those that come too soon after one of another stream.
func inTime(calls []Call, grace Millis) (l []Record, end Millis) {
	for i := range calls {
		end = max(end, calls[i].Clock, calls[i].Record.At)
		if r := calls[i].Record; calls[i].Do == DoApply {
			r.Customer = "c1"
			l = append(l, r)
		}
	}
	slices.SortStableFunc(l, func(a, b Record) int { return int(a.At - b.At) })
	var kept []Record
	for _, r := range l {
		if k := len(kept); k > 0 && kept[k-1].Stream != r.Stream && r.At-kept[k-1].At <= grace {
			continue
		}
		kept = append(kept, r)
	}
	return kept, end + grace
}

// liveCalls reads each event a little after its time; the clock follows the wall
// at a distance of grace and moves in between, too.
func liveCalls(r *rand.Rand, l []Record, grace, end Millis) []Call {
	var calls []Call
	wall := Millis(0)
	for i := range l {
		arrival := max(wall, l[i].At+Millis(r.Int64N(int64(grace)+1)))
		if i > 0 {
			for _, at := range between(r, wall, arrival) {
				calls = append(calls, Call{Do: DoAdvance, Customer: "c1", Clock: at - grace})
			}
		}
		wall = arrival
		calls = append(calls,
			Call{Do: DoAdvance, Customer: "c1", Clock: wall - grace},
			Call{Do: DoApply, Customer: "c1", Clock: wall - grace, Record: l[i]})
	}
	return append(calls, Call{Do: DoAdvance, Customer: "c1", Clock: end})
}

// laterCalls reads all events at once; the clock follows their times.
func laterCalls(l []Record, grace, end Millis) []Call {
	var calls []Call
	clock := Millis(0)
	for i := range l {
		calls = append(calls, Call{Do: DoApply, Customer: "c1", Clock: clock, Record: l[i]})
		clock = max(clock, l[i].At-grace)
		calls = append(calls, Call{Do: DoAdvance, Customer: "c1", Clock: clock})
	}
	return append(calls, Call{Do: DoAdvance, Customer: "c1", Clock: end})
}

// runAll makes all calls and returns what is emitted, without what a comparison
// must leave out.
func runAll(side runner, calls []Call) []engine.Effect {
	var all []engine.Effect
	for i := range calls {
		l, _ := run(side, &calls[i])
		all = append(all, l...)
	}
	return all
}

package backtest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/history"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/internal/sim"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// naive is a rule set under the oracle, which keeps all that it emitted.
type naive struct {
	oracle  *sim.Oracle
	people  map[string]engine.Millis // with the instant since when they are known
	effects []engine.Effect
	clock   engine.Millis
	latest  engine.Millis
}

func (n *naive) feed(rec sim.Record, grace engine.Millis) {
	if len(n.people) == 0 {
		n.clock, n.latest = rec.At-grace, rec.At
	}
	if _, known := n.people[rec.Customer]; !known {
		n.people[rec.Customer] = max(rec.At, n.clock)
	}
	out, _ := n.oracle.Apply(rec, n.clock)
	n.effects = append(n.effects, out...)
	n.latest = max(n.latest, rec.At)
	n.turn(n.latest - grace)
}

func (n *naive) turn(to engine.Millis) {
	n.clock = max(n.clock, to)
	for id := range n.people {
		n.effects = append(n.effects, n.oracle.Advance(id, n.clock)...)
	}
}

// label is the beginning of the period of an instant, as reports write it.
func label(at engine.Millis, every string, zone *time.Location) string {
	t := at.Time().In(zone)
	switch every {
	case "hour":
		return t.Format("2006-01-02T15:00")
	case "week":
		day := time.Date(t.Year(), t.Month(), t.Day(), 12, 0, 0, 0, time.UTC)
		for day.Weekday() != time.Monday {
			day = day.AddDate(0, 0, -1)
		}
		return day.Format(time.DateOnly)
	}
	return t.Format(time.DateOnly)
}

// members returns who is in a segment at the end of a period.
func (n *naive) members(segment, period string, f *Frame, zone *time.Location) map[string]bool {
	in := map[string]bool{}
	for i := range n.effects {
		e := &n.effects[i]
		if e.Action == engine.Fired || e.Name != segment || label(e.At, f.Every, zone) > period {
			continue
		}
		if e.Action == engine.Entered {
			in[e.Customer] = true
		} else {
			delete(in, e.Customer)
		}
	}
	return in
}

// count counts effects of a kind in a period.
func (n *naive) count(action engine.Action, name, period string, f *Frame, zone *time.Location) (c int) {
	for i := range n.effects {
		if e := &n.effects[i]; e.Action == action && e.Name == name && label(e.At, f.Every, zone) == period {
			c++
		}
	}
	return c
}

// subject is a random rule set as it is tested, and the same under the oracle.
type subject struct {
	Rules
	naive
	spec *plan.Spec
}

func newSubject(t *testing.T, r *rand.Rand) *subject {
	t.Helper()
	for {
		rules := sim.RandomRules(r, sim.World{Catalog: schemas.Catalog(), Kinds: triggers.Kinds()})
		p, err := plan.Compile(rules.Spec, sim.Zones)
		if err != nil {
			continue // two texts share a hash
		}
		e, err := engine.New(p, triggers.New(p), engine.Options{Zones: sim.Zones})
		if err != nil {
			t.Fatal(err)
		}
		return &subject{
			Rules: Rules{Engine: e}, spec: rules.Spec,
			naive: naive{oracle: sim.NewOracle(rules.Spec, engine.Options{Zones: sim.Zones}), people: map[string]engine.Millis{}},
		}
	}
}

// records are random records for a rule set, of streams that every rule set has.
func records(t *testing.T, r *rand.Rand, s *subject) (l []sim.Record) {
	t.Helper()
	for _, c := range sim.RandomHistory(r, s.spec, 60+r.IntN(100)) {
		if c.Do == sim.DoApply && c.Record.Stream < plan.NumBuiltin {
			c.Record.Customer += fmt.Sprint(r.IntN(8))
			l = append(l, c.Record)
		}
	}
	if len(l) == 0 {
		t.Skip("no events")
	}
	return l
}

// play feeds records to a run and to the oracle.
func play(r *rand.Rand, records []sim.Record, run *run, subjects ...*subject) {
	for _, rec := range records {
		line := &history.Line{}
		for _, s := range subjects {
			ev := rec.Event(s.Engine.Layout(rec.Stream))
			line.Read = append(line.Read, replay.Decoded{Events: []engine.Event{*ev}})
			s.feed(rec, run.opt.Grace)
		}
		if run.add(line); len(run.batch) == batchLines || r.IntN(20) == 0 {
			run.take()
		}
	}
	run.take()
	run.finish()
	for _, s := range subjects {
		s.turn(run.end())
	}
}

// options are random ones. Where a report does not begin at the first event, it begins
// with a day.
func options(r *rand.Rand, records []sim.Record) Options {
	zone, _ := sim.Zones([]string{"UTC", "Europe/Paris", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"}[r.IntN(5)])
	opt := Options{
		Every: Every(r.IntN(4)), Zone: zone, From: math.MinInt64, Until: engine.Never, Latest: math.MaxInt64, Grace: 2000,
		Bad: func(*history.Line, error) {},
	}
	if r.IntN(3) == 0 {
		at := records[r.IntN(len(records))].At
		opt.Zone, opt.Every, opt.From = time.UTC, Day, at-at%sim.Day
	}
	return opt
}

// The numbers of a report are those that are counted one by one of what the oracle says.
func TestBacktestEqualsOracle(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 30) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			s := newSubject(t, r)
			all := records(t, r, s)
			opt := options(r, all)
			run := newRun(opt, s.Rules)
			play(r, all, run, s)
			b := report(run, s.Rules)
			checkPeriods(t, &b.Frame, &s.naive, run)
			for i := range b.Segments {
				checkSizes(t, &b.Frame, &s.naive, opt.Zone, b.Segments[i].ID, &b.Segments[i].Sizes)
			}
			for i, p := range b.Periods {
				for _, x := range b.Triggers {
					if want := s.count(engine.Fired, x.ID, p, &b.Frame, opt.Zone); x.OverTime.Fired[i] != want {
						t.Errorf("trigger %s, %s: fired %d, want %d", x.ID, p, x.OverTime.Fired[i], want)
					}
				}
				known := 0
				for _, since := range s.people {
					if label(since, b.Every, opt.Zone) <= p {
						known++
					}
				}
				if b.CustomersOverTime[i] != known {
					t.Errorf("%s: %d customers, want %d", p, b.CustomersOverTime[i], known)
				}
			}
			if b.Customers != len(s.people) {
				t.Errorf("%d customers, want %d", b.Customers, len(s.people))
			}
		})
	}
}

// checkPeriods: the periods follow one another, and everything is in one of them.
func checkPeriods(t *testing.T, f *Frame, n *naive, r *run) {
	t.Helper()
	if !slices.IsSorted(f.Periods) || len(slices.Compact(slices.Clone(f.Periods))) != len(f.Periods) {
		t.Fatalf("periods %v", f.Periods)
	}
	if last := label(r.end(), f.Every, r.opt.Zone); f.Periods[len(f.Periods)-1] < last {
		t.Errorf("the last period is %s, want %s", f.Periods[len(f.Periods)-1], last)
	}
	for i := range n.effects {
		if p := label(n.effects[i].At, f.Every, r.opt.Zone); n.effects[i].At >= r.opt.From && !slices.Contains(f.Periods, p) {
			t.Errorf("no period %s, of %v", p, n.effects[i].At)
		}
	}
}

func checkSizes(t *testing.T, f *Frame, n *naive, zone *time.Location, id string, s *Sizes) {
	t.Helper()
	for i, p := range f.Periods {
		got := [3]int{s.OverTime.Size[i], s.OverTime.Entered[i], s.OverTime.Exited[i]}
		want := [3]int{len(n.members(id, p, f, zone)), n.count(engine.Entered, id, p, f, zone), n.count(engine.Exited, id, p, f, zone)}
		if got != want {
			t.Errorf("%s, %s: size, entered, exited are %d, want %d", id, p, got, want)
		}
	}
	if last := s.OverTime.Size[len(f.Periods)-1]; s.Size != last {
		t.Errorf("%s: size %d, want %d", id, s.Size, last)
	}
}

// The differences of two random rule sets are those that are counted one by one.
func TestDiffEqualsOracle(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 30) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 0))
			before, after := newSubject(t, r), newSubject(t, r)
			if r.IntN(4) == 0 {
				again := rand.New(rand.NewPCG(seed, 0))
				before, after = newSubject(t, again), newSubject(t, rand.New(rand.NewPCG(seed, 0)))
			}
			all := records(t, r, before)
			opt := options(r, all)
			run := newRun(opt, before.Rules, after.Rules)
			run.both = newComparison(run)
			play(r, all, run, before, after)
			d := diffOf(run)
			for i := range d.Segments {
				s := &d.Segments[i]
				if s.Old != nil {
					checkSizes(t, &d.Frame, &before.naive, opt.Zone, s.ID, s.Old)
				}
				if s.New != nil {
					checkSizes(t, &d.Frame, &after.naive, opt.Zone, s.ID, s.New)
				}
				checkDifference(t, d, s, pair{before, after, &opt})
			}
			checkFirings(t, d, pair{before, after, &opt})
		})
	}
}

// pair is two rule sets and how they were compared.
type pair struct {
	before, after *subject
	opt           *Options
}

func checkDifference(t *testing.T, d *Diff, s *SegmentDiff, x pair) {
	t.Helper()
	f := &d.Frame
	for i, p := range f.Periods {
		old, fresh := x.before.members(s.ID, p, f, x.opt.Zone), x.after.members(s.ID, p, f, x.opt.Zone)
		var onlyOld, onlyNew, both int
		for c := range old {
			if fresh[c] {
				both++
			} else {
				onlyOld++
			}
		}
		onlyNew = len(fresh) - both
		if got, want := [2]int{s.OverTime.OnlyOld[i], s.OverTime.OnlyNew[i]}, [2]int{onlyOld, onlyNew}; got != want {
			t.Errorf("%s, %s: only old and only new are %d, want %d", s.ID, p, got, want)
		}
		if got, want := [3]int{s.Both, s.OnlyOld, s.OnlyNew}, [3]int{both, onlyOld, onlyNew}; i == len(f.Periods)-1 && got != want {
			t.Errorf("%s at the end: both, only old, only new are %d, want %d", s.ID, got, want)
		}
	}
	ever := everDifferent(s.ID, x)
	if s.Ever != len(ever) {
		t.Errorf("%s: %d were ever different, want %v", s.ID, s.Ever, ever)
	}
	if want := min(len(ever), mostExamples); s.OnlyOld+s.OnlyNew == 0 && len(s.Examples) != want {
		t.Errorf("%s: %d examples, want %d", s.ID, len(s.Examples), want)
	}
	for _, e := range s.Examples {
		if !slices.ContainsFunc(ever[e.Customer], func(d difference) bool { return d.in == e.In && d.since == e.Since && cmp.Equal(d.until, e.Until) }) {
			t.Errorf("%s: the example %+v is none of %+v", s.ID, e, ever[e.Customer])
		}
	}
}

// difference is a time in which a customer was in one and not in the other.
type difference struct {
	in, since string
	until     *string
}

// everDifferent returns who was in one of the two alone for some time of the report.
func everDifferent(segment string, x pair) map[string][]difference {
	type moved struct {
		at  engine.Millis
		new bool
		in  bool
	}
	all := map[string][]moved{}
	for side, l := range [][]engine.Effect{x.before.effects, x.after.effects} {
		for i := range l {
			if e := &l[i]; e.Action != engine.Fired && e.Name == segment {
				all[e.Customer] = append(all[e.Customer], moved{e.At, side == 1, e.Action == engine.Entered})
			}
		}
	}
	found := map[string][]difference{}
	for customer, l := range all {
		slices.SortStableFunc(l, func(a, b moved) int { return int(a.at - b.at) })
		var inOld, inNew bool
		for i, m := range l {
			if m.new {
				inNew = m.in
			} else {
				inOld = m.in
			}
			if i+1 < len(l) && l[i+1].at == m.at || inOld == inNew {
				continue
			}
			d := difference{in: "old", since: m.at.String()}
			if inNew {
				d.in = "new"
			}
			if i+1 < len(l) {
				until := l[i+1].at.String()
				if d.until = &until; l[i+1].at <= x.opt.From {
					continue
				}
			}
			found[customer] = append(found[customer], d)
		}
	}
	return found
}

func checkFirings(t *testing.T, d *Diff, both pair) {
	t.Helper()
	type firing struct {
		customer string
		due      engine.Millis
	}
	of := func(n *naive, id string) map[firing]int {
		m := map[firing]int{}
		for i := range n.effects {
			if e := &n.effects[i]; e.Action == engine.Fired && e.Name == id && e.At >= both.opt.From {
				m[firing{e.Customer, e.Due}]++
			}
		}
		return m
	}
	for _, x := range d.Triggers {
		old, fresh := of(&both.before.naive, x.ID), of(&both.after.naive, x.ID)
		var want [3]int
		for f, n := range old {
			want[0] += min(n, fresh[f])
			want[1] += max(0, n-fresh[f])
		}
		for f, n := range fresh {
			want[2] += max(0, n-old[f])
		}
		if got := [3]int{x.Both, x.OnlyOld, x.OnlyNew}; got != want {
			t.Errorf("trigger %s: both, only old, only new are %d, want %d", x.ID, got, want)
		}
	}
}

// A rule set against itself has no difference.
func TestSameRules(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 20) {
		one, two := newSubject(t, rand.New(rand.NewPCG(seed, 0))), newSubject(t, rand.New(rand.NewPCG(seed, 0)))
		r := rand.New(rand.NewPCG(seed, 1))
		all := records(t, r, one)
		run := newRun(options(r, all), one.Rules, two.Rules)
		run.both = newComparison(run)
		play(r, all, run, one, two)
		d := diffOf(run)
		if i := slices.IndexFunc(d.Triggers, func(x TriggerDiff) bool { return x.Change != Unchanged }); i >= 0 || len(d.Reading) > 0 {
			t.Errorf("seed %d: %+v", seed, d)
		}
		for i := range d.Segments {
			s := &d.Segments[i]
			if diff := cmp.Diff(s.Old, s.New, cmpopts.EquateEmpty()); diff != "" || s.Change != Unchanged || s.Ever > 0 || len(s.Examples) > 0 {
				t.Errorf("seed %d: %s", seed, diff)
			}
		}
	}
}

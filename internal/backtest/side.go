package backtest

import (
	"slices"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/replay"
)

// side is a rule set on its way through a history. Up to took, it is one goroutine's.
type side struct {
	number int // among the sides
	rules  Rules
	// renames are the ids that rules have in reports, where those are others.
	renames ruleset.Renames
	runner  replay.Runner
	opt     *Options
	known   int // customers so far
	read    Input
	now     *taken
	took    []taken // what came of the lines of a batch

	line      *timeline
	customers *tally
	segments  named
	triggers  named
}

// taken is what came of a line.
type taken struct {
	effects []engine.Effect
	came    []engine.Millis // since when customers are known who were not
	bad     []error
}

// named are tallies by id.
type named struct {
	ids  []string // sorted
	byID map[string]*tally
}

func (n *named) add(id string, l *timeline) {
	n.ids = append(n.ids, id)
	n.byID[id] = l.tally()
}

func newSide(number int, rules Rules, r *run) *side {
	s := &side{
		number: number, rules: rules, opt: &r.opt, line: r.line, customers: r.line.tally(),
		segments: named{byID: map[string]*tally{}}, triggers: named{byID: map[string]*tally{}},
	}
	s.runner = replay.Runner{Engine: rules.Engine, Grace: r.opt.Grace, Emit: s.emit}
	return s
}

// begin makes room for what the rules emit.
func (s *side) begin() {
	p := s.rules.Engine.Plan()
	for i := range p.Segments {
		s.segments.add(s.called(p.Segments[i].ID), s.line)
	}
	for i := range p.Triggers {
		s.triggers.add(s.calledTrigger(p.Triggers[i].ID), s.line)
	}
	slices.Sort(s.segments.ids)
}

// called returns the id that a segment or stage has in reports.
func (s *side) called(id string) string {
	if other, ok := s.renames[id]; ok {
		return other
	}
	return id
}

// calledTrigger returns the id that a trigger has in reports.
func (s *side) calledTrigger(id string) string {
	return strings.TrimPrefix(s.called(triggerName(id)), triggerName(""))
}

// maxKept is for how many effects of a line there is room that is kept for a later one: when
// the clock leaps, very many timers are due at once.
const maxKept = 1024

// take takes the lines of a batch.
func (s *side) take(batch []step) {
	for len(s.took) < len(batch) {
		s.took = append(s.took, taken{})
	}
	for i := range batch {
		t := &s.took[i]
		if cap(t.effects) > maxKept {
			t.effects = nil
		}
		*t = taken{t.effects[:0], t.came[:0], nil}
		s.now = t
		d := &batch[i].Read[s.number]
		t.bad = append(t.bad, d.Refused...)
		s.read.NoEvents += d.NoEvents
		for k := range d.Events {
			s.event(&d.Events[k])
		}
		s.read.Bad += len(t.bad)
		s.runner.Turn(batch[i].clock)
	}
}

// turn turns the clock, into the last of what was taken.
func (s *side) turn(to engine.Millis) {
	s.now = &s.took[len(s.took)-1]
	s.runner.Turn(to)
}

func (s *side) event(ev *engine.Event) {
	switch {
	case ev.At > s.opt.Latest:
		s.now.bad = append(s.now.bad, replay.TooLate(ev, s.opt.Latest))
		return
	case ev.At > s.opt.Until:
		s.read.Skipped++
		return
	}
	clock, begun := s.runner.Clock()
	if !s.runner.Feed(ev) {
		s.read.Duplicates++
		return
	}
	s.read.Events++
	if begun && ev.At < clock {
		s.read.Late++
	}
	if n := s.runner.Customers(); n > s.known {
		s.known = n
		at := ev.At
		if begun {
			at = max(at, clock)
		}
		s.now.came = append(s.now.came, at)
	}
}

// emit keeps effects.
func (s *side) emit(effects []engine.Effect) {
	n := len(s.now.effects)
	s.now.effects = append(s.now.effects, effects...)
	if len(s.renames) == 0 {
		return
	}
	for i := range s.now.effects[n:] {
		e := &s.now.effects[n+i]
		if e.Action == engine.Fired {
			e.Name = s.calledTrigger(e.Name)
		} else {
			e.Name, e.From = s.called(e.Name), s.called(e.From)
		}
	}
}

// count counts what came of a line.
func (s *side) count(t *taken) {
	for _, at := range t.came {
		s.line.add(s.customers, at, 1, 0)
	}
	for i := range t.effects {
		switch e := &t.effects[i]; e.Action {
		case engine.Entered:
			s.line.add(s.segments.byID[e.Name], e.At, 1, 0)
		case engine.Exited:
			s.line.add(s.segments.byID[e.Name], e.At, 0, 1)
		case engine.Fired:
			s.line.add(s.triggers.byID[e.Name], e.At, 1, 0)
		default: // erasures are in no file
		}
	}
}

// input is what was read.
func (s *side) input(r *run) Input {
	in := s.read
	in.Rules, in.Lines, in.Customers = s.rules.Paths, r.lines, s.known
	in.CustomersOverTime = r.line.series(s.customers).Size
	return in
}

// sizes are those of a segment or stage, nil if the rule set has none of that id.
func (s *side) sizes(r *run, id string) *Sizes {
	t := s.segments.byID[id]
	if t == nil {
		return nil
	}
	x := r.line.series(t)
	size := t.before + x.up - x.down
	return &Sizes{
		Before: t.before, Size: size, Share: share(size, s.known), Entered: x.up, Exited: x.down,
		OverTime: SizesOverTime{Size: x.Size, Entered: x.Up, Exited: x.Down},
	}
}

// firings are those of a trigger, nil if the rule set has none of that id.
func (s *side) firings(r *run, id string) *Firings {
	t := s.triggers.byID[id]
	if t == nil {
		return nil
	}
	x := r.line.series(t)
	return &Firings{Fired: x.up, OverTime: FiringsOverTime{Fired: x.Up}}
}

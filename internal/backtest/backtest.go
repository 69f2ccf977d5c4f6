// Package backtest says what rules would have done over a history of events: sizes of
// segments, entries, exits and firings, by period; of one rule set, or of two and where
// they differ. All of it is counted from what the engine emits, each effect in the period
// of its own instant, so that no number depends on how far the clock moved in a step.
package backtest

import (
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/history"
)

// Rules is a rule set.
type Rules struct {
	Paths  []string // for the report
	Engine *engine.Engine
}

// Options are what a run goes by.
type Options struct {
	Every Every
	Zone  *time.Location // in which periods begin
	// From is where the first period begins: what was before it counts in sizes alone. A
	// very early instant: at the first event.
	From engine.Millis
	// Until skips later events, and is what the clock is turned to at the end. Never: the
	// clock is turned to the greatest event time.
	Until engine.Millis
	// Latest is the greatest event time that is believed; later events are bad.
	Latest engine.Millis
	// Grace is how far the clock stays behind the greatest event time, in ms.
	Grace engine.Millis
	// NoExamples leaves out customers by name.
	NoExamples bool
	// OnPanic is deferred in the goroutine of each side; nil: nothing is.
	OnPanic func()
	// Bad is called with everything that is no event and should be one.
	Bad func(line *history.Line, err error)
	// Progress is called after every line; nil if nobody looks.
	Progress func(lines int)
}

// Run runs a rule set over a history that is read under it.
func Run(h *history.History, rules Rules, opt Options) (*Backtest, error) {
	r := newRun(opt, rules)
	if err := r.all(h); err != nil {
		return nil, err
	}
	return report(r, rules), nil
}

// report is what a run of one rule set comes to.
func report(r *run, rules Rules) *Backtest {
	s := r.sides[0]
	b := &Backtest{Frame: r.frame(), Input: s.input(r), Segments: []Segment{}, Triggers: []Trigger{}}
	expected := expectedSizes(rules.Engine)
	for _, id := range s.segments.ids {
		b.Segments = append(b.Segments, Segment{ID: id, Lifecycle: lifecycleOf(id), Expected: expected[id], Sizes: *s.sizes(r, id)})
	}
	p := rules.Engine.Plan()
	for i := range p.Triggers {
		b.Triggers = append(b.Triggers, Trigger{ID: p.Triggers[i].ID, Kind: p.Triggers[i].Kind.Name, Firings: *s.firings(r, p.Triggers[i].ID)})
	}
	return b
}

// expectedSizes are the texts of expected_size, by segment.
func expectedSizes(e *engine.Engine) map[string]string {
	m := map[string]string{}
	for _, s := range e.Plan().Spec.Segments {
		m[s.ID] = s.Meta.ExpectedSize
	}
	return m
}

// lifecycleOf returns the lifecycle of a stage by its id, "" of a segment.
func lifecycleOf(id string) string {
	if lifecycle, _, stage := strings.Cut(id, "/"); stage {
		return lifecycle
	}
	return ""
}

// run is one pass over a history.
type run struct {
	opt   Options
	line  *timeline
	sides []*side
	both  *comparison // nil: there is one side

	batch  []step
	lines  int
	latest engine.Millis // the greatest event time that is believed
}

// step is a line on its way, and where the clocks are turned to behind it: on all sides to
// the same instant, so that each has done all up to it.
type step struct {
	history.Line
	clock engine.Millis
}

// batchLines is how many lines the sides take at a time, each side in its own goroutine.
const batchLines = 256

func newRun(opt Options, rules ...Rules) *run {
	r := &run{opt: opt, line: newTimeline(opt.Every, opt.Zone, opt.From), latest: -engine.Never}
	for i, set := range rules {
		s := newSide(i, set, r)
		if i+1 < len(rules) { // reports go by the ids of the last one
			s.renames = ruleset.RenamesTo(rules[i+1].Engine.Plan(), set.Engine.Versions(), set.Engine.Versions())
		}
		s.begin()
		r.sides = append(r.sides, s)
	}
	return r
}

// all reads a history to its end and turns the clock.
func (r *run) all(h *history.History) error {
	for {
		line, err := h.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		r.add(line)
		if len(r.batch) == batchLines {
			r.take()
		}
		if r.opt.Progress != nil {
			r.opt.Progress(r.lines)
		}
	}
	r.take()
	r.finish()
	return nil
}

// add puts a line into the batch. Its memory goes to the batch, and that of an earlier one
// in its place.
func (r *run) add(line *history.Line) {
	r.lines++
	for i := range line.Read {
		for k := range line.Read[i].Events {
			if at := line.Read[i].Events[k].At; at <= r.opt.Latest && at <= r.opt.Until {
				r.latest = max(r.latest, at)
			}
		}
	}
	n := len(r.batch)
	if n == cap(r.batch) {
		r.batch = slices.Grow(r.batch, batchLines)
	}
	r.batch = r.batch[:n+1]
	s := &r.batch[n]
	read := s.Read
	s.Line, s.clock = *line, r.latest
	line.Read = read
	if r.latest != -engine.Never {
		s.clock -= r.opt.Grace
	}
}

// take takes the batch on all sides at once, and then counts what came of each line.
func (r *run) take() {
	var others sync.WaitGroup
	last := len(r.sides) - 1
	for _, s := range r.sides[:last] {
		others.Go(func() {
			if r.opt.OnPanic != nil {
				defer r.opt.OnPanic()
			}
			s.take(r.batch)
		})
	}
	r.sides[last].take(r.batch)
	others.Wait()
	for i := range r.batch {
		r.say(i)
		r.count(i, r.batch[i].clock)
	}
	r.batch = r.batch[:0]
}

// finish turns the clocks to the end.
func (r *run) finish() {
	if r.latest == -engine.Never {
		return
	}
	end := r.end()
	for _, s := range r.sides {
		s.took = append(s.took[:0], taken{})
		s.turn(end)
	}
	r.count(0, end)
	r.line.reach(end)
}

// end is where the clock is turned to.
func (r *run) end() engine.Millis {
	if r.opt.Until != engine.Never {
		return r.opt.Until
	}
	return r.latest
}

// say says once what is wrong with a line of the batch.
func (r *run) say(line int) {
	var said []string
	for i, s := range slices.Backward(r.sides) {
		for _, err := range s.took[line].bad {
			text := err.Error()
			if slices.Contains(said, text) {
				continue
			}
			said = append(said, text)
			if i < len(r.sides)-1 {
				err = &underOld{err}
			}
			r.opt.Bad(&r.batch[line].Line, err)
		}
	}
}

// underOld is what is wrong with a line under the old rules alone.
type underOld struct{ error }

// Error returns the text.
func (e *underOld) Error() string { return "under the old rules: " + e.error.Error() }

// Unwrap returns the error inside.
func (e *underOld) Unwrap() error { return e.error }

// count counts what came of a line of the batch, and compares it.
func (r *run) count(line int, clock engine.Millis) {
	for _, s := range r.sides {
		s.count(&s.took[line])
	}
	if r.both != nil {
		r.both.take(r.sides[0].took[line].effects, r.sides[1].took[line].effects, clock)
	}
}

func (r *run) frame() Frame {
	f := Frame{Every: r.line.every.String(), Timezone: r.opt.Zone.String(), Periods: r.line.labels()}
	if r.latest != -engine.Never {
		until := r.end().String()
		f.Until = &until
	}
	return f
}

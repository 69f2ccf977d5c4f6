package backtest

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/internal/history"
)

// Compare runs two rule sets over a history that is read under both, the old one first.
func Compare(h *history.History, before, after Rules, opt Options) (*Diff, error) {
	r := newRun(opt, before, after)
	r.both = newComparison(r)
	if err := r.all(h); err != nil {
		return nil, err
	}
	return diffOf(r), nil
}

// diffOf is what a run of two rule sets comes to.
func diffOf(r *run) *Diff {
	d := &Diff{Frame: r.frame(), Old: r.sides[0].input(r), New: r.sides[1].input(r), Segments: []SegmentDiff{}, Triggers: []TriggerDiff{}}
	d.Reading = readingChanges(r.sides[0].rules.Engine.Versions(), r.sides[1].rules.Engine.Versions())
	x := newDiffer(r)
	for i := range r.both.segments {
		d.Segments = append(d.Segments, x.segment(i))
	}
	for _, id := range slices.Sorted(maps.Keys(r.both.triggers)) {
		d.Triggers = append(d.Triggers, x.trigger(id))
	}
	slices.SortStableFunc(d.Segments, func(a, b SegmentDiff) int { return byChange(a.Change, b.Change) })
	slices.SortStableFunc(d.Triggers, func(a, b TriggerDiff) int { return byChange(a.Change, b.Change) })
	return d
}

func byChange(a, b Change) int {
	return cmp.Compare(slices.Index(changes, a), slices.Index(changes, b))
}

// readingChanges returns what is not the same of the defaults and of how records are read.
func readingChanges(before, after map[string]string) []ReadingChange {
	l := []ReadingChange{}
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(name, "defaults:") && !strings.HasPrefix(name, "reading:") || before[name] == after[name] {
			continue
		}
		c := ReadingChange{Name: strings.TrimPrefix(name, "reading:")}
		if v, ok := before[name]; ok {
			c.Old = &v
		}
		if v, ok := after[name]; ok {
			c.New = &v
		}
		l = append(l, c)
	}
	return l
}

// differ makes the parts of a Diff.
type differ struct {
	*run
	sides [2]described
	// ends are the customers who are in one alone at the end, by segment and side: those
	// of the least hashes, and how many there are.
	ends [][3]ending
	both []int
	was  map[string]string // the ids under the old rules, of rules that have others
	kept ruleset.Set       // what is the same but for ids
}

type ending struct {
	n         int
	customers []string
}

// described is a rule set for reports.
type described struct {
	*side
	eval     *engine.Evaluator
	versions map[string]string
	conds    map[string]*plan.Cond // of segments and stages
	whens    map[string]string     // of them and, as "trigger:<id>", of triggers
}

func newDiffer(r *run) *differ {
	x := &differ{run: r, both: make([]int, len(r.both.segments)), ends: make([][3]ending, len(r.both.segments))}
	for i, s := range r.sides {
		x.sides[i] = describe(s)
	}
	renames := r.sides[0].renames
	x.was = map[string]string{}
	for old, id := range renames {
		x.was[id] = old
	}
	x.kept = ruleset.Of(r.sides[0].rules.Engine.Plan()).Common(r.sides[1].rules.Engine.Plan(), renames)
	for customer, l := range r.both.people {
		for i := range l {
			p := &l[i]
			if p.in == inOld|inNew {
				x.both[p.segment]++
			}
			if in := p.alone(); in != 0 {
				if !p.ever {
					r.both.segments[p.segment].ever++
				}
				e := &x.ends[p.segment][in]
				e.n++
				e.customers = keepLeast(e.customers, customer, func(s *string) string { return *s }, func() string { return customer })
			}
		}
	}
	return x
}

func describe(s *side) described {
	p := s.rules.Engine.Plan()
	d := described{s, s.rules.Engine.Evaluator(), map[string]string{}, map[string]*plan.Cond{}, map[string]string{}}
	for id, version := range p.Versions() {
		d.versions[s.called(id)] = version
	}
	for u := range p.Units {
		for i := range p.Units[u].Conds {
			if c := &p.Units[u].Conds[i]; c.Segment >= 0 {
				d.conds[s.called(p.Segments[c.Segment].ID)] = c
			}
		}
	}
	spec := p.Spec
	text := func(n *expr.Node) string { return n.Text(func(i int) string { return spec.Inputs[i].Text }) }
	for i := range spec.Segments {
		d.whens[s.called(spec.Segments[i].ID)] = text(spec.Segments[i].When)
	}
	for i := range spec.Lifecycles {
		for _, st := range spec.Lifecycles[i].Stages {
			d.whens[s.called(spec.Lifecycles[i].ID+"/"+st.ID)] = text(st.When)
		}
	}
	for i := range spec.Triggers {
		d.whens[s.called(triggerName(spec.Triggers[i].ID))] = settings(&spec.Triggers[i], spec, text)
	}
	return d
}

// triggerName is the name of a trigger among the versions.
func triggerName(id string) string { return "trigger:" + id }

// settings are those of a trigger on one line.
func settings(t *plan.Trigger, spec *plan.Spec, text func(*expr.Node) string) string {
	var l []string
	add := func(name, value string) { l = append(l, name+": "+value) }
	for i, s := range t.Kind.Settings {
		switch s.Form {
		case plan.SetValue:
			if t.Values[i].Present() {
				add(s.Word, t.Values[i].String())
			}
		case plan.SetInput:
			add(s.Word, spec.Inputs[t.Input].Text)
		case plan.SetCondition:
			add(s.Word, text(t.When))
		case plan.SetFields:
			var fields []string
			for _, f := range t.Fields {
				fields = append(fields, f.Name+": "+text(f.Node))
			}
			if len(fields) > 0 {
				add(s.Word, "{"+strings.Join(fields, ", ")+"}")
			}
		case plan.SetStreams:
			var streams []string
			for _, src := range t.Sources {
				streams = append(streams, spec.Streams().Name(src.Stream))
			}
			add(s.Word, "["+strings.Join(streams, ", ")+"]")
		}
	}
	if t.Reentry == plan.Once {
		add("reentry", "once")
	}
	return strings.Join(l, ", ")
}

// change says what became of a rule, which may have done something different.
func (x *differ) change(name string, differs bool) Change {
	before, was := x.sides[0].versions[name]
	after, is := x.sides[1].versions[name]
	switch {
	case !was:
		return Added
	case !is:
		return Removed
	case before != after && x.kept.Rules[name] == 0:
		return Changed
	case differs:
		return Affected
	case x.was[name] != "":
		return Renamed
	}
	return Unchanged
}

func (x *differ) segment(i int) SegmentDiff {
	c := x.run.both.segments[i]
	d := SegmentDiff{
		ID: c.id, Was: x.was[c.id], Lifecycle: lifecycleOf(c.id), Change: x.change(c.id, c.ever > 0), OldWhen: x.sides[0].whens[c.id], NewWhen: x.sides[1].whens[c.id],
		Old: x.sides[0].sizes(x.run, c.id), New: x.sides[1].sizes(x.run, c.id),
		Both: x.both[i], OnlyOld: x.ends[i][inOld].n, OnlyNew: x.ends[i][inNew].n, Ever: c.ever,
		OverTime: OnlyOverTime{OnlyOld: x.line.series(c.only[inOld]).Size, OnlyNew: x.line.series(c.only[inNew]).Size},
		Examples: c.past,
	}
	if at := x.atEnd(i); len(at) > 0 {
		d.Examples = at
	}
	if d.Examples == nil || x.opt.NoExamples {
		d.Examples = []Example{}
	}
	return d
}

// atEnd are examples of who is in one alone at the end.
func (x *differ) atEnd(i int) (l []Example) {
	old, fresh := halves(x.ends[i][inOld].customers, x.ends[i][inNew].customers)
	for _, customer := range old {
		l = append(l, x.example(customer, i, inOld))
	}
	for _, customer := range fresh {
		l = append(l, x.example(customer, i, inNew))
	}
	return l
}

// halves returns as many of both lists as there are examples: half of each, if it has as
// many.
func halves[X any](old, fresh []X) (someOld, someNew []X) {
	const half = mostExamples / 2
	n := min(len(old), max(half, mostExamples-len(fresh)))
	return old[:n], fresh[:min(len(fresh), mostExamples-n)]
}

// example is a customer who is in one alone at the end, with the values that decide.
func (x *differ) example(customer string, segment int, in uint8) Example {
	id := x.run.both.segments[segment].id
	p := x.run.both.place(customer, int32(segment))
	return Example{
		Customer: customer, In: sideNames[in], Since: p.began.String(),
		Old: x.sides[0].values(customer, id, x.end()), New: x.sides[1].values(customer, id, x.end()),
	}
}

// values are what the condition of a segment reads of a customer, nil if there is no such
// segment or customer.
func (d *described) values(customer, id string, at engine.Millis) map[string]string {
	cond, c := d.conds[id], d.runner.Customer(customer)
	if cond == nil || c == nil {
		return nil
	}
	return values(d.eval.Evidence(c, at, cond))
}

func (x *differ) trigger(id string) TriggerDiff {
	f, name := x.run.both.triggers[id], triggerName(id)
	d := TriggerDiff{
		ID: id, Was: strings.TrimPrefix(x.was[name], triggerName("")), Change: x.change(name, f.only[inOld]+f.only[inNew] > 0), OldWhen: x.sides[0].whens[name], NewWhen: x.sides[1].whens[name],
		Old: x.sides[0].firings(x.run, id), New: x.sides[1].firings(x.run, id),
		Both: f.both, OnlyOld: f.only[inOld], OnlyNew: f.only[inNew],
	}
	old, fresh := halves(f.examples[inOld], f.examples[inNew])
	if d.Examples = []Instant{}; !x.opt.NoExamples {
		d.Examples = slices.Concat(d.Examples, old, fresh)
	}
	for _, s := range x.sides {
		p := s.rules.Engine.Plan()
		for i := range p.Triggers {
			if s.calledTrigger(p.Triggers[i].ID) == id {
				d.Kind = p.Triggers[i].Kind.Name
			}
		}
	}
	return d
}

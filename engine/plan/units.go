package plan

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/segmill/segmill/engine/expr"
)

// draft is a unit before the units are in order.
type draft struct {
	name  string
	unit  Unit
	life  int      // of a lifecycle: its place in the spec
	reads []string // segments
}

// units compiles the conditions and puts them in order of evaluation.
func (c *compiler) units() error {
	var drafts []draft
	for i := range c.Spec.Segments {
		s := &c.Spec.Segments[i]
		d := draft{name: s.ID, unit: Unit{Kind: UnitSegment}}
		c.addCond(&d, s.When)
		c.Segments = append(c.Segments, SegmentPlan{ID: s.ID, Version: version("segment", s.When.Text(c.fullText))})
		drafts = append(drafts, d)
	}
	for i := range c.Spec.Lifecycles {
		l := &c.Spec.Lifecycles[i]
		d := draft{name: "lifecycle:" + l.ID, unit: Unit{Kind: UnitLifecycle}, life: i}
		v := newVersions()
		v.add("lifecycle")
		for _, st := range l.Stages {
			c.addCond(&d, st.When)
			v.add(st.When.Text(c.fullText))
			c.Segments = append(c.Segments, SegmentPlan{ID: l.ID + "/" + st.ID, Group: l.ID, Version: v.version()})
		}
		drafts = append(drafts, d)
	}
	for i := range c.Triggers {
		t := &c.Triggers[i]
		if t.Kind.Has(SetCondition) {
			d := draft{name: "trigger:" + t.ID, unit: Unit{Kind: UnitTrigger, Trigger: i}}
			c.addCond(&d, t.When)
			drafts = append(drafts, d)
		}
	}
	if err := c.segments(); err != nil {
		return err
	}
	if err := c.order(drafts); err != nil {
		return err
	}
	return c.compileConds()
}

// fullText names an input with what it is stored as, so that a changed activity
// is a changed rule.
func (c *compiler) fullText(i int) string {
	in := &c.Inputs[i]
	t := in.Text
	if in.Summary >= 0 {
		t += "{" + c.Summaries[in.Summary].Text + "}"
	}
	return t
}

func (c *compiler) addCond(d *draft, n *expr.Node) {
	cond := Cond{Segment: -1, node: n}
	walk(n, func(n *expr.Node) {
		if n.Op == expr.OpInput && !slices.Contains(cond.Inputs, n.Ref) {
			cond.Inputs = append(cond.Inputs, n.Ref)
		}
	})
	for _, i := range cond.Inputs {
		if in := &c.Inputs[i]; in.Kind == InSegment {
			d.reads = append(d.reads, in.Segment)
		}
	}
	d.unit.Conds = append(d.unit.Conds, cond)
}

// segments sorts the segments by id and gives them keys.
func (c *compiler) segments() error {
	sort.Slice(c.Segments, func(i, j int) bool { return c.Segments[i].ID < c.Segments[j].ID })
	for i := range c.Segments {
		s := &c.Segments[i]
		if i > 0 && c.Segments[i-1].ID == s.ID {
			return fmt.Errorf("two segments are called %q", s.ID)
		}
		key, err := c.key("segment " + s.ID)
		if err != nil {
			return err
		}
		s.Key = key
	}
	for i := range c.Inputs {
		if in := &c.Inputs[i]; in.Kind == InSegment {
			if in.SegmentIndex = c.segment(in.Segment); in.SegmentIndex < 0 {
				return fmt.Errorf("no segment %q", in.Segment)
			}
		}
	}
	return nil
}

func (c *compiler) segment(id string) int {
	i := sort.Search(len(c.Segments), func(i int) bool { return c.Segments[i].ID >= id })
	if i < len(c.Segments) && c.Segments[i].ID == id {
		return i
	}
	return -1
}

// order appends the drafts to Units, each after those whose memberships it
// reads.
func (c *compiler) order(drafts []draft) error {
	sort.Slice(drafts, func(i, j int) bool { return drafts[i].name < drafts[j].name })
	byName := map[string]int{}
	for i := range drafts {
		byName[drafts[i].name] = i
	}
	const entered, done = 1, 2
	state := make([]int, len(drafts))
	var visit func(i int) error
	visit = func(i int) error {
		d := &drafts[i]
		switch state[i] {
		case done:
			return nil
		case entered:
			return fmt.Errorf("segment %q depends on itself", d.name)
		}
		state[i] = entered
		for _, id := range d.reads {
			s := c.Segments[c.segment(id)]
			if s.Group != "" {
				id = "lifecycle:" + s.Group
			}
			if err := visit(byName[id]); err != nil {
				return err
			}
		}
		state[i] = done
		c.place(d)
		return nil
	}
	for i := range drafts {
		if err := visit(i); err != nil {
			return err
		}
	}
	for u := range c.Units {
		for _, cond := range c.Units[u].Conds {
			for _, i := range cond.Inputs {
				if s := c.Inputs[i].SegmentIndex; s >= 0 {
					c.Segments[s].Dependents = tidy(append(c.Segments[s].Dependents, u))
				}
			}
		}
	}
	return nil
}

// place makes a draft the next unit.
func (c *compiler) place(d *draft) {
	u := len(c.Units)
	c.Units = append(c.Units, d.unit)
	switch d.unit.Kind {
	case UnitTrigger:
		c.Triggers[d.unit.Trigger].Unit = u
	case UnitSegment:
		i := c.segment(d.name)
		c.Segments[i].Unit = u
		c.Units[u].Conds[0].Segment = i
	case UnitLifecycle:
		l := &c.Spec.Lifecycles[d.life]
		for k, st := range l.Stages {
			i := c.segment(l.ID + "/" + st.ID)
			c.Segments[i].Unit = u
			c.Units[u].Conds[k].Segment = i
		}
	}
}

// MaxEvidence bounds how many values a change carries.
const MaxEvidence = 16

// lastRead returns the inputs that conditions read, those of the last one first, no
// more than MaxEvidence. before is what it returned for the conditions before the
// last one.
func lastRead(last, before []int) []int {
	var l []int
	for _, ins := range [][]int{last, before} {
		for _, in := range ins {
			if len(l) < MaxEvidence && !slices.Contains(l, in) {
				l = append(l, in)
			}
		}
	}
	return l
}

// evidence returns inputs sorted by text.
func (c *compiler) evidence(inputs []int) []int {
	l := slices.Clone(inputs)
	slices.SortFunc(l, func(a, b int) int { return strings.Compare(c.inputText(a), c.inputText(b)) })
	return l
}

func (c *compiler) compileConds() error {
	ec := expr.Compiler{Slot: func(string) int { return -1 }, Zones: c.zones}
	for u := range c.Units {
		var recent []int
		for k := range c.Units[u].Conds {
			cond := &c.Units[u].Conds[k]
			fn, err := ec.Compile(cond.node)
			if err != nil {
				return fmt.Errorf("condition %s: %w", cond.node.Text(c.inputText), err)
			}
			cond.Fn = fn
			recent = lastRead(cond.Inputs, recent)
			cond.Evidence = c.evidence(recent)
		}
	}
	for i := range c.Triggers {
		t := &c.Triggers[i]
		for _, f := range t.Trigger.Fields {
			fn, err := ec.Compile(f.Node)
			if err != nil {
				return fmt.Errorf("trigger %s, field %s: %w", t.ID, f.Name, err)
			}
			t.Fields = append(t.Fields, c.shown(f.Node, fn))
		}
	}
	return nil
}

// shown returns fn with its values as people see them: a number if it is one of a field
// that is declared as such, whatever is chosen among them.
func (c *compiler) shown(n *expr.Node, fn expr.Fn) expr.Fn {
	var plain *InputPlan
	walk(n, func(n *expr.Node) {
		if n.Op == expr.OpInput && c.Inputs[n.Ref].Plain {
			plain = &c.Inputs[n.Ref]
		}
	})
	if plain == nil {
		return fn
	}
	return func(e *expr.Env) expr.Value { return plain.Shown(fn(e)) }
}

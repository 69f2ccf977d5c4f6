package ruletest

import (
	"cmp"
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Coverage is what tests have shown of rules: which were true and false of a customer,
// which triggers fired, and which parts of a condition decided once, alone.
type Coverage struct {
	rules map[covered]*shownRule
	units map[*Rules][]*shownUnit
}

// covered names a rule: two test files may read the same one.
type covered struct {
	pos  plan.Pos
	name string
}

// shownRule is what was shown of a rule.
type shownRule struct {
	covered
	ofTrigger    bool
	condition    bool // it has one; else it is a trigger of events
	isTrue       bool
	isFalse      bool
	fired        bool
	isOr         bool     // the parts are those of an ||
	parts        []string // of the condition
	partsDecided []bool
}

// shownUnit are the conditions that are judged together.
type shownUnit struct {
	rules []*shownRule
	fns   [][]expr.Fn // of the parts of each, which read the inputs of one rule set
}

// NewCoverage returns a coverage of nothing.
func NewCoverage() *Coverage {
	return &Coverage{rules: map[covered]*shownRule{}, units: map[*Rules][]*shownUnit{}}
}

// add makes the rules of a set known.
func (c *Coverage) add(r *Rules) {
	spec := r.Engine.Plan().Spec
	for i := range spec.Segments {
		s := &spec.Segments[i]
		u := &shownUnit{}
		c.rule(r, u, covered{s.Meta.Pos, s.ID}, s.When)
		c.units[r] = append(c.units[r], u)
	}
	for i := range spec.Lifecycles {
		l := &spec.Lifecycles[i]
		u := &shownUnit{}
		for _, st := range l.Stages {
			c.rule(r, u, covered{st.Pos, l.ID + "/" + st.ID}, st.When)
		}
		c.units[r] = append(c.units[r], u)
	}
	for i := range spec.Triggers {
		t := &spec.Triggers[i]
		var when *expr.Node
		if t.Kind.Has(plan.SetCondition) {
			when = t.When
		}
		u := &shownUnit{}
		c.rule(r, u, covered{t.Pos, triggerName(t.ID)}, when).ofTrigger = true
		c.units[r] = append(c.units[r], u)
	}
}

// rule returns what was shown of a rule, and adds its condition, if it has one, to u:
// taken apart at its outermost && or ||.
func (c *Coverage) rule(r *Rules, u *shownUnit, at covered, when *expr.Node) *shownRule {
	s := c.rules[at]
	if s == nil {
		s = &shownRule{covered: at}
		c.rules[at] = s
	}
	if when == nil {
		return s
	}
	spec := r.Engine.Plan().Spec
	parts := []*expr.Node{when}
	if when.Op == expr.OpAnd || when.Op == expr.OpOr {
		parts, s.isOr = when.Args, when.Op == expr.OpOr
	}
	compiler := expr.Compiler{Slot: func(string) int { return -1 }, Zones: r.Zones}
	s.condition, s.parts = true, nil
	var fns []expr.Fn
	for _, n := range parts {
		fn, err := compiler.Compile(n)
		if err != nil {
			continue // the plan compiles it too
		}
		text := spec.Written[n]
		if text == "" {
			text = n.Text(func(i int) string { return spec.Inputs[i].Text })
		}
		s.parts = append(s.parts, text)
		fns = append(fns, fn)
	}
	if s.partsDecided == nil {
		s.partsDecided = make([]bool, len(s.parts))
	}
	u.rules, u.fns = append(u.rules, s), append(u.fns, fns)
	return s
}

// step looks at a customer after a step.
func (c *Coverage) step(r *Rules, x *engine.Evaluator, who *engine.Customer) {
	for _, u := range c.units[r] {
		taken := false
		for i, s := range u.rules {
			if taken {
				s.isFalse = true
				continue
			}
			taken = s.look(x, who, u.fns[i])
		}
	}
}

// look notes whether the condition is true and which part decided it: the only one of
// an && that is not true, or the only one of an || that is.
func (s *shownRule) look(x *engine.Evaluator, who *engine.Customer, fns []expr.Fn) bool {
	count, last := 0, -1
	for i, fn := range fns {
		if x.Ask(who, who.Instant(), fn).True() == s.isOr {
			count, last = count+1, i
		}
	}
	holds := (count > 0) == s.isOr
	if holds {
		s.isTrue = true
	} else {
		s.isFalse = true
	}
	if count == 1 {
		s.partsDecided[last] = true
	}
	return holds
}

// emitted notes an effect.
func (c *Coverage) emitted(r *Rules, e *engine.Effect) {
	if c == nil || e.Action != engine.Fired {
		return
	}
	t := r.trigger(e.Name)
	if s := c.rules[covered{t.Pos, triggerName(t.ID)}]; s != nil {
		s.fired = true
	}
}

// Gap is something that no test has shown.
type Gap struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Rule string `json:"rule"`
	// Lacks is "never true", "never false", "never fired", or "never decided" of Part.
	Lacks string `json:"lacks"`
	Part  string `json:"part,omitempty"`
}

// Gaps returns what is not shown, in the order of the files, and how many of how many
// rules have none.
func (c *Coverage) Gaps() (gaps []Gap, shown, all int) {
	for _, s := range c.rules {
		l := s.gaps()
		gaps = append(gaps, l...)
		if all++; len(l) == 0 {
			shown++
		}
	}
	slices.SortStableFunc(gaps, func(a, b Gap) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Rule, b.Rule))
	})
	return gaps, shown, all
}

func (s *shownRule) gaps() (l []Gap) {
	add := func(lacks, part string) {
		l = append(l, Gap{s.pos.File, s.pos.Line, Shown(s.name), lacks, part})
	}
	if s.ofTrigger && !s.fired {
		add("never fired", "")
	}
	if !s.condition {
		return l
	}
	always := len(s.parts) == 1 && s.parts[0] == "true" // a last stage is for whoever is left
	switch {
	case !s.isTrue && !s.ofTrigger:
		add("never true", "")
	case s.isTrue && !s.isFalse && !always:
		add("never false", "")
	}
	for i, part := range s.parts {
		if len(s.parts) > 1 && !s.partsDecided[i] {
			add("never decided", part)
		}
	}
	return l
}

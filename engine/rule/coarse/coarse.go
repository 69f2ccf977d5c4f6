// Package coarse warns of windows that are short against the longest one over the same list:
// what a compiled rule set shows, and its files alone do not.
package coarse

import (
	"fmt"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
)

// Windows warns of windows that are short against the longest one over the
// same list: for a customer with very many events the list becomes panes of a
// 1024th of the longest window, and a shorter window than two of them says little.
func Windows(p *plan.Plan, set *rule.Set) rule.Problems {
	var warnings rule.Problems
	for u := range p.Units {
		for _, c := range p.Units[u].Conds {
			for _, i := range c.Inputs {
				in := &p.Inputs[i]
				if in.Window == 0 || in.Summary < 0 {
					continue
				}
				longest := p.Summaries[in.Summary].Reach
				if pane := aggregate.PaneWidth(longest); in.Window < 2*pane {
					at := position(p, &p.Units[u], c.Segment)
					if set.Allows(at, rule.CoarseWindow) {
						continue
					}
					warnings = append(warnings, rule.Problem{
						Pos: at, Severity: rule.Warning, ID: rule.CoarseWindow,
						Message: fmt.Sprintf("%s shares its list with a window of %s: for a customer with more than %d such events, it may include up to %s of older ones",
							in.Text, expr.FormatDuration(longest), aggregate.MaxEntries, expr.FormatDuration(pane)),
					})
				}
			}
		}
	}
	return warnings
}

// position returns the place of a condition's rule.
func position(p *plan.Plan, u *plan.Unit, segment int) plan.Pos {
	if u.Kind == plan.UnitTrigger {
		return p.Triggers[u.Trigger].Pos
	}
	id := p.Segments[segment].ID
	for i := range p.Spec.Segments {
		if s := &p.Spec.Segments[i]; s.ID == id {
			return s.Meta.Pos
		}
	}
	for i := range p.Spec.Lifecycles {
		l := &p.Spec.Lifecycles[i]
		for _, st := range l.Stages {
			if l.ID+"/"+st.ID == id {
				return st.Pos
			}
		}
	}
	return plan.Pos{}
}

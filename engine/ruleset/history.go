package ruleset

import "github.com/segmill/segmill/engine/plan"

// NeedHistory returns the rules of the plan, by the ids that [plan.Plan.Versions] gives them,
// that read facts which the set does not have: directly, or through the membership of a rule
// that does. Of a lifecycle these are all stages or none.
func (c *Change) NeedHistory(p *plan.Plan) map[string]bool {
	ids := map[string]bool{}
	reads := func(input int) bool {
		in := &p.Inputs[input]
		return in.Summary >= 0 && c.Facts[in.Summary] || in.SegmentIndex >= 0 && ids[in.Segment]
	}
	for u := range p.Units { // each reads the memberships of earlier ones alone
		unit, lacks := &p.Units[u], false
		for i := range unit.Conds {
			for _, in := range unit.Conds[i].Inputs {
				lacks = lacks || reads(in)
			}
		}
		for i := range unit.Conds {
			switch {
			case !lacks || !c.Units[u]:
			case unit.Kind == plan.UnitTrigger:
				ids["trigger:"+p.Triggers[unit.Trigger].ID] = true
			default:
				ids[p.Segments[unit.Conds[i].Segment].ID] = true
			}
		}
	}
	for i := range p.Triggers {
		t := &p.Triggers[i]
		if c.Triggers[i] && (t.Summary >= 0 && c.Facts[t.Summary] || t.Kind.Has(plan.SetInput) && reads(t.Input)) {
			ids["trigger:"+t.ID] = true
		}
	}
	return ids
}

// Package ruleset says what a compiled set of rules is made of, so that two sets can be
// compared: which rules are the same, with all that they read, and which facts of customers
// the one has kept as the other needs them.
//
// The one rule it keeps: a rule is unchanged only if nothing that decides it has changed, and
// a fact is kept only if it is the same summary, at least as far back.
package ruleset

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Set is what a set of rules is made of.
type Set struct {
	// Rules are hashes of all that decides each segment, stage and trigger, the rules that
	// it reads and the defaults included, by the id that [plan.Plan.Versions] gives it. The
	// stages of a lifecycle are one rule, and have one hash.
	Rules map[string]uint64
	// Facts are how far back each summary reaches, in milliseconds, by the hash of its text;
	// 0: it is kept of all time.
	Facts map[uint64]expr.Millis
}

// Of returns what a plan is made of.
func Of(p *plan.Plan) Set { return of(p, func(id string) string { return id }) }

// of returns what a plan is made of if its rules have other names.
func of(p *plan.Plan, name func(id string) string) Set {
	d := definer{p: p, rules: map[string]uint64{}, calendar: "|" + p.Spec.Zone, name: name}
	if p.Spec.MarFirst {
		d.calendar += " mar_1"
	}
	nodes := map[string]*expr.Node{}
	for i := range p.Spec.Segments {
		nodes[p.Spec.Segments[i].ID] = p.Spec.Segments[i].When
	}
	for i := range p.Spec.Lifecycles {
		l := &p.Spec.Lifecycles[i]
		for k := range l.Stages {
			nodes[l.ID+"/"+l.Stages[k].ID] = l.Stages[k].When
		}
	}
	for u := range p.Units { // each reads the memberships of earlier ones alone
		unit := &p.Units[u]
		if unit.Kind == plan.UnitTrigger {
			continue
		}
		var parts []string
		for i := range unit.Conds {
			id := p.Segments[unit.Conds[i].Segment].ID
			parts = append(parts, name(id), nodes[id].Text(d.input))
		}
		whole := hash(parts...)
		for i := range unit.Conds {
			d.rules[p.Segments[unit.Conds[i].Segment].ID] = whole
		}
	}
	for i := range p.Triggers {
		d.rules["trigger:"+p.Triggers[i].ID] = d.trigger(&p.Triggers[i])
	}
	facts := map[uint64]expr.Millis{}
	for i := range p.Summaries {
		facts[hash(p.Summaries[i].Text)] = p.Summaries[i].Reach
	}
	return Set{d.rules, facts}
}

// definer writes rules out with all that decides them.
type definer struct {
	p        *plan.Plan
	rules    map[string]uint64 // of units so far
	calendar string            // the defaults that dates go by
	name     func(id string) string
}

// text names an input.
func (d *definer) text(i int) string {
	in := &d.p.Inputs[i]
	if in.SegmentIndex >= 0 {
		if was := d.name(in.Segment); was != in.Segment {
			return "in_segment(" + strconv.Quote(was) + ")"
		}
	}
	return in.Text
}

// input names an input with the summary that it is computed from, the rule that it is the
// membership of, and the defaults, if it goes by a calendar.
func (d *definer) input(i int) string {
	in := &d.p.Inputs[i]
	var b strings.Builder
	b.WriteString(d.text(i))
	if in.Summary >= 0 {
		b.WriteString("{" + d.p.Summaries[in.Summary].Text + "}")
	}
	if in.SegmentIndex >= 0 {
		fmt.Fprintf(&b, "{%x}", d.rules[in.Segment])
	}
	if in.Kind.Derived() && in.Zoned(&d.p.Spec.Inputs[in.Of]) {
		b.WriteString(d.calendar)
	}
	return b.String()
}

func (d *definer) trigger(t *plan.TriggerPlan) uint64 {
	parts := []string{d.p.TriggerVersion(t.Trigger, d.text)}
	if t.Summary >= 0 {
		parts = append(parts, d.p.Summaries[t.Summary].Text)
	}
	if t.Kind.Has(plan.SetInput) {
		parts = append(parts, d.input(t.Input))
	}
	if t.When != nil {
		parts = append(parts, t.When.Text(d.input))
	}
	for _, f := range t.Trigger.Fields {
		parts = append(parts, f.Node.Text(d.input))
	}
	if t.Kind.Zoned {
		parts = append(parts, d.calendar)
	}
	return hash(parts...)
}

// hash is that of texts, one after the other.
func hash(parts ...string) uint64 {
	h := sha256.New()
	for _, text := range parts {
		fmt.Fprintf(h, "%d:%s", len(text), text)
	}
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// Common returns what the set has in common with a plan, under the ids of the plan: the rules
// that are equal in both but for their ids, where these were changed by renames, and the facts
// that both have, as far back as both reach.
func (s Set) Common(p *plan.Plan, renames Renames) Set {
	c := Set{map[string]uint64{}, map[uint64]expr.Millis{}}
	o, before := Of(p), renames.before()
	if len(renames) == 0 {
		before = func(id string) string { return id }
	}
	under := of(p, before)
	for id, h := range o.Rules {
		if was, ok := s.Rules[before(id)]; ok && was == under.Rules[id] {
			c.Rules[id] = h
		}
	}
	for key, reach := range s.Facts {
		if other, ok := o.Facts[key]; ok {
			c.Facts[key] = min(reach, other)
		}
	}
	return c
}

// Change is how the rules of a plan differ from a set.
type Change struct {
	// Units, Triggers and Facts say by number which units, triggers and summaries of the
	// plan the set does not have. A summary that reaches further back than in the set is
	// one that the set does not have.
	Units, Triggers, Facts []bool
}

// To returns how a plan differs from the set.
func (s Set) To(p *plan.Plan) *Change {
	is := Of(p)
	c := &Change{Units: make([]bool, len(p.Units)), Triggers: make([]bool, len(p.Triggers)), Facts: make([]bool, len(p.Summaries))}
	differs := func(id string) bool { return s.Rules[id] != is.Rules[id] }
	for i := range p.Triggers {
		c.Triggers[i] = differs("trigger:" + p.Triggers[i].ID)
	}
	for u := range p.Units {
		unit := &p.Units[u]
		if unit.Kind == plan.UnitTrigger {
			c.Units[u] = c.Triggers[unit.Trigger]
			continue
		}
		for i := range unit.Conds {
			c.Units[u] = c.Units[u] || differs(p.Segments[unit.Conds[i].Segment].ID)
		}
	}
	for i := range p.Summaries {
		reach, ok := s.Facts[hash(p.Summaries[i].Text)]
		c.Facts[i] = !ok || reach < p.Summaries[i].Reach
	}
	return c
}

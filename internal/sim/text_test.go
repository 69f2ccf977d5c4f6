package sim

import (
	"math/rand/v2"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// Rules written down and compiled mean what this package takes them to mean: the
// engine runs what the rule compiler made of the text, the oracle runs the trees
// that were made with it.
func TestTextOfRulesMeansTheSame(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := RandomRules(r, world())
		calls := RandomHistory(r, rules.Spec, 60)
		set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(rules.Text)}}, schemas.Catalog(), triggers.Kinds(), Zones)
		if err != nil {
			t.Fatalf("%v\n%s", err, rules.Text)
		}
		judge(t, rules, calls, func(t testing.TB, s *plan.Spec, calls []Call) string {
			o := NewOracle(s, engine.Options{Zones: Zones})
			return lockstep(withoutEvidence{o}, withoutEvidence{newSubject(t, only(set.Spec, s))}, calls)
		})
	})
}

// withoutEvidence leaves out the names of inputs, which the rule compiler may
// write in another way.
type withoutEvidence struct{ runner }

func (w withoutEvidence) Run(c *Call) ([]engine.Effect, bool) {
	l, ok := w.runner.Run(c)
	for i := range l {
		l[i].Evidence = nil
	}
	return l, ok
}

// only returns the rules of a set that another has, too.
func only(s, of *plan.Spec) *plan.Spec {
	ids := map[string]bool{}
	for i := range of.Segments {
		ids[of.Segments[i].ID] = true
	}
	for i := range of.Lifecycles {
		for _, g := range of.Lifecycles[i].Stages {
			ids[of.Lifecycles[i].ID+"/"+g.ID] = true
		}
	}
	for i := range of.Triggers {
		ids["trigger:"+of.Triggers[i].ID] = true
	}
	c := *s
	c.Segments, c.Lifecycles, c.Triggers = nil, nil, nil
	for _, g := range s.Segments {
		if ids[g.ID] {
			c.Segments = append(c.Segments, g)
		}
	}
	for _, l := range s.Lifecycles {
		stages := l.Stages
		l.Stages = nil
		for _, g := range stages {
			if ids[l.ID+"/"+g.ID] {
				l.Stages = append(l.Stages, g)
			}
		}
		if l.Stages != nil {
			c.Lifecycles = append(c.Lifecycles, l)
		}
	}
	for _, g := range s.Triggers {
		if ids["trigger:"+g.ID] {
			c.Triggers = append(c.Triggers, g)
		}
	}
	forgetUnread(&c)
	return &c
}

// Package triggers says what each kind of trigger means: its settings, what it
// reads, when it is due, whether it fires, and what its message carries. One file
// per kind, which ends in the kind's registration; kinds lists them.
//
// The one rule: a trigger decides from the customer as of one instant and from
// its own memory, so that it fires the same whenever it is computed.
package triggers

import (
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// kind is the registration of a kind: all that the rest of the engine knows of it.
type kind struct {
	plan.Kind
	// meaning returns what one trigger of the kind means.
	meaning func(t *plan.Trigger) engine.Trigger
	// why says in a few words what a message was sent for.
	why func(m *engine.Message) string
}

// kinds lists the kinds in the order in which errors name them.
func kinds() []kind {
	return []kind{
		abandonedCart(),
		inactivityKind(),
		anniversaryKind(),
		ruleKind(),
	}
}

// later are the names that are kept for later versions.
var later = [...]string{"back_in_stock", "behaviour_change", "browse_abandonment", "event", "lifecycle", "price_drop"}

// Kinds returns the kinds, for the rule compiler.
func Kinds() []*plan.Kind {
	var l []*plan.Kind
	for _, k := range kinds() {
		l = append(l, &k.Kind)
	}
	for _, name := range later {
		l = append(l, &plan.Kind{Name: name, Later: true})
	}
	return l
}

// New returns what the triggers of a plan mean, in its order; nil for one whose
// kind is not of this package.
func New(p *plan.Plan) []engine.Trigger {
	all := kinds()
	ts := make([]engine.Trigger, len(p.Triggers))
	for i := range p.Triggers {
		t := p.Triggers[i].Trigger
		if k := named(all, t.Kind.Name); k != nil {
			ts[i] = k.meaning(t)
		}
	}
	return ts
}

// Why says in a few words what a message was sent for, "" if that is not known.
func Why(m *engine.Message) string {
	if k := named(kinds(), m.Kind); k != nil {
		return k.why(m)
	}
	return ""
}

func named(all []kind, name string) *kind {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

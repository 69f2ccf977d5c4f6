// Package triggers says what each kind of trigger means: when it is due, whether
// it fires, and what its message carries. One file per kind.
//
// The one rule: a trigger decides from the customer as of one instant and from
// its own memory, so that it fires the same whenever it is computed.
package triggers

import (
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// New returns the triggers of a plan, in its order.
func New(p *plan.Plan) []engine.Trigger {
	ts := make([]engine.Trigger, len(p.Triggers))
	for i := range p.Triggers {
		switch t := &p.Triggers[i]; t.Kind {
		case plan.AbandonedCart:
			ts[i] = cart{after: t.After}
		case plan.Inactivity:
			ts[i] = inactivity{after: t.After}
		case plan.Anniversary:
			ts[i] = anniversary{at: t.At, offset: t.Offset, marFirst: t.MarFirst}
		case plan.Rule:
			ts[i] = rule{}
		}
	}
	return ts
}

package engine

import (
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Ask returns the value of a compiled expression over the inputs of the plan, of c as
// of at: an instant from that of its last step on, before it wakes. It changes nothing.
func (x *Evaluator) Ask(c *Customer, at Millis, fn expr.Fn) expr.Value {
	x.begin(c, &x.trial)
	x.setNow(max(at, c.instant))
	return fn(&x.env)
}

// Evidence returns the values that a condition reads, as Ask does, and as effects have
// them.
func (x *Evaluator) Evidence(c *Customer, at Millis, cond *plan.Cond) []Pair {
	x.begin(c, &x.trial)
	x.setNow(max(at, c.instant))
	return x.evidence(cond)
}

package sim

import "github.com/segmill/segmill/engine"

// Run makes a call on the oracle and returns what is told, and whether an event
// was accepted.
func (o *Oracle) Run(c *Call) ([]engine.Effect, bool) {
	switch c.Do {
	case DoApply:
		return o.Apply(c.Record, c.Clock)
	case DoErase:
		return o.Erase(c.Customer, c.Clock), true
	}
	return o.Advance(c.Customer, c.Clock), true
}

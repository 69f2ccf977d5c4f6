package triggers

import "github.com/segmill/segmill/engine"

// rule is the kind rule: it fires when its condition becomes true, also at the
// customer's first event, and carries the chosen fields. The engine evaluates
// the condition with the segments', and calls Fire when it turns true.
type rule struct{}

// Due returns Never: the thresholds in the condition have their own wake-ups.
func (rule) Due(*engine.View, *engine.Memory) engine.Millis { return engine.Never }

// Fire fires.
func (rule) Fire(v *engine.View, _ *engine.Memory, _ engine.Millis, f *engine.Effect) bool {
	f.Context = v.Fields()
	return true
}

// Settle does nothing: the engine takes the condition as it is.
func (rule) Settle(*engine.View, *engine.Memory) {}

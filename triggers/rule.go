package triggers

import (
	"strings"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// rule is the kind rule: it fires when its condition becomes true, also at the
// customer's first event, and carries the chosen fields. The engine evaluates
// the condition with the segments', and calls Fire when it turns true.
type rule struct{}

// ruleKind is the kind's registration.
func ruleKind() kind {
	return kind{
		Kind: plan.Kind{
			Name: "rule",
			Settings: []plan.Setting{
				{Word: "when", Form: plan.SetCondition, Missing: "add when: the condition that sends the message"},
				{Word: "fields", Form: plan.SetFields},
			},
		},
		meaning: func(*plan.Trigger) engine.Trigger { return rule{} },
		why: func(m *engine.Message) string {
			parts := make([]string, len(m.Context))
			for i, p := range m.Context {
				parts[i] = p.Name + " = " + p.Value
			}
			return strings.Join(parts, ", ")
		},
	}
}

// Due returns Never: the thresholds in the condition have their own wake-ups.
func (rule) Due(*engine.View, *engine.Memory, engine.Millis) engine.Millis { return engine.Never }

// Fire fires.
func (rule) Fire(v *engine.View, _ *engine.Memory, _ engine.Millis, f *engine.Effect) bool {
	f.Context = v.Fields()
	return true
}

// Settle does nothing: the engine takes the condition as it is.
func (rule) Settle(*engine.View, *engine.Memory) {}

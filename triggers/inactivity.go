package triggers

import (
	"fmt"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/calendar"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// inactivity is the kind inactivity.
//
//   - A silence begins at the latest activity. It is due `after` that.
//   - It fires once per silence: a late event that is older changes nothing, one
//     that is newer begins a new silence. A customer without activity has none.
//   - The message carries the last activity, the whole days of silence, and the
//     customer's segments.
type inactivity struct{ after engine.Millis }

// inactivityKind is the kind's registration.
func inactivityKind() kind {
	after := delay(maxWait)
	after.Missing = "add after: how long the silence lasts, such as 45d"
	return kind{
		Kind: plan.Kind{
			Name:     "inactivity",
			Settings: []plan.Setting{{Word: "streams", Form: plan.SetStreams}, after},
			Fact:     func(t *plan.Trigger) plan.Fact { return plan.Fact{Family: aggregate.FamAnchor, Sources: t.Sources} },
			Message: []expr.Field{
				{Name: "last_event_at", Type: expr.Type{Kind: expr.Time}},
				{Name: "days_silent", Type: expr.Type{Kind: expr.Int}},
				{Name: "segments", Type: expr.Type{Kind: expr.List, Elem: &expr.Type{Kind: expr.String}}},
			},
		},
		meaning: func(t *plan.Trigger) engine.Trigger { return inactivity{after: engine.Millis(t.Setting("after").N)} },
		why: func(m *engine.Message) string {
			return fmt.Sprintf("silent for %s since %s", plural(m.Field("days_silent").N, "day"), m.Field("last_event_at"))
		},
	}
}

// Due returns latest activity + after.
func (t inactivity) Due(v *engine.View, m *engine.Memory, later engine.Millis) engine.Millis {
	a := v.Anchor()
	if a == nil || !a.Set || a.At <= m.Mark || a.At+t.after <= later {
		return engine.Never
	}
	return a.At + t.after
}

// Fire fires.
func (t inactivity) Fire(v *engine.View, m *engine.Memory, _ engine.Millis, f *engine.Effect) bool {
	a := v.Anchor()
	m.Mark = a.At
	f.AnchorID, f.AnchorAt = a.ID, a.At
	f.Fields = []engine.Field{
		{Name: "last_event_at", Value: expr.TimeValue(a.At)},
		{Name: "days_silent", Value: expr.IntValue(int64((v.Now() - a.At) / calendar.DayMillis))},
		{Name: "segments", Value: texts(v.Segments())},
	}
	return true
}

// Settle treats the silence as emitted.
func (t inactivity) Settle(v *engine.View, m *engine.Memory) {
	if a := v.Anchor(); a != nil && a.Set && a.At+t.after <= v.Now() {
		m.Mark = max(m.Mark, a.At)
	}
}

package triggers

import (
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/calendar"
)

// inactivity is the kind inactivity.
//
//   - A silence begins at the latest activity. It is due `after` that.
//   - It fires once per silence: a late event that is older changes nothing, one
//     that is newer begins a new silence. A customer without activity has none.
//   - The message carries the last activity, the whole days of silence, and the
//     customer's segments.
type inactivity struct{ after engine.Millis }

// Due returns latest activity + after.
func (t inactivity) Due(v *engine.View, m *engine.Memory) engine.Millis {
	a := v.Anchor()
	if a == nil || !a.Set || a.At <= m.Mark {
		return engine.Never
	}
	return a.At + t.after
}

// Fire fires.
func (t inactivity) Fire(v *engine.View, m *engine.Memory, _ engine.Millis, f *engine.Effect) bool {
	a := v.Anchor()
	m.Mark = a.At
	f.AnchorID, f.AnchorAt, f.LastAt = a.ID, a.At, a.At
	f.Silent = int64((v.Now() - a.At) / calendar.DayMillis)
	f.Segments = v.Segments()
	return true
}

// Settle takes the silence as told.
func (t inactivity) Settle(v *engine.View, m *engine.Memory) {
	if a := v.Anchor(); a != nil && a.Set && a.At+t.after <= v.Now() {
		m.Mark = max(m.Mark, a.At)
	}
}

package replay

import (
	"cmp"
	"maps"
	"slices"

	"github.com/segmill/segmill/engine"
)

// Summary counts what was emitted, by segment and trigger.
type Summary struct {
	segments map[string]*SegmentCount
	triggers map[string]int
}

// SegmentCount is what became of a segment or stage.
type SegmentCount struct {
	ID      string `json:"id"`
	Size    int    `json:"size"` // members at the end
	Entered int    `json:"entered"`
	Exited  int    `json:"exited"`
}

// TriggerCount is how often a trigger fired.
type TriggerCount struct {
	ID    string `json:"id"`
	Fired int    `json:"fired"`
}

// NewSummary returns a summary with the rules of an engine, of which nothing was emitted.
func NewSummary(e *engine.Engine) *Summary {
	s := &Summary{map[string]*SegmentCount{}, map[string]int{}}
	for i := range e.Plan().Segments {
		id := e.Plan().Segments[i].ID
		s.segments[id] = &SegmentCount{ID: id}
	}
	for i := range e.Plan().Triggers {
		s.triggers[e.Plan().Triggers[i].ID] = 0
	}
	return s
}

// Take counts effects.
func (s *Summary) Take(effects []engine.Effect) {
	for i := range effects {
		switch e := &effects[i]; e.Action {
		case engine.Entered:
			c := s.segments[e.Name]
			c.Entered, c.Size = c.Entered+1, c.Size+1
		case engine.Exited:
			c := s.segments[e.Name]
			c.Exited, c.Size = c.Exited+1, c.Size-1
		case engine.Fired:
			s.triggers[e.Name]++
		default: // erasures are in no file
		}
	}
}

// Segments returns the segments and stages, by id.
func (s *Summary) Segments() (l []SegmentCount) {
	for _, id := range slices.Sorted(maps.Keys(s.segments)) {
		l = append(l, *s.segments[id])
	}
	return l
}

// Triggers returns the triggers, by id.
func (s *Summary) Triggers() (l []TriggerCount) {
	for id, n := range s.triggers {
		l = append(l, TriggerCount{id, n})
	}
	slices.SortFunc(l, func(a, b TriggerCount) int { return cmp.Compare(a.ID, b.ID) })
	return l
}

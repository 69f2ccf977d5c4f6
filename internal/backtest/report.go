package backtest

import (
	"encoding/json"
	"io"
	"math"
)

// Frame is what a report is about.
type Frame struct {
	// Until is where the clock is at the end; nil if there were no events.
	Until *string `json:"until"`
	// Every is how long periods are: hour, day or week.
	Every string `json:"every"`
	// Timezone is the zone in which they begin.
	Timezone string `json:"timezone"`
	// Periods are when they begin, such as 2026-01-31, or 2026-01-31T15:00 of an hour.
	Periods []string `json:"periods"`
}

// Input is what was read under a rule set.
type Input struct {
	Rules      []string `json:"rules"` // files and directories
	Lines      int      `json:"lines"`
	Events     int      `json:"events"` // accepted
	Duplicates int      `json:"duplicates"`
	Skipped    int      `json:"skipped"`   // later than the end
	NoEvents   int      `json:"no_events"` // messages of types that are none
	Bad        int      `json:"bad"`
	Late       int      `json:"late"` // accepted when the clock was past them
	Customers  int      `json:"customers"`
	// CustomersOverTime is how many are known at the end of each period.
	CustomersOverTime []int `json:"customers_over_time"`
}

// Sizes are those of a segment or stage under a rule set.
type Sizes struct {
	Before   int           `json:"size_before"` // before the first period
	Size     int           `json:"size"`        // at the end
	Share    float64       `json:"share"`       // of the customers at the end, from 0 to 1
	Entered  int           `json:"entered"`
	Exited   int           `json:"exited"`
	OverTime SizesOverTime `json:"over_time"`
}

// SizesOverTime has a number for each period; the size is that at its end.
type SizesOverTime struct {
	Size    []int `json:"size"`
	Entered []int `json:"entered"`
	Exited  []int `json:"exited"`
}

// Firings are those of a trigger under a rule set.
type Firings struct {
	Fired    int             `json:"fired"`
	OverTime FiringsOverTime `json:"over_time"`
}

// FiringsOverTime has a number for each period.
type FiringsOverTime struct {
	Fired []int `json:"fired"`
}

// Backtest is what one rule set would have done.
type Backtest struct {
	Frame
	Input
	Segments []Segment `json:"segments"` // and stages, by id
	Triggers []Trigger `json:"triggers"` // by id
}

// Segment is what became of a segment or stage.
type Segment struct {
	ID string `json:"id"`
	// Lifecycle is the one that a stage is of.
	Lifecycle string `json:"lifecycle,omitempty"`
	// Expected is what its expected_size says.
	Expected string `json:"expected_size,omitempty"`
	Sizes
}

// Trigger is what became of a trigger.
type Trigger struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Firings
}

// Diff is what two rule sets would have done.
type Diff struct {
	Frame
	Old Input `json:"old"`
	New Input `json:"new"`
	// Reading are differences in how records are read, and in defaults.
	Reading  []ReadingChange `json:"reading"`
	Segments []SegmentDiff   `json:"segments"`
	Triggers []TriggerDiff   `json:"triggers"`
}

// ReadingChange is a default or a part of the reading that is not the same.
type ReadingChange struct {
	Name string  `json:"name"`
	Old  *string `json:"old"`
	New  *string `json:"new"`
}

// Change says what became of a rule, by the hash of what it means.
type Change string

// The changes.
const (
	Changed Change = "changed"
	Added   Change = "added"
	Removed Change = "removed"
	// Renamed rules are the same, and have another id.
	Renamed Change = "renamed"
	// Affected rules are the same, and something that they read is not.
	Affected  Change = "affected"
	Unchanged Change = "unchanged"
)

// changes are in the order of reports.
var changes = []Change{Changed, Added, Removed, Affected, Renamed, Unchanged}

// SegmentDiff is what became of a segment or stage under both rule sets.
type SegmentDiff struct {
	ID        string `json:"id"`
	Was       string `json:"was,omitempty"` // the id under the old rules, if that is another one
	Lifecycle string `json:"lifecycle,omitempty"`
	Change    Change `json:"change"`
	// OldWhen and NewWhen are the conditions, in their canonical form.
	OldWhen string `json:"old_when,omitempty"`
	NewWhen string `json:"new_when,omitempty"`
	Old     *Sizes `json:"old"` // nil if it is added
	New     *Sizes `json:"new"` // nil if it is removed
	// Both, OnlyOld and OnlyNew are the members at the end.
	Both    int `json:"both"`
	OnlyOld int `json:"only_old"`
	OnlyNew int `json:"only_new"`
	// Ever is how many customers were in one and not in the other at any time.
	Ever     int          `json:"ever_different"`
	OverTime OnlyOverTime `json:"over_time"`
	Examples []Example    `json:"examples"`
}

// OnlyOverTime has, for each period, the members at its end who are not in the other.
type OnlyOverTime struct {
	OnlyOld []int `json:"only_old"`
	OnlyNew []int `json:"only_new"`
}

// Example is a customer who is in one and not in the other.
type Example struct {
	Customer string  `json:"customer"`
	In       string  `json:"in"` // old or new
	Since    string  `json:"since"`
	Until    *string `json:"until"` // nil: still at the end
	// Old and New are the values that the conditions read: at the end, or, where Until is
	// set, those of the one that made the difference, when it did.
	Old map[string]string `json:"old,omitempty"`
	New map[string]string `json:"new,omitempty"`
}

// TriggerDiff is what became of a trigger under both rule sets.
type TriggerDiff struct {
	ID      string   `json:"id"`
	Was     string   `json:"was,omitempty"` // the id under the old rules, if that is another one
	Kind    string   `json:"kind"`
	Change  Change   `json:"change"`
	OldWhen string   `json:"old_when,omitempty"`
	NewWhen string   `json:"new_when,omitempty"`
	Old     *Firings `json:"old"`
	New     *Firings `json:"new"`
	// Both, OnlyOld and OnlyNew count firings: the same are those for one customer with one
	// due instant.
	Both     int       `json:"both"`
	OnlyOld  int       `json:"only_old"`
	OnlyNew  int       `json:"only_new"`
	Examples []Instant `json:"examples"`
}

// Instant is a firing under one of the rule sets alone.
type Instant struct {
	Customer string `json:"customer"`
	In       string `json:"in"` // old or new
	At       string `json:"at"`
	Why      string `json:"why"`
}

// WriteJSON writes a report as one JSON document.
func WriteJSON(w io.Writer, report any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(report)
}

// share returns n of all, to a millionth.
func share(n, all int) float64 {
	if all == 0 {
		return 0
	}
	return math.Round(float64(n)/float64(all)*1e6) / 1e6
}

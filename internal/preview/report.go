package preview

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Change is what becomes of a rule.
type Change string

// The changes.
const (
	Unchanged Change = "unchanged" // with all that it reads: nothing is emitted because of it
	Changed   Change = "changed"
	Renamed   Change = "renamed" // unchanged, but it has another id
	Added     Change = "added"
	Removed   Change = "removed"
)

// The states of the history that rules need.
const (
	NotNeeded = "not_needed" // all facts were kept
	Missing   = "missing"    // some were not: rules that read them are not previewed
	Folded    = "folded"     // some were not, and were folded from the inputs
)

// Report is what a change of rules would do.
type Report struct {
	App   string   `json:"app"`
	Rules []string `json:"rules"`
	// At and AtLatest are the task clocks at which customers were judged, of the partition
	// that is furthest behind and of the one that is furthest ahead.
	At       string `json:"at"`
	AtLatest string `json:"at_latest"`
	// Clock is now if that is where the clock would be now, state if it is that of the state.
	Clock string `json:"clock"`
	// Customers are all who are known. Of them, one of Sample was judged; if that is more
	// than 1, all counts but this one are estimates.
	Customers int `json:"customers"`
	Sample    int `json:"sample"`
	// Same says that the rules are those in force, Former that they were before.
	Same   bool `json:"same"`
	Former bool `json:"former"`
	// History says whether rules need facts that the state lacks. HistorySince is the time of
	// the earliest record of each input that has them, and Incomplete which inputs no longer
	// reach as far back as rules look.
	History      string            `json:"history"`
	HistorySince map[string]string `json:"history_since"`
	Incomplete   []string          `json:"incomplete"`
	// Reading are the settings that differ, such as defaults:timezone: they count for what is
	// read from now on.
	Reading []string `json:"reading"`

	// Unmet are rules that say they had ids which are not in force, with those ids. They are
	// new.
	Unmet []string `json:"unmet"`

	Segments []Segment `json:"segments"`
	Triggers []Trigger `json:"triggers"`
	// Entered and Exited are the changes that come of the rules, Affected the customers who
	// have any of them.
	Entered  int `json:"entered"`
	Exited   int `json:"exited"`
	Affected int `json:"affected"`
	// Due is what time alone would bring up to At, whether or not the rules change. It is
	// part of old and new sizes.
	Due Due `json:"due"`
}

// Due counts what comes of unchanged rules by time alone.
type Due struct {
	Changes int `json:"changes"`
	Firings int `json:"firings"`
}

// Segment is a segment or a stage.
type Segment struct {
	ID        string `json:"id"`
	Was       string `json:"was,omitempty"` // the id in force, if that is another one
	Lifecycle string `json:"lifecycle,omitempty"`
	Change    Change `json:"change"`
	When      string `json:"when"` // the condition to be, "" if it is removed
	// NeedsHistory says that it was not previewed: New is nil, and there are no changes.
	NeedsHistory bool `json:"needs_history"`
	// Old and New are its sizes, nil if it is not there.
	Old     *Size `json:"old"`
	New     *Size `json:"new"`
	Entered int   `json:"entered"`
	Exited  int   `json:"exited"`
	// Examples are up to ten customers who enter or leave.
	Examples []Example `json:"examples"`
}

// Size is how many members a segment has, and their share of the customers, from 0 to 1.
type Size struct {
	Size  int     `json:"size"`
	Share float64 `json:"share"`
}

// Example is a customer who enters or leaves, with the values that decide.
type Example struct {
	Customer string            `json:"customer"`
	Action   string            `json:"action"` // entered or exited
	At       string            `json:"at"`
	Values   map[string]string `json:"values"`
}

// Trigger is a trigger. One that is added or changed does not fire for what is due by now.
type Trigger struct {
	ID           string `json:"id"`
	Was          string `json:"was,omitempty"`  // the id in force, if that is another one
	Kind         string `json:"kind,omitempty"` // "" if it is removed
	Change       Change `json:"change"`
	NeedsHistory bool   `json:"needs_history"`
}

const triggerPrefix = "trigger:"

// report returns what was counted.
func (c *counting) report() *Report {
	r := &Report{
		App: c.cfg.App, Rules: c.o.Rules, At: c.at.least.String(), AtLatest: c.at.most.String(), Clock: "state",
		Customers: c.customers, Sample: max(1, c.o.Sample), Former: c.former, History: NotNeeded, HistorySince: map[string]string{},
		Incomplete: append([]string{}, c.short...), Reading: []string{}, Unmet: []string{}, Segments: []Segment{}, Triggers: []Trigger{},
	}
	if c.live {
		r.Clock = "now"
	}
	for topic, at := range c.since {
		r.HistorySince[topic] = at.String()
	}
	switch {
	case c.lacking && c.o.History:
		r.History = Folded
	case c.lacking:
		r.History = Missing
	}
	r.Affected = c.affected * r.Sample
	r.Due = Due{c.due.Changes * r.Sample, c.due.Firings * r.Sample}
	slices.Sort(c.unmet)
	r.Unmet = append(r.Unmet, slices.Compact(c.unmet)...)
	c.list(r)
	r.Same = maps.Equal(c.before, c.now) && len(c.changed) == 0
	return r
}

// list adds the rules, by their ids.
func (c *counting) list(r *Report) {
	whens, kinds := texts(c.cfg.Engine.Plan())
	ids := map[string]bool{}
	for _, m := range []map[string]string{c.before, c.now} {
		for id := range m {
			ids[id] = true
		}
	}
	for id := range c.renamed {
		if _, ok := c.now[id]; !ok {
			delete(ids, id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		name, isTrigger := strings.CutPrefix(id, triggerPrefix)
		switch {
		case isTrigger:
			r.Triggers = append(r.Triggers, Trigger{ID: name, Was: strings.TrimPrefix(c.was[id], triggerPrefix), Kind: kinds[name], Change: c.change(id), NeedsHistory: c.unknown[id]})
		case isSegment(id):
			s := c.segment(r, id, whens[id])
			r.Entered += s.Entered
			r.Exited += s.Exited
			r.Segments = append(r.Segments, s)
		case c.before[id] != c.now[id]:
			r.Reading = append(r.Reading, id)
		}
	}
}

func (c *counting) segment(r *Report, id, when string) Segment {
	n := c.rules[id]
	size := func(k int) *Size {
		return &Size{k * r.Sample, math.Round(1e6*float64(k)/float64(max(1, c.judged))) / 1e6}
	}
	s := Segment{ID: id, Was: c.was[id], Change: c.change(id), When: when, NeedsHistory: c.unknown[id], Entered: n.entered * r.Sample, Exited: n.exited * r.Sample, Examples: n.examplesOf()}
	if group, _, ok := strings.Cut(id, "/"); ok {
		s.Lifecycle = group
	}
	if s.Change != Added {
		s.Old = size(n.size)
	}
	if s.Change != Removed && !s.NeedsHistory {
		s.New = size(n.size + n.entered - n.exited)
	}
	return s
}

// change returns what becomes of a rule.
func (c *counting) change(id string) Change {
	_, was := c.before[cmp.Or(c.was[id], id)]
	_, is := c.now[id]
	switch {
	case !was:
		return Added
	case !is:
		return Removed
	case c.changed[id]:
		return Changed
	case c.was[id] != "":
		return Renamed
	}
	return Unchanged
}

// texts returns the conditions of segments and stages, and the kinds of triggers, by id.
func texts(p *plan.Plan) (whens, kinds map[string]string) {
	whens, kinds = map[string]string{}, map[string]string{}
	text := func(n *expr.Node) string { return n.Text(func(i int) string { return p.Inputs[i].Text }) }
	for i := range p.Spec.Segments {
		whens[p.Spec.Segments[i].ID] = text(p.Spec.Segments[i].When)
	}
	for i := range p.Spec.Lifecycles {
		l := &p.Spec.Lifecycles[i]
		for k := range l.Stages {
			whens[l.ID+"/"+l.Stages[k].ID] = text(l.Stages[k].When)
		}
	}
	for i := range p.Triggers {
		kinds[p.Triggers[i].ID] = p.Triggers[i].Kind.Name
	}
	return whens, kinds
}

// Losing returns what a guard says against the change: of each segment and stage that would
// lose more than a share of its members (0 to 1), that it would; and of each that was not
// previewed, that nobody knows.
func (r *Report) Losing(most float64) (losing, unknown []string) {
	for i := range r.Segments {
		s := &r.Segments[i]
		switch {
		case s.NeedsHistory && s.Old != nil:
			unknown = append(unknown, s.ID)
		case s.Old != nil && float64(s.Exited) > most*float64(s.Old.Size):
			losing = append(losing, fmt.Sprintf("%s would lose %s of its %s members (%s)", s.ID, r.number(s.Exited), r.number(s.Old.Size), percent(float64(s.Exited)/float64(s.Old.Size))))
		}
	}
	return losing, unknown
}

// Exits returns of each segment and stage that stays and would lose more than a share of its
// members (0 to 1), that it would; and the ids of those that stay and were not previewed.
func (r *Report) Exits(most float64) (exits, unknown []string) {
	for i := range r.Segments {
		s := &r.Segments[i]
		switch {
		case s.Old == nil || s.Change == Removed:
		case s.NeedsHistory:
			unknown = append(unknown, s.ID)
		case float64(s.Exited) > most*float64(s.Old.Size):
			exits = append(exits, fmt.Sprintf("this exits %.0f %% of %s", 100*float64(s.Exited)/float64(s.Old.Size), s.ID))
		}
	}
	return exits, unknown
}

// JSON writes the report as one line of JSON.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

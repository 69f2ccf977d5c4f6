// Package plan turns checked rules into what the engine runs: summaries that
// equal aggregates share, the fields that events must carry, an index from
// thresholds to rules, and an order of evaluation. It is pure.
package plan

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// Plan is a compiled Spec. It is immutable.
type Plan struct {
	Spec      *Spec
	Summaries []Summary    // sorted by Key
	Streams   []StreamPlan // by stream
	Inputs    []InputPlan  // same numbers as Spec.Inputs
	Units     []Unit       // in order of evaluation: a unit reads only memberships of earlier ones
	Segments  []SegmentPlan
	Triggers  []TriggerPlan // same numbers as Spec.Triggers, which are sorted by ID
	// ZoneSummary is the profile's time zone, -1 if no rule depends on it.
	ZoneSummary int
	// ZoneInputs are the inputs that change with it.
	ZoneInputs []int
}

// Summary is something stored per customer, shared by every input that can be
// computed from it.
type Summary struct {
	Key    Key // of Text
	Text   string
	Family *aggregate.Family
	Reach  expr.Millis // the longest window over it, of a list or recent set
	Stored expr.Kind   // kind of the field's values
	// Inputs are what is computed from it, directly or through since and years.
	Inputs []int
	// Read are those of Inputs that some unit reads, Timed those of Read that
	// change by time alone.
	Read, Timed []int
	// Triggers are those that read it.
	Triggers []int

	sources []Source
	field   string
}

// StreamPlan is what to do with an event of one stream.
type StreamPlan struct {
	Layout Layout
	// Conds are the different conditions on the stream's events, as predicates.
	Conds []expr.Fn
	// Always are the conditions to test on every event; Equal those to test only
	// if the field in a slot equals a text.
	Always []int
	Equal  []Dispatch
	// Every are the folds without a condition, ByCond those of a condition.
	Every  []Fold
	ByCond [][]Fold
	nodes  []*expr.Node // while compiling
}

// Dispatch finds the conditions that need a field to equal one of some texts.
type Dispatch struct {
	Slot  int
	Conds map[string][]Found
	few   []Texted // the same, if there are few
}

// Texted are the conditions that need one text.
type Texted struct {
	Text  string
	Conds []Found
}

// fewTexts are found faster one by one than by their hash.
const fewTexts = 6

// Find returns the conditions that may hold if the field is s.
func (d *Dispatch) Find(s string) []Found {
	if d.few == nil {
		return d.Conds[s]
	}
	for i := range d.few {
		if d.few[i].Text == s {
			return d.few[i].Conds
		}
	}
	return nil
}

// Found is a condition that may hold of an event.
type Found struct {
	Cond int
	Sure bool // it holds
}

// Fold gives an event to one summary.
type Fold struct {
	Summary int
	Slot    int  // of the field, -1 if none
	Negate  int  // the condition under which the value is subtracted, -1 if none
	Cart    bool // the summary is a cart
}

// SegmentPlan is one segment or stage.
type SegmentPlan struct {
	ID      string
	Key     Key // of ID
	Version string
	Group   string // the lifecycle, or ""
	Unit    int
	// Dependents are the units that read this membership.
	Dependents []int
}

// TriggerPlan is one trigger.
type TriggerPlan struct {
	*Trigger
	Key     Key // of ID
	Version string
	// Summary is its kind's fact, or what its input is computed from; -1 if it
	// reads a condition alone.
	Summary int
	// Unit is that of its condition, -1 if it has none.
	Unit   int
	Fields []expr.Fn
}

// UnitKind says what evaluating a unit decides.
type UnitKind uint8

// The kinds of units.
const (
	UnitSegment UnitKind = iota
	UnitLifecycle
	UnitTrigger
)

// Unit is what is evaluated as one: a segment, a lifecycle with all its stages,
// or the condition of a trigger.
type Unit struct {
	Kind    UnitKind
	Conds   []Cond
	Trigger int // of a UnitTrigger
}

// Cond is one condition of a unit.
type Cond struct {
	Segment int // index into Plan.Segments, -1 for a trigger
	Fn      expr.Fn
	Inputs  []int // what it reads, each once
	// Evidence is what it and the conditions before it read, the nearest first, at
	// most MaxEvidence; then sorted by text.
	Evidence []int
	node     *expr.Node
}

// ZonePath is the profile attribute that holds the customer's time zone.
const ZonePath = "time_zone"

// Compile turns a checked Spec into a Plan. zones resolves time zone names that
// stand in conditions. An error means that two texts share a hash (then one of
// them must be written differently) or that the spec did not come from the rule
// compiler.
func Compile(spec *Spec, zones expr.Zones) (*Plan, error) {
	own := *spec // the triggers are put in order
	own.Triggers = slices.Clone(spec.Triggers)
	s := &own
	n := spec.Streams().Len()
	c := compiler{
		Plan:  &Plan{Spec: s, ZoneSummary: -1, Streams: make([]StreamPlan, n)},
		paths: make([]map[string]bool, n),
		carts: make([]bool, n),
		zones: zones,
		byKey: map[Key]string{},
		sums:  map[string]int{},
		conds: map[string]int{},
	}
	if _, err := c.key(renamed); err != nil {
		return nil, err
	}
	sort.Slice(s.Triggers, func(i, j int) bool { return s.Triggers[i].ID < s.Triggers[j].ID })
	if err := s.Streams().distinct(); err != nil {
		return nil, err
	}
	for _, step := range []func() error{c.inputs, c.triggerFacts, c.sortSummaries, c.layouts, c.folds, c.units} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	c.index()
	return c.Plan, nil
}

type compiler struct {
	*Plan
	zones expr.Zones
	byKey map[Key]string
	sums  map[string]int    // by text
	conds map[string]int    // by stream and text
	paths []map[string]bool // by stream
	carts []bool            // those that a cart reads
}

func (c *compiler) key(text string) (Key, error) {
	k := KeyOf(text)
	if old, ok := c.byKey[k]; ok && old != text {
		return 0, fmt.Errorf("%q and %q have the same 64-bit hash: rename one of them, or write its condition in another way", old, text)
	}
	c.byKey[k] = text
	return k, nil
}

// summary returns the number of the summary that is described, adding it.
func (c *compiler) summary(f *aggregate.Family, src []Source, field string, stored expr.Kind, reach expr.Millis) (int, error) {
	src = unite(src)
	var b strings.Builder
	b.WriteString(f.String())
	for _, s := range src {
		fmt.Fprintf(&b, "|%s[%s][%s]", c.streamName(s.Stream), text(s.Cond), text(s.Negate))
	}
	b.WriteString("|" + field)
	b.WriteString(c.ownTypes(src, field))
	return c.add(Summary{Text: b.String(), Family: f, Reach: reach, Stored: stored, sources: src, field: field})
}

// ownTypes names the types of the declared fields that a summary is made of: under
// another type it is another summary. It is "" if there are none.
func (c *compiler) ownTypes(src []Source, field string) string {
	var l []string
	note := func(s Stream, path string) {
		if t := c.Spec.Catalog.TypeOf(s, path); t != nil && t.Own != "" {
			l = append(l, c.streamName(s)+"."+path+" "+t.Own)
		}
	}
	for _, s := range src {
		note(s.Stream, field)
		for _, n := range []*expr.Node{s.Cond, s.Negate} {
			walk(n, func(n *expr.Node) {
				if n.Op == expr.OpField {
					note(s.Stream, n.Path)
				}
			})
		}
	}
	if l == nil {
		return ""
	}
	slices.Sort(l)
	return "|" + strings.Join(slices.Compact(l), ", ")
}

// add returns the number of a summary, which is new if no other has its text.
func (c *compiler) add(s Summary) (int, error) {
	i, ok := c.sums[s.Text]
	if !ok {
		k, err := c.key("summary " + s.Text)
		if err != nil {
			return 0, err
		}
		s.Key, i = k, len(c.Summaries)
		c.sums[s.Text] = i
		c.Summaries = append(c.Summaries, s)
	}
	c.Summaries[i].Reach = max(c.Summaries[i].Reach, s.Reach)
	return i, nil
}

func (c *compiler) streamName(s Stream) string { return c.Spec.Streams().Name(s) }

func text(n *expr.Node) string {
	if n == nil {
		return ""
	}
	return n.Text(nil)
}

// unite merges the sources of one stream: an event that meets several of their
// conditions is one event.
func unite(src []Source) []Source {
	var out []Source
	for _, s := range src {
		i := slices.IndexFunc(out, func(o Source) bool { return o.Stream == s.Stream })
		switch {
		case i < 0:
			out = append(out, s)
		case out[i].Cond == nil || s.Cond == nil:
			out[i].Cond = nil
		default:
			out[i].Cond = &expr.Node{Op: expr.OpOr, Type: expr.Bool, Args: []*expr.Node{out[i].Cond, s.Cond}}
		}
	}
	slices.SortFunc(out, func(a, b Source) int { return int(a.Stream) - int(b.Stream) })
	return out
}

// layouts gives every field that is read a slot.
func (c *compiler) layouts() error {
	for i := range c.paths {
		c.paths[i] = map[string]bool{}
	}
	for i := range c.Summaries {
		s := &c.Summaries[i]
		for _, src := range s.sources {
			if s.field != "" {
				c.paths[src.Stream][s.field] = true
			}
			for _, n := range []*expr.Node{src.Cond, src.Negate} {
				walk(n, func(n *expr.Node) {
					if n.Op == expr.OpField {
						c.paths[src.Stream][n.Path] = true
					}
				})
			}
		}
		if s.Family == aggregate.FamCart {
			if err := c.cartPaths(s); err != nil {
				return err
			}
		}
	}
	for st := range c.Streams {
		l := &c.Streams[st].Layout
		l.Stream = Stream(st)
		for p := range c.paths[st] {
			l.Paths = append(l.Paths, p)
		}
		sort.Strings(l.Paths)
		if c.carts[st] {
			l.Cart = c.cartSlots(l)
		}
	}
	return nil
}

func walk(n *expr.Node, f func(*expr.Node)) {
	if n == nil {
		return
	}
	f(n)
	for _, a := range n.Args {
		walk(a, f)
	}
	if d := n.Fold; d != nil {
		for _, a := range []*expr.Node{d.Range, d.Init, d.While, d.Step, d.Result} {
			walk(a, f)
		}
	}
}

func (c *compiler) sortSummaries() error {
	order := make([]int, len(c.Summaries))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool { return c.Summaries[order[i]].Key < c.Summaries[order[j]].Key })
	to := make([]int, len(order))
	sorted := make([]Summary, len(order))
	for i, old := range order {
		to[old], sorted[i] = i, c.Summaries[old]
	}
	c.Summaries = sorted
	for i := range c.Inputs {
		if in := &c.Inputs[i]; in.Summary >= 0 {
			in.Summary = to[in.Summary]
			c.Summaries[in.Summary].Inputs = append(c.Summaries[in.Summary].Inputs, i)
		}
	}
	for i := range c.Triggers {
		if t := &c.Triggers[i]; t.Summary >= 0 {
			t.Summary = to[t.Summary]
			c.Summaries[t.Summary].Triggers = append(c.Summaries[t.Summary].Triggers, i)
		}
	}
	if c.ZoneSummary >= 0 {
		c.ZoneSummary = to[c.ZoneSummary]
	}
	return nil
}

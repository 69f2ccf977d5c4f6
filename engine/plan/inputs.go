package plan

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// InputPlan is an input with where it is computed from and what depends on it.
type InputPlan struct {
	*Input
	// Summary is what it is computed from, through Of if it is derived; -1 for
	// memberships.
	Summary int
	Index   Index
	// SegmentIndex is the number of the segment of an InSegment.
	SegmentIndex int
	// Plain: the value is a decimal that is no money, and people see it as a number.
	Plain bool
}

// Timed reports whether the value can change by time alone.
func (in *InputPlan) Timed() bool { return in.Window > 0 || in.Kind.Derived() }

// Zoned reports whether the value also depends on the customer's time zone: dates are
// those of the customer's calendar.
func (in *InputPlan) Zoned(of *Input) bool {
	return in.Kind == InYears || in.Kind == InUntil && of.Type == expr.Date
}

// inputs finds or makes the summary of every input.
func (c *compiler) inputs() error {
	c.Inputs = make([]InputPlan, len(c.Spec.Inputs))
	for i := range c.Spec.Inputs {
		in := &c.Spec.Inputs[i]
		p := &c.Inputs[i]
		p.Input, p.Summary, p.SegmentIndex = in, -1, -1
		p.Plain = c.isPlain(in)
		var err error
		switch in.Kind {
		case InAggregate:
			f := in.Agg.Life
			if in.Window > 0 {
				f = in.Agg.Window
			}
			if f == nil {
				return fmt.Errorf("input %s: %s takes no window", in.Text, in.Agg.Name)
			}
			p.Summary, err = c.summary(f, in.Sources, in.Field, in.Stored, in.Window)
		case InProfile:
			p.Summary, err = c.attribute(in.Field)
		case InConsent:
			p.Summary, err = c.consent(in)
		case InSince, InUntil, InYears:
			if in.Of < 0 || in.Of >= i {
				return fmt.Errorf("input %s: its base comes after it", in.Text)
			}
			p.Summary = c.Inputs[in.Of].Summary
			if p.Zoned(&c.Spec.Inputs[in.Of]) {
				c.ZoneInputs = append(c.ZoneInputs, i)
				c.ZoneSummary, err = c.attribute(ZonePath)
			}
		default: // the others need nothing here
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isPlain reports whether an input is a value of a field that is declared as a number.
func (c *compiler) isPlain(in *Input) bool {
	s := Profile
	if in.Kind == InAggregate && len(in.Sources) > 0 {
		s = in.Sources[0].Stream
	}
	t := c.Spec.Catalog.TypeOf(s, in.Field)
	return in.Stored == expr.Decimal && t != nil && !t.IsMoney()
}

// Shown returns a value of the input as people see it.
func (in *InputPlan) Shown(v expr.Value) expr.Value {
	if in.Plain && v.K == expr.Decimal {
		return expr.DoubleValue(expr.FloatOf(v.K, v.N))
	}
	return v
}

func (c *compiler) attribute(path string) (int, error) {
	return c.summary(aggregate.FamLast, []Source{{Stream: Profile}}, path, expr.Absent, 0)
}

func (c *compiler) consent(in *Input) (int, error) {
	cond := &expr.Node{Op: expr.OpAnd, Type: expr.Bool, Args: []*expr.Node{FieldIs("channel", in.Channel), FieldIs("purpose", in.Purpose)}}
	return c.summary(aggregate.FamLast, []Source{{Stream: Consent, Cond: cond}}, "state", expr.String, 0)
}

// triggerFacts finds or makes the summaries that triggers read.
func (c *compiler) triggerFacts() error {
	c.Triggers = make([]TriggerPlan, len(c.Spec.Triggers))
	for i := range c.Spec.Triggers {
		t := &c.Spec.Triggers[i]
		p := &c.Triggers[i]
		p.Trigger, p.Summary, p.Unit = t, -1, -1
		key, err := c.key("trigger " + t.ID)
		if err != nil {
			return err
		}
		p.Key = key
		if t.Kind.AsOf == AsOfInstant && !t.Kind.Has(SetInput) {
			return fmt.Errorf("triggers of kind %s are asked as of the instant and have no input", t.Kind.Name)
		}
		if err := c.triggerFact(p); err != nil {
			return err
		}
		p.Version = c.TriggerVersion(t, c.inputText)
	}
	return nil
}

// triggerFact finds or makes the summary that a trigger reads.
func (c *compiler) triggerFact(p *TriggerPlan) (err error) {
	kind := p.Kind
	switch {
	case kind.Fact != nil:
		f := kind.Fact(p.Trigger)
		if f.Text != "" {
			p.Summary, err = c.add(Summary{Text: f.Text, Family: f.Family, Reach: f.Reach, sources: unite(f.Sources)})
			break
		}
		p.Summary, err = c.summary(f.Family, f.Sources, "", expr.Absent, f.Reach)
	case kind.Has(SetInput):
		p.Summary = c.Inputs[p.Input].Summary
	}
	if err == nil && kind.Zoned {
		c.ZoneSummary, err = c.attribute(ZonePath)
	}
	return err
}

// TriggerVersion hashes what decides on a trigger; text names inputs. The delay "after" is
// hashed with the re-entry, other values together: what is hashed may not change.
func (p *Plan) TriggerVersion(t *Trigger, inputText func(int) string) string {
	after := t.Setting("after").N
	parts := []string{t.Kind.Name, fmt.Sprint(t.Reentry, after)}
	for _, s := range unite(t.Sources) {
		parts = append(parts, p.Spec.Streams().Name(s.Stream), text(s.Cond))
	}
	if t.Kind.Has(SetInput) {
		parts = append(parts, inputText(t.Input))
	}
	var values []string
	for i, s := range t.Kind.Settings {
		switch v := t.Values[i]; {
		case s.Form != SetValue || s.Word == "after":
		case v.K == expr.Bool:
			values = append(values, fmt.Sprint(v.N != 0))
		case v.K == expr.String:
			values = append(values, strconv.Quote(v.S))
		default:
			values = append(values, fmt.Sprint(v.N))
		}
	}
	if values != nil {
		parts = append(parts, strings.Join(values, " "))
	}
	if t.When != nil {
		parts = append(parts, t.When.Text(inputText))
	}
	for _, f := range t.Fields {
		parts = append(parts, f.Name, f.Node.Text(inputText))
	}
	return version(parts...)
}

func (c *compiler) inputText(i int) string { return c.Inputs[i].Text }

// folds compiles, for every stream, the conditions and what they feed.
func (c *compiler) folds() error {
	for si := range c.Summaries {
		s := &c.Summaries[si]
		for _, src := range s.sources {
			sp := &c.Streams[src.Stream]
			f := Fold{Summary: si, Slot: -1, Negate: -1, Cart: s.Family == aggregate.FamCart}
			if s.field != "" {
				f.Slot = sp.Layout.Slot(s.field)
			}
			if src.Negate != nil {
				i, err := c.cond(src.Stream, src.Negate)
				if err != nil {
					return err
				}
				f.Negate = i
			}
			if src.Cond == nil {
				sp.Every = append(sp.Every, f)
				continue
			}
			i, err := c.cond(src.Stream, src.Cond)
			if err != nil {
				return err
			}
			sp.ByCond[i] = append(sp.ByCond[i], f)
		}
	}
	c.dispatch()
	return nil
}

// cond returns the number of a condition on a stream, compiling it once.
func (c *compiler) cond(st Stream, n *expr.Node) (int, error) {
	t := c.streamName(st) + " " + text(n)
	if i, ok := c.conds[t]; ok {
		return i, nil
	}
	sp := &c.Streams[st]
	ec := expr.Compiler{Slot: sp.Layout.Slot, Zones: c.zones}
	fn, err := ec.Compile(n)
	if err != nil {
		return 0, fmt.Errorf("condition %s: %w", text(n), err)
	}
	i := len(sp.Conds)
	c.conds[t] = i
	sp.Conds = append(sp.Conds, fn)
	sp.ByCond = append(sp.ByCond, nil)
	sp.nodes = append(sp.nodes, n)
	return i, nil
}

// dispatch sorts the conditions of each stream into those that are tested on
// every event and those that can hold only if some field equals a text. Ten
// thousand rules on page names then cost one look-up.
func (c *compiler) dispatch() {
	for st := range c.Streams {
		sp := &c.Streams[st]
		for i, n := range sp.nodes {
			if len(sp.ByCond[i]) == 0 {
				continue // only a Negate
			}
			slot, texts, ok := needsEqual(n, &sp.Layout)
			if !ok {
				sp.Always = append(sp.Always, i)
				continue
			}
			d := slices.IndexFunc(sp.Equal, func(d Dispatch) bool { return d.Slot == slot })
			if d < 0 {
				d = len(sp.Equal)
				sp.Equal = append(sp.Equal, Dispatch{Slot: slot, Conds: map[string][]Found{}})
			}
			for _, v := range texts {
				f := Found{i, n.Op == expr.OpEq || n.Op == expr.OpIn}
				if conds := sp.Equal[d].Conds; !slices.Contains(conds[v.S], f) {
					conds[v.S] = append(conds[v.S], f)
				}
			}
		}
		for i := range sp.Equal {
			if d := &sp.Equal[i]; len(d.Conds) <= fewTexts {
				for _, t := range slices.Sorted(maps.Keys(d.Conds)) {
					d.few = append(d.few, Texted{t, d.Conds[t]})
				}
			}
		}
		sp.nodes = nil
	}
}

// needsEqual finds a conjunct `field == "text"` or `field in ["text", ...]` of a
// condition.
func needsEqual(n *expr.Node, l *Layout) (slot int, texts []expr.Value, ok bool) {
	switch n.Op {
	case expr.OpEq:
		a, b := n.Args[0], n.Args[1]
		if a.Op == expr.OpConst {
			a, b = b, a
		}
		if a.Op == expr.OpField && b.Op == expr.OpConst && b.Const.K == expr.String {
			return l.Slot(a.Path), []expr.Value{b.Const}, true
		}
	case expr.OpIn:
		list, ok := constantList(n.Args[1])
		if a := n.Args[0]; ok && a.Op == expr.OpField && len(list.L) > 0 && allTexts(list.L) {
			return l.Slot(a.Path), list.L, true
		}
	case expr.OpAnd:
		for _, a := range n.Args {
			if slot, texts, ok = needsEqual(a, l); ok {
				return slot, texts, true
			}
		}
	}
	return 0, nil, false
}

package rule

import (
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// node makes the value of the aggregate: an input, or an expression on one.
func (a *aggregation) node() *expr.Node {
	c := a.x.compiler
	in := a.input()
	switch a.name {
	case "did":
		zero := expr.IntValue(0)
		return &expr.Node{Op: expr.OpGt, Type: expr.Bool, Args: []*expr.Node{c.inputNode(in), {Op: expr.OpConst, Type: expr.Int, Const: zero}}}
	case "since_first", "since_last":
		return c.sinceNode(c.input(in))
	}
	n := c.inputNode(in)
	if a.field != nil {
		c.fields[n] = c.fields[a.field]
	}
	return n
}

// input makes the plan's form of the aggregate.
func (a *aggregation) input() plan.Input {
	in := plan.Input{Kind: plan.InAggregate, Window: a.window, Agg: a.ofEvents}
	if a.field != nil {
		in.Agg, in.Field, in.Stored = a.ofField, a.field.Path, a.x.fields[a.field].Kind
	}
	in.Type = in.Agg.Result(in.Stored)
	in.Sources = a.x.spec.Activity
	if !a.activity {
		in.Sources = []plan.Source{a.source(in.Agg.Signed && in.Stored == expr.Decimal)}
	}
	in.Text = in.Agg.Name + "(" + strings.Join(a.texts(in), ", ") + ")"
	return in
}

// source is the stream with the condition that counts: of purchases the
// completed ones, unless the rule speaks of their kind.
func (a *aggregation) source(signed bool) plan.Source {
	s := narrowed(a.stream, a.cond, signed)
	if settled := a.stream.Info().Settled; settled != nil && signed {
		s.Negate = settledIn(a.stream, settled.Back...)
	}
	return s
}

// narrowed adds to a condition which events are meant where it does not say: of
// purchases the completed ones. Sums of money see refunds and cancellations too, to
// subtract them.
func narrowed(s plan.Stream, cond *expr.Node, signed bool) plan.Source {
	out := plan.Source{Stream: s, Cond: cond}
	settled := s.Info().Settled
	if settled == nil || names(cond, settled.Field) {
		return out
	}
	out.Cond = settledIn(s, settled.Holds)
	if signed {
		out.Cond = settledIn(s, append(settled.Back[:len(settled.Back):len(settled.Back)], settled.Holds)...)
	}
	if cond != nil {
		out.Cond = join(expr.OpAnd, nil, out.Cond, cond)
	}
	return out
}

// names reports whether the condition speaks of a field.
func names(cond *expr.Node, field string) bool {
	found := false
	if cond != nil {
		walk(cond, func(n *expr.Node) { found = found || n.Op == expr.OpField && n.Path == field })
	}
	return found
}

// settledIn is the condition that the field that settles an event of s has one of the
// values.
func settledIn(s plan.Stream, values ...string) *expr.Node {
	values = slices.Sorted(slices.Values(values))
	field := &expr.Node{Op: expr.OpField, Type: expr.String, Name: s.String(), Path: s.Info().Settled.Field}
	vals := make([]expr.Value, len(values))
	for i, k := range values {
		vals[i] = expr.StringValue(k)
	}
	op, list := expr.OpIn, &expr.Node{Op: expr.OpConst, Type: expr.List, Const: expr.ListValue(vals)}
	if len(vals) == 1 {
		op, list = expr.OpEq, &expr.Node{Op: expr.OpConst, Type: expr.String, Const: vals[0]}
	}
	return &expr.Node{Op: op, Type: expr.Bool, Args: []*expr.Node{field, list}}
}

// texts prints the arguments with everything that is left out by default made
// explicit, except the condition that the bare form stands for.
func (a *aggregation) texts(in plan.Input) []string {
	var parts []string
	if a.activity {
		parts = append(parts, a.x.activityText())
	} else {
		source := in.Sources[0]
		plain := narrowed(a.stream, nil, source.Negate != nil)
		cond := nodeText(source.Cond)
		isPlain := cond == nodeText(plain.Cond)
		switch {
		case a.field != nil && isPlain:
			parts = append(parts, a.field.Text(nil))
		case a.field != nil:
			parts = append(parts, a.field.Text(nil), cond)
		case isPlain:
			parts = append(parts, a.stream.String())
		default:
			parts = append(parts, cond)
		}
	}
	if in.Window > 0 {
		parts = append(parts, expr.DurationText(in.Window))
	}
	return parts
}

// nodeText prints a tree that reads no input.
func nodeText(n *expr.Node) string {
	if n == nil {
		return ""
	}
	return n.Text(nil)
}

// sinceNode is the time from a time-valued input to now.
func (c *compiler) sinceNode(of int) *expr.Node {
	return c.inputNode(plan.Input{
		Text: sinceText(&c.spec.Inputs[of]), Kind: plan.InSince, Type: expr.Duration, Of: of,
	})
}

// profileNode is an attribute of the profile.
func (c *compiler) profileNode(path string, t *expr.Type) *expr.Node {
	n := c.inputNode(plan.Input{
		Text: expr.FieldText(plan.Profile.String(), path), Kind: plan.InProfile, Type: ruleKind(t.Kind), Field: path, Stored: t.Kind,
	})
	c.fields[n] = t
	return n
}

// ruleKind is the kind by which rules see values that are stored as k.
func ruleKind(k expr.Kind) expr.Kind {
	if k == expr.Decimal {
		return expr.Double
	}
	return k
}

// sinceText names the time since an input as people write it.
func sinceText(of *plan.Input) string {
	if of.Kind == plan.InAggregate && of.Agg.Gives == expr.Time {
		return "since_" + of.Text
	}
	return "since(" + of.Text + ")"
}

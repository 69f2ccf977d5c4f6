package rule

import (
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/language"
)

// node makes the value of the aggregate: an input, or an expression on one.
func (a *aggregation) node() *expr.Node {
	c := a.x.compiler
	in := a.input()
	if a.field != nil {
		c.lint.Money(a.x.src.PlaceOf(a.call), &in, c.fields[a.field])
	}
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
		in.Sources = []plan.Source{a.source(in.Agg.Signed && a.field != nil && a.x.fields[a.field].IsMoney())}
	}
	in.Text = in.Agg.Name + "(" + strings.Join(a.texts(in), ", ") + ")"
	return in
}

// source is the stream with the condition that counts: of purchases the
// completed ones, unless the rule speaks of their kind.
func (a *aggregation) source(signed bool) plan.Source {
	s := canon.Narrowed(a.stream, a.cond, signed)
	if settled := a.stream.Builtin().Settled; settled != nil && signed {
		s.Negate = canon.SettledIn(a.stream, settled.Back...)
	}
	return s
}

// texts prints the arguments with everything that is left out by default made
// explicit, except the condition that the bare form stands for.
func (a *aggregation) texts(in plan.Input) []string {
	var parts []string
	if a.activity {
		parts = append(parts, a.x.activityText())
	} else {
		source := in.Sources[0]
		plain := canon.Narrowed(a.stream, nil, source.Negate != nil)
		cond := canon.Text(source.Cond)
		isPlain := cond == canon.Text(plain.Cond)
		switch {
		case a.field != nil && isPlain:
			parts = append(parts, a.field.Text(nil))
		case a.field != nil:
			parts = append(parts, a.field.Text(nil), cond)
		case isPlain:
			parts = append(parts, a.x.table().Name(a.stream))
		default:
			parts = append(parts, cond)
		}
	}
	if in.Window > 0 {
		parts = append(parts, expr.DurationText(in.Window))
	}
	return parts
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
		Text: expr.FieldText(plan.Profile.String(), path), Kind: plan.InProfile, Type: language.RuleKind(t.Kind), Field: path, Stored: t.Kind,
	})
	c.fields[n] = t
	return n
}

// sinceText names the time since an input as people write it.
func sinceText(of *plan.Input) string {
	if of.Kind == plan.InAggregate && of.Agg.Gives == expr.Time {
		return "since_" + of.Text
	}
	return "since(" + of.Text + ")"
}

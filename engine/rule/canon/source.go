package canon

import (
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Narrowed adds to a condition which events are meant where it does not say: of
// purchases the completed ones. Sums of money see refunds and cancellations too, to
// subtract them.
func Narrowed(s plan.Stream, cond *expr.Node, signed bool) plan.Source {
	out := plan.Source{Stream: s, Cond: cond}
	settled := s.Builtin().Settled
	if settled == nil || mentions(cond, settled.Field) {
		return out
	}
	out.Cond = SettledIn(s, settled.Holds)
	if signed {
		out.Cond = SettledIn(s, append(settled.Back[:len(settled.Back):len(settled.Back)], settled.Holds)...)
	}
	if cond != nil {
		out.Cond = Join(expr.OpAnd, nil, out.Cond, cond)
	}
	return out
}

// mentions reports whether the condition speaks of a field.
func mentions(cond *expr.Node, field string) bool {
	found := false
	if cond != nil {
		Walk(cond, func(n *expr.Node) { found = found || n.Op == expr.OpField && n.Path == field })
	}
	return found
}

// SettledIn is the condition that the field that settles an event of s has one of the
// values.
func SettledIn(s plan.Stream, values ...string) *expr.Node {
	values = slices.Sorted(slices.Values(values))
	field := &expr.Node{Op: expr.OpField, Type: expr.String, Name: s.String(), Path: s.Builtin().Settled.Field}
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

// AddSource adds s, joined with what is already there of its stream.
func AddSource(sources []plan.Source, s plan.Source) []plan.Source {
	i := slices.IndexFunc(sources, func(o plan.Source) bool { return o.Stream == s.Stream })
	switch {
	case i < 0:
		return append(sources, s)
	case sources[i].Cond == nil || s.Cond == nil:
		sources[i].Cond = nil
	default:
		sources[i].Cond = Join(expr.OpOr, nil, sources[i].Cond, s.Cond)
	}
	return sources
}

// SortSources sorts by stream.
func SortSources(sources []plan.Source) {
	slices.SortFunc(sources, func(a, b plan.Source) int { return int(a.Stream) - int(b.Stream) })
}

// SourcesText prints what counts, in canonical form.
func SourcesText(t *plan.Streams, sources []plan.Source) string {
	parts := make([]string, len(sources))
	for i, s := range sources {
		parts[i] = t.Name(s.Stream)
		if s.Cond != nil {
			parts[i] = Text(s.Cond)
		}
	}
	return strings.Join(parts, ", ")
}

// Text prints a tree that reads no input.
func Text(n *expr.Node) string {
	if n == nil {
		return ""
	}
	return n.Text(nil)
}

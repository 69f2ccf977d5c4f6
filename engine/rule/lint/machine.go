package lint

import (
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
)

// Machines warns of a condition on events that takes those that a machine makes for those
// of people.
func (l *Linter) Machines(at file.Place, n *expr.Node) {
	for _, info := range l.Spec.Streams().All() {
		m := info.Machine
		if m == nil {
			continue
		}
		looks := false
		canon.Walk(n, func(n *expr.Node) { looks = looks || isField(n, info.Name, m.Flag) })
		if c := made(n, info, true); c != nil && !looks {
			l.Log.Warn(at, file.MachineOpens.Hint("write ("+c.Text(nil)+" && !"+info.Name+"."+m.Flag+")"), "%s", m.Message)
		}
	}
}

func isField(n *expr.Node, stream, path string) bool {
	return n.Op == expr.OpField && n.Name == stream && n.Path == path
}

// made finds the comparison by which n has that value for events of a stream that a machine
// can make, nil without one.
func made(n *expr.Node, of *plan.StreamInfo, value bool) *expr.Node {
	switch n.Op {
	case expr.OpNot:
		return made(n.Args[0], of, !value)
	case expr.OpAnd, expr.OpOr:
		for _, a := range n.Args {
			if c := made(a, of, value); c != nil {
				return c
			}
		}
	case expr.OpEq, expr.OpIn:
		if value && isField(n.Args[0], of.Name, of.Machine.Field) && n.Args[1].Op == expr.OpConst && holds(n.Args[1].Const, of.Machine.Value) {
			return n
		}
	default:
	}
	return nil
}

// holds reports whether a constant is a text, or a list with it.
func holds(v expr.Value, text string) bool {
	return v.S == text || slices.ContainsFunc(v.L, func(v expr.Value) bool { return v.S == text })
}

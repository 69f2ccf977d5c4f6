package sim

import (
	"fmt"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// specText writes a rule set down for a person who looks into a failure.
func specText(s *plan.Spec) string {
	var b strings.Builder
	fmt.Fprintf(&b, "zone %s\n", s.Zone)
	for _, g := range s.Segments {
		fmt.Fprintf(&b, "segment %s: %s\n", g.ID, nodeText(s, g.When))
	}
	for _, l := range s.Lifecycles {
		for _, g := range l.Stages {
			fmt.Fprintf(&b, "stage %s/%s: %s\n", l.ID, g.ID, nodeText(s, g.When))
		}
	}
	for i := range s.Triggers {
		t := &s.Triggers[i]
		fmt.Fprintf(&b, "trigger %s: %s", t.ID, t.Kind.Name)
		switch t.Kind.Name {
		case ruleKind:
			fmt.Fprintf(&b, " when %s", nodeText(s, t.When))
		case anniversary:
			fmt.Fprintf(&b, " of %s at %s offset %d mar_1=%v", s.Inputs[t.Input].Text, expr.FormatDuration(Millis(t.Setting("at").N)), t.Setting("offset").N, t.Setting("feb_29").True())
		default:
			fmt.Fprintf(&b, " after %s, %d sources", expr.FormatDuration(delayOf(t)), len(t.Sources))
		}
		if t.Reentry == plan.Once {
			b.WriteString(" once")
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// nodeText writes an expression down.
func nodeText(s *plan.Spec, n *expr.Node) string {
	args := make([]string, len(n.Args))
	for i, a := range n.Args {
		args[i] = nodeText(s, a)
	}
	signs := map[expr.Op]string{
		expr.OpAnd: "&&", expr.OpOr: "||", expr.OpIn: "in", expr.OpAdd: "+", expr.OpSub: "-", expr.OpMul: "*", expr.OpDiv: "/",
	}
	for op, sign := range comparisons {
		signs[op] = sign
	}
	switch {
	case n.Op == expr.OpConst:
		return n.Const.String()
	case n.Op == expr.OpField:
		return n.Path
	case n.Op == expr.OpInput:
		return s.Inputs[n.Ref].Text
	case n.Op == expr.OpNot:
		return "!" + args[0]
	case n.Op == expr.OpHas:
		return "has(" + args[0] + ")"
	case n.Op == expr.OpCond:
		return "(" + args[0] + " ? " + args[1] + " : " + args[2] + ")"
	case signs[n.Op] != "":
		return "(" + strings.Join(args, " "+signs[n.Op]+" ") + ")"
	}
	return fmt.Sprintf("op%d(%s)", n.Op, strings.Join(args, ", "))
}

package lint

import (
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
)

// comparison warns of one that is never true, or always, and reports whether it is.
func (l *Linter) comparison(at file.Place, n *expr.Node) bool {
	never := l.Judge.NeverTrue(n)
	if !never && !l.Judge.AlwaysTrue(n) {
		return false
	}
	remark, message := file.AlwaysTrue.Hint(""), "this is always true"
	if never {
		remark, message = file.NeverTrue.Hint(l.settledHint(n)), "this is never true"
	}
	if of := l.Judge.Of(n.Args[0]); of != "" && n.Args[1].Op == expr.OpConst {
		message += ": " + l.text(n.Args[0]) + " is " + of
	}
	l.Log.Warn(at, remark, "%s", message)
	return true
}

// settledHint says how to ask whether the latest event took something back, if that is what
// a comparison wants to know.
func (l *Linter) settledHint(n *expr.Node) string {
	if n.Op != expr.OpEq || n.Args[0].Op != expr.OpInput || n.Args[1].Op != expr.OpConst {
		return ""
	}
	in := &l.Spec.Inputs[n.Args[0].Ref]
	if in.Kind != plan.InAggregate || in.Agg.Name != "last" || len(in.Sources) != 1 {
		return ""
	}
	stream := in.Sources[0].Stream
	settled := stream.Builtin().Settled
	if settled == nil || in.Field != settled.Field {
		return ""
	}
	name := l.Spec.Streams().Name(stream)
	return "write did(" + name + ") && last(" + name + "." + in.Field + " == " + strconv.Quote(n.Args[1].Const.S) + ") > last(" + name + ")"
}

// Condition warns of a condition that no customer meets, or no event, as who says.
func (l *Linter) Condition(at file.Place, n *expr.Node, who string) {
	if canon.IsFalse(n) {
		l.Log.Warn(at, file.NeverTrue.Hint(""), "this is never true")
		return
	}
	if !l.Judge.NeverTrue(n) {
		return
	}
	core := l.Judge.Core(n)
	if len(core) == 1 {
		l.Log.Warn(at, file.NeverTrue.Hint(""), "this is never true")
		return
	}
	parts := make([]string, len(core))
	for i, c := range core {
		parts[i] = l.text(c)
	}
	l.Log.Warn(at, file.NeverTrue.Hint(""), "this is never true: no %s meets %s together", who, strings.Join(parts, " and "))
}

// Always warns of a condition that every customer meets, or every event, and reports
// whether it is one.
func (l *Linter) Always(at file.Place, n *expr.Node, who string) bool {
	if !l.Judge.AlwaysTrue(n) {
		return false
	}
	l.Log.Warn(at, file.AlwaysTrue.Hint(""), "this is true of every %s", who)
	return true
}

// maxAbove is how many stages above one are looked at, so that the work stays in proportion
// to the number of stages.
const maxAbove = 16

// Stages warns of stages that nobody reaches, because all who meet their condition are in
// one above.
func (l *Linter) Stages(stages []Rule) {
	for i, s := range stages {
		above := stages[max(0, i-maxAbove):i]
		if l.Judge.AlwaysTrue(s.When) {
			if i < len(stages)-1 {
				l.warn(s, file.NeverReached.Hint("put it last"), "nobody reaches the stages below this one")
			}
			return
		}
		if i > 0 && !l.Judge.NeverTrue(s.When) && l.isTaken(s.When, above) {
			l.warn(s, file.NeverReached.Hint("put the narrower stage first"), "nobody reaches this stage: all who meet it are in %s", l.taker(s.When, above))
		}
	}
}

// isTaken reports whether all who meet a condition are in one of some stages.
func (l *Linter) isTaken(n *expr.Node, above []Rule) bool {
	conditions := make([]*expr.Node, len(above))
	for i, a := range above {
		conditions[i] = a.When
	}
	return l.Judge.NeverReached(n, conditions...)
}

// taker names the stage that takes all who meet a condition, or those above if it is not
// one alone.
func (l *Linter) taker(n *expr.Node, above []Rule) string {
	for _, a := range above {
		if l.Judge.NeverReached(n, a.When) {
			return "stage " + strconv.Quote(a.ID)
		}
	}
	return "stages above it"
}

package lint

import (
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/rule/file"
)

// Rule is a segment or a stage with the place of its condition.
type Rule struct {
	ID   string
	At   *file.Passage
	When *expr.Node
	// Allow are the warnings that it says are meant.
	Allow *file.Allow
}

// Same warns of segments whose condition another one has too, and of those that differ from
// another one by narrower limits alone. Its time is in proportion to the number of rules: it
// compares canonical texts, and limits with their neighbours in order.
func (l *Linter) Same(rules []Rule) {
	first := make(map[string]Rule, len(rules))
	families := make(map[string][]limited)
	for _, r := range rules {
		text := l.text(r.When)
		if prev, ok := first[text]; ok {
			l.warn(r, file.EqualRules.Hint("use one of them, or in_segment("+strconv.Quote(prev.ID)+") in another condition"),
				"segment %s in %s has the same condition", strconv.Quote(prev.ID), file.Where(prev.At))
			continue
		}
		first[text] = r
		if shape, limits := l.shape(r.When); len(limits) > 0 {
			families[shape] = append(families[shape], limited{r, limits})
		}
	}
	for _, family := range families {
		slices.SortStableFunc(family, func(a, b limited) int { return slices.Compare(a.limits, b.limits) })
		for i := range family[1:] {
			if wide, narrow := family[i], family[i+1]; wide.contains(narrow) {
				l.warn(narrow.Rule, file.ContainedRule.Hint("if they are levels, make them stages of a lifecycle, the narrowest first"),
					"whoever is in this segment is in segment %s too", strconv.Quote(wide.ID))
			}
		}
	}
}

// warn warns of a rule, unless it says that this is meant.
func (l *Linter) warn(r Rule, remark file.Remark, format string, args ...any) {
	before := l.Log.Allowing(r.Allow)
	l.Log.Warn(r.At, remark, format, args...)
	l.Log.Allowing(before)
}

// limited is a rule with the limits in it, each the higher the narrower.
type limited struct {
	Rule
	limits []float64
}

func (w limited) contains(o limited) bool {
	for i := range w.limits {
		if w.limits[i] > o.limits[i] {
			return false
		}
	}
	return true
}

// shape prints a conjunction without its limits.
func (l *Linter) shape(n *expr.Node) (string, []float64) {
	var parts []string
	var limits []float64
	for _, c := range conjuncts(n) {
		text, limit, ok := l.limit(c)
		if parts = append(parts, text); ok {
			limits = append(limits, limit)
		}
	}
	return strings.Join(parts, "\x00"), limits
}

// limit takes the limit off a comparison of a number with a constant.
func (l *Linter) limit(n *expr.Node) (string, float64, bool) {
	if n.Op < expr.OpLt || n.Op > expr.OpGe || n.Args[1].Op != expr.OpConst || n.Args[1].Const.K == expr.String {
		return l.text(n), 0, false
	}
	f := n.Args[1].Const.Float()
	if n.Op == expr.OpLt || n.Op == expr.OpLe {
		f = -f
	}
	return strconv.Itoa(int(n.Op)) + " " + l.text(n.Args[0]), f, true
}

package sim

import (
	"fmt"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// family makes segments that share a comparison and differ in another: the index
// of thresholds keeps them in another way than a few rules.
func (g *grammar) family() []func() {
	var l []func()
	shared, own := g.comparison(), g.comparison()
	if chance(g.r, 15) { // both of one input
		own = shared
	}
	for i := range 4 + g.r.IntN(6) {
		when := both(shared(false), own(true))
		if chance(g.r, 20) {
			when = both(own(true), shared(false))
		}
		switch g.r.IntN(8) {
		case 0:
			when = both(when, g.simple())
		case 1: // in a part that is no comparison
			a, b := own(true), g.simple()
			either := phrase{"(" + a.text + ") || (" + b.text + ")", apply(expr.OpOr, expr.Bool, a.node, b.node)}
			when = both(shared(false), either)
		case 2: // and the shared one in it
			a, b := shared(false), own(true)
			either := phrase{"(" + a.text + ") || (" + b.text + ")", apply(expr.OpOr, expr.Bool, a.node, b.node)}
			when = both(either, g.simple())
		}
		id := fmt.Sprintf("f%d", i)
		g.names = append(g.names, id)
		l = append(l, func() {
			g.spec.Segments = append(g.spec.Segments, plan.Segment{ID: id, When: when.node})
			fmt.Fprintf(&g.text, "  - {id: %s, %s, when: %q}\n", id, ruleMeta, when.text)
		})
	}
	return l
}

func both(a, b phrase) phrase {
	return phrase{"(" + a.text + ") && (" + b.text + ")", apply(expr.OpAnd, expr.Bool, a.node, b.node)}
}

// comparison returns what makes comparisons of one input, with one constant and
// operator or with a new one each time.
func (g *grammar) comparison() func(fresh bool) phrase {
	var draw func() phrase
	switch g.r.IntN(7) {
	case 0:
		n := g.profileCountry()
		draw = func() phrase {
			if chance(g.r, 20) {
				return g.member(n.text, n.node, countries)
			}
			return related(g.r, pick(g.r, expr.OpEq, expr.OpEq, expr.OpNe), n, quoted(pick(g.r, countries...)))
		}
	case 1, 2:
		n := g.count()
		if chance(g.r, 60) { // of purchases, so that one event moves both
			w, text := g.window()
			n = g.read(plan.Input{
				Text: "count(purchase" + text + ")", Kind: plan.InAggregate, Type: expr.Int, Agg: count(),
				Sources: subjectOf(plan.Purchase, phrase{}, false).sources, Window: w,
			})
		}
		draw = func() phrase { return versus(g.r, n, number(expr.IntValue(int64(g.r.IntN(6))))) }
	case 3, 4:
		sources := subjectOf(plan.Purchase, phrase{}, false).sources
		of := plan.Input{Text: "last(purchase)", Kind: plan.InAggregate, Type: expr.Time, Agg: ofTime("last"), Sources: sources}
		n := g.read(plan.Input{Kind: plan.InSince, Type: expr.Duration, Of: g.ref(of), Text: "since_last(purchase)"})
		draw = func() phrase { return g.growing(n, duration(pick(g.r, append(g.windows, 45*Day)...))) }
	default:
		n, k := g.numeric()
		draw = func() phrase { return versus(g.r, n, g.threshold(k)) }
	}
	first := draw()
	return func(fresh bool) phrase {
		if fresh {
			return draw()
		}
		return first
	}
}

package page

import (
	"cmp"
	"io"
	"slices"
	"strings"

	"github.com/segmill/segmill/internal/backtest"
)

// Backtest writes the page of one rule set.
func Backtest(w io.Writer, b *backtest.Backtest) error {
	fired := 0
	for i := range b.Triggers {
		fired += b.Triggers[i].Fired
	}
	d := document{
		Title: "Backtest of " + strings.Join(b.Rules, ", "),
		About: []string{span(&b.Frame), lines(&b.Input)},
		Cards: []fact{
			{Name: "customers", Value: thousands(b.Customers)},
			{Name: "segments and stages", Value: thousands(len(b.Segments))},
			{Name: "firings of triggers", Value: thousands(fired)},
		},
	}
	if len(b.Segments) > 0 {
		d.Sections = append(d.Sections, segments(b))
	}
	if len(b.Triggers) > 0 {
		d.Sections = append(d.Sections, triggers(b))
	}
	return d.write(w)
}

func segments(b *backtest.Backtest) section {
	s := section{Title: "Segments and stages", Table: table{Head: head("segment", ">size", ">share", "expected", ">entered", ">exited")}}
	drawn := busiest(b.Segments, func(x *backtest.Segment) int { return x.Entered + x.Size })
	for i := range b.Segments {
		x := &b.Segments[i]
		id := cell{Class: "id", Text: x.ID}
		if drawn[i] && len(b.Periods) > 0 {
			id.Link = anchor("segment", x.ID)
			s.Rules = append(s.Rules, rule{Anchor: id.Link, ID: x.ID, Charts: []chart{
				sizes("Size", b.Periods, series{"new", "members", x.OverTime.Size}),
				flow("Entries and exits", b.Periods, [2][]int{x.OverTime.Entered, x.OverTime.Exited}, [2][]int{}),
			}})
		}
		s.Table.Rows = append(s.Table.Rows, []cell{
			id, number(x.Size), {Class: "n", Text: percent(x.Share)}, {Text: x.Expected}, number(x.Entered), number(x.Exited),
		})
	}
	s.More = notDrawn(len(b.Segments) - len(s.Rules))
	return s
}

func triggers(b *backtest.Backtest) section {
	s := section{Title: "Triggers", Table: table{Head: head("trigger", "kind", ">fired")}}
	drawn := busiest(b.Triggers, func(x *backtest.Trigger) int { return x.Fired })
	for i := range b.Triggers {
		x := &b.Triggers[i]
		id := cell{Class: "id", Text: x.ID}
		if drawn[i] && len(b.Periods) > 0 {
			id.Link = anchor("trigger", x.ID)
			s.Rules = append(s.Rules, rule{Anchor: id.Link, ID: x.ID, Charts: []chart{
				counts("Fired", b.Periods, series{"new", "firings", x.OverTime.Fired}),
			}})
		}
		s.Table.Rows = append(s.Table.Rows, []cell{id, {Text: x.Kind}, number(x.Fired)})
	}
	s.More = notDrawn(len(b.Triggers) - len(s.Rules))
	return s
}

// busiest says which rules are drawn: those that something became of, and of many the ones
// of which the most did.
func busiest[X any](l []X, of func(*X) int) []bool {
	order := make([]int, len(l))
	for i := range l {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(of(&l[b]), of(&l[a])) })
	drawn := make([]bool, len(l))
	for _, i := range order[:min(mostRules, len(order))] {
		drawn[i] = of(&l[i]) > 0
	}
	return drawn
}

package page

import (
	"fmt"
	"io"
	"strings"

	"github.com/segmill/segmill/internal/backtest"
)

// Diff writes the page of two rule sets.
func Diff(w io.Writer, d *backtest.Diff) error {
	doc := document{
		Title: fmt.Sprintf("From %s to %s", strings.Join(d.Old.Rules, ", "), strings.Join(d.New.Rules, ", ")),
		About: []string{span(&d.Frame), lines(&d.New)},
		Cards: []fact{{Name: "customers", Value: thousands(d.New.Customers)}},
	}
	if old := lines(&d.Old); old != lines(&d.New) {
		doc.About = append(doc.About, "Under the old rules: "+old)
	}
	if d.Old.Customers != d.New.Customers {
		doc.Cards = append(doc.Cards, fact{Name: "under the old rules", Value: thousands(d.Old.Customers)})
	}
	number := map[backtest.Change]int{}
	for i := range d.Segments {
		number[d.Segments[i].Change]++
	}
	for i := range d.Triggers {
		number[d.Triggers[i].Change]++
	}
	for _, c := range []backtest.Change{backtest.Changed, backtest.Added, backtest.Removed, backtest.Affected, backtest.Renamed, backtest.Unchanged} {
		if c != backtest.Renamed || number[c] > 0 {
			doc.Cards = append(doc.Cards, fact{Name: "rules " + string(c), Value: thousands(number[c])})
		}
	}
	for _, c := range d.Reading {
		doc.Reading = append(doc.Reading, [3]string{c.Name, orNotSet(c.Old), orNotSet(c.New)})
	}
	if len(d.Segments) > 0 {
		doc.Sections = append(doc.Sections, segmentDiffs(d))
	}
	if len(d.Triggers) > 0 {
		doc.Sections = append(doc.Sections, triggerDiffs(d))
	}
	return doc.write(w)
}

// called is the id of a rule with the one under the old rules.
func called(id, was string) string {
	if was != "" {
		id += " (was " + was + ")"
	}
	return id
}

func orNotSet(s *string) string {
	if s == nil {
		return "not set"
	}
	return *s
}

func segmentDiffs(d *backtest.Diff) section {
	s := section{
		Title: "Segments and stages",
		Table: table{Head: head("segment", "rule", ">old size", ">new size", ">only old", ">only new", ">ever different", ">entered", ">exited")},
		Same:  table{Head: head("segment", ">size", ">share", ">entered", ">exited")},
	}
	differ := 0
	for i := range d.Segments {
		x := &d.Segments[i]
		id := cell{Class: "id", Text: called(x.ID, x.Was)}
		if x.Change == backtest.Unchanged {
			s.Same.Rows = append(s.Same.Rows, []cell{id, number(x.New.Size), {Class: "n", Text: percent(x.New.Share)}, number(x.New.Entered), number(x.New.Exited)})
			continue
		}
		if differ++; differ <= mostRules && len(d.Periods) > 0 {
			r := segmentDiff(d, x)
			id.Link = r.Anchor
			s.Rules = append(s.Rules, r)
		}
		s.Table.Rows = append(s.Table.Rows, []cell{
			id,
			{Class: string(x.Change), Text: string(x.Change)},
			sizeOf(x.Old), sizeOf(x.New), number(x.OnlyOld), number(x.OnlyNew), number(x.Ever),
			fromTo(x.Old, x.New, func(s *backtest.Sizes) int { return s.Entered }), fromTo(x.Old, x.New, func(s *backtest.Sizes) int { return s.Exited }),
		})
	}
	s.Same.Caption = fmt.Sprintf("%d with the same members under both", len(s.Same.Rows))
	s.More = notDrawn(differ - len(s.Rules))
	return s
}

func sizeOf(s *backtest.Sizes) cell {
	if s == nil {
		return cell{Class: "n", Text: "–"}
	}
	return number(s.Size)
}

// fromTo is a number under the old and the new rules.
func fromTo[X any](old, fresh *X, of func(*X) int) cell {
	text := func(x *X) string {
		if x == nil {
			return "–"
		}
		return thousands(of(x))
	}
	return cell{Class: "n", Text: text(old) + " → " + text(fresh)}
}

func segmentDiff(d *backtest.Diff, x *backtest.SegmentDiff) rule {
	r := rule{Anchor: anchor("segment", x.ID), ID: called(x.ID, x.Was), Change: string(x.Change), Facts: conditions(x.OldWhen, x.NewWhen)}
	if x.OldWhen == x.NewWhen && x.Change == backtest.Changed {
		r.Facts = append(r.Facts, fact{Name: "why", Value: "a stage before it has changed"})
	}
	var lines []series
	var old, fresh [2][]int
	if x.Old != nil {
		lines = append(lines, series{"old", "old", x.Old.OverTime.Size})
		old = [2][]int{x.Old.OverTime.Entered, x.Old.OverTime.Exited}
		r.Facts = append(r.Facts, fact{Name: "old size", Value: fmt.Sprintf("%s, %s of customers", thousands(x.Old.Size), percent(x.Old.Share))})
	}
	if x.New != nil {
		lines = append(lines, series{"new", "new", x.New.OverTime.Size})
		fresh = [2][]int{x.New.OverTime.Entered, x.New.OverTime.Exited}
		r.Facts = append(r.Facts, fact{Name: "new size", Value: fmt.Sprintf("%s, %s of customers", thousands(x.New.Size), percent(x.New.Share))})
	}
	r.Charts = []chart{sizes("Size", d.Periods, lines...), flow("Entries and exits", d.Periods, fresh, old)}
	if x.Old != nil && x.New != nil && x.Ever > 0 {
		r.Charts = append(r.Charts, sizes("In one alone", d.Periods,
			series{"old", "old", x.OverTime.OnlyOld}, series{"new", "new", x.OverTime.OnlyNew}))
	}
	r.Examples = table{Caption: "Examples of customers who are in one and not in the other", Head: head("customer", "only in", "since", "until", "values")}
	for i := range x.Examples {
		e := &x.Examples[i]
		until := cell{Class: "t", Text: "still"}
		if e.Until != nil {
			until.Text = *e.Until
		}
		r.Examples.Rows = append(r.Examples.Rows, []cell{
			{Class: "id", Text: e.Customer}, {Text: e.In}, {Class: "t", Text: e.Since}, until, {Codes: decided(e)},
		})
	}
	return r
}

// decided says the values of an example, once where they are the same under both.
func decided(e *backtest.Example) []string {
	old, fresh := values(e.Old), values(e.New)
	switch {
	case old == "" || old == fresh:
		return []string{fresh}
	case fresh == "":
		return []string{old}
	}
	return []string{"old: " + old, "new: " + fresh}
}

// conditions are those of a rule under both rule sets.
func conditions(old, fresh string) []fact {
	if old == fresh {
		return []fact{{"when", old, true}}
	}
	var l []fact
	if old != "" {
		l = append(l, fact{"old", old, true})
	}
	if fresh != "" {
		l = append(l, fact{"new", fresh, true})
	}
	return l
}

func triggerDiffs(d *backtest.Diff) section {
	s := section{
		Title: "Triggers",
		Table: table{Head: head("trigger", "rule", "kind", ">fired", ">both", ">only old", ">only new")},
		Same:  table{Head: head("trigger", "kind", ">fired")},
	}
	differ := 0
	for i := range d.Triggers {
		x := &d.Triggers[i]
		id := cell{Class: "id", Text: called(x.ID, x.Was)}
		if x.Change == backtest.Unchanged {
			s.Same.Rows = append(s.Same.Rows, []cell{id, {Text: x.Kind}, number(x.New.Fired)})
			continue
		}
		if differ++; differ <= mostRules && len(d.Periods) > 0 {
			r := triggerDiff(d, x)
			id.Link = r.Anchor
			s.Rules = append(s.Rules, r)
		}
		s.Table.Rows = append(s.Table.Rows, []cell{
			id,
			{Class: string(x.Change), Text: string(x.Change)},
			{Text: x.Kind},
			fromTo(x.Old, x.New, func(f *backtest.Firings) int { return f.Fired }), number(x.Both), number(x.OnlyOld), number(x.OnlyNew),
		})
	}
	s.Same.Caption = fmt.Sprintf("%d with the same firings under both", len(s.Same.Rows))
	s.More = notDrawn(differ - len(s.Rules))
	return s
}

func triggerDiff(d *backtest.Diff, x *backtest.TriggerDiff) rule {
	r := rule{Anchor: anchor("trigger", x.ID), ID: called(x.ID, x.Was), Change: string(x.Change), Facts: conditions(x.OldWhen, x.NewWhen)}
	var all []series
	if x.Old != nil {
		all = append(all, series{"old", "old", x.Old.OverTime.Fired})
	}
	if x.New != nil {
		all = append(all, series{"new", "new", x.New.OverTime.Fired})
	}
	r.Charts = []chart{counts("Fired", d.Periods, all...)}
	r.Examples = table{Caption: "Examples of firings under one alone", Head: head("customer", "only under", "at", "why")}
	for _, e := range x.Examples {
		r.Examples.Rows = append(r.Examples.Rows, []cell{{Class: "id", Text: e.Customer}, {Text: e.In}, {Class: "t", Text: e.At}, {Text: e.Why}})
	}
	return r
}

package backtest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// maxListed is how many segments or triggers a table lists whatever became of them: of
// more, those that nothing became of are counted only. A text explains maxExplained rules,
// with maxNamed customers of each.
const (
	maxListed    = 40
	maxExplained = 20
	maxNamed     = 5
)

// sparkWidth is how many characters a series over time has at most.
const sparkWidth = 24

// Lines returns the report as a text for people.
func (b *Backtest) Lines() []string {
	lines := []string{b.Frame.head()}
	var t table
	t.row("SEGMENT", ">SIZE", ">SHARE", ">ENTERED", ">EXITED", ">PEAK", "SIZE OVER TIME")
	quiet := 0
	for i := range b.Segments {
		s := &b.Segments[i]
		if s.Entered == 0 && s.Size == 0 && len(b.Segments) > maxListed {
			quiet++
			continue
		}
		over := spark(s.OverTime.Size, peak(s.OverTime.Size))
		if s.Expected != "" {
			over += "  expected " + s.Expected
		}
		t.row(s.ID, number(s.Size), percent(s.Share), number(s.Entered), number(s.Exited), number(peak(s.OverTime.Size)), over)
	}
	lines = append(lines, t.under(len(b.Segments) > 0)...)
	if quiet > 0 {
		lines = append(lines, fmt.Sprintf("and %s that nobody entered", plural(quiet, "segment")))
	}
	t, quiet = table{}, 0
	t.row("TRIGGER", ">FIRED", ">PEAK", "FIRED OVER TIME")
	for i := range b.Triggers {
		x := &b.Triggers[i]
		if x.Fired == 0 && len(b.Triggers) > maxListed {
			quiet++
			continue
		}
		t.row(x.ID, number(x.Fired), number(peak(x.OverTime.Fired)), spark(x.OverTime.Fired, peak(x.OverTime.Fired)))
	}
	lines = append(lines, t.under(len(b.Triggers) > 0)...)
	if quiet > 0 {
		lines = append(lines, fmt.Sprintf("and %s that did not fire", plural(quiet, "trigger")))
	}
	return lines
}

// head says which time a report is about.
func (f *Frame) head() string {
	if f.Until == nil {
		return "no events"
	}
	if len(f.Periods) == 0 {
		return fmt.Sprintf("until %s: nothing from the first period on", *f.Until)
	}
	return fmt.Sprintf("from %s until %s, by %s (%s)", f.Periods[0], *f.Until, f.Every, f.Timezone)
}

// Lines returns the report as a text for people.
func (d *Diff) Lines() []string {
	lines := []string{d.Frame.head()}
	if len(d.Reading) > 0 {
		lines = append(lines, "", "what rules read has changed, too:")
		for _, c := range d.Reading {
			lines = append(lines, fmt.Sprintf("  %s: %s → %s", c.Name, textOr(c.Old, "not set"), textOr(c.New, "not set")))
		}
	}
	lines = append(lines, d.segments()...)
	lines = append(lines, d.triggers()...)
	return append(lines, d.explained()...)
}

func (d *Diff) segments() []string {
	var t table
	t.row("SEGMENT", "CHANGE", ">OLD", ">NEW", ">ONLY OLD", ">ONLY NEW", ">EVER DIFFERENT", ">ENTERED", ">EXITED", "OLD OVER TIME", "NEW OVER TIME")
	same := 0
	for i := range d.Segments {
		s := &d.Segments[i]
		if s.Change == Unchanged {
			same++
			continue
		}
		old, fresh := sizesOr(s.Old), sizesOr(s.New)
		most := max(peak(old.OverTime.Size), peak(fresh.OverTime.Size))
		t.row(called(s.ID, s.Was), string(s.Change), sizeOf(s.Old), sizeOf(s.New), number(s.OnlyOld), number(s.OnlyNew), number(s.Ever),
			number(old.Entered)+" → "+number(fresh.Entered), number(old.Exited)+" → "+number(fresh.Exited),
			spark(old.OverTime.Size, most), spark(fresh.OverTime.Size, most))
	}
	lines := t.under(same < len(d.Segments))
	if same > 0 {
		lines = append(lines, sameText(len(lines) > 0, same, "segment", "members"))
	}
	return lines
}

// called is the id of a rule with the one under the old rules.
func called(id, was string) string {
	if was != "" {
		id += " (was " + was + ")"
	}
	return id
}

func (d *Diff) triggers() []string {
	var t table
	t.row("TRIGGER", "CHANGE", ">OLD", ">NEW", ">ONLY OLD", ">ONLY NEW", "OLD OVER TIME", "NEW OVER TIME")
	same := 0
	for i := range d.Triggers {
		x := &d.Triggers[i]
		if x.Change == Unchanged {
			same++
			continue
		}
		old, fresh := firingsOr(x.Old), firingsOr(x.New)
		most := max(peak(old.OverTime.Fired), peak(fresh.OverTime.Fired))
		t.row(called(x.ID, x.Was), string(x.Change), number(old.Fired), number(fresh.Fired), number(x.OnlyOld), number(x.OnlyNew),
			spark(old.OverTime.Fired, most), spark(fresh.OverTime.Fired, most))
	}
	lines := t.under(same < len(d.Triggers))
	if same > 0 {
		lines = append(lines, sameText(len(lines) > 0, same, "trigger", "firings"))
	}
	return lines
}

// sameText says how many rules there is nothing to say of.
func sameText(others bool, n int, noun, what string) string {
	if others {
		return fmt.Sprintf("and %s with the same %s", plural(n, noun), what)
	}
	return fmt.Sprintf("%s: the same %s under both", plural(n, noun), what)
}

// explained are the conditions and the examples of rules that differ.
func (d *Diff) explained() (lines []string) {
	n := 0
	begin := func(id string, change Change, old, fresh string) bool {
		if change == Unchanged {
			return false
		}
		if n++; n > maxExplained {
			return false
		}
		lines = append(lines, "", id+": "+string(change))
		lines = append(lines, conditions(old, fresh)...)
		if old == fresh && change == Changed {
			lines = append(lines, "  a stage before it has changed")
		}
		return true
	}
	more := func(examples int) {
		if examples > maxNamed {
			lines = append(lines, fmt.Sprintf("  and %s in -o json and --html", plural(examples-maxNamed, "more example")))
		}
	}
	for i := range d.Segments {
		s := &d.Segments[i]
		if begin(called(s.ID, s.Was), s.Change, s.OldWhen, s.NewWhen) {
			for k := range s.Examples[:min(maxNamed, len(s.Examples))] {
				lines = append(lines, s.Examples[k].lines()...)
			}
			more(len(s.Examples))
		}
	}
	for i := range d.Triggers {
		x := &d.Triggers[i]
		if begin(called(x.ID, x.Was), x.Change, x.OldWhen, x.NewWhen) {
			for _, e := range x.Examples[:min(maxNamed, len(x.Examples))] {
				lines = append(lines, fmt.Sprintf("  %s  fires only under %s at %s: %s", e.Customer, e.In, e.At, e.Why))
			}
			more(len(x.Examples))
		}
	}
	if n > maxExplained {
		lines = append(lines, "", fmt.Sprintf("and %s; -o json and --html have them all", plural(n-maxExplained, "more rule")))
	}
	return lines
}

// conditions are those of a rule under both rule sets, "" under one that has none.
func conditions(old, fresh string) (lines []string) {
	if old == fresh {
		return []string{"  when: " + old}
	}
	if old != "" {
		lines = append(lines, "  old: "+old)
	}
	if fresh != "" {
		lines = append(lines, "  new: "+fresh)
	}
	return lines
}

// lines say who it is and why.
func (x *Example) lines() []string {
	when := "since " + x.Since
	if x.Until != nil {
		when = fmt.Sprintf("from %s to %s", x.Since, *x.Until)
	}
	l := []string{fmt.Sprintf("  %s  only in %s %s", x.Customer, x.In, when)}
	if maps.Equal(x.Old, x.New) {
		return append(l, "      "+pairs(x.Old))
	}
	if len(x.Old) > 0 {
		l = append(l, "      old: "+pairs(x.Old))
	}
	if len(x.New) > 0 {
		l = append(l, "      new: "+pairs(x.New))
	}
	return l
}

// pairs writes values by name.
func pairs(values map[string]string) string {
	var l []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		l = append(l, name+" = "+textOr(nonEmpty(values[name]), "absent"))
	}
	return strings.Join(l, ", ")
}

func nonEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func textOr(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

// sizesOr returns the sizes of a segment that may not be there.
func sizesOr(s *Sizes) *Sizes {
	if s == nil {
		return &Sizes{}
	}
	return s
}

func sizeOf(s *Sizes) string {
	if s == nil {
		return "-"
	}
	return number(s.Size)
}

func firingsOr(f *Firings) *Firings {
	if f == nil {
		return &Firings{}
	}
	return f
}

// peak is the greatest of the numbers.
func peak(l []int) int {
	if len(l) == 0 {
		return 0
	}
	return slices.Max(l)
}

var sparks = []rune("▁▂▃▄▅▆▇█")

// spark draws numbers as columns of up to most. Of several numbers in one column it is the
// greatest.
func spark(l []int, most int) string {
	n := min(len(l), sparkWidth)
	if most <= 0 {
		return ""
	}
	var b strings.Builder
	for i := range n {
		x := slices.Max(l[i*len(l)/n : (i+1)*len(l)/n])
		level := 0
		if x > 0 {
			level = 1 + (len(sparks)-2)*x/most
		}
		b.WriteRune(sparks[level])
	}
	return b.String()
}

// number writes a number with a comma between thousands.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" }

// plural writes a number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// table aligns the cells of rows. A column whose head begins with > is aligned to the
// right.
type table struct{ rows [][]string }

func (t *table) row(cells ...string) { t.rows = append(t.rows, cells) }

// under returns the lines of the table with an empty one above them, none if it is not
// wanted.
func (t *table) under(wanted bool) []string {
	if !wanted {
		return nil
	}
	lines := []string{""}
	widths := make([]int, len(t.rows[0]))
	right := make([]bool, len(widths))
	for r, row := range t.rows {
		for i, cell := range row {
			if r == 0 {
				row[i], right[i] = strings.CutPrefix(cell, ">")
			}
			widths[i] = max(widths[i], len([]rune(row[i])))
		}
	}
	for _, row := range t.rows {
		var b strings.Builder
		for i, cell := range row {
			space := strings.Repeat(" ", widths[i]-len([]rune(cell)))
			if right[i] {
				cell = space + cell
			} else {
				cell += space
			}
			b.WriteString(cell + "  ")
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

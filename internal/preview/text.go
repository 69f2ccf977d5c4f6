package preview

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// maxListed is how many rules a table lists whatever became of them: of more, those that
// nothing came of are counted only. A text explains maxExplained rules, with maxNamed
// customers of each.
const (
	maxListed    = 40
	maxExplained = 20
	maxNamed     = 5
)

// Lines returns the report as a text for people.
func (r *Report) Lines() []string {
	lines := append([]string{r.head()}, r.notes()...)
	if r.Same {
		return append(lines, "", "the rules are those in force: nothing would change")
	}
	lines = append(lines, r.segments()...)
	lines = append(lines, r.triggers()...)
	lines = append(lines, r.explained()...)
	return append(lines, "", r.totals())
}

// head says as of when the report is, and of whom.
func (r *Report) head() string {
	clock := "the task clock as it would be now"
	if r.Clock != "now" {
		clock = "the task clock of the state"
	}
	at := r.At
	if r.AtLatest != r.At {
		at += " to " + r.AtLatest
	}
	text := fmt.Sprintf("%s: %s as of %s, %s", r.App, plural(r.Customers, "customer"), at, clock)
	if r.Sample > 1 {
		text += fmt.Sprintf("; numbers with ~ are estimates, from one of %d customers", r.Sample)
	}
	return text
}

// notes say what is to be known before the numbers are believed.
func (r *Report) notes() (lines []string) {
	switch {
	case r.History == Missing:
		lines = append(lines, "", "needs history, and is not previewed: "+some(r.needHistory()))
		for _, topic := range slices.Sorted(maps.Keys(r.HistorySince)) {
			lines = append(lines, fmt.Sprintf("  %s has records since %s", topic, r.HistorySince[topic]))
		}
		lines = append(lines, "  --history folds what the inputs have, as a change of the rules does")
	case len(r.Incomplete) > 0:
		lines = append(lines, "", "history is incomplete, so that the rules do not come in force without --accept-loss; the numbers are those with it:")
		for _, text := range r.Incomplete {
			lines = append(lines, "  "+text)
		}
	}
	if r.Former {
		lines = append(lines, "", "these rules were in force before")
	}
	if len(r.Unmet) > 0 {
		lines = append(lines, "", "new, because what was says is not in force; is it misspelt? "+some(r.Unmet))
	}
	if len(r.Reading) > 0 {
		lines = append(lines, "", "changed for what is read from then on: "+strings.Join(r.Reading, ", "))
	}
	return lines
}

// needHistory returns the rules that were not previewed.
func (r *Report) needHistory() (ids []string) {
	for i := range r.Segments {
		if r.Segments[i].NeedsHistory {
			ids = append(ids, r.Segments[i].ID)
		}
	}
	for i := range r.Triggers {
		if r.Triggers[i].NeedsHistory {
			ids = append(ids, triggerPrefix+r.Triggers[i].ID)
		}
	}
	return ids
}

func (r *Report) segments() []string {
	t := newTable("SEGMENT", "CHANGE", "OLD", "NEW", "SHARE", "ENTERED", "EXITED")
	same, quiet, listed := 0, 0, 0
	for i := range r.Segments {
		if r.Segments[i].Change != Unchanged {
			listed++
		}
	}
	for i := range r.Segments {
		switch s := &r.Segments[i]; {
		case s.Change == Unchanged:
			same++
		case listed > maxListed && s.Entered+s.Exited == 0 && !s.NeedsHistory:
			quiet++
		case s.NeedsHistory:
			t.row(called(s.ID, s.Was), string(s.Change), r.size(s.Old), "needs history", "", "", "")
		default:
			share := ""
			if s.New != nil {
				share = percent(s.New.Share)
			}
			t.row(called(s.ID, s.Was), string(s.Change), r.size(s.Old), r.size(s.New), share, r.number(s.Entered), r.number(s.Exited))
		}
	}
	return t.lines(counted(quiet, "other segment", " that nobody enters or leaves"), counted(same, "unchanged segment", ""))
}

func (r *Report) triggers() []string {
	t := newTable("TRIGGER", "CHANGE", "")
	same := 0
	for i := range r.Triggers {
		x := &r.Triggers[i]
		note := ""
		switch {
		case x.Change == Unchanged:
			same++
			continue
		case x.NeedsHistory:
			note = "needs history; does not fire for what is due by then"
		case x.Change == Added || x.Change == Changed:
			note = "does not fire for what is due by then"
		}
		t.row(called(x.ID, x.Was), string(x.Change), note)
	}
	return t.lines(counted(same, "unchanged trigger", ""))
}

// called is the id of a rule with the one that is in force.
func called(id, was string) string {
	if was != "" {
		id += " (was " + was + ")"
	}
	return id
}

// explained are the conditions and the examples of rules that somebody enters or leaves.
func (r *Report) explained() (lines []string) {
	rules, more := 0, 0
	for i := range r.Segments {
		s := &r.Segments[i]
		if len(s.Examples) == 0 {
			continue
		}
		if rules == maxExplained {
			more++
			continue
		}
		rules++
		lines = append(lines, "", fmt.Sprintf("%s: %s", s.ID, s.Change))
		if s.When != "" {
			lines = append(lines, "  "+s.When)
		}
		for k := range s.Examples[:min(maxNamed, len(s.Examples))] {
			x := &s.Examples[k]
			lines = append(lines, fmt.Sprintf("  %s  %s", x.Customer, x.Action))
			for _, name := range slices.Sorted(maps.Keys(x.Values)) {
				value := x.Values[name]
				if value == "" {
					value = "absent"
				}
				lines = append(lines, fmt.Sprintf("      %s = %s", name, value))
			}
		}
	}
	if more > 0 {
		lines = append(lines, "", fmt.Sprintf("examples of %s are in the JSON report (-o json)", plural(more, "other segment")))
	}
	return lines
}

func (r *Report) totals() string {
	text := fmt.Sprintf("entries: %s, exits: %s, customers affected: %s", r.number(r.Entered), r.number(r.Exited), r.number(r.Affected))
	if r.Due != (Due{}) {
		text += fmt.Sprintf("; due by time alone, with or without the change: %s of segments, %s of triggers", r.number(r.Due.Changes), r.number(r.Due.Firings))
	}
	return text
}

// number is a count as people read it, an estimate with ~.
func (r *Report) number(n int) string {
	if r.Sample > 1 {
		return "~" + strconv.Itoa(n)
	}
	return strconv.Itoa(n)
}

func (r *Report) size(s *Size) string {
	if s == nil {
		return "-"
	}
	return r.number(s.Size)
}

// percent is a share from 0 to 1.
func percent(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) }

// plural is a number of things.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// some lists ids, the first few if there are many.
func some(ids []string) string {
	const most = 8
	if len(ids) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), len(ids)-most)
	}
	return strings.Join(ids, ", ")
}

// table is a table in the making.
type table struct {
	text strings.Builder
	w    *tabwriter.Writer
	rows int
}

func newTable(head ...string) *table {
	t := &table{}
	t.w = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	t.row(head...)
	return t
}

func (t *table) row(cells ...string) {
	t.rows++
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

// lines returns the table, if it has more than a head, and how many rules it leaves out.
func (t *table) lines(leftOut ...string) (lines []string) {
	if t.rows > 1 {
		_ = t.w.Flush() // into memory
		for line := range strings.Lines(t.text.String()) {
			lines = append(lines, strings.TrimRight(line, " \n"))
		}
	}
	for _, text := range leftOut {
		if text != "" && t.rows > 1 {
			text = "and " + text
		}
		if text != "" {
			lines = append(lines, text)
		}
	}
	if len(lines) > 0 {
		lines = slices.Insert(lines, 0, "")
	}
	return lines
}

// counted says how many there are of what is left out, "" if none.
func counted(n int, noun, rest string) string {
	if n == 0 {
		return ""
	}
	return plural(n, noun) + rest
}

// Package page writes reports on rules as pages: one file each, which asks for nothing else,
// runs no script, and shows every text that it was given as text.
package page

import (
	_ "embed" // the template and the style
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/internal/backtest"
)

//go:embed page.gohtml
var text string

//go:embed style.css
var style string

var page = template.Must(template.New("page").Parse(text))

// mostRules is how many segments, and how many triggers, are drawn. Tables list them all.
const mostRules = 100

// document is what the template writes.
type document struct {
	Title    string
	Style    template.CSS
	About    []string
	Cards    []fact
	Reading  [][3]string
	Sections []section
}

// fact is a name and a value.
type fact struct {
	Name, Value string
	Code        bool // the value is code
}

// section is about the segments, or the triggers.
type section struct {
	Title string
	Table table
	Rules []rule
	More  string // of what is not drawn
	Same  table  // of those that did not change
}

// table is a table whose rows are as wide as its head.
type table struct {
	Caption string
	Head    []cell
	Rows    [][]cell
}

// Bare returns the table without its caption.
func (t table) Bare() table { return table{Head: t.Head, Rows: t.Rows} }

// cell is a cell; its class says what is in it: "n" a number, "t" a time, "id" an id.
type cell struct {
	Class, Text string
	Link        string   // of the rule on the page, "" if there is none
	Codes       []string // in place of a text
}

// rule is a segment, a stage or a trigger.
type rule struct {
	Anchor, ID, Change string
	Facts              []fact
	Charts             []chart
	Examples           table
}

func (d *document) write(w io.Writer) error {
	d.Style = template.CSS(style) //nolint:gosec // our own file
	return page.Execute(w, d)
}

// head makes cells of names; those that begin with > are heads of numbers.
func head(names ...string) (cells []cell) {
	for _, name := range names {
		c := cell{Text: name}
		if rest, ok := strings.CutPrefix(name, ">"); ok {
			c = cell{Class: "n", Text: rest}
		}
		cells = append(cells, c)
	}
	return cells
}

func number(n int) cell { return cell{Class: "n", Text: thousands(n)} }

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" }

// anchor is where a rule is on the page.
func anchor(kind, id string) string { return kind + "-" + id }

// span says which time a report is about.
func span(f *backtest.Frame) string {
	if f.Until == nil {
		return "There were no events."
	}
	if len(f.Periods) == 0 {
		return "Until " + *f.Until + ", and nothing from the first period on."
	}
	return fmt.Sprintf("From %s until %s, by %s (%s).", f.Periods[0], *f.Until, f.Every, f.Timezone)
}

// lines says what became of the lines.
func lines(in *backtest.Input) string {
	s := fmt.Sprintf("%s lines, %s events", thousands(in.Lines), thousands(in.Events))
	for _, x := range []struct {
		n    int
		what string
	}{{in.Duplicates, "duplicates"}, {in.Skipped, "after the end"}, {in.NoEvents, "no events"}, {in.Bad, "bad"}, {in.Late, "late"}} {
		if x.n > 0 {
			s += fmt.Sprintf(", %s %s", thousands(x.n), x.what)
		}
	}
	return s + "."
}

// values writes values by name.
func values(m map[string]string) string {
	var l []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		value := m[name]
		if value == "" {
			value = "absent"
		}
		l = append(l, name+" = "+value)
	}
	return strings.Join(l, ", ")
}

// notDrawn says how many rules are in tables only.
func notDrawn(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf("%d more are in the table only.", n)
}

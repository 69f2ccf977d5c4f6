package demo

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/app"
)

// Escape sequences.
const (
	home       = "\x1b[H"
	endOfLine  = "\x1b[K\r\n"
	clearBelow = "\x1b[J"
	bold       = "\x1b[1m"
	inverse    = "\x1b[7m"
	plain      = "\x1b[0m"
)

// Measures of the picture, in characters and lines.
const (
	cellWidth  = 26 // of a name and a number, at least
	nameWidth  = 19
	frameLines = 8 // title, figures, three headings with two empty lines, the key to end it
	leastNews  = 3
)

// picture draws segments, triggers and news in a terminal of the given size. It
// takes as few columns as show every segment and leave a third of the height to
// the news.
func (v *view) picture(width, height int) string {
	room := max(2+leastNews, height-frameLines)
	budget := room - max(leastNews, room/3)
	columns := 1
	for columns < width/cellWidth && rows(len(v.members), columns)+rows(len(v.fired), columns) > budget {
		columns++
	}
	segments, triggers := rows(len(v.members), columns), rows(len(v.fired), columns)
	if segments+triggers > budget {
		triggers = min(triggers, max(1, budget/3))
		segments = min(segments, max(1, budget-triggers))
	}
	p := page{width: width, colour: v.opt.Colour}
	p.line(bold, fmt.Sprintf("segmill demo: an embedded broker, a shop of %d customers, and the engine", v.opt.Customers))
	p.line("", v.status())
	p.line("", "")
	p.line(bold, fmt.Sprintf("SEGMENTS, members now, after %s", app.Plural(v.changes, "change")))
	p.table(v.members, columns, segments)
	p.line("", "")
	p.line(bold, fmt.Sprintf("TRIGGERS, %d fired so far", v.triggers))
	p.table(v.fired, columns, triggers)
	p.line(bold, "NEWS")
	show := v.news
	if n := len(show) - max(0, height-1-len(p.lines)); n > 0 {
		show = show[n:]
	}
	for i := range show {
		p.line(hue(&show[i].effect), show[i].text)
	}
	return p.draw(height)
}

// rows returns how many lines n cells take.
func rows(n, columns int) int { return (n + columns - 1) / columns }

// hue returns the colour of a piece of news.
func hue(e *engine.Effect) string {
	switch {
	case e.Action == engine.Fired:
		return "\x1b[33m" // yellow
	case e.Action == engine.Entered && e.From == "":
		return "\x1b[32m" // green
	case e.Action == engine.Exited:
		return "\x1b[35m" // magenta
	}
	return "\x1b[36m" // cyan
}

// page gathers lines that fit the width.
type page struct {
	width  int
	colour bool
	lines  []string
}

func (p *page) line(style, text string) {
	if utf8.RuneCountInString(text) > p.width {
		text = string([]rune(text)[:p.width])
	}
	if p.colour && style != "" && text != "" {
		text = style + text + plain
	}
	p.lines = append(p.lines, text)
}

// table draws numbers by name, in columns that are read downwards. If there are
// too many, the last cell says how many are left out.
func (p *page) table(numbers map[string]int, columns, rows int) {
	names := slices.Sorted(maps.Keys(numbers))
	most := 1
	for _, n := range numbers {
		most = max(most, n)
	}
	width := p.width / columns
	cells := make([]string, 0, rows*columns)
	for _, name := range names {
		cells = append(cells, cell(name, numbers[name], most, width))
	}
	if n := len(cells); n > rows*columns {
		cells = cells[:rows*columns]
		cells[len(cells)-1] = fmt.Sprintf("… and %d more", n-len(cells)+1)
	}
	for r := range rows {
		var b strings.Builder
		for i := r; i < len(cells); i += rows {
			fmt.Fprintf(&b, "%-*s", width, cells[i])
		}
		p.line("", strings.TrimRight(b.String(), " "))
	}
}

// cell writes a name and a number, and a bar if there is room for one.
func cell(name string, n, most, width int) string {
	label := max(nameWidth, min(28, width/2))
	if utf8.RuneCountInString(name) > label {
		name = string([]rune(name)[:label-1]) + "…"
	}
	s := fmt.Sprintf("%-*s%6d", label, name, n)
	if room := width - label - 6 - 4; room >= 8 {
		s += "  " + strings.Repeat("█", min(24, room)*max(0, n)/most)
	}
	return s
}

// draw returns the page as one text, cut to the height, with the way out at the
// bottom.
func (p *page) draw(height int) string {
	var b strings.Builder
	b.WriteString(home)
	for _, l := range p.lines[:min(len(p.lines), max(0, height-1))] {
		b.WriteString(l + endOfLine)
	}
	b.WriteString(clearBelow + inverse + " Ctrl-C ends the demo " + plain)
	return b.String()
}

// Package rulefmt lays out rule files and their tests: two blanks for each level, the
// dashes of a list below its key and two blanks further in, at most one empty line, none at
// either end, no blanks at ends of lines.
//
// The one rule it keeps: only white space changes, and nothing that YAML reads of it.
package rulefmt

import (
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/file"
)

// Format returns the file laid out. A file that is not YAML of the kind that rule files
// are is an error, of type rule.Problems. Text that cannot be laid out without a change of
// its meaning is left as it is.
func Format(f rule.File) ([]byte, error) {
	f.Data = []byte(strings.TrimPrefix(strings.ReplaceAll(string(f.Data), "\r\n", "\n"), "\ufeff"))
	root, err := parse(f)
	if err != nil {
		return nil, err
	}
	l := layout{lines: strings.Split(string(f.Data), "\n"), starts: map[int]start{}}
	l.node(root, 0, 0)
	l.lookAhead()
	out := []byte(l.print())
	again, err := parse(rule.File{Name: f.Name, Data: out})
	if err != nil || !same(root, again) {
		return f.Data, nil
	}
	return out, nil
}

func parse(f rule.File) (*yaml.Node, error) {
	var log file.Log
	_, root := file.Open(f, "rule", &log)
	if errs, _ := log.Split(); len(errs) > 0 {
		return nil, errs
	}
	return root, nil
}

// same reports whether two trees hold the same values in the same styles.
func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || a.Tag != b.Tag || a.Value != b.Value || a.Style != b.Style || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

// layout finds out how far each line is to be indented.
type layout struct {
	lines  []string
	starts map[int]start // by line, from 0: what begins there
	// Of each line, which lines come next, itself included: one that is not empty, and
	// one whose first thing belongs to the structure; len(lines) if there is none.
	text, structure []int
}

// start is the first thing in a line that belongs to the structure.
type start struct {
	indent int // that it shall have
	// block is the indent of the lines of a | or > that begins in this line, 0 if none does.
	block int
	// keep: the block says itself how far it is indented.
	keep bool
}

const step = 2

// begin notes that a thing which is at a column of a line shall be indented so far, if it
// is the first one in the line.
func (l *layout) begin(line, column, indent int) {
	line, column = line-1, column-1
	if line < 0 || line >= len(l.lines) {
		return
	}
	text := l.lines[line]
	if indentOf(text) == column {
		l.starts[line] = start{indent: indent}
	}
}

// indentOf is how many blanks a line begins with.
func indentOf(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// node lays out a node whose structure shall be indented so far; parent is the indent of
// what it belongs to.
func (l *layout) node(n *yaml.Node, parent, indent int) {
	switch {
	case n.Kind == yaml.ScalarNode:
		l.scalar(n, parent, indent)
	case n.Style&yaml.FlowStyle != 0:
		l.begin(n.Line, n.Column, indent) // its other lines go with it
	case n.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			l.begin(n.Content[i].Line, n.Content[i].Column, indent)
			l.node(n.Content[i+1], indent, indent+step)
		}
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			l.dash(n, item, indent)
			l.node(item, indent, indent+step)
		}
	}
}

// dash notes the dash before an item of a list.
func (l *layout) dash(list, item *yaml.Node, indent int) {
	for line := item.Line - 1; line >= list.Line-1 && line >= 0; line-- {
		text := l.lines[line]
		if at := indentOf(text); at < len(text) && text[at] == '-' && at == list.Column-1 {
			if _, taken := l.starts[line]; !taken {
				l.starts[line] = start{indent: indent}
			}
			return
		}
	}
}

func (l *layout) scalar(n *yaml.Node, parent, indent int) {
	l.begin(n.Line, n.Column, indent)
	if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 || n.Line > len(l.lines) {
		return
	}
	line := n.Line - 1
	s, ok := l.starts[line]
	if !ok {
		s.indent = -1 // not the first in its line
	}
	s.block = parent + step
	text := l.lines[line]
	for i, r := range []rune(text) {
		if i >= n.Column-1 && r >= '1' && r <= '9' && i < n.Column+2 {
			s.keep = true
		}
	}
	l.starts[line] = s
}

// lookAhead notes what comes next of each line.
func (l *layout) lookAhead() {
	n := len(l.lines)
	l.text, l.structure = make([]int, n+1), make([]int, n+1)
	l.text[n], l.structure[n] = n, n
	for i := n - 1; i >= 0; i-- {
		l.text[i], l.structure[i] = l.text[i+1], l.structure[i+1]
		if strings.Trim(l.lines[i], " \t") != "" {
			l.text[i] = i
		}
		if s, ok := l.starts[i]; ok && s.indent >= 0 {
			l.structure[i] = i
		}
	}
}

// print returns the lines with their indents.
func (l *layout) print() string {
	var out []string
	shift, empty := 0, 0
	emit := func(line string) {
		if line == "" {
			empty++
			return
		}
		if empty > 0 && len(out) > 0 {
			out = append(out, "")
		}
		empty = 0
		out = append(out, line)
	}
	for i := 0; i < len(l.lines); i++ {
		line := l.lines[i]
		s, ok := l.starts[i]
		trimmed := strings.Trim(line, " \t")
		switch {
		case trimmed == "":
			if l.isWithin(i) {
				emit(" ") // an empty line within a text means something
				out[len(out)-1] = ""
				continue
			}
			emit("")
			continue
		case ok && s.indent >= 0:
			shift = s.indent - indentOf(line)
			emit(blanks(s.indent) + strings.TrimRight(tidyDash(line[indentOf(line):]), " \t"))
		case ok:
			emit(shifted(line, shift))
		case trimmed[0] == '#':
			emit(shifted(line, l.shiftOf(i, shift)))
		default:
			emit(shifted(line, shift))
		}
		if ok && s.block > 0 {
			i = l.block(i, &s, shift, &out)
		}
	}
	return strings.Join(out, "\n") + "\n"
}

// isWithin reports whether an empty line is within a text of several lines: what comes
// next is neither a comment nor a start.
func (l *layout) isWithin(i int) bool {
	if i = l.text[i]; i == len(l.lines) {
		return false
	}
	_, ok := l.starts[i]
	return !ok && strings.TrimLeft(l.lines[i], " \t")[0] != '#'
}

// shiftOf is how far a line of comment moves: with the next line of the structure if it
// is indented as that is, else with what is before it.
func (l *layout) shiftOf(i, before int) int {
	at, next := indentOf(l.lines[i]), l.structure[i]
	if next < len(l.lines) && indentOf(l.lines[next]) == at {
		return l.starts[next].indent - at
	}
	return before
}

// block writes the lines of a | or > that begins in line i, and returns the last of them.
func (l *layout) block(i int, s *start, shift int, out *[]string) int {
	owner := indentOf(l.lines[i])
	last, first := i, -1
	for j := i + 1; j < len(l.lines); j++ {
		if strings.Trim(l.lines[j], " ") == "" {
			continue
		}
		at := indentOf(l.lines[j])
		if first < 0 {
			first = at
		}
		if at < first || at <= owner && first > owner {
			break
		}
		if _, ok := l.starts[j]; ok {
			break
		}
		last = j
	}
	by := shift
	if !s.keep && first >= 0 {
		by = s.block - first
	}
	for j := i + 1; j <= last; j++ {
		line := l.lines[j]
		switch {
		case by >= 0 && strings.Trim(line, " ") != "":
			line = blanks(by) + line
		case by < 0:
			line = line[min(-by, indentOf(line)):]
		}
		if strings.Trim(line, " ") == "" && len(line) <= s.block {
			line = ""
		}
		*out = append(*out, line)
	}
	return last
}

// tidyDash leaves one blank behind each dash that a line begins with.
func tidyDash(text string) string {
	rest, dashes := text, ""
	for {
		t, ok := strings.CutPrefix(rest, "-")
		if !ok || t != "" && t[0] != ' ' {
			break
		}
		t = strings.TrimLeft(t, " ")
		if t == "" || t[0] == '#' {
			break // the item is in lines below
		}
		rest, dashes = t, dashes+"- "
	}
	return dashes + rest
}

func shifted(line string, by int) string {
	return blanks(max(0, indentOf(line)+by)) + strings.TrimRight(line[indentOf(line):], " \t")
}

func blanks(n int) string { return strings.Repeat(" ", max(0, n)) }

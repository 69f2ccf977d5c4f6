package file

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/segmill/segmill/engine/plan"
)

// Severity says whether a Problem keeps the rules from running.
type Severity uint8

// The severities.
const (
	Error Severity = iota
	Warning
)

// Problem is one thing that is wrong in a rule file, or looks wrong.
type Problem struct {
	Pos      plan.Pos
	Severity Severity
	// ID is the class of a warning, "" of an error.
	ID ID
	// Message says in one sentence what is wrong.
	Message string
	// Line is the line of the file at Pos, "" if there is none.
	Line string
	// Hint says what to do about it, "" if that is not known.
	Hint string
}

// String prints the problem as people see it: place and message, the line, and
// a caret under the place with the hint behind it.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", p.Pos.File, p.Pos.Line, p.Pos.Column)
	if p.Severity == Warning {
		b.WriteString("warning: ")
	}
	b.WriteString(p.Message)
	if p.ID != "" {
		b.WriteString(" [" + string(p.ID) + "]")
	}
	text, col := snippet(p.Line, p.Pos.Column)
	if text == "" {
		if p.Hint != "" {
			b.WriteString("\n    " + p.Hint)
		}
		return b.String()
	}
	b.WriteString("\n    " + text + "\n    " + strings.Repeat(" ", col) + "^")
	if p.Hint != "" {
		b.WriteString(" " + p.Hint)
	}
	return b.String()
}

// maxSnippet is how many characters of a line are shown.
const maxSnippet = 160

// snippet cuts from line what is worth showing and gives the place of the caret
// in it, from 0. Indentation goes, and tabs become spaces so that the caret
// stands under its character.
func snippet(line string, column int) (string, int) {
	chars := []rune(strings.TrimRight(strings.ReplaceAll(line, "\t", " "), " \r\n"))
	start := 0
	for start < len(chars) && start < column-1 && chars[start] == ' ' {
		start++
	}
	if column-1-start > maxSnippet*3/4 {
		start = column - 1 - maxSnippet/2
	}
	if start >= len(chars) {
		start = max(0, len(chars)-maxSnippet/2)
	}
	end := min(len(chars), start+maxSnippet)
	return string(chars[start:end]), min(max(0, column-1-start), end-start)
}

// Problems is a list of problems, sorted by place. As an error it prints all of
// them.
type Problems []Problem

// Error prints the problems, one below the other.
func (ps Problems) Error() string {
	parts := make([]string, len(ps))
	for i, p := range ps {
		parts[i] = p.String()
	}
	return strings.Join(parts, "\n")
}

// Log collects problems while files are read.
type Log struct {
	problems []Problem
	// allow is what is allowed at the moment, allows all that is anywhere.
	allow  *Allow
	allows []*Allow
}

// FailHint tells an error with a remedy.
func (l *Log) FailHint(at Place, hint, format string, args ...any) {
	p := Problem{Severity: Error, Message: fmt.Sprintf(format, args...), Hint: hint}
	p.Pos, p.Line = at.resolve()
	l.problems = append(l.problems, p)
}

// Fail tells an error without a remedy.
func (l *Log) Fail(at Place, format string, args ...any) { l.FailHint(at, "", format, args...) }

// Warn tells a warning, unless it is allowed.
func (l *Log) Warn(at Place, r Remark, format string, args ...any) {
	if l.allow.Takes(r.ID) {
		return
	}
	p := Problem{Severity: Warning, ID: r.ID, Message: fmt.Sprintf(format, args...), Hint: r.Hint}
	p.Pos, p.Line = at.resolve()
	l.problems = append(l.problems, p)
}

// Errors is how many errors there are so far.
func (l *Log) Errors() (n int) {
	for i := range l.problems {
		if l.problems[i].Severity == Error {
			n++
		}
	}
	return n
}

// Split sorts the problems and parts errors from warnings. The same thing said
// twice of one place is said once.
func (l *Log) Split() (errs, warnings Problems) {
	slices.SortStableFunc(l.problems, func(a, b Problem) int {
		return cmp.Or(comparePos(a.Pos, b.Pos), cmp.Compare(a.Severity, b.Severity))
	})
	for i, p := range l.problems {
		if i > 0 && p == l.problems[i-1] {
			continue
		}
		if p.Severity == Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	return errs, warnings
}

func comparePos(a, b plan.Pos) int {
	return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}

// Place is a position that is worked out only if somebody asks for it.
type Place interface{ resolve() (plan.Pos, string) }

// Offset is a place in a file, in bytes from its start.
type Offset struct {
	file *source
	at   int
}

func (o Offset) resolve() (plan.Pos, string) {
	line := o.file.lineAt(o.at)
	start := o.file.lines[line]
	column := utf8.RuneCount(o.file.data[start:max(start, min(o.at, len(o.file.data)))]) + 1
	return plan.Pos{File: o.file.name, Line: line + 1, Column: column}, o.file.line(line)
}

// PosOf works out the position of a place.
func PosOf(p Place) plan.Pos {
	pos, _ := p.resolve()
	return pos
}

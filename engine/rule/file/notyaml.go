package file

import (
	"errors"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// notYAML is what the YAML parser could not read: a byte, what is wrong there, and the
// mistake that most often leads to it.
type notYAML struct {
	at            int
	message, hint string
}

// yamlError tells what the YAML parser could not read, in words of its own and
// with the mistake that most often leads to it.
func (r *reader) yamlError(err error) {
	var le *yaml.LoadError
	if !errors.As(err, &le) {
		r.Fail(Offset{r.file, 0}, "not YAML: %v", err)
		return
	}
	if strings.Contains(le.Message, "no documents") {
		r.FailHint(Offset{r.file, 0}, starts[r.noun], "the file is empty")
		return
	}
	line, column := max(1, le.Mark.Line), max(1, le.Mark.Column)
	e := notYAML{at: r.file.offset(line, column), message: "not YAML: " + le.Message}
	if line > len(r.file.lines) {
		e.at = len(r.file.data)
	}
	for _, find := range []func(*notYAML, int) bool{r.file.findTag, r.file.findTab, r.file.findEmptyBlock, r.file.findNoBlank, r.file.findIndent} {
		if find(&e, line-1) {
			r.FailHint(Offset{r.file, e.at}, e.hint, "%s", e.message)
			return
		}
	}
	msg := le.Message
	switch {
	case strings.Contains(msg, "multiple"):
		e.message, e.hint = "not YAML: a "+r.noun+" file holds one document", "remove the --- between the documents"
	case strings.Contains(msg, "mapping values are not allowed") && line <= len(r.file.lines) && pairsForm.MatchString(r.file.line(line-1)):
		e.hint = "put several keys in one line between { and }"
	case strings.Contains(msg, "mapping values are not allowed"):
		e.hint = `put a value that contains ": " in quotes or in a | block`
	case strings.Contains(msg, "expected ',' or '}'"), strings.Contains(msg, "expected ',' or ']'"):
		e.hint = "a bracket is not closed, or a value between { } needs quotes"
	case strings.Contains(msg, "did not find expected"), strings.Contains(msg, "cannot start any token"), strings.Contains(msg, "block sequence entries"):
		e.hint = "put a condition that starts with a quote, a bracket or a sign in a | block"
	case strings.Contains(msg, "unexpected end of stream"):
		e.hint = "a quote is not closed"
	case strings.Contains(msg, "unknown anchor"), strings.Contains(msg, "alias"):
		e.hint = "a value that starts with * needs quotes"
	}
	r.FailHint(Offset{r.file, e.at}, e.hint, "%s", e.message)
}

// tagHint is how to write a condition that YAML takes for a tag.
const tagHint = "put a condition that starts with ! in quotes or in a | block"

var tagForm = regexp.MustCompile(`[:,\-]\s+(!\S*)`)

// findTag finds a value that begins with ! and holds signs that no tag can.
func (s *source) findTag(e *notYAML, line int) bool {
	if line >= len(s.lines) || !strings.Contains(e.message, "tag") {
		return false
	}
	m := tagForm.FindStringSubmatchIndex(s.line(line))
	if m == nil {
		return false
	}
	e.message, e.hint = "YAML reads "+s.line(line)[m[2]:m[3]]+" as a tag", tagHint
	e.at = s.lines[line] + m[2]
	return true
}

// findTab finds a tab in the indentation.
func (s *source) findTab(e *notYAML, line int) bool {
	if line >= len(s.lines) {
		return false
	}
	text := s.line(line)
	i := strings.IndexByte(text[:len(text)-len(strings.TrimLeft(text, " \t"))], '\t')
	if i < 0 {
		return false
	}
	e.at, e.message, e.hint = s.lines[line]+i, "not YAML: there is a tab in the indentation", "indent with blanks"
	return true
}

var (
	blockForm   = regexp.MustCompile(`^[ -]*([A-Za-z0-9_]+): ([|>][+-]?)$`)
	noBlankForm = regexp.MustCompile(`^[ -]*([a-z_]+):[^\s:]`)
	pairsForm   = regexp.MustCompile(`^[ -]*[a-z_]+: [^"'{]*, [a-z_]+: `)
	keyForm     = regexp.MustCompile(`^([ -]*)([A-Za-z0-9_]+):(?: |$)`)
)

// above returns the index of the nearest line from line upwards that is of some form, -1
// without one, and what the form finds in it.
func (s *source) above(line int, form *regexp.Regexp) (int, []int) {
	for i := min(line, len(s.lines)-1); i >= 0; i-- {
		if m := form.FindStringSubmatchIndex(s.line(i)); m != nil {
			return i, m
		}
	}
	return -1, nil
}

// findEmptyBlock finds the nearest | above whose block is not indented.
func (s *source) findEmptyBlock(e *notYAML, line int) bool {
	i, m := s.above(line, blockForm)
	if i < 0 || i+1 >= len(s.lines) || !strings.Contains(e.message, "could not find expected ':'") {
		return false
	}
	below := s.line(i + 1)
	if len(below)-len(strings.TrimLeft(below, " ")) > m[2] {
		return false
	}
	key, sign := s.line(i)[m[2]:m[3]], s.line(i)[m[4]:m[5]]
	e.at, e.message = s.lines[i]+m[4], "not YAML: the block behind "+sign+" is empty"
	e.hint = "indent the lines below it by more blanks than " + key
	return true
}

// findNoBlank finds a colon without a blank behind it in the line, or above.
func (s *source) findNoBlank(e *notYAML, line int) bool {
	if !strings.Contains(e.message, "could not find expected ':'") {
		return false
	}
	i, m := s.above(line, noBlankForm)
	if i < 0 || i < line-1 {
		return false
	}
	e.at, e.hint = s.lines[i]+m[3], "put a blank behind the colon"
	return true
}

// findIndent finds a key that is indented in another way than the one above.
func (s *source) findIndent(e *notYAML, line int) bool {
	i, m := s.above(line, keyForm)
	if i != line || e.at != s.lines[line]+m[4] && e.at != s.lines[line]+m[5] {
		return false
	}
	i, over := s.above(line-1, keyForm)
	if i < 0 || over[4] == m[4] {
		return false
	}
	e.at = s.lines[line] + m[4]
	e.message = "not YAML: " + s.line(line)[m[4]:m[5]] + " is indented by " + strconv.Itoa(m[4]) + " blanks, and the line above by " + strconv.Itoa(over[4])
	e.hint = "indent it like the line above"
	return true
}

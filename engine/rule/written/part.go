package written

import (
	"regexp"
	"strings"

	"cel.dev/cel-go/common/ast"
)

// boundary is a bracket, a comma or an operator that binds less than a comparison, or, as
// test, a comparison itself.
type boundary struct {
	from, to int // characters
	depth    int // of the brackets around it, a bracket itself included
	test     bool
}

var lineEnd = regexp.MustCompile(`\s*\n\s*`)

// Part returns a comparison or a negation as it is written, in one line, "" if its ends
// cannot be distinguished from the brackets and operators around it.
func (x *Text) Part(e ast.Expr) string {
	if !x.scanned {
		x.scan()
	}
	at := int(x.offsets[e.ID()].Start)
	if at >= len(x.chars) || x.bounds == nil {
		return ""
	}
	depth, from, to, tests := x.depthAt(at), 0, len(x.chars), 0
	isNot := x.chars[at] == '!' && (at+1 == len(x.chars) || x.chars[at+1] != '=')
	if isNot {
		from = at
	}
	for _, b := range x.bounds {
		switch {
		case b.depth != depth:
		case b.test:
			if b.from >= from && b.from < to {
				tests++
			}
		case b.to <= at && !isNot:
			from, tests = b.to, 0
		case b.from > at && b.from < to:
			to = b.from
		}
	}
	if isNot == (tests > 0) || tests > 1 {
		return ""
	}
	return lineEnd.ReplaceAllString(strings.TrimSpace(string(x.chars[from:to])), " ")
}

// depthAt is how many brackets are open before a character.
func (x *Text) depthAt(at int) (depth int) {
	for _, b := range x.bounds {
		switch {
		case b.from >= at:
			return depth
		case strings.ContainsRune("([{", x.chars[b.from]):
			depth++
		case strings.ContainsRune(")]}", x.chars[b.from]):
			depth--
		}
	}
	return depth
}

// scan finds the boundaries in the text. A text with comments, raw strings or long ones has
// none.
func (x *Text) scan() {
	x.scanned = true
	depth := 0
	var found []boundary
	for at := 0; at < len(x.chars); {
		rest := x.chars[at:]
		b := boundary{from: at, to: at + 1, depth: depth}
		switch c := rest[0]; {
		case c == '"' || c == '\'':
			n := stringLength(rest)
			if begins(rest, `"""`, "'''") || at > 0 && isWordChar(x.chars[at-1]) {
				return
			}
			at += n
			continue
		case begins(rest, "//"):
			return
		case strings.ContainsRune("([{", c):
			depth++
			b.depth = depth
			found = append(found, b)
		case strings.ContainsRune(")]}", c):
			depth--
			found = append(found, b)
		case begins(rest, "==", "!=", "<=", ">=", "&&", "||"):
			b.to, b.test = at+2, c != '&' && c != '|'
			found = append(found, b)
		case strings.ContainsRune("<>?:,", c):
			b.test = c == '<' || c == '>'
			found = append(found, b)
		}
		at = b.to
	}
	x.bounds = append(found, boundary{from: len(x.chars), to: len(x.chars)})
}

// begins reports whether a text begins with one of some signs.
func begins(text []rune, signs ...string) bool {
	for _, s := range signs {
		if strings.HasPrefix(string(text[:min(len(text), len(s))]), s) {
			return true
		}
	}
	return false
}

// stringLength is how many characters the string has that a text begins with, its quotes
// included.
func stringLength(text []rune) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case text[0]:
			return i + 1
		}
	}
	return len(text)
}

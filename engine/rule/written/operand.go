package written

import (
	"slices"
	"strings"
	"unicode"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Operand returns the text of an operand of && or ||, in one line, without the brackets
// around it.
func (x *Text) Operand(e ast.Expr) string {
	start := len(x.chars)
	EachNode(e, func(sub ast.Expr) {
		if r, ok := x.offsets[sub.ID()]; ok && int(r.Start) < len(x.chars) {
			start = min(start, x.nameAt(int(r.Start)))
		}
	})
	stops := []string{"&&", "||", "?", ":", ","}
	if e.Kind() == ast.CallKind {
		switch e.AsCall().FunctionName() {
		case operators.LogicalAnd:
			stops = stops[1:]
		case operators.LogicalOr, operators.Conditional:
			stops = nil // they are in brackets
		}
	}
	end := x.end(start, stops)
	for end < len(x.chars) && x.chars[end] == ')' && !x.ends(end+1) {
		// A bracket that begins before the first node, such as that of (a + b) / 2.
		before := start - 1
		for before >= 0 && unicode.IsSpace(x.chars[before]) {
			before--
		}
		if before < 0 || x.chars[before] != '(' {
			break
		}
		start = before
		end = x.end(start, stops)
	}
	return strings.Join(strings.Fields(string(x.chars[start:end])), " ")
}

// ends reports whether an operand that ends before at is whole: what follows joins it to
// another one, or is nothing.
func (x *Text) ends(at int) bool {
	for at < len(x.chars) && unicode.IsSpace(x.chars[at]) {
		at++
	}
	return at == len(x.chars) || strings.ContainsRune("&|?:,)", x.chars[at])
}

// end returns where what begins at a place ends: at one of stops outside of brackets and
// texts, or at a bracket that closes none of its own.
func (x *Text) end(at int, stops []string) int {
	depth := 0
	for i := at; i < len(x.chars); i++ {
		switch c := x.chars[i]; c {
		case '"', '\'':
			for i++; i < len(x.chars) && x.chars[i] != c; i++ {
				if x.chars[i] == '\\' {
					i++
				}
			}
			continue
		case '(', '[', '{':
			depth++
		case ')', ']', '}':
			if depth--; depth < 0 {
				return i
			}
		}
		here := string(x.chars[i:min(i+2, len(x.chars))])
		if depth == 0 && slices.ContainsFunc(stops, func(s string) bool { return strings.HasPrefix(here, s) }) {
			return i
		}
	}
	return len(x.chars)
}

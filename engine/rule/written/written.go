// Package written is an expression as somebody wrote it: the text in a file, the tree that
// CEL's parser makes of it, and where each of its nodes is.
//
// Its one rule: what the parser says is said in the words of people who write rules, at
// the character that they got wrong.
package written

import (
	"maps"
	"strconv"
	"strings"
	"unicode"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"

	"github.com/segmill/segmill/engine/rule/file"
)

// Text is the text of an expression.
type Text struct {
	*file.Log
	Passage *file.Passage
	chars   []rune
	offsets map[int64]ast.OffsetRange
}

// New returns the text in p, whose problems go to l.
func New(p *file.Passage, l *file.Log) *Text {
	return &Text{Log: l, Passage: p, chars: []rune(p.Text)}
}

// Parsed says which tree was made of the text.
func (x *Text) Parsed(tree *ast.AST) { x.offsets = maps.Clone(tree.SourceInfo().OffsetRanges()) }

// Before returns the text before a node, without the space between.
func (x *Text) Before(e ast.Expr) string {
	at := min(int(x.offsets[e.ID()].Start), len(x.chars))
	return strings.TrimSpace(string(x.chars[:at]))
}

// PlaceOf is where a node is. CEL places a call at its bracket; people look
// at its name.
func (x *Text) PlaceOf(e ast.Expr) file.Place {
	at := int(x.offsets[e.ID()].Start)
	if at >= len(x.chars) || x.chars[at] != '(' {
		return x.Passage.Char(at)
	}
	i := at
	for i > 0 && unicode.IsSpace(x.chars[i-1]) {
		i--
	}
	end := i
	for i > 0 && isWordChar(x.chars[i-1]) {
		i--
	}
	if i == end {
		i = at
	}
	return x.Passage.Char(i)
}

func isWordChar(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }

// EachNode calls f for e and every node below it.
func EachNode(e ast.Expr, f func(ast.Expr)) {
	f(e)
	for _, c := range Children(e) {
		EachNode(c, f)
	}
}

// Children lists the nodes right below e, in the order of the text.
func Children(e ast.Expr) []ast.Expr {
	switch e.Kind() {
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return append([]ast.Expr{call.Target()}, call.Args()...)
		}
		return call.Args()
	case ast.SelectKind:
		return []ast.Expr{e.AsSelect().Operand()}
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		return []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()}
	case ast.MapKind:
		var out []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			out = append(out, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		return out
	case ast.StructKind:
		var out []ast.Expr
		for _, field := range e.AsStruct().Fields() {
			out = append(out, field.AsStructField().Value())
		}
		return out
	default:
		return nil
	}
}

// SyntaxError reports what CEL's parser could not read. Only the first error is
// reported: the others follow from it.
func (x *Text) SyntaxError(errs []*common.Error) {
	err := errs[0]
	at := x.charOf(err.Location)
	msg := strings.TrimPrefix(err.Message, "Syntax error: ")
	word := x.wordAt(at)
	hint := ""
	switch {
	case strings.Contains(msg, "exceeds limit"), strings.Contains(msg, "recursion"), strings.Contains(msg, "nested"):
		msg = "this expression is too long or nested too deeply"
	case strings.Contains(msg, "has() macro"):
		msg, hint = "has() takes one field", "for example has(profile.country)"
	case strings.Contains(msg, "simple name"), strings.Contains(msg, "not an identifier"):
		msg, hint = "the first argument must be a name for each element", `for example purchase.items.exists(i, i.category == "shoes")`
	case strings.Contains(msg, "reserved identifier"):
		msg = strconv.Quote(word) + " is a reserved word"
	case strings.Contains(msg, "invalid int"):
		msg = "this number is too large"
	case at >= len(x.chars) || strings.Contains(msg, "<EOF>'") && word == "":
		at = len(x.chars)
		msg, hint = "the expression ends unexpectedly", endHint(msg)
	default:
		msg, hint = "unexpected "+strconv.Quote(word), signHint(x, at, word)
	}
	x.FailHint(x.Passage.Char(at), hint, "%s", msg)
}

func endHint(msg string) string {
	for _, sign := range []string{")", "]", "}", ":"} {
		if strings.Contains(msg, "'"+sign+"'") && !strings.Contains(msg, "{") {
			return strconv.Quote(sign) + " is missing"
		}
	}
	return ""
}

// signHint suggests the sign that people of another language looked for.
func signHint(x *Text, at int, word string) string {
	if s, ok := signs[strings.ToLower(word)]; ok {
		return s
	}
	before := strings.TrimSpace(string(x.chars[:at]))
	switch {
	case strings.HasSuffix(strings.ToLower(before), "not"):
		return "write ! for not"
	case strings.HasSuffix(before, "<"):
		return "write != for unequal"
	case strings.HasSuffix(before, "="):
		return "write == to compare"
	}
	return ""
}

const badQuote = `the string is not closed, or it contains an invalid \ escape`

var signs = map[string]string{
	"and": "write && for and", "or": "write || for or", "not": "write ! for not", "is": "write == to compare",
	"=": "write == to compare", "&": "write && for and", "|": "write || for or", "between": "write x >= a && x <= b",
	"“": `use straight quotes: "`, "”": `use straight quotes: "`, "‘": `use straight quotes: "`, "’": `use straight quotes: "`,
	"#": "comments are not allowed here", "'": badQuote, `"`: badQuote, "like": "use contains, startsWith or matches",
}

// charOf finds a location of CEL, whose lines count from 1 and columns from 0.
func (x *Text) charOf(loc common.Location) int {
	at, line := 0, 1
	for at < len(x.chars) && line < loc.Line() {
		if x.chars[at] == '\n' {
			line++
		}
		at++
	}
	return min(len(x.chars), at+max(0, loc.Column()))
}

// wordAt is the word or sign at a character.
func (x *Text) wordAt(at int) string {
	end := at
	for end < len(x.chars) && isWordChar(x.chars[end]) {
		end++
	}
	if end == at && at < len(x.chars) {
		end++
	}
	return string(x.chars[at:min(end, at+40)])
}

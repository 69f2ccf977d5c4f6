// Package written is an expression as somebody wrote it: the text in a file, the tree that
// CEL's parser makes of it, and where each of its nodes is.
//
// Its one rule: what the parser says is said in the words of people who write rules, at
// the character that they got wrong.
package written

import (
	"maps"
	"regexp"
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
	// bounds are what scan has found, if it has run.
	bounds  []boundary
	scanned bool
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

// StartOf is where the first character of an expression is, as far as nodes tell.
func (x *Text) StartOf(e ast.Expr) file.Place {
	first := e
	EachNode(e, func(sub ast.Expr) {
		if r, ok := x.offsets[sub.ID()]; ok && r.Start < x.offsets[first.ID()].Start {
			first = sub
		}
	})
	return x.PlaceOf(first)
}

// PlaceOf is where a node is. CEL places a call at its bracket; people look
// at its name.
func (x *Text) PlaceOf(e ast.Expr) file.Place {
	return x.Passage.Char(x.nameAt(int(x.offsets[e.ID()].Start)))
}

// nameAt returns where the name before the bracket of a call begins; of anything else,
// the place itself.
func (x *Text) nameAt(at int) int {
	if at >= len(x.chars) || x.chars[at] != '(' {
		return at
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
		return at
	}
	return i
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
	case word == "if":
		msg, hint = "there is no if()", "write did(purchase) ? count(web) > 5 : count(web) > 10"
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
	if x.Passage.IsCut() {
		hint = `YAML takes " #" and what follows for a comment: put the condition in quotes or in a | block`
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
	if hint := lengthHint(string(x.chars[:at]), word); hint != "" {
		return hint
	}
	if m := isNull.FindStringSubmatch(string(x.chars)); m != nil && strings.EqualFold(word, "is") {
		if m[2] != "" {
			return "write has(" + m[1] + ")"
		}
		return "write !has(" + m[1] + ")"
	}
	if hint := orderHint(strings.TrimSpace(string(x.chars[:at])), string(x.chars[at:])); hint != "" {
		return hint
	}
	if s, ok := signs[strings.ToLower(word)]; ok {
		return s
	}
	before := strings.TrimSpace(string(x.chars[:at]))
	switch {
	case strings.HasSuffix(strings.ToLower(before), "not"):
		return "write ! for not"
	case strings.HasSuffix(strings.ToLower(before), "(distinct"):
		return "write distinct(purchase.channel) > 1"
	case word == "," && inList.MatchString(before):
		return `write ["FR", "BE"]`
	case word == "," && pointAfter.MatchString(string(x.chars[at:])) && numberBefore.MatchString(before):
		return "write " + numberBefore.FindStringSubmatch(before)[1] + "." + pointAfter.FindStringSubmatch(string(x.chars[at:]))[1] + ", with a point"
	case word == "," && !x.inBrackets(at):
		return "write && for ,"
	case strings.HasSuffix(before, "<"):
		return "write != for unequal"
	case strings.HasSuffix(before, "="):
		return "write == to compare"
	}
	return ""
}

// orderHint says how to write a sign of order whose parts are the wrong way round.
func orderHint(before, rest string) string {
	for _, pair := range [][2]string{{"=>", ">="}, {"=<", "<="}, {"== >", ">="}, {"== <", "<="}} {
		signs := strings.ReplaceAll(pair[0], " ", "")
		for i := range len(signs) {
			if strings.HasSuffix(before, signs[:i]) && strings.HasPrefix(rest, signs[i:]) && !strings.HasSuffix(before, "="+signs[:i]) {
				return "write " + pair[1] + " for " + signs
			}
		}
	}
	return ""
}

// pointAfter finds the rest of a number that is written with a comma.
var pointAfter = regexp.MustCompile(`^,([0-9]+)`)

// isNull finds a test for a value that is not there, as SQL has it.
var isNull = regexp.MustCompile(`(?i)([a-z_.]+)\s+is\s+(not\s+)?null\b`)

// inList finds the beginning of a list in round brackets.
var inList = regexp.MustCompile(`\bin\s*\([^()]*$`)

// lengths are the units of lengths of time as people write them behind a number, with how
// many of which function one is.
var lengths = map[string]struct {
	function string
	times    int
}{
	"d": {"days", 1}, "day": {"days", 1}, "days": {"days", 1}, "h": {"hours", 1}, "hour": {"hours", 1}, "hours": {"hours", 1},
	"m": {"minutes", 1}, "min": {"minutes", 1}, "minutes": {"minutes", 1}, "w": {"weeks", 1}, "week": {"weeks", 1}, "weeks": {"weeks", 1},
	"month": {"days", 30}, "months": {"days", 30}, "y": {"days", 365}, "year": {"days", 365}, "years": {"days", 365},
	"s": {"duration", 0}, "ms": {"duration", 0},
}

var numberBefore = regexp.MustCompile(`([0-9]{1,6})\s*$`)

// lengthHint writes out a length of time such as 90d.
func lengthHint(before, word string) string {
	unit, ok := lengths[strings.ToLower(word)]
	m := numberBefore.FindStringSubmatch(before)
	switch {
	case !ok || m == nil:
		return ""
	case unit.times == 0:
		return "write duration(" + strconv.Quote(m[1]+word) + ")"
	}
	n, _ := strconv.Atoi(m[1])
	return "write " + unit.function + "(" + strconv.Itoa(n*unit.times) + ")"
}

const noSign = "leave the sign out"

const badQuote = `the string is not closed, or it contains an invalid \ escape`

var signs = map[string]string{
	"and": "write && for and", "or": "write || for or", "not": "write ! for not", "is": "write == to compare",
	"=": "write == to compare", "&": "write && for and", "|": "write || for or", "within": "write count(purchase, days(30)) > 0", "between": "write x >= a && x <= b",
	"“": `use straight quotes: "`, "”": `use straight quotes: "`, "‘": `use straight quotes: "`, "’": `use straight quotes: "`,
	"€": noSign, "$": noSign, "£": noSign, "¥": noSign, "%": "leave the sign out, such as 0.2 for 20%",
	"#": "comments are not allowed here", "'": badQuote, `"`: badQuote, "like": "use contains, startsWith or matches",
}

// inBrackets reports whether a bracket is open before a character.
func (x *Text) inBrackets(at int) bool {
	if !x.scanned {
		x.scan()
	}
	return x.depthAt(at) > 0
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

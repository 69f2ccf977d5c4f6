package rule

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/segmill/segmill/engine/plan"
)

// syntaxErrors tells what CEL's parser could not read. Only the first error is
// told: the others follow from it.
func (x *expression) syntaxErrors(errs []*common.Error) {
	err := errs[0]
	at := x.charOf(err.Location)
	msg := strings.TrimPrefix(err.Message, "Syntax error: ")
	word := x.wordAt(at)
	hint := ""
	switch {
	case strings.Contains(msg, "exceeds limit"), strings.Contains(msg, "recursion"), strings.Contains(msg, "nested"):
		msg = "this expression is too long or nested too deep"
	case strings.Contains(msg, "has() macro"):
		msg, hint = "has asks for one field", "such as has(profile.country)"
	case strings.Contains(msg, "simple name"), strings.Contains(msg, "not an identifier"):
		msg, hint = "the first argument names each element", `such as purchase.items.exists(i, i.category == "shoes")`
	case strings.Contains(msg, "reserved identifier"):
		msg = strconv.Quote(word) + " is a reserved word"
	case strings.Contains(msg, "invalid int"):
		msg = "this number is too large"
	case at >= len(x.chars) || strings.Contains(msg, "<EOF>'") && word == "":
		at = len(x.chars)
		msg, hint = "the expression ends too soon", endHint(msg)
	default:
		msg, hint = "this cannot be read here: "+strconv.Quote(word), signHint(x, at, word)
	}
	x.failHint(x.passage.char(at), hint, "%s", msg)
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
func signHint(x *expression, at int, word string) string {
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

const badQuote = `the quote is not closed, or a \ in it stands before a wrong letter`

var signs = map[string]string{
	"and": "write && for and", "or": "write || for or", "not": "write ! for not", "is": "write == to compare",
	"=": "write == to compare", "&": "write && for and", "|": "write || for or", "between": "write x >= a && x <= b",
	"“": `use straight quotes: "`, "”": `use straight quotes: "`, "‘": `use straight quotes: "`, "’": `use straight quotes: "`,
	"#": "a comment is not possible here", "'": badQuote, `"`: badQuote, "like": "use contains, startsWith or matches",
}

// charOf finds a location of CEL, whose lines count from 1 and columns from 0.
func (x *expression) charOf(loc common.Location) int {
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
func (x *expression) wordAt(at int) string {
	end := at
	for end < len(x.chars) && isWordChar(x.chars[end]) {
		end++
	}
	if end == at && at < len(x.chars) {
		end++
	}
	return string(x.chars[at:min(end, at+40)])
}

var quoted = regexp.MustCompile(`'([^']*)'`)

// checkError tells in plain words what CEL's checker says of the node e.
func (x *expression) checkError(e ast.Expr, msg string) {
	name := ""
	if m := quoted.FindStringSubmatch(msg); m != nil {
		name = m[1]
	}
	switch {
	case strings.HasPrefix(msg, "undeclared reference") && e.Kind() == ast.CallKind:
		x.noFunction(e, name)
	case strings.HasPrefix(msg, "undeclared reference"):
		x.noName(e, name)
	case strings.HasPrefix(msg, "undefined field"):
		x.noField(e, name)
	case strings.HasPrefix(msg, "found no matching overload") && e.Kind() == ast.CallKind:
		x.noOverload(e)
	case strings.HasPrefix(msg, "expected type 'bool'"):
		x.failAt(e, "compare it, for example … > 0", "&& and || join conditions, this is %s", x.typeWords(e))
	case strings.Contains(msg, "range of a comprehension"):
		x.failAt(e, "such as purchase.items", "exists, all, filter and map need a list")
	case strings.Contains(msg, "does not support field selection"):
		x.failAt(e, "", "%s has no fields", x.typeWords(e.AsSelect().Operand()))
	default:
		x.failAt(e, "", "%s", msg)
	}
}

func (x *expression) typeOf(e ast.Expr) *types.Type {
	if t := x.types[e.ID()]; t != nil {
		return t
	}
	return types.ErrorType
}

func (x *expression) typeWords(e ast.Expr) string { return inWords(x.typeOf(e)) }

func (x *expression) noFunction(e ast.Expr, name string) {
	switch {
	case e.AsCall().IsMemberFunction() && slices.Contains(aggregates, name):
		x.failAt(e, "write "+name+"(…)", "%s is a function, it stands before its arguments", name)
	case e.AsCall().IsMemberFunction():
		x.failAt(e, meant(name, append(slices.Clone(macros), x.lang.names[customer]...)), "no method %s", name)
	case slices.Contains(macros, name):
		x.failAt(e, "such as purchase.items."+name+"(i, …)", "%s is written after a list and a dot", name)
	default:
		x.failAt(e, meant(name, x.lang.names[customer]), "no function %s", name)
	}
}

func (x *expression) noName(e ast.Expr, name string) {
	if slices.Contains(x.lang.names[customer], name) {
		x.failAt(e, "call it: "+name+"(…)", "%s is a function", name)
		return
	}
	if _, i := x.catalog.field("@profile", name); i >= 0 && x.level == customer {
		x.failAt(e, "did you mean profile."+name+"?", "no name %q", name)
		return
	}
	if s := x.soleStream(); x.level == event && s != "" {
		if _, i := x.catalog.field("@"+s, name); i >= 0 {
			x.failAt(e, "did you mean "+s+"."+name+"?", "no name %q", name)
			return
		}
	}
	names := []string{"profile"}
	if x.level == event {
		names = plan.CountedStreams()
	}
	for n := range x.defines {
		names = append(names, n)
	}
	hint := meant(name, sorted(names))
	if hint == "" && e.Kind() == ast.IdentKind && x.looksLikeText(e) {
		hint = "put a text in quotes: " + strconv.Quote(name)
	}
	x.failAt(e, hint, "no name %q", name)
}

// soleStream is the stream that the expression reads, if it is one.
func (x *expression) soleStream() string {
	if len(x.streams) == 1 {
		return x.streams[0].String()
	}
	return ""
}

// looksLikeText reports whether a comparison sign stands right before e.
func (x *expression) looksLikeText(e ast.Expr) bool {
	at := min(int(x.offsets[e.ID()].Start), len(x.chars))
	before := strings.TrimSpace(string(x.chars[:at]))
	return strings.HasSuffix(before, "==") || strings.HasSuffix(before, "!=")
}

func (x *expression) noField(e ast.Expr, name string) {
	object := x.typeOf(e.AsSelect().Operand()).TypeName()
	in := "stream " + strings.TrimPrefix(object, "@")
	if s, ok := plan.StreamByName(strings.TrimPrefix(object, "@")); ok && s.Info().Attributes {
		in = s.String()
	} else if strings.Contains(object, ".") {
		in = strings.TrimPrefix(object, "@")
	}
	x.failAt(e, didYouMean(name, x.catalog.names(object)), "no field %q in %s", name, in)
}

// noOverload tells that a function or an operator cannot take its arguments.
func (x *expression) noOverload(e ast.Expr) {
	call := e.AsCall()
	args := call.Args()
	if call.IsMemberFunction() {
		args = append([]ast.Expr{call.Target()}, args...)
	}
	kinds := make([]string, len(args))
	for i, a := range args {
		kinds[i] = x.typeWords(a)
	}
	hint := x.typeHint(args)
	sign, _ := operators.FindReverse(call.FunctionName())
	switch name := call.FunctionName(); {
	case name == operators.Conditional && x.typeOf(args[0]).Kind() != types.BoolKind:
		x.failAt(args[0], "compare it", "before ? stands a condition, this is %s", kinds[0])
	case name == operators.Conditional:
		x.failAt(e, hint, "both results of ? : must be of one kind, these are %s and %s", kinds[1], kinds[2])
	case name == operators.Index:
		x.failAt(e, hint, "%s cannot be read with %s in brackets", kinds[0], kinds[1])
	case name == operators.In:
		x.failAt(e, hint, "%s cannot be looked up in %s", kinds[0], x.listWords(args[1]))
	case name == operators.LogicalNot:
		x.failAt(e, "compare it, for example … == 0", "! turns a condition round, this is %s", kinds[0])
	case name == operators.Negate:
		x.failAt(e, hint, "- needs a number, this is %s", kinds[0])
	case sign != "" && len(args) == 2:
		verb := "be compared with"
		if strings.Contains("+-*/%", sign) {
			verb = "stand at the other side of " + sign + " from"
		}
		x.failAt(e, hint, "%s cannot %s %s", kinds[0], verb, kinds[1])
	case len(kinds) == 0:
		x.failAt(e, "", "%s needs something in its brackets", name)
	default:
		x.failAt(e, functionHints[name], "%s cannot take %s", name, strings.Join(kinds, " and "))
	}
}

func (x *expression) listWords(e ast.Expr) string {
	if t := x.typeOf(e); t.Kind() == types.ListKind {
		return "a list of which each element is " + inWords(t.Parameters()[0])
	}
	return x.typeWords(e)
}

var functionHints = map[string]string{
	"days": "such as days(90)", "hours": "such as hours(6)", "minutes": "such as minutes(30)", "weeks": "such as weeks(2)",
	"since": "such as since(profile.signed_up_at)", "age": "such as age(profile.birth_date)", "years_since": "such as years_since(first(purchase))",
	"in_segment": `such as in_segment("loyal")`, "consented": `such as consented("email")`, "timestamp": `such as timestamp("2026-01-31T00:00:00Z")`,
	"duration": `such as duration("36h")`, "matches": `such as web.url.matches("/sale/")`, "size": "such as size(purchase.items)",
}

// typeHint says how to write the constant that does not fit its neighbour.
func (x *expression) typeHint(args []ast.Expr) string {
	if len(args) != 2 {
		return ""
	}
	for i, a := range args {
		other := x.typeOf(args[1-i])
		if a.Kind() != ast.LiteralKind {
			continue
		}
		text := literalText(a)
		switch k := x.typeOf(a).Kind(); {
		case k == types.StringKind && (other.Kind() == types.IntKind || other.Kind() == types.DoubleKind):
			return "write a number without quotes"
		case k == types.StringKind && other.Kind() == types.BoolKind:
			return "write true or false without quotes"
		case k == types.StringKind && other.Kind() == types.TimestampKind:
			return `write timestamp("2026-01-31T00:00:00Z")`
		case k == types.IntKind && other.Kind() == types.DurationKind:
			return "a length of time needs a unit: days(" + text + ")"
		case (k == types.IntKind || k == types.BoolKind) && other.Kind() == types.StringKind:
			return "write a text in quotes: " + strconv.Quote(text)
		}
	}
	return ""
}

func literalText(e ast.Expr) string {
	switch v := e.AsLiteral().Value().(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	}
	return "…"
}

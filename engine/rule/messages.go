package rule

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
)

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
		x.failAt(e, "compare it, for example … > 0", "&& and || need conditions, but this is %s", x.typeWords(e))
	case strings.Contains(msg, "range of a comprehension"):
		x.failAt(e, "for example purchase.items", "exists, all, filter and map need a list")
	case strings.Contains(msg, "does not support field selection"):
		if x.typeOf(e.AsSelect().Operand()).Kind() == types.ListKind {
			x.noLine(e)
			return
		}
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

func (x *expression) typeWords(e ast.Expr) string { return language.InWords(x.typeOf(e)) }

func (x *expression) noFunction(e ast.Expr, name string) {
	switch {
	case e.AsCall().IsMemberFunction() && language.IsAggregate(name):
		x.failAt(e, "write "+name+"(…)", "%s is a function, not a method", name)
	case e.AsCall().IsMemberFunction():
		x.failAt(e, file.Meant(name, append(language.Macros(), x.lang.Functions()...)), "unknown method %s", name)
	case language.IsMacro(name):
		x.failAt(e, "for example purchase.items."+name+"(i, …)", "%s is a method of lists", name)
	case language.Foreign(strings.ToLower(name)) != "":
		x.failAt(e, write(language.Foreign(strings.ToLower(name))), "unknown function %s", name)
	default:
		x.failAt(e, file.Meant(name, x.lang.Functions()), "unknown function %s", name)
	}
}

func (x *expression) noName(e ast.Expr, name string) {
	if slices.Contains(x.lang.Functions(), name) {
		x.failAt(e, "call it: "+name+"(…)", "%s is a function", name)
		return
	}
	if field := x.customerField(e, name); field != "" {
		x.failAt(e, write(field), "unknown name %q", name)
		return
	}
	if _, i := x.catalog.Field("@profile", name); i >= 0 && x.level == language.Customer {
		x.failAt(e, "did you mean profile."+name+"?", "unknown name %q", name)
		return
	}
	if s := x.soleStream(); x.level == language.Event && s != "" {
		if _, i := x.catalog.Field("@"+s, name); i >= 0 {
			x.failAt(e, "did you mean "+s+"."+name+"?", "unknown name %q", name)
			return
		}
	}
	names := []string{"profile"}
	if x.level == language.Event {
		names = x.table().Counted()
	}
	for n := range x.defines {
		names = append(names, n)
	}
	hint := file.Meant(name, file.Sorted(names))
	if hint == "" && e.Kind() == ast.IdentKind && x.looksLikeText(e) {
		hint = "put strings in quotes: " + strconv.Quote(name)
	}
	if hint == "" && x.level == language.Event && e.Kind() == ast.IdentKind {
		hint = cmp.Or(x.eventName(e, name), "a stream of your own is declared so: streams: {"+name+": {fields: {kind: text}}}")
	}
	x.failAt(e, hint, "unknown name %q", name)
}

// soleStream is the stream that the expression reads, if it is one.
func (x *expression) soleStream() string {
	if len(x.streams) == 1 {
		return x.table().Name(x.streams[0])
	}
	return ""
}

// looksLikeText reports whether there is a comparison sign right before e.
func (x *expression) looksLikeText(e ast.Expr) bool {
	before := x.src.Before(e)
	return strings.HasSuffix(before, "==") || strings.HasSuffix(before, "!=")
}

func (x *expression) noField(e ast.Expr, name string) {
	x.noFieldIn(e, x.typeOf(e.AsSelect().Operand()).TypeName(), name)
}

// noFieldIn says that an object has no field of that name.
func (x *expression) noFieldIn(e ast.Expr, object, name string) {
	in := "stream " + strings.TrimPrefix(object, "@")
	if object == "@profile" {
		in = plan.Profile.String()
	} else if strings.Contains(object, ".") {
		in = strings.TrimPrefix(object, "@")
	}
	hint := file.DidYouMean(name, x.catalog.Names(object))
	if stream, ok := strings.CutPrefix(object, "@"); ok && !strings.Contains(stream, ".") && file.NameForm.MatchString(name) {
		hint = x.declareHint(stream, name, x.typeGuess(e))
	}
	x.failAt(e, hint, "no field %q in %s", name, in)
}

// declareHint says what the schemas have instead of a field that a stream does not have, how
// to declare it, and where it is as long as nobody does.
func (x *expression) declareHint(stream, name, typ string) string {
	if word := x.wordHint(stream, name); word != "" && typ != "number" {
		return word
	}
	names := x.catalog.Names("@" + stream)
	hint := cmp.Or(write(language.Instead(stream+"."+name)), file.Meant(name, names))
	if typ == "number" && (moneyName.MatchString(name) || x.isMoney(stream, file.Near(name, names))) {
		typ = "money"
	}
	switch {
	case strings.HasPrefix(hint, "write "):
		return hint + ", or declare it: fields: {" + stream + ": {" + name + ": " + typ + "}}"
	case hint != "":
		hint += " or "
	}
	hint += "declare it: fields: {" + stream + ": {" + name + ": " + typ + "}}"
	for _, m := range []string{"traits", "attributes"} {
		if t, i := x.catalog.Field("@"+stream, m); i >= 0 && t.Map {
			hint += "; undeclared, it is in " + stream + "." + m + "[" + strconv.Quote(name) + "]"
		}
	}
	return hint
}

// moneyName finds the names of amounts of money.
var moneyName = regexp.MustCompile(`amount|price|revenue|total|cost|fee`)

func (x *expression) isMoney(stream, name string) bool {
	t, i := x.catalog.Field("@"+stream, name)
	return i >= 0 && t.IsMoney()
}

// wordHint compares the field of a stream that has such a word for one of its values.
func (x *expression) wordHint(stream, word string) string {
	for _, name := range x.catalog.Names("@" + stream) {
		t, _ := x.catalog.Field("@"+stream, name)
		if word != "unknown" && (slices.Contains(t.Words, word) || slices.Contains(t.Symbols, word)) {
			return write(stream + "." + name + " == " + strconv.Quote(word))
		}
	}
	return ""
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
		x.failAt(args[0], "compare it", "the part before ? must be a condition, but this is %s", kinds[0])
	case name == operators.Conditional:
		x.failAt(e, hint, "both results of ? : must have the same type, but these are %s and %s", kinds[1], kinds[2])
	case name == operators.Index:
		x.failAt(e, hint, "%s cannot be indexed with %s", kinds[0], kinds[1])
	case name == operators.In:
		x.failAt(e, cmp.Or(hint, x.lookupHint(args)), "%s cannot be looked up in %s", kinds[0], x.listWords(args[1]))
	case name == operators.LogicalNot:
		x.failAt(e, "compare it, for example … == 0", "! needs a condition, but this is %s", kinds[0])
	case name == operators.Negate:
		x.failAt(e, hint, "- needs a number, but this is %s", kinds[0])
	case sign != "" && len(args) == 2:
		if strings.Contains("+-*/%", sign) {
			x.failAt(e, hint, "%s cannot combine %s and %s", sign, kinds[0], kinds[1])
		} else {
			x.failAt(e, cmp.Or(x.bracketHint(e, sign), x.comparisonHint(sign, args), hint), "%s cannot be compared with %s", kinds[0], kinds[1])
		}
	case len(kinds) == 0:
		x.failAt(e, "", "%s needs an argument", name)
	default:
		x.failAt(e, functionHints[name], "%s does not accept %s", name, strings.Join(kinds, " and "))
	}
}

func (x *expression) listWords(e ast.Expr) string {
	if t := x.typeOf(e); t.Kind() == types.ListKind {
		return "a list in which each element is " + language.InWords(t.Parameters()[0])
	}
	return x.typeWords(e)
}

var functionHints = map[string]string{
	"days": "for example days(90)", "hours": "for example hours(6)", "minutes": "for example minutes(30)", "weeks": "for example weeks(2)",
	"since": "for example since(profile.signed_up_at)", "until": "for example until(profile.birth_date)", "orElse": `for example orElse(profile.country, "unknown")`,
	"age": "for example age(profile.birth_date)", "years_since": "for example years_since(first(purchase))",
	"in_segment": `for example in_segment("loyal")`, "consented": `for example consented("email")`, "timestamp": `for example timestamp("2026-01-31T00:00:00Z")`,
	"duration": `for example duration("36h")`, "matches": `for example web.url.matches("/sale/")`, "size": "for example size(purchase.items)",
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
			if v, ok := a.AsLiteral().Value().(string); ok && isNumeral(v) {
				return "write " + v + " without quotes"
			}
			return "write a number without quotes"
		case k == types.StringKind && other.Kind() == types.BoolKind:
			return "write true or false without quotes"
		case k == types.StringKind && other.Kind() == types.TimestampKind:
			return `write timestamp("2026-01-31T00:00:00Z")`
		case k == types.IntKind && other.Kind() == types.DurationKind:
			return "a duration needs a unit: days(" + text + ")"
		case (k == types.IntKind || k == types.BoolKind) && other.Kind() == types.StringKind:
			return "put strings in quotes: " + strconv.Quote(text)
		}
	}
	return ""
}

func isNumeral(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
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

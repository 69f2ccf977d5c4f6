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
	"cel.dev/cel-go/parser"

	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/engine/rule/written"
)

// source prints an expression as it is written, with what scope has taken out of it.
func (x *expression) source(e ast.Expr) string {
	if r := x.holes[e.ID()]; r != nil && r.node != nil {
		return x.text(r.node)
	}
	text, err := parser.Unparse(e, x.info)
	if err != nil || strings.Contains(text, "@") {
		return "…"
	}
	return text
}

// write is the hint that a line is what was meant, "" without one.
func write(line string) string {
	if line == "" || strings.Contains(line, "…") {
		return ""
	}
	return "write " + line
}

// tests are what makes a condition of a field.
var tests = []string{
	operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
	operators.In, "startsWith", "endsWith", "contains", "matches",
}

// bareTest says of a test of an event's field that stands outside of an aggregate how it is
// asked of a customer. It reports whether e is one.
func (x *expression) bareTest(e ast.Expr) bool {
	call := e.AsCall()
	if x.level != language.Customer || !slices.Contains(tests, call.FunctionName()) {
		return false
	}
	for i, c := range written.Children(e) {
		root := c
		for root.Kind() == ast.SelectKind && !root.AsSelect().IsTestOnly() {
			root = root.AsSelect().Operand()
		}
		if root.Kind() != ast.IdentKind || x.defines[root.AsIdent()] != nil {
			continue
		}
		name, text := root.AsIdent(), x.source(e)
		s, isStream := x.table().ByName(name)
		switch {
		case isStream && !x.table().Info(s).Attributes && root.ID() != c.ID() && x.failNoField(e, i, c, root):
		case isStream && !x.table().Info(s).Attributes && root.ID() != c.ID():
			x.failAt(root, write("did("+x.ofLine(text)+")"), "%s is a stream of events and can only be used inside an aggregate", name)
		case !isStream && i == 0 && root.ID() == c.ID() && x.streamWith(name) != "":
			text = x.streamWith(name) + "." + text
			if x.streamWith(name) != plan.Profile.String() {
				text = "did(" + x.ofLine(text) + ")"
			}
			x.failAt(root, write(text), "unknown name %q", name)
		default:
			continue
		}
		x.fill(e, nil)
		return true
	}
	return false
}

// streamWith is the stream that has a field of that name: the profile, else the first that
// does not have it in common with all others; "" if there is none.
func (x *expression) streamWith(field string) (name string) {
	if slices.Contains(plan.CommonFields, field) {
		return ""
	}
	for _, info := range x.table().All() {
		_, i := x.catalog.Field("@"+info.Name, field)
		if i >= 0 && (name == "" || info.Attributes) {
			name = info.Name
		}
	}
	return name
}

var lineTest = regexp.MustCompile(`^(purchase|web)\.items\.([a-z_]+)\b`)

// ofLine makes a test of a field of a line one of all lines of an event.
func (x *expression) ofLine(text string) string {
	if m := lineTest.FindStringSubmatch(text); m != nil {
		return m[1] + ".items.exists(i, i." + m[2] + text[len(m[0]):] + ")"
	}
	return text
}

// noLine says of a field of a line that is read as one of the event how to ask for it.
func (x *expression) noLine(e ast.Expr) {
	parent := x.parentOf(e)
	if parent != nil && parent.Kind() == ast.CallKind && slices.Contains(tests, parent.AsCall().FunctionName()) {
		if line := x.ofLine(x.source(parent)); line != x.source(parent) {
			x.failAt(e, write(line), "a list has no fields")
			return
		}
	}
	text := x.source(e)
	if !lineTest.MatchString(text) {
		x.failAt(e, "", "a list has no fields")
		return
	}
	nearest := cmp.Or(x.amountCall(e), `sum(purchase.revenue, purchase.items.exists(i, i.category == "shoes")) > 100`)
	if parent != nil && parent.Kind() == ast.CallKind && parent.AsCall().FunctionName() == "distinct" {
		nearest = `did(purchase.items.exists(i, i.category == "shoes")) && did(purchase.items.exists(i, i.category == "hats"))`
	}
	x.failAt(e, "the nearest today: "+write(nearest), "this version does not aggregate over the lines of an event, such as %s", text)
}

// parentOf returns the node right above e, nil if there is none.
func (x *expression) parentOf(e ast.Expr) (parent ast.Expr) {
	written.EachNode(x.root, func(n ast.Expr) {
		for _, c := range written.Children(n) {
			if c.ID() == e.ID() {
				parent = n
			}
		}
	})
	return parent
}

// typeGuess is the type to declare an unknown field with, by how it is used.
func (x *expression) typeGuess(e ast.Expr) string {
	p := x.parentOf(e)
	switch {
	case p != nil && p.Kind() == ast.ComprehensionKind:
		return "list"
	case p == nil || p.Kind() != ast.CallKind:
		return "text"
	}
	call := p.AsCall()
	switch call.FunctionName() {
	case "since":
		return "time"
	case "until", "age", "years_since":
		return "date"
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
		return "truth"
	case operators.In:
		if call.Args()[1].ID() == e.ID() {
			return "list"
		}
	case operators.Add, operators.Subtract, operators.Multiply, operators.Divide, "sum", "avg", "min", "max":
		return "number"
	case "did", "count":
		return "truth"
	}
	for _, a := range call.Args() {
		kind := x.typeOf(a).Kind()
		if a.Kind() == ast.LiteralKind { // which has its type before it is checked
			kind = a.AsLiteral().Type().(*types.Type).Kind()
		}
		switch kind {
		case types.IntKind, types.DoubleKind:
			return "number"
		case types.BoolKind:
			return "truth"
		case types.TimestampKind:
			return "time"
		default:
		}
	}
	return "text"
}

// bareWord says of a bare word where a text has to be how to write it, and reports
// whether there is one.
func (x *expression) bareWord(e ast.Expr, name string) bool {
	if name != "consented" && name != "in_segment" {
		return false
	}
	bare := false
	for _, a := range e.AsCall().Args() {
		if a.Kind() == ast.IdentKind && x.defines[a.AsIdent()] == nil {
			bare = true
		}
	}
	if !bare {
		return false
	}
	var args []string
	for _, a := range e.AsCall().Args() {
		text := x.source(a)
		if a.Kind() == ast.IdentKind {
			text = strconv.Quote(text)
		}
		args = append(args, text)
	}
	x.failAt(e, write(name+"("+strings.Join(args, ", ")+")"), "%s takes names in quotes", name)
	x.fill(e, nil)
	return true
}

// comparisonHint says what is meant by a comparison of two things that do not compare.
func (x *expression) comparisonHint(sign string, args []ast.Expr) string {
	a, b := args[0], args[1]
	ka, kb := x.typeOf(a).Kind(), x.typeOf(b).Kind()
	numeric := func(k types.Kind) bool { return k == types.IntKind || k == types.DoubleKind }
	ordered := strings.HasPrefix(sign, "<") || strings.HasPrefix(sign, ">")
	switch {
	case ka == types.StringKind && numeric(kb) && ordered && a.Kind() != ast.LiteralKind:
		return write("double("+x.source(a)+") "+sign+" "+x.source(b)) + ", or declare the field as a number"
	case ka == types.TimestampKind && kb == types.DurationKind:
		if r := x.holes[a.ID()]; r != nil && (strings.HasPrefix(x.text(r.node), "last(") || strings.HasPrefix(x.text(r.node), "first(")) {
			return write("since_" + x.text(r.node) + " " + sign + " " + x.source(b))
		}
		return write("since(" + x.source(a) + ") " + sign + " " + x.source(b))
	case ka == types.TimestampKind && (numeric(kb) || kb == types.StringKind):
		day := dateIn.FindStringSubmatch(x.source(b))
		if day == nil {
			return `write timestamp("2026-01-31T00:00:00Z")`
		}
		return write(x.source(a) + " " + sign + ` timestamp("` + day[1] + "-" + twoDigits(day[2]) + "-" + twoDigits(day[3]) + `T00:00:00Z")`)
	}
	return ""
}

// dateIn finds a date that is written as one, or as a subtraction.
var dateIn = regexp.MustCompile(`^"?(\d{4})(?:-| - )(\d{1,2})(?:-| - )(\d{1,2})"?$`)

func twoDigits(s string) string {
	if len(s) < 2 {
		return "0" + s
	}
	return s
}

// lookupHint says what is meant by in with a text behind it.
func (x *expression) lookupHint(args []ast.Expr) string {
	if x.typeOf(args[0]).Kind() != types.StringKind || x.typeOf(args[1]).Kind() != types.StringKind {
		return ""
	}
	a, b := x.source(args[0]), x.source(args[1])
	if args[0].Kind() == ast.LiteralKind {
		return write(b+" == "+a) + ", or declare the field as a list"
	}
	return write(a + " == " + b)
}

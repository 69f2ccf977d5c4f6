package rule

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/engine/rule/written"
)

// callText prints a call.
func (x *expression) callText(name string, args ...string) string {
	return name + "(" + strings.Join(args, ", ") + ")"
}

// aggregateAbove returns the nearest call of an aggregate that e is in, not far above, and
// in which argument, nil if it is in none.
func (x *expression) aggregateAbove(e ast.Expr) (call ast.Expr, in int) {
	const most = 8
	below := e
	for range most {
		p := x.parentOf(below)
		if p == nil {
			return nil, 0
		}
		if p.Kind() == ast.CallKind && !p.AsCall().IsMemberFunction() && language.IsAggregate(p.AsCall().FunctionName()) {
			return p, slices.IndexFunc(p.AsCall().Args(), func(a ast.Expr) bool { return a.ID() == below.ID() })
		}
		below = p
	}
	return nil, 0
}

// withArgument prints the call of an aggregate with another text for one argument.
func (x *expression) withArgument(call ast.Expr, i int, text string) string {
	var args []string
	for k, a := range call.AsCall().Args() {
		if k == i {
			args = append(args, text)
		} else {
			args = append(args, x.source(a))
		}
	}
	return x.callText(call.AsCall().FunctionName(), args...)
}

// windowHint writes the call of an aggregate with the window nearest to one of a later
// version, "" if there is none.
func (x *expression) windowHint(e ast.Expr, name string) string {
	window := language.Window(name)
	call, i := x.aggregateAbove(e)
	if window == "" || call == nil || i == 0 || i != len(call.AsCall().Args())-1 || call.AsCall().Args()[i].ID() != e.ID() {
		return ""
	}
	if args := e.AsCall().Args(); len(args) == 1 {
		n, err := strconv.Atoi(x.source(args[0]))
		days, _ := strconv.Atoi(strings.Trim(window, "days()"))
		if err != nil || n < 1 || n > 1000 {
			return ""
		}
		window = "days(" + strconv.Itoa(n*days) + ")"
	}
	return write(x.withArgument(call, i, window))
}

// bracketHint closes the bracket of an aggregate before the sign that compares it.
func (x *expression) bracketHint(e ast.Expr, sign string) string {
	args := e.AsCall().Args()
	call, i := x.aggregateAbove(e)
	if call == nil || x.typeOf(args[0]).Kind() != types.DurationKind || call.AsCall().Args()[i].ID() != e.ID() || i != len(call.AsCall().Args())-1 {
		return ""
	}
	switch x.typeOf(args[1]).Kind() {
	case types.IntKind, types.DoubleKind:
		return write(x.withArgument(call, i, x.source(args[0])) + " " + sign + " " + x.source(args[1]))
	default:
		return ""
	}
}

// amountCall writes a sum over the prices of lines as one over the amounts of events, with
// the same window, "" if it is something else.
func (x *expression) amountCall(e ast.Expr) string {
	call, i := x.aggregateAbove(e)
	if call == nil || i != 0 || !strings.Contains(x.source(call.AsCall().Args()[0]), ".items.price") {
		return ""
	}
	field := "purchase.revenue"
	if strings.HasPrefix(x.source(e), "web.") {
		field = "web.value"
	}
	args := []string{field}
	for _, a := range call.AsCall().Args()[1:] {
		args = append(args, x.ofLine(x.source(a)))
	}
	return x.callText(call.AsCall().FunctionName(), args...)
}

// eventName is what events are called here that somebody names in another way: by a field
// of their stream, by a value of one, by a common word.
func (x *expression) eventName(e ast.Expr, name string) string {
	if call, _ := x.aggregateAbove(e); call != nil && call.AsCall().Args()[0].Kind() == ast.IdentKind {
		stream := call.AsCall().Args()[0].AsIdent()
		if _, i := x.catalog.Field("@"+stream, name); i >= 0 {
			return write(stream + "." + name)
		}
	}
	if s := x.streamWith(name); s != "" && s != "profile" {
		return write(s + "." + name)
	}
	for _, stream := range x.table().Counted() {
		if hint := x.wordHint(stream, name); hint != "" {
			return hint
		}
	}
	return write(language.Instead(strings.ToLower(name)))
}

// customers are names that people give the customer.
var customers = []string{"customer", "user", "contact", "person", "member", "client"}

// customerField is a field of the profile, if it is read by another name of the customer.
func (x *expression) customerField(e ast.Expr, name string) string {
	p := x.parentOf(e)
	if !slices.Contains(customers, name) || x.level != language.Customer || p == nil || p.Kind() != ast.SelectKind {
		return ""
	}
	field := "profile." + p.AsSelect().FieldName()
	if instead := language.Instead(field); instead != "" {
		return instead
	}
	return field
}

var (
	atForm     = regexp.MustCompile(`^(.+)_at$`)
	lengthForm = regexp.MustCompile(`^(weeks|days|hours|minutes|duration)\(`)
)

// failNoField says of a test of an event's field that there is no such field, before it says
// where such a test belongs. c is the side of the test e with the number i, and root the
// stream in it. It reports whether the field is missing.
func (x *expression) failNoField(e ast.Expr, i int, c, root ast.Expr) bool {
	first := c
	for first.AsSelect().Operand().ID() != root.ID() {
		first = first.AsSelect().Operand()
	}
	stream, name := root.AsIdent(), first.AsSelect().FieldName()
	if _, at := x.catalog.Field("@"+stream, name); at >= 0 {
		return false
	}
	if m := atForm.FindStringSubmatch(name); m != nil && i == 0 && len(written.Children(e)) == 2 {
		sign, isSign := operators.FindReverse(e.AsCall().FunctionName())
		is, ok := strings.CutPrefix(x.wordHint(stream, m[1]), "write ")
		if other := x.source(written.Children(e)[1]); ok && isSign {
			last := "last("
			if lengthForm.MatchString(other) {
				last = "since_last("
			}
			x.failAt(first, write(last+is+") "+sign+" "+other), "no field %q in stream %s", name, stream)
			return true
		}
	}
	x.noFieldIn(first, "@"+stream, name)
	return true
}

package rule

import (
	"cmp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/engine/rule/written"
)

// scope walks the parsed tree before its types are known. It says what may not
// stand where it stands, and replaces definitions and aggregates by holes, whose
// types the checker then takes for granted.
func (x *expression) scope(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind:
		x.scopeName(e)
		return
	case ast.LiteralKind:
		x.scopeLiteral(e)
		return
	case ast.MapKind, ast.StructKind:
		x.failAt(e, "", "rules have no map values")
		x.fill(e, nil)
		return
	case ast.ComprehensionKind:
		v := e.AsComprehension().IterVar()
		if x.lang.IsTaken(v) || x.defines[v] != nil {
			x.failAt(e, "choose another name for the variable", "%q is a reserved name", v)
		}
	case ast.CallKind:
		call := e.AsCall()
		name := call.FunctionName()
		if x.isUnknown(name, call.IsMemberFunction()) {
			x.noFunction(e, name)
			x.fill(e, nil)
			return
		}
		if !call.IsMemberFunction() && x.scopeCall(e, name) || x.bareTest(e) {
			return
		}
	default:
	}
	for _, c := range written.Children(e) {
		x.scope(c)
	}
}

// scopeCall deals with the functions that the checker does not know, or not in
// this place. It reports whether nothing below the call is left to look at.
func (x *expression) scopeCall(e ast.Expr, name string) bool {
	switch {
	case language.IsLater(name):
		hint := cmp.Or(x.windowHint(e, name), write(language.Today(name)))
		if hint != "" {
			hint = "the nearest today: " + hint
		}
		x.failAt(e, hint, "this version does not have %s()", name)
	case x.level == language.Customer && x.bareWord(e, name):
		return true
	case x.level == language.Customer && language.IsAggregate(name):
		x.aggregate(e, name)
		return true
	case x.level == language.Event && language.IsAggregate(name):
		x.failAt(e, "move it out, or combine two aggregates: sum(…) / count(…)", "%s cannot be used inside another aggregate or together with the fields of an event", name)
	case x.level == language.Event && name == "since" && x.isAggregateCall(e.AsCall().Args()):
		x.failAt(e, "the nearest today: "+write("count(web, days(30)) >= 3 && last(web) > orElse(last(purchase), timestamp(\"1970-01-01T00:00:00Z\"))"), "this version does not have windows since an event")
	case x.level == language.Event && language.IsOfCustomer(name):
		x.failAt(e, "use it outside: count(…) > 0 && "+name+"(…)", "%s reads the customer, but an aggregate sees one event at a time", name)
	default:
		return false
	}
	x.fill(e, nil)
	return true
}

// isAggregateCall reports whether there is one argument, and it is an aggregate.
func (x *expression) isAggregateCall(args []ast.Expr) bool {
	return len(args) == 1 && args[0].Kind() == ast.CallKind && language.IsAggregate(args[0].AsCall().FunctionName())
}

// isUnknown reports whether no version of the language has the function. The
// checker would say so too, but after complaints about its arguments.
func (x *expression) isUnknown(name string, method bool) bool {
	if !file.NameForm.MatchString(name) { // an operator
		return false
	}
	if method && language.IsAggregate(name) {
		return true
	}
	return !slices.Contains(x.lang.Functions(), name) && !language.IsLater(name)
}

func (x *expression) scopeName(e ast.Expr) {
	name := e.AsIdent()
	if x.defines[name] != nil {
		x.useDefine(e, name)
		return
	}
	s, isStream := x.table().ByName(name)
	switch {
	case strings.HasPrefix(name, "."):
		x.failAt(e, "write "+name[1:], "a name cannot start with a dot")
		x.fill(e, nil)
	case !isStream && name != "activity":
	case x.level == language.Customer && isStream && x.table().Info(s).Attributes:
	case x.level == language.Customer:
		x.failAt(e, "for example count("+name+", days(90)) or last("+name+")", "%s is a stream of events and can only be used inside an aggregate", name)
		x.fill(e, nil)
	case name == "activity":
		x.failAt(e, "", "activity takes only a window beside it: count(activity, days(7))")
		x.fill(e, nil)
	case x.table().Info(s).Attributes:
		x.failAt(e, "compare it outside: count(…) > 0 && profile.…", "an aggregate sees events and cannot read the profile")
		x.fill(e, nil)
	case !slices.Contains(x.streams, s):
		x.streams = append(x.streams, s)
	}
}

func (x *expression) scopeLiteral(e ast.Expr) {
	switch e.AsLiteral().Type() {
	case types.UintType:
		x.failAt(e, "remove the u", "rules have no unsigned numbers")
	case types.BytesType:
		x.failAt(e, "remove the b", "rules have no bytes")
	case types.NullType:
		x.failAt(e, "to test whether there is a value, write has(profile.country)", "rules have no null")
	default:
		return
	}
	x.fill(e, nil)
}

// useDefine puts the value of a definition in the place of its name.
func (x *expression) useDefine(e ast.Expr, name string) {
	if x.defines[name].state == reading {
		x.failAt(e, "", "%q is defined in terms of itself", name)
		x.fill(e, nil)
		return
	}
	d := x.resolve(name)
	r := d.result
	switch {
	case r == nil: // told where it is defined
		x.failed = true
		x.wrong[e.ID()] = true
	case x.level == language.Customer && r.level == language.Event:
		x.failAt(e, "", "%s describes a single event of %s; use it inside count, sum, did or last", name, x.streamNames(r.streams))
		r = nil
	case x.level == language.Event && r.level == language.Customer:
		x.failAt(e, "", "%s reads the customer, but an aggregate sees one event at a time", name)
		r = nil
	default:
		if x.size += r.size; x.size > language.MaxNodes {
			x.failAt(e, "", "with its definitions expanded, this has more than %d parts", language.MaxNodes)
			r = nil
			break
		}
		x.member = append(x.member, r.member...)
		for _, s := range r.streams {
			if !slices.Contains(x.streams, s) {
				x.streams = append(x.streams, s)
			}
		}
	}
	x.fill(e, r)
}

// fill replaces the node by a hole with the value r, or by one that suits every
// type if r is nil.
func (x *expression) fill(e ast.Expr, r *result) {
	name := language.AnyHole()
	if r != nil {
		x.holes[e.ID()] = r
		name = x.lang.Hole(x.level, r.typ)
	}
	e.SetKindCase(ast.NewExprFactory().NewIdent(e.ID(), name))
}

// readsEvents reports whether a definition is about one event: it names a
// stream outside of aggregates.
func (x *expression) readsEvents(e ast.Expr) bool {
	switch e.Kind() {
	case ast.IdentKind:
		name := e.AsIdent()
		if d := x.defines[name]; d != nil {
			d = x.resolve(name)
			return d.result != nil && d.result.level == language.Event
		}
		s, ok := x.table().ByName(name)
		return ok && !x.table().Info(s).Attributes
	case ast.CallKind:
		if call := e.AsCall(); !call.IsMemberFunction() && language.IsAggregate(call.FunctionName()) {
			return false
		}
	default:
	}
	return slices.ContainsFunc(written.Children(e), x.readsEvents)
}

package rule

import (
	"cmp"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/language"
)

// aggregation is a call of an aggregate while its arguments are read.
type aggregation struct {
	x    *expression
	call ast.Expr
	name string
	// The rows of the table with that name, nil where there is none.
	ofEvents, ofField *plan.Aggregate
	args              []argument
	// What the arguments say: a field or none, the events that count, how far
	// back.
	stream   plan.Stream
	activity bool
	field    *expr.Node
	cond     *expr.Node
	window   expr.Millis
}

// argument is one argument of an aggregate, read as an expression on an event.
type argument struct {
	expr ast.Expr
	result
	bare bool // the name of a stream, or activity
}

// aggregate replaces a call of an aggregate by its value.
func (x *expression) aggregate(e ast.Expr, name string) {
	row := language.AggregateOf(name)
	a := aggregation{x: x, call: e, name: name, ofEvents: plan.AggregateOf(row, false)}
	if row == name {
		a.ofField = plan.AggregateOf(name, true)
	}
	if !a.read() {
		x.failed = true
		x.wrong[e.ID()] = true
		x.fill(e, nil)
		return
	}
	node := a.node()
	x.fill(e, &result{node: node, typ: typeOf(node.Type)})
}

func typeOf(k expr.Kind) *types.Type {
	switch k {
	case expr.Date:
		return types.TimestampType
	default:
		return language.TypeOf(&expr.Type{Kind: k}, "")
	}
}

func (a *aggregation) read() bool {
	if a.call.AsCall().IsMemberFunction() || len(a.call.AsCall().Args()) == 0 {
		a.x.failAt(a.call, "for example "+a.example(), "%s needs an argument", a.name)
		return false
	}
	good := true
	for i, e := range a.call.AsCall().Args() {
		arg, ok := a.argument(e, i == 0)
		good = good && ok
		a.args = append(a.args, arg)
	}
	return good && a.readWindow() && a.readFirst() && a.readCondition() && a.oneStream()
}

// example is a call that would be right.
func (a *aggregation) example() string {
	switch {
	case a.numeric():
		return a.name + "(purchase.revenue, days(90))"
	case a.ofEvents == nil:
		return a.name + "(web.url, days(7))"
	case a.windowed():
		return a.name + "(purchase, days(90))"
	}
	return a.name + "(purchase)"
}

func (a *aggregation) numeric() bool {
	return a.ofField != nil && a.ofField.Takes == plan.TakesNumber
}

// windowed reports whether the aggregate can look at a window of time.
func (a *aggregation) windowed() bool {
	return cmp.Or(a.ofEvents, a.ofField).Window != nil
}

// argument reads one argument in the world of a single event.
func (a *aggregation) argument(e ast.Expr, first bool) (argument, bool) {
	if e.Kind() == ast.IdentKind {
		s, isStream := a.x.table().ByName(e.AsIdent())
		switch {
		case isStream && !a.x.table().Info(s).Attributes:
			return argument{expr: e, bare: true, result: result{streams: []plan.Stream{s}}}, true
		case first && e.AsIdent() == "activity":
			a.activity = true
			return argument{expr: e, bare: true}, true
		}
	}
	sub := *a.x
	sub.level, sub.isDefine, sub.failed, sub.result = language.Event, false, false, result{size: a.x.size}
	sub.scope(e)
	sub.check(e)
	a.x.size = sub.size
	if sub.failed {
		return argument{}, false
	}
	tr := sub.translator()
	node := tr.node(e)
	if sub.failed || node == nil {
		return argument{}, false
	}
	sub.result.node, sub.typ, sub.folds = node, sub.types[e.ID()], tr.deepest
	sub.decided = tr.doubts.Warn(sub.node)
	return argument{expr: e, result: sub.result}, true
}

// readWindow takes the window off the end of the arguments.
func (a *aggregation) readWindow() bool {
	if len(a.args) < 2 {
		return true
	}
	last := a.args[len(a.args)-1]
	if last.bare {
		return true
	}
	switch last.typ.Kind() {
	case types.IntKind, types.DoubleKind:
		hint := "for example days(90)"
		if before := a.args[len(a.args)-2]; !before.bare && before.typ.Kind() == types.DurationKind && a.ofEvents != nil {
			a.x.failAt(last.expr, write(a.x.callText("count", a.sources(len(a.args)-1)...)+" >= "+a.x.source(last.expr)), "%s takes no number of events", a.name)
			return false
		}
		if last.node.Op == expr.OpConst && a.windowed() {
			hint = "days(" + a.x.text(last.node) + ")"
		}
		a.x.failAt(last.expr, hint, "a window needs a unit")
		return false
	case types.DurationKind:
	default:
		return true
	}
	switch n := last.node; {
	case !a.windowed():
		a.x.failAt(last.expr, "for example since_last(purchase) < days(30)", "%s covers all time and takes no window; compare its result instead", a.name)
	case n.Op != expr.OpConst:
		a.x.failAt(last.expr, "", "a window must be a constant such as days(90)")
	case n.Const.N <= 0:
		a.x.failAt(last.expr, "", "a window must be longer than zero")
	case expr.Millis(n.Const.N) > maxWindow:
		a.x.failAt(last.expr, "leave it out for all time", "a window can be at most 20 years")
	default:
		a.window = expr.Millis(n.Const.N)
		a.args = a.args[:len(a.args)-1]
		return true
	}
	return false
}

// sources prints the first n arguments as they are written.
func (a *aggregation) sources(n int) (l []string) {
	for _, arg := range a.args[:n] {
		l = append(l, a.x.source(arg.expr))
	}
	return l
}

func (a *aggregation) windowText() []string {
	if a.window == 0 {
		return nil
	}
	return []string{expr.DurationText(a.window)}
}

// readFirst finds out whether the first argument is a stream, a condition or a
// field.
func (a *aggregation) readFirst() bool {
	first := a.args[0]
	takesField, mustField := a.ofField != nil, a.ofEvents == nil
	isField := !first.bare && first.node.Op == expr.OpField
	switch {
	case first.bare && mustField:
		a.x.failAt(first.expr, "for example "+a.example(), "%s needs a field, but %s is a stream", a.name, first.expr.AsIdent())
	case first.bare:
		return true
	case takesField && isField:
		return a.setField(first)
	case mustField:
		a.x.failAt(first.expr, "for example "+a.example(), "%s needs a field of a stream, but this is %s", a.name, a.describe(first))
	case first.typ.Kind() == types.BoolKind:
		return a.setCondition(first)
	default:
		a.x.failAt(first.expr, "for example "+a.example(), "%s takes a stream or a condition, but this is %s", a.name, language.InWords(first.typ))
	}
	return false
}

func (a *aggregation) describe(arg argument) string {
	if arg.node.Op == expr.OpConst || arg.typ.Kind() == types.BoolKind {
		return language.InWords(arg.typ)
	}
	return "a computed value"
}

func (a *aggregation) setField(arg argument) bool {
	stored := a.x.fields[arg.node].Kind
	switch {
	case stored == expr.List || stored == expr.Record:
		a.x.failAt(arg.expr, "", "%s needs a field with single values, but %s is %s", a.name, a.x.text(arg.node), language.InWords(arg.typ))
		return false
	case a.numeric() && stored != expr.Int && stored != expr.Double && stored != expr.Decimal:
		a.x.failAt(arg.expr, "", "%s needs a numeric field, but %s is %s", a.name, a.x.text(arg.node), language.InWords(arg.typ))
		return false
	}
	a.field = arg.node
	return true
}

func (a *aggregation) setCondition(arg argument) bool {
	if arg.node.Op == expr.OpConst {
		a.x.failAt(arg.expr, "name the stream instead: count(purchase)", "this condition is always %s", a.x.text(arg.node))
		return false
	}
	at := a.x.src.StartOf(arg.expr)
	if !arg.decided && !a.x.lint.Always(at, arg.node, "event") {
		a.x.lint.Condition(at, arg.node, "event")
	}
	a.x.lint.Machines(at, arg.node)
	a.cond = arg.node
	return true
}

// readCondition reads the condition behind a field.
func (a *aggregation) readCondition() bool {
	rest := a.args[1:]
	switch {
	case len(rest) == 0:
		return true
	case len(rest) > 1:
		a.x.failAt(rest[1].expr, "for example "+a.example(), "%s has too many arguments", a.name)
	case rest[0].bare:
		a.x.failAt(rest[0].expr, "use two aggregates and combine them", "an aggregate reads one stream, but %s is given a second one", a.name)
	case rest[0].typ.Kind() != types.BoolKind:
		a.x.failAt(rest[0].expr, "for example "+a.example(), "this must be a condition or a window")
	case a.field == nil:
		hint := "join conditions with &&: " + a.name + "(purchase.revenue > 100.0 && …)"
		switch {
		case !a.args[0].bare || a.activity:
		case slices.Equal(a.args[0].streams, rest[0].streams):
			hint = cmp.Or(write(a.x.callText(a.name, append([]string{a.x.source(rest[0].expr)}, a.windowText()...)...)), hint)
		default:
			hint = "use two aggregates and combine them"
		}
		a.x.failAt(rest[0].expr, hint, "%s takes a stream or a condition, not both", a.name)
	default:
		return a.setCondition(rest[0])
	}
	return false
}

// oneStream checks that all arguments are about events of one stream.
func (a *aggregation) oneStream() bool {
	var streams []plan.Stream
	for _, arg := range a.args {
		for _, s := range arg.streams {
			if !slices.Contains(streams, s) {
				streams = append(streams, s)
			}
		}
	}
	switch {
	case a.activity:
		return true
	case len(streams) == 0:
		a.x.failAt(a.call, "for example "+a.example(), "%s names no stream", a.name)
		return false
	case len(streams) > 1:
		slices.Sort(streams)
		a.x.failAt(a.call, "use two aggregates and combine them", "an aggregate reads one stream, but %s reads %s", a.name, a.x.streamNames(streams))
		return false
	}
	a.stream = streams[0]
	return true
}

package rule

import (
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common/containers"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/segmill/segmill/engine/plan"
)

// signature is one form of a function: "int,double:double", with a leading dot
// if the first argument stands before the name.
type signature struct {
	names string // several, separated by spaces
	forms string
}

const (
	arithmetic = "int,int:int int,double:double double,int:double double,double:double"
	ordered    = "bool,bool:bool int,int:bool int,double:bool double,int:bool double,double:bool " +
		"string,string:bool time,time:bool duration,duration:bool"
	accessor = ".time:int .time,string:int"
)

// functions are the operators and functions of CEL that rules have, with the
// types that the engine can work on. CEL's own declarations are wider: they
// have unsigned numbers and bytes, and no mixing of whole numbers with others.
var functions = []signature{
	{operators.LogicalAnd + " " + operators.LogicalOr, "bool,bool:bool"},
	{operators.LogicalNot + " " + operators.NotStrictlyFalse, "bool:bool"},
	{operators.Equals + " " + operators.NotEquals, ordered + " list,list:bool"},
	{operators.Less + " " + operators.LessEquals + " " + operators.Greater + " " + operators.GreaterEquals, ordered},
	{operators.In, "bool,bools:bool int,ints:bool int,doubles:bool double,ints:bool double,doubles:bool " +
		"string,strings:bool time,times:bool duration,durations:bool string,map:bool"},
	{operators.Conditional, "bool,bool,bool:bool bool,int,int:int bool,int,double:double bool,double,int:double " +
		"bool,double,double:double bool,string,string:string bool,time,time:time bool,duration,duration:duration " +
		"bool,list,list:list"},
	{operators.Add, arithmetic + " string,string:string time,duration:time duration,time:time duration,duration:duration list,list:list"},
	{operators.Subtract, arithmetic + " time,duration:time time,time:duration duration,duration:duration"},
	{operators.Multiply + " " + operators.Divide, arithmetic},
	{operators.Modulo, "int,int:int"},
	{operators.Negate, "int:int double:double"},
	{operators.Index, "list,int:A map,string:string"},
	{"size", "list:int string:int .list:int .string:int"},
	{"contains startsWith endsWith", ".string,string:bool"},
	{"matches", "string,string:bool .string,string:bool"},
	{"int", "int:int double:int string:int time:int"},
	{"double", "int:double double:double string:double"},
	{"string", "string:string bool:string int:string double:string time:string duration:string"},
	{"timestamp", "string:time"},
	{"duration", "string:duration"},
	{"days hours minutes weeks", "int:duration"},
	{"getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds", accessor},
}

// customerFunctions can be used outside of aggregates only.
var customerFunctions = []signature{
	{"since", "time:duration"},
	{"age years_since", "time:int"},
	{"in_segment", "string:bool"},
	{"consented", "string:bool string,string:bool"},
}

// sugar are functions that are written like an aggregate and mean something about
// one: whether the count is above zero, the time since the first or last event.
var sugar = map[string]string{"did": "count", "since_first": "first", "since_last": "last"}

// aggregates are read by this package itself; the checker sees their results.
var aggregates = aggregateNames()

func aggregateNames() (l []string) {
	for _, a := range plan.Aggregates() {
		l = append(l, a.Name)
	}
	for name := range sugar {
		l = append(l, name)
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// laterFunctions are functions of later versions of the language.
var laterFunctions = []string{
	"then", "not_then", "decayed_sum", "top_percent", "today", "this_week", "this_month", "calendar_days",
}

// macros are written after a list and a dot.
var macros = []string{"all", "exists", "exists_one", "filter", "map"}

var typesByName = map[string]*types.Type{
	"bool": types.BoolType, "int": types.IntType, "double": types.DoubleType, "string": types.StringType,
	"time": types.TimestampType, "duration": types.DurationType, "A": types.NewTypeParamType("A"),
	"list": types.NewListType(types.NewTypeParamType("A")), "map": types.NewMapType(types.StringType, types.StringType),
	"bools": types.NewListType(types.BoolType), "ints": types.NewListType(types.IntType),
	"doubles": types.NewListType(types.DoubleType), "strings": types.NewListType(types.StringType),
	"times": types.NewListType(types.TimestampType), "durations": types.NewListType(types.DurationType),
}

// level is where an expression stands.
type level uint8

const (
	constant level = iota // reads nothing, can stand anywhere
	event                 // reads the event at hand: inside an aggregate
	customer              // reads the customer: a rule
)

// language is a parser and, per level, a checker's environment.
type language struct {
	parser *parser.Parser
	envs   [customer + 1]*checker.Env
	// names are the functions that each level has, for suggestions.
	names map[level][]string
}

// newLanguage panics if the tables of this file contradict each other, which a
// test would have seen.
func newLanguage(cat *catalog) *language {
	p, err := parser.NewParser(
		parser.Macros(parser.HasMacro, parser.AllMacro, parser.ExistsMacro, parser.ExistsOneMacro, parser.MapMacro, parser.MapFilterMacro, parser.FilterMacro),
		parser.MaxRecursionDepth(maxNesting),
		parser.ExpressionSizeCodePointLimit(maxText),
		parser.MaxExpressionNodeCount(maxNodes),
		parser.EnableIdentEscapeSyntax(false),
	)
	must(err)
	l := &language{parser: p, names: make(map[level][]string)}
	var streams, attributes []*decls.VariableDecl
	for s := range plan.NumStreams {
		v := decls.NewVariable(s.String(), types.NewObjectType("@"+s.String()))
		if streams = append(streams, v); s.Info().Attributes {
			attributes = append(attributes, v)
		}
	}
	l.envs[event] = l.newEnv(cat, event, functions, streams)
	l.envs[customer] = l.newEnv(cat, customer, append(slices.Clone(functions), customerFunctions...), attributes)
	l.names[customer] = append(append(l.names[customer], aggregates...), "has")
	return l
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (l *language) newEnv(cat *catalog, at level, table []signature, vars []*decls.VariableDecl) *checker.Env {
	env, err := checker.NewEnv(containers.DefaultContainer, cat, checker.CrossTypeNumericComparisons(true))
	must(err)
	must(env.AddIdents(vars...))
	must(env.AddIdents(decls.NewVariable(holeName(types.ErrorType), types.ErrorType)))
	for _, sig := range table {
		for _, name := range strings.Fields(sig.names) {
			fn, err := decls.NewFunction(name, overloads(name, sig.forms)...)
			must(err)
			must(env.AddFunctions(fn))
			if name[0] >= 'a' && name[0] <= 'z' {
				l.names[at] = append(l.names[at], name)
			}
		}
	}
	return env
}

func overloads(name, forms string) []decls.FunctionOpt {
	var opts []decls.FunctionOpt
	for i, form := range strings.Fields(forms) {
		id := fmt.Sprintf("%s#%d", name, i)
		from, to, _ := strings.Cut(form, ":")
		in, member := strings.CutPrefix(from, ".")
		var args []*types.Type
		for _, a := range strings.Split(in, ",") {
			args = append(args, typesByName[a])
		}
		if member {
			opts = append(opts, decls.MemberOverload(id, args, typesByName[to]))
		} else {
			opts = append(opts, decls.Overload(id, args, typesByName[to]))
		}
	}
	return opts
}

// holeName is the variable that stands, in the tree that the checker sees, for a
// value of type t that this package has worked out itself.
func holeName(t *types.Type) string { return "@" + checker.FormatCELType(t) }

// hole returns that variable, declared.
func (l *language) hole(at level, t *types.Type) string {
	name := holeName(t)
	// A second declaration of the same name and type is not an error.
	must(l.envs[at].AddIdents(decls.NewVariable(name, t)))
	return name
}

// Package language is the part of CEL that rules have: its functions with their types,
// what the checker sees of events and of the profile, and the words that are taken.
//
// Its one rule: a name or a type is declared here or the language does not have it. What
// expressions mean is the business of package rule.
package language

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/containers"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/segmill/segmill/engine/plan"
)

// signature is one form of a function: "int,double:double", with a leading dot
// if the first argument is written before the name.
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
	{"orElse", "bool,bool:bool int,int:int int,double:double double,int:double double,double:double " +
		"string,string:string time,time:time duration,duration:duration list,list:list"},
	{"getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds", accessor},
}

// customerFunctions can be used outside of aggregates only.
var customerFunctions = []signature{
	{"since until", "time:duration"},
	{"age years_since", "time:int"},
	{"in_segment", "string:bool"},
	{"consented", "string:bool string,string:bool"},
}

// sugar are functions that are written like an aggregate and mean something about
// one: whether the count is above zero, the time since the first or last event.
var sugar = map[string]string{"did": "count", "since_first": "first", "since_last": "last"}

// AggregateOf returns the name in the table of aggregates of what a function is computed
// from: did is about a count. A function that is not in it is returned as it is.
func AggregateOf(name string) string { return cmp.Or(sugar[name], name) }

// aggregates are read by package rule itself; the checker sees their results.
var aggregates = aggregateNames()

// IsAggregate reports whether the function is an aggregate, or written like one.
func IsAggregate(name string) bool { return slices.Contains(aggregates, name) }

// IsOfCustomer reports whether the function reads the customer, so that it cannot be
// used on an event.
func IsOfCustomer(name string) bool {
	return slices.ContainsFunc(customerFunctions, func(s signature) bool { return slices.Contains(strings.Fields(s.names), name) })
}

// Macros lists what is written after a list and a dot.
func Macros() []string { return slices.Clone(macros) }

// IsMacro reports whether the name is written after a list and a dot.
func IsMacro(name string) bool { return slices.Contains(macros, name) }

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

// macros are written after a list and a dot.
var macros = []string{"all", "exists", "exists_one", "filter", "map"}

var typesByName = map[string]*types.Type{
	"bool": types.BoolType, "int": types.IntType, "double": types.DoubleType, "string": types.StringType,
	"time": types.TimestampType, "duration": types.DurationType, "A": types.NewTypeParamType("A"),
	"dyn":  types.DynType,
	"list": types.NewListType(types.NewTypeParamType("A")), "map": types.NewMapType(types.StringType, types.StringType),
	"bools": types.NewListType(types.BoolType), "ints": types.NewListType(types.IntType),
	"doubles": types.NewListType(types.DoubleType), "strings": types.NewListType(types.StringType),
	"times": types.NewListType(types.TimestampType), "durations": types.NewListType(types.DurationType),
}

// Level is what an expression reads, which says where it can be used.
type Level uint8

// The levels.
const (
	Constant Level = iota // reads nothing, can be used anywhere
	Event                 // reads one event: inside an aggregate
	Customer              // reads the customer: a rule
)

// Bounds on an expression. They are far above any real one and keep the time and memory
// that a file can cost in proportion to its size.
const (
	MaxNodes   = 4_000   // nodes of one expression, definitions expanded
	MaxFolds   = 3       // nesting of exists, all, filter, map
	maxText    = 8 << 10 // characters in one expression
	maxNesting = 64      // nesting of parentheses and operators
)

// Language is a parser and, per level, a checker's environment.
type Language struct {
	parser  *parser.Parser
	streams *plan.Streams
	envs    [Customer + 1]*checker.Env
	// functions are all there are, for suggestions.
	functions []string
}

// New returns the language over the streams of a catalog. It panics if the tables of this
// file contradict each other, which a test would have seen.
func New(cat *Catalog) *Language {
	l := &Language{parser: newParser(), streams: cat.streams}
	var streams, attributes []*decls.VariableDecl
	for _, info := range cat.streams.All() {
		v := decls.NewVariable(info.Name, types.NewObjectType("@"+info.Name))
		if streams = append(streams, v); info.Attributes {
			attributes = append(attributes, v)
		}
	}
	l.envs[Event] = newEnv(cat, functions, streams)
	l.envs[Customer] = newEnv(cat, append(slices.Clone(functions), customerFunctions...), attributes)
	l.functions = append(functionNames(), "has")
	return l
}

func newParser() *parser.Parser {
	p, err := parser.NewParser(
		parser.Macros(parser.HasMacro, parser.AllMacro, parser.ExistsMacro, parser.ExistsOneMacro, parser.MapMacro, parser.MapFilterMacro, parser.FilterMacro),
		parser.MaxRecursionDepth(maxNesting),
		parser.ExpressionSizeCodePointLimit(maxText),
		parser.MaxExpressionNodeCount(MaxNodes),
		parser.EnableIdentEscapeSyntax(false),
	)
	must(err)
	return p
}

// functionNames lists the functions that are written as words, aggregates last.
func functionNames() (l []string) {
	for _, sig := range append(slices.Clone(functions), customerFunctions...) {
		for _, name := range strings.Fields(sig.names) {
			if name[0] >= 'a' && name[0] <= 'z' {
				l = append(l, name)
			}
		}
	}
	return append(l, aggregates...)
}

// Parse reads an expression into a tree, or returns CEL's errors.
func (l *Language) Parse(src common.Source) (*ast.AST, []*common.Error) {
	tree, errs := l.parser.Parse(src)
	return tree, errs.GetErrors()
}

// Check runs CEL's type checker over a tree at one level.
func (l *Language) Check(at Level, tree *ast.AST, src common.Source) (*ast.AST, []*common.Error) {
	checked, errs := checker.Check(tree, src, l.envs[at])
	return checked, errs.GetErrors()
}

// Functions lists the names of all functions, for suggestions. It is not to be changed.
func (l *Language) Functions() []string { return l.functions }

// IsTaken reports whether no definition and no variable may have the name.
func (l *Language) IsTaken(name string) bool {
	_, isStream := l.streams.ByName(name)
	return isStream || IsWord(name)
}

// IsWord reports whether the name is a word of the language, so that nothing can be called
// by it.
func IsWord(name string) bool {
	return name == "activity" || name == "has" || slices.Contains(functionNames(), name) || slices.Contains(kept, name) || IsMacro(name) ||
		IsReserved(name) || slices.Contains(reservedNames, name)
}

// IsReserved reports whether the name is a sign of CEL's grammar, so that not even a field
// can have it.
func IsReserved(name string) bool {
	return slices.Contains([]string{"true", "false", "null", "in"}, name)
}

// reservedNames are those that CEL keeps for other languages.
var reservedNames = []string{
	"as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace",
	"return", "var", "void", "while",
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func newEnv(cat types.Provider, table []signature, vars []*decls.VariableDecl) *checker.Env {
	env, err := checker.NewEnv(containers.DefaultContainer, cat, checker.CrossTypeNumericComparisons(true))
	must(err)
	must(env.AddIdents(vars...))
	must(env.AddIdents(decls.NewVariable(holeName(types.ErrorType), types.ErrorType)))
	for _, sig := range table {
		for _, name := range strings.Fields(sig.names) {
			fn, err := decls.NewFunction(name, overloads(name, sig.forms)...)
			must(err)
			must(env.AddFunctions(fn))
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

// holeName is the variable that takes the place, in the tree that the checker sees, of a
// value of type t that package rule has worked out itself.
func holeName(t *types.Type) string { return "@" + checker.FormatCELType(t) }

// AnyHole is the variable in place of a value whose type is not known: it suits every type.
func AnyHole() string { return holeName(types.ErrorType) }

// Hole returns the variable that takes the place of a value of type t, declared.
func (l *Language) Hole(at Level, t *types.Type) string {
	name := holeName(t)
	// A second declaration of the same name and type is not an error.
	must(l.envs[at].AddIdents(decls.NewVariable(name, t)))
	return name
}

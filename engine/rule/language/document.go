package language

import (
	"slices"
	"strings"

	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/decls"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"

	"github.com/segmill/segmill/engine/plan"
)

// documentFunctions are what expressions over records have: what is in a record has no
// type before it is there.
var documentFunctions = []signature{
	{operators.LogicalAnd + " " + operators.LogicalOr, "bool,bool:bool"},
	{operators.LogicalNot + " " + operators.NotStrictlyFalse, "bool:bool"},
	{operators.Equals + " " + operators.NotEquals + " " + operators.Less + " " + operators.LessEquals + " " +
		operators.Greater + " " + operators.GreaterEquals + " " + operators.In, "dyn,dyn:bool"},
	{operators.Conditional, "bool,dyn,dyn:dyn"},
	{operators.Add + " " + operators.Index, "dyn,dyn:dyn"},
	{operators.Subtract + " " + operators.Multiply + " " + operators.Divide + " " + operators.Modulo, "dyn,dyn:dyn"},
	{operators.Negate, "dyn:dyn"},
	{"size", "dyn:int .dyn:int"},
	{"contains startsWith endsWith", ".string,string:bool"},
	{"matches", "string,string:bool .string,string:bool"},
	{"lowerAscii", ".string:string"},
	{"int", "dyn:int"},
	{"double", "dyn:double"},
	{"string", "dyn:string"},
	{"orElse", "dyn,dyn:dyn"},
	{"id", "dyn:string dyn,dyn:string dyn,dyn,dyn:string dyn,dyn,dyn,dyn:string"},
	{"json", "string:dyn"},
	{"pair", "dyn,string:dyn"},
	{"minor", "dyn,string:dyn"},
	{"epoch_days", "dyn:string"},
	{"decimal64", "string,int:dyn"},
}

// Documents is the language of expressions over records, which mappings are made of.
type Documents struct {
	parser *parser.Parser
	env    *checker.Env
}

// NewDocuments returns the language of mappings.
func NewDocuments() *Documents {
	var names []*decls.VariableDecl
	for _, n := range plan.DocumentNames {
		names = append(names, decls.NewVariable(n, types.DynType))
	}
	return &Documents{newParser(), newEnv(&Catalog{}, documentFunctions, names)}
}

// Parse reads an expression into a tree, or returns CEL's errors.
func (d *Documents) Parse(src common.Source) (*ast.AST, []*common.Error) {
	tree, errs := d.parser.Parse(src)
	return tree, errs.GetErrors()
}

// Check runs CEL's type checker over a tree.
func (d *Documents) Check(tree *ast.AST, src common.Source) (*ast.AST, []*common.Error) {
	checked, errs := checker.Check(tree, src, d.env)
	return checked, errs.GetErrors()
}

// DocumentFunctions lists the functions of mappings that are written as words.
func DocumentFunctions() (l []string) {
	for _, sig := range documentFunctions {
		for _, name := range strings.Fields(sig.names) {
			if name[0] >= 'a' && name[0] <= 'z' {
				l = append(l, name)
			}
		}
	}
	l = append(l, "has")
	slices.Sort(l)
	return l
}

package mapping

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/engine/rule/written"
)

// expression is one expression while it is read. After an error its parts are nil.
type expression struct {
	*compiler
	src    *written.Text
	names  []string // that it may read, of plan.DocumentNames
	vars   []variable
	of     members
	within int // objects
	failed bool
}

// variable is a variable of a comprehension.
type variable struct {
	name string
	slot int
}

// members are what the objects of a field can have, nil if they can have any.
type members struct {
	field string
	names []string
}

// read reads the expression in p, which may read names; nil after an error, or if p is
// nil.
func (c *compiler) read(p *file.Passage, names []string) *plan.Expression {
	return c.readOf(p, names, members{})
}

// readOf reads the expression of a field.
func (c *compiler) readOf(p *file.Passage, names []string, of members) *plan.Expression {
	if p == nil {
		return nil
	}
	x := &expression{compiler: c, src: written.New(p, c.Log), names: names, of: of}
	if path, ok := strings.CutPrefix(strings.TrimSpace(p.Text), "$."); ok {
		c.FailHint(p, "write msg."+path, "$ is no name: the record is msg")
		return nil
	}
	text := common.NewTextSource(p.Text)
	tree, errs := c.lang.Parse(text)
	if len(errs) > 0 {
		x.src.SyntaxError(errs)
		return nil
	}
	x.src.Parsed(tree)
	root := tree.Expr()
	x.functions(root)
	if x.failed {
		return nil
	}
	n := x.node(root)
	if x.failed || n == nil {
		return nil
	}
	if !x.check(tree, text, root) {
		return nil
	}
	return &plan.Expression{Text: p.Text, Node: n}
}

// functions looks for functions that there are not, which the checker would say after
// complaints about their arguments.
func (x *expression) functions(root ast.Expr) {
	written.EachNode(root, func(e ast.Expr) {
		if e.Kind() != ast.CallKind {
			return
		}
		name := e.AsCall().FunctionName()
		known := language.DocumentFunctions()
		switch {
		case !file.NameForm.MatchString(name) || slices.Contains(known, name):
		case language.IsMacro(name) || e.AsCall().IsMemberFunction():
			x.fail(e, file.DidYouMean(name, append(language.Macros(), known...)), "no method %s here", name)
		default:
			x.fail(e, file.DidYouMean(name, known), "a mapping has no function %s", name)
		}
	})
}

// check runs CEL's checker, which finds what can be wrong before a record is there.
func (x *expression) check(tree *ast.AST, text common.Source, root ast.Expr) bool {
	_, errs := x.lang.Check(tree, text)
	if len(errs) == 0 {
		return true
	}
	nodes := map[int64]ast.Expr{}
	written.EachNode(root, func(e ast.Expr) { nodes[e.ID()] = e })
	for _, err := range errs {
		e := nodes[err.ExprID]
		if e == nil {
			e = root
		}
		msg, hint := err.Message, ""
		switch {
		case strings.HasPrefix(msg, "found no matching overload") && e.Kind() == ast.CallKind:
			name := e.AsCall().FunctionName()
			if shown, ok := operators.FindReverse(name); ok && shown != "" {
				name = shown
			}
			msg, hint = name+" does not take such values, or not as many", functionHints[name]
		case strings.HasPrefix(msg, "expected type 'bool'"):
			msg, hint = "&&, || and ! need conditions", `compare it, for example msg.status == "paid"`
		}
		x.fail(e, hint, "%s", msg)
	}
	return false
}

// functionHints show how functions are called.
var functionHints = map[string]string{
	"id": `for example id(msg.order_id, it.id): one to four parts`, "json": "for example json(msg.payload).user_id",
	"pair": `for example pair(msg.event_params, "page_location")`, "minor": "for example minor(msg.amount, msg.currency)",
	"epoch_days": "for example epoch_days(msg.after.birth_date)", "decimal64": "for example decimal64(msg.after.price, 2)",
	"orElse": "for example orElse(msg.user_id, msg.email)",
}

func (x *expression) fail(e ast.Expr, hint, format string, args ...any) {
	x.failed = true
	x.FailHint(x.src.PlaceOf(e), hint, format, args...)
}

// node translates a node.
func (x *expression) node(e ast.Expr) *expr.Node {
	switch e.Kind() {
	case ast.LiteralKind:
		return x.literal(e)
	case ast.IdentKind:
		return x.name(e)
	case ast.SelectKind:
		return x.selection(e)
	case ast.ListKind:
		return x.with(&expr.Node{Op: expr.OpList, Type: expr.List}, e.AsList().Elements()...)
	case ast.MapKind:
		return x.object(e)
	case ast.ComprehensionKind:
		return x.comprehension(e)
	case ast.CallKind:
		return x.call(e)
	default:
		x.fail(e, "", "mappings do not support this")
		return nil
	}
}

// with gives n its arguments.
func (x *expression) with(n *expr.Node, args ...ast.Expr) *expr.Node {
	for _, a := range args {
		if v := x.node(a); v != nil {
			n.Args = append(n.Args, v)
		}
	}
	return n
}

func (x *expression) literal(e ast.Expr) *expr.Node {
	constant := func(v expr.Value) *expr.Node { return &expr.Node{Op: expr.OpConst, Type: v.K, Const: v} }
	switch v := e.AsLiteral().(type) {
	case types.Bool:
		return constant(expr.BoolValue(bool(v)))
	case types.Int:
		return constant(expr.IntValue(int64(v)))
	case types.Double:
		return constant(expr.DoubleValue(float64(v)))
	case types.String:
		return constant(expr.StringValue(string(v)))
	case types.Null:
		x.fail(e, "to test whether there is a value, write has(msg.name); for one in its place, orElse(msg.name, …)", "null is no value")
	default:
		x.fail(e, "", "mappings do not support values of this type")
	}
	return nil
}

func (x *expression) name(e ast.Expr) *expr.Node {
	name := e.AsIdent()
	for _, v := range slices.Backward(x.vars) {
		if v.name == name {
			return &expr.Node{Op: expr.OpVar, Ref: v.slot}
		}
	}
	if slices.Contains(x.names, name) {
		return &expr.Node{Op: expr.OpField, Path: name}
	}
	switch {
	case name == "it":
		x.fail(e, "add each: the list whose elements become events, for example each: msg.items", "it is an element of each, and this mapping has no each")
	case slices.Contains(plan.DocumentNames, name):
		x.fail(e, file.OneOf(x.names), "%s cannot be read here", name)
	default:
		hint := "write msg." + name + " for a member of the record"
		if strings.TrimSpace(x.src.Passage.Text) == name {
			hint += ", '\"" + name + "\"' for the text " + name
		}
		x.fail(e, hint+"; "+file.OneOf(x.names), "unknown name %s", strconv.Quote(name))
	}
	return nil
}

func (x *expression) selection(e ast.Expr) *expr.Node {
	sel := e.AsSelect()
	n := x.with(&expr.Node{Op: expr.OpSelect, Name: sel.FieldName()}, sel.Operand())
	if sel.IsTestOnly() {
		return &expr.Node{Op: expr.OpHas, Type: expr.Bool, Args: []*expr.Node{n}}
	}
	return n
}

func (x *expression) object(e ast.Expr) *expr.Node {
	n := &expr.Node{Op: expr.OpObject}
	for _, entry := range e.AsMap().Entries() {
		key := entry.AsMapEntry().Key()
		name, ok := expr.Value{}, false
		if key.Kind() == ast.LiteralKind {
			var s types.String
			s, ok = key.AsLiteral().(types.String)
			name = expr.StringValue(string(s))
		}
		if !ok {
			x.fail(key, `for example {"product_id": i.id}`, "the name of a member must be a string literal")
			return nil
		}
		if x.within == 0 && x.of.names != nil && !slices.Contains(x.of.names, name.S) {
			x.fail(key, file.DidYouMean(name.S, x.of.names), "%s have no %s", x.of.field, strconv.Quote(name.S))
			return nil
		}
		n.Const.L = append(n.Const.L, name)
		x.within++
		x.with(n, entry.AsMapEntry().Value())
		x.within--
	}
	n.Const.K = expr.List
	return n
}

func (x *expression) comprehension(e ast.Expr) *expr.Node {
	c := e.AsComprehension()
	depth := len(x.vars) / 2
	if depth >= language.MaxFolds {
		x.fail(e, "", "exists, all, filter and map can be nested at most %d deep", language.MaxFolds)
		return nil
	}
	f := &expr.Fold{Var: 2 * depth, Acc: 2*depth + 1, Range: x.node(c.IterRange()), Init: x.node(c.AccuInit())}
	if slices.Contains(plan.DocumentNames, c.IterVar()) {
		x.fail(e, "choose another name for the variable", "%q is a reserved name", c.IterVar())
		return nil
	}
	x.vars = append(x.vars, variable{c.IterVar(), f.Var}, variable{c.AccuVar(), f.Acc})
	f.While, f.Step = x.node(c.LoopCondition()), x.node(c.LoopStep())
	x.vars[len(x.vars)-2].name = "" // the result sees the accumulator alone
	f.Result = x.node(c.Result())
	x.vars = x.vars[:len(x.vars)-2]
	if x.failed {
		return nil
	}
	return &expr.Node{Op: expr.OpFold, Fold: f}
}

var binary = map[string]expr.Op{
	operators.LogicalAnd: expr.OpAnd, operators.LogicalOr: expr.OpOr, operators.LogicalNot: expr.OpNot, operators.Negate: expr.OpNeg,
	operators.Equals: expr.OpEq, operators.NotEquals: expr.OpNe, operators.In: expr.OpIn, operators.Index: expr.OpIndex,
	operators.Less: expr.OpLt, operators.LessEquals: expr.OpLe, operators.Greater: expr.OpGt, operators.GreaterEquals: expr.OpGe,
	operators.Add: expr.OpAdd, operators.Subtract: expr.OpSub, operators.Multiply: expr.OpMul,
	operators.Divide: expr.OpDiv, operators.Modulo: expr.OpMod, operators.Conditional: expr.OpCond,
}

func (x *expression) call(e ast.Expr) *expr.Node {
	c := e.AsCall()
	name, args := c.FunctionName(), c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	switch op, ok := binary[name]; {
	case name == operators.NotStrictlyFalse:
		return x.node(args[0])
	case op == expr.OpCond && ok:
		return x.conditional(args)
	case ok:
		return x.with(&expr.Node{Op: op}, args...)
	case name == "matches" && len(args) == 2:
		x.pattern(args[1])
	}
	return x.with(&expr.Node{Op: expr.OpCall, Name: name}, args...)
}

// conditional translates a ? b : c, where null says that there is no value.
func (x *expression) conditional(args []ast.Expr) *expr.Node {
	n := x.with(&expr.Node{Op: expr.OpCond}, args[0])
	for _, a := range args[1:] {
		if a.Kind() == ast.LiteralKind && a.AsLiteral().Type() == types.NullType {
			n.Args = append(n.Args, &expr.Node{Op: expr.OpConst})
			continue
		}
		x.with(n, a)
	}
	return n
}

// pattern checks the regular expression of matches.
func (x *expression) pattern(e ast.Expr) {
	s, ok := types.String(""), false
	if e.Kind() == ast.LiteralKind {
		s, ok = e.AsLiteral().(types.String)
	}
	if !ok {
		x.fail(e, "", "the pattern must be a string literal")
		return
	}
	if _, err := regexp.Compile(string(s)); err != nil {
		x.fail(e, "the syntax is that of RE2", "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
}

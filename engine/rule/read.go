package rule

import (
	"maps"
	"strings"
	"unicode"

	"cel.dev/cel-go/checker"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
)

// result is an expression that has been read.
type result struct {
	node *expr.Node
	typ  *types.Type
	// level says where the expression can stand: a definition that reads an
	// event can be used in aggregates only, one that reads the customer outside
	// of them only.
	level   level
	streams []plan.Stream // of the event that it reads
	member  []use         // memberships that it reads
	size    int           // nodes, definitions expanded
	folds   int           // nesting of comprehensions
}

// expression is one expression while it is read. It goes through four passes:
// CEL's parser; scope, which takes definitions and aggregates out of the tree;
// CEL's checker; and translate, which makes the tree of package expr.
type expression struct {
	*compiler
	passage *file.Passage
	chars   []rune
	level   level
	// isDefine says that a bare reference to a stream makes this a condition on
	// events instead of an error.
	isDefine bool
	offsets  map[int64]ast.OffsetRange
	types    map[int64]*types.Type
	// holes are the values that scope has taken out of the tree, by the id of
	// the node that they stood at.
	holes map[int64]*result
	// wrong are the nodes of which an error has been told, by scope.
	wrong  map[int64]bool
	failed bool
	result
}

// read reads the expression in p. It returns nil after an error.
func (c *compiler) read(p *file.Passage, at level, isDefine bool) *result {
	x := &expression{
		compiler: c, passage: p, chars: []rune(p.Text), level: at, isDefine: isDefine,
		types: make(map[int64]*types.Type), holes: make(map[int64]*result), wrong: make(map[int64]bool),
	}
	src := common.NewTextSource(p.Text)
	tree, errs := c.lang.parser.Parse(src)
	if len(errs.GetErrors()) > 0 {
		x.syntaxErrors(errs.GetErrors())
		return nil
	}
	x.offsets = maps.Clone(tree.SourceInfo().OffsetRanges())
	root := tree.Expr()
	if isDefine && x.readsEvents(root) {
		x.level = event
	}
	x.scope(root)
	x.check(root)
	if x.failed {
		return nil
	}
	return x.finish(root)
}

func (x *expression) finish(root ast.Expr) *result {
	tr := translator{expression: x}
	x.node = tr.node(root)
	if x.failed || x.node == nil {
		return nil
	}
	x.typ = x.types[root.ID()]
	if !x.isDefine && x.grows(x.node) && x.level == customer {
		x.failAt(root, compareTime, "an elapsed time keeps growing, so it can only be compared")
		return nil
	}
	x.size, x.folds = countNodes(x.node), tr.deepest
	if x.size > maxNodes {
		x.failAt(root, "", "with its definitions expanded, this has %d parts; the limit is %d", x.size, maxNodes)
		return nil
	}
	x.result.level = constant
	if len(x.streams) > 0 {
		x.result.level = event
	} else if has(x.node, expr.OpInput) {
		x.result.level = customer
	}
	tr.lintAbsent()
	return &x.result
}

// check runs CEL's type checker over the tree. What it says of nodes that scope
// has already complained about is not told again.
func (x *expression) check(root ast.Expr) bool {
	info := ast.NewSourceInfo(common.NewTextSource(x.passage.Text))
	checked, errs := checker.Check(ast.NewAST(root, info), common.NewTextSource(x.passage.Text), x.lang.envs[x.level])
	maps.Copy(x.types, checked.TypeMap())
	nodes := make(map[int64]ast.Expr)
	eachNode(root, func(e ast.Expr) { nodes[e.ID()] = e })
	for _, err := range errs.GetErrors() {
		if e := nodes[err.ExprID]; e != nil && !x.isWrong(e) {
			x.checkError(e, err.Message)
		}
		x.failed = true
	}
	return len(errs.GetErrors()) == 0
}

// isWrong reports whether an error has been told of e or of a part of it.
func (x *expression) isWrong(e ast.Expr) bool {
	if len(x.wrong) == 0 {
		return false
	}
	found := false
	eachNode(e, func(sub ast.Expr) { found = found || x.wrong[sub.ID()] })
	return found
}

// failAt tells an error at a node.
func (x *expression) failAt(e ast.Expr, hint, format string, args ...any) {
	x.failed = true
	x.wrong[e.ID()] = true
	x.FailHint(x.placeOf(e), hint, format, args...)
}

// placeOf is where a node stands. CEL places a call at its bracket; people look
// at its name.
func (x *expression) placeOf(e ast.Expr) file.Place {
	at := int(x.offsets[e.ID()].Start)
	if at >= len(x.chars) || x.chars[at] != '(' {
		return x.passage.Char(at)
	}
	i := at
	for i > 0 && unicode.IsSpace(x.chars[i-1]) {
		i--
	}
	end := i
	for i > 0 && isWordChar(x.chars[i-1]) {
		i--
	}
	if i == end {
		i = at
	}
	return x.passage.Char(i)
}

func isWordChar(c rune) bool { return c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c) }

// eachNode calls f for e and every node below it.
func eachNode(e ast.Expr, f func(ast.Expr)) {
	f(e)
	for _, c := range children(e) {
		eachNode(c, f)
	}
}

// children lists the nodes right below e, in the order of the text.
func children(e ast.Expr) []ast.Expr {
	switch e.Kind() {
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return append([]ast.Expr{call.Target()}, call.Args()...)
		}
		return call.Args()
	case ast.SelectKind:
		return []ast.Expr{e.AsSelect().Operand()}
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		return []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()}
	case ast.MapKind:
		var out []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			out = append(out, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		return out
	case ast.StructKind:
		var out []ast.Expr
		for _, field := range e.AsStruct().Fields() {
			out = append(out, field.AsStructField().Value())
		}
		return out
	default:
		return nil
	}
}

func streamNames(streams []plan.Stream) string {
	names := make([]string, len(streams))
	for i, s := range streams {
		names[i] = s.String()
	}
	return strings.Join(names, ", ")
}

func has(n *expr.Node, op expr.Op) bool {
	found := false
	walk(n, func(n *expr.Node) { found = found || n.Op == op })
	return found
}

func countNodes(n *expr.Node) int {
	count := 0
	walk(n, func(*expr.Node) { count++ })
	return count
}

// walk calls f for n and every node below it.
func walk(n *expr.Node, f func(*expr.Node)) {
	f(n)
	for _, a := range n.Args {
		walk(a, f)
	}
	if n.Fold != nil {
		for _, a := range []*expr.Node{n.Fold.Range, n.Fold.Init, n.Fold.While, n.Fold.Step, n.Fold.Result} {
			walk(a, f)
		}
	}
}

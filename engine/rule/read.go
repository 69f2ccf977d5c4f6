package rule

import (
	"maps"
	"strings"
	"unicode"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
)

// result is an expression that has been read.
type result struct {
	node *expr.Node
	typ  *types.Type
	// level says where the expression can stand: a definition that reads an
	// event can be used in aggregates only, one that reads the customer outside
	// of them only.
	level   language.Level
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
	level   language.Level
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
func (c *compiler) read(p *file.Passage, at language.Level, isDefine bool) *result {
	x := &expression{
		compiler: c, passage: p, chars: []rune(p.Text), level: at, isDefine: isDefine,
		types: make(map[int64]*types.Type), holes: make(map[int64]*result), wrong: make(map[int64]bool),
	}
	src := common.NewTextSource(p.Text)
	tree, errs := c.lang.Parse(src)
	if len(errs) > 0 {
		x.syntaxErrors(errs)
		return nil
	}
	x.offsets = maps.Clone(tree.SourceInfo().OffsetRanges())
	root := tree.Expr()
	if isDefine && x.readsEvents(root) {
		x.level = language.Event
	}
	x.scope(root)
	x.check(root)
	if x.failed {
		return nil
	}
	return x.finish(root)
}

func (x *expression) finish(root ast.Expr) *result {
	tr := x.translator()
	x.node = tr.node(root)
	if x.failed || x.node == nil {
		return nil
	}
	x.typ = x.types[root.ID()]
	if !x.isDefine && x.moves(x.node) && x.level == language.Customer {
		tr.failMoving(root, x.node)
		return nil
	}
	x.size, x.folds = canon.Count(x.node), tr.deepest
	if x.size > language.MaxNodes {
		x.failAt(root, "", "with its definitions expanded, this has %d parts; the limit is %d", x.size, language.MaxNodes)
		return nil
	}
	x.result.level = language.Constant
	if len(x.streams) > 0 {
		x.result.level = language.Event
	} else if canon.Has(x.node, expr.OpInput) {
		x.result.level = language.Customer
	}
	tr.doubts.Warn(x.node)
	return &x.result
}

// check runs CEL's type checker over the tree. What it says of nodes that scope
// has already complained about is not told again.
func (x *expression) check(root ast.Expr) bool {
	src := common.NewTextSource(x.passage.Text)
	checked, errs := x.lang.Check(x.level, ast.NewAST(root, ast.NewSourceInfo(src)), src)
	maps.Copy(x.types, checked.TypeMap())
	nodes := make(map[int64]ast.Expr)
	eachNode(root, func(e ast.Expr) { nodes[e.ID()] = e })
	for _, err := range errs {
		if e := nodes[err.ExprID]; e != nil && !x.isWrong(e) {
			x.checkError(e, err.Message)
		}
		x.failed = true
	}
	return len(errs) == 0
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

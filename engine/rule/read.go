package rule

import (
	"maps"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/engine/rule/written"
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
	decided bool          // a part of it is always true or never
}

// expression is one expression while it is read. It goes through four passes:
// CEL's parser; scope, which takes definitions and aggregates out of the tree;
// CEL's checker; and translate, which makes the tree of package expr.
type expression struct {
	*compiler
	src     *written.Text
	passage *file.Passage
	level   language.Level
	// isDefine says that a bare reference to a stream makes this a condition on
	// events instead of an error.
	isDefine bool
	root     ast.Expr
	info     *ast.SourceInfo
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
		compiler: c, passage: p, src: written.New(p, c.Log), level: at, isDefine: isDefine,
		types: make(map[int64]*types.Type), holes: make(map[int64]*result), wrong: make(map[int64]bool),
	}
	src := common.NewTextSource(p.Text)
	tree, errs := c.lang.Parse(src)
	if len(errs) > 0 {
		x.src.SyntaxError(errs)
		return nil
	}
	x.src.Parsed(tree)
	root := tree.Expr()
	x.root, x.info = root, tree.SourceInfo()
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
	x.decided = tr.doubts.Warn(x.node)
	return &x.result
}

// check runs CEL's type checker over the tree. What it says of nodes that scope
// has already complained about is not told again.
func (x *expression) check(root ast.Expr) bool {
	src := common.NewTextSource(x.passage.Text)
	checked, errs := x.lang.Check(x.level, ast.NewAST(root, ast.NewSourceInfo(src)), src)
	maps.Copy(x.types, checked.TypeMap())
	nodes := make(map[int64]ast.Expr)
	written.EachNode(root, func(e ast.Expr) { nodes[e.ID()] = e })
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
	written.EachNode(e, func(sub ast.Expr) { found = found || x.wrong[sub.ID()] })
	return found
}

// failAt tells an error at a node.
func (x *expression) failAt(e ast.Expr, hint, format string, args ...any) {
	x.failed = true
	x.wrong[e.ID()] = true
	x.FailHint(x.src.PlaceOf(e), hint, format, args...)
}

func (c *compiler) streamNames(streams []plan.Stream) string {
	names := make([]string, len(streams))
	for i, s := range streams {
		names[i] = c.table().Name(s)
	}
	return strings.Join(names, ", ")
}

package rule

import (
	"math"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/language"
	"github.com/segmill/segmill/engine/rule/lint"
)

// translator turns a checked tree into one of package expr. After an error it
// returns nil and whoever asked gives up too.
type translator struct {
	*expression
	// vars are the variables of the comprehensions around the node at hand,
	// innermost last; depth is how many comprehensions that are.
	vars    []variable
	depth   int
	deepest int
	// doubts are places where an absent value may surprise.
	doubts lint.Doubts
}

func (x *expression) translator() translator {
	return translator{expression: x, doubts: lint.Doubts{Linter: x.lint}}
}

// variable is a variable of a comprehension.
type variable struct {
	name string
	slot int
	kind expr.Kind
	typ  *expr.Type // nil if it is no field of a record
}

// compareTime and compareUntil are the hints for durations that move.
const (
	compareTime  = "compare it with a constant such as days(45), or compare the times: last(purchase) < last(web)"
	compareUntil = "compare it with a constant such as days(30), or compare the times themselves"
)

// value translates a node that may not be a duration that moves with time: the
// instant at which such an expression changes could not be told beforehand.
func (t *translator) value(e ast.Expr) *expr.Node {
	n := t.node(e)
	if n != nil && t.moves(n) {
		t.failMoving(e, n)
		return nil
	}
	return n
}

// moves reports whether the node is a duration up to now, or from now on.
func (x *expression) moves(n *expr.Node) bool {
	return n.Op == expr.OpInput && (x.spec.Inputs[n.Ref].Kind == plan.InSince || x.spec.Inputs[n.Ref].Kind == plan.InUntil)
}

// failMoving reports a moving duration n where none can be.
func (t *translator) failMoving(e ast.Expr, n *expr.Node) {
	if t.spec.Inputs[n.Ref].Kind == plan.InUntil {
		t.failAt(e, compareUntil, "a time that remains keeps falling, so it can only be compared with a constant")
		return
	}
	t.failAt(e, compareTime, "an elapsed time keeps growing, so it can only be compared with a constant")
}

// values translates several nodes, or none.
func (t *translator) values(es []ast.Expr) []*expr.Node {
	out := make([]*expr.Node, len(es))
	ok := true
	for i, e := range es {
		out[i] = t.value(e)
		ok = ok && out[i] != nil
	}
	if !ok {
		return nil
	}
	return out
}

// node translates any node.
func (t *translator) node(e ast.Expr) *expr.Node {
	if r := t.holes[e.ID()]; r != nil {
		t.enter(e, t.depth+r.folds)
		n := canon.Shift(r.node, 2*t.depth)
		if n != r.node {
			t.fields[n] = t.fields[r.node]
		}
		return n
	}
	switch e.Kind() {
	case ast.LiteralKind:
		return t.literal(e)
	case ast.IdentKind:
		return t.name(e)
	case ast.SelectKind:
		return t.selection(e)
	case ast.ListKind:
		return t.list(e)
	case ast.ComprehensionKind:
		return t.comprehension(e)
	case ast.CallKind:
		return t.call(e)
	default:
		t.failAt(e, "", "rules do not support this")
		return nil
	}
}

func (t *translator) literal(e ast.Expr) *expr.Node {
	switch v := e.AsLiteral().(type) {
	case types.Bool:
		return canon.Const(expr.BoolValue(bool(v)))
	case types.Int:
		return canon.Const(expr.IntValue(int64(v)))
	case types.Double:
		if math.IsInf(float64(v), 0) || math.IsNaN(float64(v)) {
			t.failAt(e, "", "this number is too large")
			return nil
		}
		return canon.Const(expr.DoubleValue(float64(v)))
	case types.String:
		return canon.Const(expr.StringValue(string(v)))
	}
	t.failAt(e, "", "rules do not support values of this type")
	return nil
}

func (t *translator) name(e ast.Expr) *expr.Node {
	name := e.AsIdent()
	for i := len(t.vars) - 1; i >= 0; i-- {
		if v := t.vars[i]; v.name == name {
			n := &expr.Node{Op: expr.OpVar, Type: v.kind, Ref: v.slot}
			if v.typ != nil {
				t.fields[n] = v.typ
			}
			return n
		}
	}
	if s, ok := t.table().ByName(name); ok && !t.table().Info(s).Attributes {
		t.failAt(e, "name a field, such as "+name+"."+t.firstField(name), "%s is a whole event, not a value", name)
	} else {
		t.failAt(e, "name an attribute, such as profile.country", "%s is not a value", name)
	}
	return nil
}

func (t *translator) firstField(stream string) string {
	if names := t.catalog.Names("@" + stream); len(names) > 0 {
		return names[0]
	}
	return "…"
}

// selection translates a.b and has(a.b).
func (t *translator) selection(e ast.Expr) *expr.Node {
	sel := e.AsSelect()
	n := t.selected(e, sel.Operand(), sel.FieldName())
	if n == nil || !sel.IsTestOnly() {
		return n
	}
	return &expr.Node{Op: expr.OpHas, Type: expr.Bool, Args: []*expr.Node{n}}
}

func (t *translator) selected(e, of ast.Expr, name string) *expr.Node {
	if stream, ok := t.streamOf(of); ok {
		f, _ := t.catalog.Field("@"+stream, name)
		if f.Map {
			t.failAt(e, "name a key: "+stream+"."+name+`["plan"]`, "%s.%s is a map", stream, name)
			return nil
		}
		return t.field(stream, name, f)
	}
	if field, ok := t.mapOf(of); ok {
		return t.mapKey(e, field, name)
	}
	record := t.value(of)
	if record == nil {
		return nil
	}
	f, i := t.catalog.Field(t.types[of.ID()].TypeName(), name)
	if i < 0 {
		t.failAt(e, "", "no field %q here", name)
		return nil
	}
	n := &expr.Node{Op: expr.OpMember, Type: language.RuleKind(f.Kind), Ref: i, Name: name, Args: []*expr.Node{record}}
	t.fields[n] = f
	return n
}

// field reads a field of the event, or an attribute of the profile.
func (t *translator) field(stream, path string, f *expr.Type) *expr.Node {
	if t.level == language.Customer {
		return t.profileNode(path, f)
	}
	n := &expr.Node{Op: expr.OpField, Type: language.RuleKind(f.Kind), Name: stream, Path: path}
	t.fields[n] = f
	return n
}

// streamOf returns the name of the stream if e is one.
func (t *translator) streamOf(e ast.Expr) (string, bool) {
	if e.Kind() != ast.IdentKind || t.holes[e.ID()] != nil {
		return "", false
	}
	name := e.AsIdent()
	_, ok := t.table().ByName(name)
	return name, ok
}

// mapField is a field that is a map.
type mapField struct{ stream, name string }

func (t *translator) mapOf(e ast.Expr) (mapField, bool) {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return mapField{}, false
	}
	name := e.AsSelect().FieldName()
	stream, ok := t.streamOf(e.AsSelect().Operand())
	if !ok {
		return mapField{}, false
	}
	f, _ := t.catalog.Field("@"+stream, name)
	return mapField{stream, name}, f != nil && f.Map
}

// mapKey reads one key of a map as a field of its own: only such keys are kept.
func (t *translator) mapKey(e ast.Expr, m mapField, key string) *expr.Node {
	if key == "" {
		t.failAt(e, "", "the key of %s.%s is empty", m.stream, m.name)
		return nil
	}
	return t.field(m.stream, m.name+"."+key, &expr.Type{Kind: expr.String, Optional: true})
}

// list translates a list. Whole and other numbers may be mixed.
func (t *translator) list(e ast.Expr) *expr.Node {
	elems := e.AsList().Elements()
	if len(elems) == 0 {
		return canon.Const(expr.ListValue(nil))
	}
	nodes := t.values(elems)
	if nodes == nil {
		return nil
	}
	for i, n := range nodes[1:] {
		if n.Type != nodes[0].Type && !(isNumber(n.Type) && isNumber(nodes[0].Type)) {
			t.failAt(elems[i+1], "", "the values of a list must have the same type, but this is %s after %s",
				language.InWords(t.types[elems[i+1].ID()]), language.InWords(t.types[elems[0].ID()]))
			return nil
		}
	}
	return t.fold(e, &expr.Node{Op: expr.OpList, Type: expr.List, Args: nodes})
}

func isNumber(k expr.Kind) bool { return k == expr.Int || k == expr.Double }

// fold works out a node whose arguments are constants.
func (t *translator) fold(e ast.Expr, n *expr.Node) *expr.Node {
	// A tree without arguments is a constant already, or an input or a field
	// that a double negation has left.
	if len(n.Args) == 0 || !canon.AreConstant(n.Args) {
		return n
	}
	v, err := canon.Evaluate(t.zones, n, nil)
	if err != nil {
		t.failAt(e, "", "%v", err)
		return nil
	}
	if !v.Present() {
		t.failAt(e, "", "%s has no value", n.Text(nil))
		return nil
	}
	return canon.Const(v)
}

// comprehension translates what exists, all, exists_one, filter and map expand
// to. Each takes two variables.
func (t *translator) comprehension(e ast.Expr) *expr.Node {
	c := e.AsComprehension()
	rng := t.value(c.IterRange())
	if rng == nil || !t.enter(e, t.depth+1) {
		return nil
	}
	f := &expr.Fold{Var: 2 * t.depth, Acc: 2*t.depth + 1, Range: rng}
	elem := variable{name: c.IterVar(), slot: f.Var}
	if ps := t.types[c.IterRange().ID()].Parameters(); len(ps) == 1 {
		elem.kind = language.KindOf(ps[0])
	}
	if typ := t.fields[rng]; typ != nil {
		elem.typ = typ.Elem
	}
	f.Init = t.value(c.AccuInit())
	if f.Init == nil {
		return nil
	}
	acc := variable{name: c.AccuVar(), slot: f.Acc, kind: f.Init.Type}
	t.depth++
	t.vars = append(t.vars, elem, acc)
	f.While, f.Step = t.value(c.LoopCondition()), t.value(c.LoopStep())
	t.vars[len(t.vars)-2].name = "" // the result sees the accumulator alone
	f.Result = t.value(c.Result())
	t.vars = t.vars[:len(t.vars)-2]
	t.depth--
	if f.While == nil || f.Step == nil || f.Result == nil {
		return nil
	}
	n := &expr.Node{Op: expr.OpFold, Type: f.Result.Type, Fold: f}
	if rng.Op == expr.OpConst && !canon.Has(n, expr.OpField) && !canon.Has(n, expr.OpInput) && t.depth == 0 {
		if v, err := canon.Evaluate(t.zones, n, nil); err == nil && v.Present() {
			return canon.Const(v)
		}
	}
	return n
}

// enter bounds the nesting of comprehensions.
func (t *translator) enter(e ast.Expr, depth int) bool {
	t.deepest = max(t.deepest, depth)
	if depth > language.MaxFolds {
		t.failAt(e, "", "exists, all, filter and map can be nested at most %d deep", language.MaxFolds)
		return false
	}
	return true
}

// boolOp maps the operators of CEL to those of package expr.
var binary = map[string]expr.Op{
	operators.Equals: expr.OpEq, operators.NotEquals: expr.OpNe,
	operators.Less: expr.OpLt, operators.LessEquals: expr.OpLe, operators.Greater: expr.OpGt, operators.GreaterEquals: expr.OpGe,
	operators.Add: expr.OpAdd, operators.Subtract: expr.OpSub, operators.Multiply: expr.OpMul,
	operators.Divide: expr.OpDiv, operators.Modulo: expr.OpMod,
}

// parseTime reads a constant instant.
func parseTime(s string) (expr.Value, bool) {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil || at.Nanosecond()%1e6 != 0 || at.Year() < 1 || at.Year() > 9999 {
		return expr.Value{}, false
	}
	return expr.TimeValue(expr.MillisOf(at)), true
}

// written says how the rule has a comparison or a negation.
func (t *translator) written(e ast.Expr) lint.Written {
	return lint.Written{Part: func() string { return t.src.Part(e) }, NameOf: t.nameOf}
}

// nameOf prints a leaf with the rule's own name for the variable in it.
func (t *translator) nameOf(leaf *expr.Node) string {
	if leaf.Op == expr.OpMember && leaf.Args[0].Op == expr.OpVar {
		for _, v := range t.vars {
			if v.slot == leaf.Args[0].Ref {
				return v.name + "." + leaf.Name
			}
		}
	}
	return t.text(leaf)
}

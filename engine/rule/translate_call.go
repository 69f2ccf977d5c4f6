package rule

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/engine/rule/language"
)

// call translates operators and functions.
func (t *translator) call(e ast.Expr) *expr.Node {
	c := e.AsCall()
	name, args := c.FunctionName(), c.Args()
	if c.IsMemberFunction() {
		args = append([]ast.Expr{c.Target()}, args...)
	}
	switch name {
	case operators.LogicalAnd:
		return t.logic(expr.OpAnd, args)
	case operators.LogicalOr:
		return t.logic(expr.OpOr, args)
	case operators.LogicalNot:
		return t.not(e, args[0])
	case operators.NotStrictlyFalse:
		// The condition of a comprehension goes on while it is unknown anyway.
		return t.value(args[0])
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return t.comparison(e, binary[name], args)
	case operators.In:
		return t.membership(e, args)
	case operators.Index:
		return t.index(e, args)
	case operators.Conditional:
		return t.conditional(args)
	}
	if op, ok := binary[name]; ok {
		return t.arithmetic(e, op, args)
	}
	return t.function(e, name, args)
}

func (t *translator) logic(op expr.Op, args []ast.Expr) *expr.Node {
	nodes := t.values(args)
	if nodes == nil {
		return nil
	}
	for i, n := range nodes {
		if n.Op != op { // else its own operands are in the result
			t.spec.Written[n] = t.src.Operand(args[i])
		}
	}
	return canon.Join(op, func(i int) string { return t.spec.Inputs[i].Text }, nodes...)
}

func (t *translator) not(e, arg ast.Expr) *expr.Node {
	n := t.value(arg)
	if n == nil {
		return nil
	}
	not := canon.Not(n)
	if n.Op != expr.OpNot {
		t.doubts.Add(t.src.PlaceOf(e), not, t.written(e))
	}
	return t.fold(e, not)
}

// comparison translates == != < <= > >=. Only here may a moving duration
// be an operand.
func (t *translator) comparison(e ast.Expr, op expr.Op, args []ast.Expr) *expr.Node {
	a, b := t.node(args[0]), t.node(args[1])
	if a == nil || b == nil {
		return nil
	}
	for i, side := range []*expr.Node{a, b} {
		other := [...]*expr.Node{b, a}[i]
		if !t.moves(side) {
			continue
		}
		if other.Op != expr.OpConst {
			t.failMoving(args[i], side)
			return nil
		}
		if op == expr.OpEq || op == expr.OpNe {
			t.failAt(e, "use >= or <", "%s equals %s for one millisecond only", t.text(side), t.text(other))
			return nil
		}
	}
	t.checkWord(args[0], a, b)
	t.checkWord(args[1], b, a)
	n := canon.Compare(op, a, b)
	t.doubts.Add(t.src.PlaceOf(e), n, t.written(e))
	return t.fold(e, n)
}

func (t *translator) membership(e ast.Expr, args []ast.Expr) *expr.Node {
	x := t.value(args[0])
	if x == nil {
		return nil
	}
	if m, ok := t.mapOf(args[1]); ok {
		if x.Op != expr.OpConst {
			t.failAt(args[0], `for example "plan" in `+m.stream+"."+m.name, "the key must be a string literal")
			return nil
		}
		n := t.mapKey(args[0], m, x.Const.S)
		if n == nil {
			return nil
		}
		return &expr.Node{Op: expr.OpHas, Type: expr.Bool, Args: []*expr.Node{n}}
	}
	list := t.value(args[1])
	if list == nil {
		return nil
	}
	if args[1].Kind() == ast.ListKind && list.Op == expr.OpConst {
		for i, elem := range args[1].AsList().Elements() {
			t.checkWord(elem, canon.Const(list.Const.L[i]), x)
		}
	} else if list.Op == expr.OpConst {
		for _, v := range list.Const.L {
			t.checkWord(args[1], canon.Const(v), x)
		}
	}
	if elem := t.fields[list]; elem != nil && elem.Elem != nil && x.Op == expr.OpConst {
		t.checkValue(args[0], x.Const.S, elem.Elem, t.text(list))
	}
	n := canon.In(x, list)
	t.doubts.Add(t.src.PlaceOf(e), n, t.written(e))
	return t.fold(e, n)
}

func (t *translator) index(e ast.Expr, args []ast.Expr) *expr.Node {
	if m, ok := t.mapOf(args[0]); ok {
		key := t.value(args[1])
		if key == nil {
			return nil
		}
		if key.Op != expr.OpConst {
			t.failAt(args[1], `for example `+m.stream+"."+m.name+`["plan"]`, "the key must be a string literal")
			return nil
		}
		return t.mapKey(args[1], m, key.Const.S)
	}
	nodes := t.values(args)
	if nodes == nil {
		return nil
	}
	n := t.fold(e, &expr.Node{Op: expr.OpIndex, Type: language.KindOf(t.types[e.ID()]), Args: nodes})
	if typ := t.fields[nodes[0]]; n != nil && typ != nil && typ.Elem != nil {
		t.fields[n] = typ.Elem
	}
	return n
}

func (t *translator) conditional(args []ast.Expr) *expr.Node {
	nodes := t.values(args)
	switch {
	case nodes == nil:
		return nil
	case canon.IsTrue(nodes[0]):
		return nodes[1]
	case canon.IsFalse(nodes[0]):
		return nodes[2]
	}
	typ := nodes[1].Type
	if nodes[2].Type == expr.Double {
		typ = expr.Double
	}
	return &expr.Node{Op: expr.OpCond, Type: typ, Args: nodes}
}

func (t *translator) arithmetic(e ast.Expr, op expr.Op, args []ast.Expr) *expr.Node {
	nodes := t.values(args)
	if nodes == nil {
		return nil
	}
	return t.fold(e, &expr.Node{Op: op, Type: language.KindOf(t.types[e.ID()]), Args: nodes})
}

// units are the lengths of the functions that make a duration of a number.
var units = map[string]expr.Millis{"weeks": 7 * day, "days": day, "hours": 3_600_000, "minutes": 60_000}

// function translates what is written as a call.
func (t *translator) function(e ast.Expr, name string, args []ast.Expr) *expr.Node {
	if name == expr.OrElse && t.movingFirst(args[0]) {
		return nil
	}
	nodes := t.values(args)
	if nodes == nil {
		return nil
	}
	if unit := units[name]; unit != 0 {
		return t.length(args[0], nodes[0], name, unit)
	}
	switch name {
	case operators.Negate:
		return t.fold(e, &expr.Node{Op: expr.OpNeg, Type: nodes[0].Type, Args: nodes})
	case "timestamp", "duration":
		return t.instantOrLength(args[0], nodes[0], name)
	case "since":
		return t.since(args[0], nodes[0])
	case "until":
		return t.until(args[0], nodes[0])
	case "orElse":
		return t.orElse(e, nodes)
	case "age", "years_since":
		return t.years(args[0], nodes[0], name)
	case "in_segment":
		return t.inSegment(args[0], nodes[0])
	case "consented":
		return t.consented(args, nodes)
	case "matches":
		if !t.pattern(args[1], nodes[1]) {
			return nil
		}
	case "int", "double", "string":
		if k := language.KindOf(t.types[e.ID()]); nodes[0].Type == k {
			return nodes[0]
		}
	}
	if strings.HasPrefix(name, "get") && len(nodes) == 1 {
		t.lint.Part(t.src.PlaceOf(e), name)
	}
	if strings.HasPrefix(name, "get") && len(nodes) == 2 && !t.zone(args[1], nodes[1]) {
		return nil
	}
	return t.fold(e, &expr.Node{Op: expr.OpCall, Type: language.KindOf(t.types[e.ID()]), Name: name, Args: nodes})
}

func (t *translator) length(e ast.Expr, n *expr.Node, name string, unit expr.Millis) *expr.Node {
	if n.Op != expr.OpConst {
		t.failAt(e, "for example "+name+"(30)", "%s needs an integer literal", name)
		return nil
	}
	const most = 100_000 // days; far from overflow
	if limit := int64(most * day / unit); n.Const.N > limit || n.Const.N < -limit {
		t.failAt(e, "", "%s(%d) is too long", name, n.Const.N)
		return nil
	}
	return canon.Const(expr.DurationValue(expr.Millis(n.Const.N) * unit))
}

// instantOrLength reads timestamp("…") and duration("…").
func (t *translator) instantOrLength(e ast.Expr, n *expr.Node, name string) *expr.Node {
	if n.Op != expr.OpConst {
		t.failAt(e, "", "%s needs a string literal", name)
		return nil
	}
	if name == "timestamp" {
		v, ok := parseTime(n.Const.S)
		if !ok {
			t.failAt(e, "write it as 2026-01-31T00:00:00Z, at most to the millisecond", "%s is not a timestamp", strconv.Quote(n.Const.S))
			return nil
		}
		return canon.Const(v)
	}
	d, err := time.ParseDuration(n.Const.S)
	switch {
	case err != nil:
		t.failAt(e, `write it as "36h" or "1h30m"; for longer ones there is days(90)`, "%s is not a duration", strconv.Quote(n.Const.S))
		return nil
	case d%time.Millisecond != 0:
		t.failAt(e, "", "%s is not a whole number of milliseconds", n.Const.S)
		return nil
	}
	return canon.Const(expr.DurationValue(expr.Millis(d.Milliseconds())))
}

// timeInput returns the input that a node is, if it is one and holds a time.
func (t *translator) timeInput(n *expr.Node, kinds ...expr.Kind) (int, bool) {
	for _, k := range kinds {
		if n.Op == expr.OpInput && n.Type == k {
			return n.Ref, true
		}
	}
	return 0, false
}

func (t *translator) since(e ast.Expr, n *expr.Node) *expr.Node {
	of, ok := t.timeInput(n, expr.Time)
	switch {
	case ok:
		return t.sinceNode(of)
	case n.Type == expr.Date:
		t.failAt(e, "use age(…) or years_since(…)", "since needs a time, but %s is a date", t.text(n))
	default:
		t.failAt(e, "for example since(profile.signed_up_at) or since(first(purchase))", "since needs a time: a profile attribute, or the first or last event of something")
	}
	return nil
}

func (t *translator) until(e ast.Expr, n *expr.Node) *expr.Node {
	of, ok := t.timeInput(n, expr.Time, expr.Date)
	if !ok {
		t.failAt(e, "for example until(profile.birth_date)", "until needs a date or a time of the profile")
		return nil
	}
	return t.inputNode(plan.Input{Text: "until(" + t.spec.Inputs[of].Text + ")", Kind: plan.InUntil, Type: expr.Duration, Of: of})
}

// movingFirst refuses a duration that moves as the first argument of orElse.
func (t *translator) movingFirst(e ast.Expr) bool {
	n := t.node(e)
	if n == nil || !t.moves(n) {
		return false
	}
	hint := "compare it, and add || !did(…) for those without such an event"
	if t.spec.Inputs[t.spec.Inputs[n.Ref].Of].Kind == plan.InProfile {
		hint = "compare it, and add || !has(…) for those without the attribute"
	}
	t.failAt(e, hint, "orElse cannot stand in for %s, which can only be compared with a constant", t.text(n))
	return true
}

// orElse is the first value, or the second where the first is absent.
func (t *translator) orElse(e ast.Expr, nodes []*expr.Node) *expr.Node {
	k := language.KindOf(t.types[e.ID()])
	if nodes[1].Op == expr.OpConst {
		nodes[1] = canon.SameNumber(nodes[1], k)
	}
	if nodes[0].Op == expr.OpConst {
		return canon.SameNumber(nodes[0], k)
	}
	n := &expr.Node{Op: expr.OpCall, Type: k, Name: expr.OrElse, Args: nodes}
	t.fields[n] = t.fields[nodes[0]]
	return n
}

func (t *translator) years(e ast.Expr, n *expr.Node, name string) *expr.Node {
	of, ok := t.timeInput(n, expr.Time, expr.Date)
	if !ok {
		t.failAt(e, "for example age(profile.birth_date)", "%s needs a date or a time: a profile attribute, or the first or last event of something", name)
		return nil
	}
	return t.inputNode(plan.Input{Text: "years_since(" + t.spec.Inputs[of].Text + ")", Kind: plan.InYears, Type: expr.Int, Of: of})
}

func (t *translator) inSegment(e ast.Expr, n *expr.Node) *expr.Node {
	if n.Op != expr.OpConst {
		t.failAt(e, `for example in_segment("loyal")`, "in_segment needs a string literal")
		return nil
	}
	id := n.Const.S
	known := false
	for _, s := range t.segments {
		known = known || s == id
	}
	if !known {
		t.failAt(e, t.segmentHint(id), "no segment %s", strconv.Quote(id))
		return nil
	}
	t.member = append(t.member, use{id, t.src.PlaceOf(e)})
	return t.inputNode(plan.Input{Text: "in_segment(" + strconv.Quote(id) + ")", Kind: plan.InSegment, Type: expr.Bool, Segment: id})
}

// segmentHint names the nearest segment, or the one that had the id before; a lifecycle has
// stages to choose from.
func (t *translator) segmentHint(id string) string {
	if now := t.renamed[id]; now != "" {
		return "it is called " + strconv.Quote(now) + " now"
	}
	var stages []string
	for _, s := range t.segments {
		if strings.HasPrefix(s, id+"/") {
			stages = append(stages, s)
		}
	}
	if stages != nil {
		return "a lifecycle has stages; " + file.OneOf(stages)
	}
	return file.DidYouMean(id, file.Sorted(t.segments))
}

func (t *translator) consented(args []ast.Expr, nodes []*expr.Node) *expr.Node {
	purpose := "marketing"
	for i, n := range nodes {
		if n.Op != expr.OpConst {
			t.failAt(args[i], `for example consented("email")`, "consented needs string literals")
			return nil
		}
		if i == 1 {
			purpose = n.Const.S
		}
	}
	channel := nodes[0].Const.S
	t.doubts.Consented = t.src.StartOf(args[0])
	t.checkConsent(args[0], channel, "channel")
	if len(args) == 2 {
		t.checkConsent(args[1], purpose, "purpose")
	}
	return t.inputNode(plan.Input{
		Text: "consented(" + strconv.Quote(channel) + ", " + strconv.Quote(purpose) + ")",
		Kind: plan.InConsent, Type: expr.Bool, Channel: channel, Purpose: purpose,
	})
}

func (t *translator) checkConsent(e ast.Expr, value, field string) {
	if f, _ := t.catalog.Field("@"+plan.Consent.String(), field); f != nil {
		t.checkValue(e, value, f, "consent."+field)
	}
}

// pattern checks the regular expression of matches.
func (t *translator) pattern(e ast.Expr, n *expr.Node) bool {
	if n.Op != expr.OpConst {
		t.failAt(e, "", "the pattern must be a string literal")
		return false
	}
	if _, err := regexp.Compile(n.Const.S); err != nil {
		t.failAt(e, "the syntax is that of RE2", "%s", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		return false
	}
	return true
}

func (t *translator) zone(e ast.Expr, n *expr.Node) bool {
	if n.Op == expr.OpConst && file.IsZone(t.zones, n.Const.S) {
		return true
	}
	t.failAt(e, "", `a time zone must be a string literal with an IANA name such as "Europe/Paris"`)
	return false
}

// checkWord checks a constant that is compared with a field of few values.
func (t *translator) checkWord(e ast.Expr, value, with *expr.Node) {
	f := t.fields[with]
	if f != nil && value.Op == expr.OpConst && value.Const.K == expr.String {
		t.checkValue(e, value.Const.S, f, t.text(with))
		t.lint.Code(t.src.PlaceOf(e), value.Const.S, with, f)
	}
}

// checkValue checks a text against the values of a field: those of an
// enumeration are all there are, others are what is usual.
func (t *translator) checkValue(e ast.Expr, value string, f *expr.Type, name string) {
	if f.Symbols != nil && !slices.Contains(f.Symbols, value) {
		t.failAt(e, file.DidYouMean(value, f.Symbols), "%s is not a value of %s", strconv.Quote(value), name)
		return
	}
	t.lint.Word(t.src.PlaceOf(e), value, f, name)
}

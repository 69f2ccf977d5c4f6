package sim

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// phrase is an expression twice: as people write it and as a tree. That the two
// mean the same is this package's own reading of the rule language.
type phrase struct {
	text string
	node *expr.Node
}

// Small trees.

func constant(v expr.Value) *expr.Node {
	return &expr.Node{Op: expr.OpConst, Type: v.K, Const: v}
}

func field(path string, k expr.Kind) *expr.Node {
	return &expr.Node{Op: expr.OpField, Type: k, Path: path}
}

func apply(op expr.Op, k expr.Kind, args ...*expr.Node) *expr.Node {
	return &expr.Node{Op: op, Type: k, Args: args}
}

func isOne(path string, symbols ...string) *expr.Node {
	var l []*expr.Node
	for _, s := range symbols {
		l = append(l, apply(expr.OpEq, expr.Bool, field(path, expr.String), constant(expr.StringValue(s))))
	}
	if len(l) == 1 {
		return l[0]
	}
	return apply(expr.OpOr, expr.Bool, l...)
}

// duration returns a constant length of time as rules write it.
func duration(d Millis) phrase {
	n := constant(expr.DurationValue(d))
	for _, u := range []struct {
		name string
		unit Millis
	}{{"days", Day}, {"hours", Hour}, {"minutes", Minute}} {
		if d%u.unit == 0 {
			return phrase{fmt.Sprintf("%s(%d)", u.name, d/u.unit), n}
		}
	}
	return phrase{fmt.Sprintf("duration(%q)", strconv.FormatFloat(float64(d)/1000, 'f', -1, 64)+"s"), n}
}

func quoted(s string) phrase { return phrase{strconv.Quote(s), constant(expr.StringValue(s))} }

// number returns a constant as an integer or a double, as rules write it.
func number(v expr.Value) phrase {
	s := v.String()
	if v.K == expr.Double && !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return phrase{s, constant(v)}
}

func pick[T any](r *rand.Rand, l ...T) T { return l[r.IntN(len(l))] }

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

// comparisons are the six operators as rules write them.
var comparisons = map[expr.Op]string{
	expr.OpEq: "==", expr.OpNe: "!=", expr.OpLt: "<", expr.OpLe: "<=", expr.OpGt: ">", expr.OpGe: ">=",
}

// versus compares two phrases with a random operator, sometimes turned round.
func versus(r *rand.Rand, a, b phrase) phrase {
	return related(r, pick(r, expr.OpEq, expr.OpNe, expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe, expr.OpGe, expr.OpGt, expr.OpLt), a, b)
}

// growing compares a length of time that grows all the time; it equals a constant
// for a millisecond only, which the rule language refuses to ask for.
func (g *grammar) growing(a, b phrase) phrase {
	if g.free {
		return versus(g.r, a, b)
	}
	return related(g.r, pick(g.r, expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe), a, b)
}

func related(r *rand.Rand, op expr.Op, a, b phrase) phrase {
	if chance(r, 10) {
		a, b = b, a
	}
	return phrase{a.text + " " + comparisons[op] + " " + b.text, apply(op, expr.Bool, a.node, b.node)}
}

// subject is what an aggregate counts: a stream's name or a condition over one
// stream's fields, and what the engine has to look at.
type subject struct {
	text    string
	stream  plan.Stream
	cond    *expr.Node // as written, nil for a bare stream
	kind    bool       // the condition names purchase.kind
	sources []plan.Source
}

// subjectOf returns the subject of a stream and a condition ("" for none). A
// purchase is a completed one unless the condition names the kind.
func subjectOf(stream plan.Stream, cond phrase, kind bool) subject {
	s := subject{text: cond.text, stream: stream, cond: cond.node, kind: kind}
	if s.cond == nil {
		s.text = stream.String()
	}
	seen := s.cond
	if stream == plan.Purchase && !kind {
		seen = isOne("kind", "completed")
		if s.cond != nil {
			seen = apply(expr.OpAnd, expr.Bool, seen, s.cond)
		}
	}
	s.sources = []plan.Source{{Stream: stream, Cond: seen}}
	return s
}

// Activity is what counts as a customer being active where a rule set does not
// say otherwise.
func Activity() []plan.Source {
	human := apply(expr.OpAnd, expr.Bool, isOne("action", "opened"), apply(expr.OpNot, expr.Bool, field("machine_open", expr.Bool)))
	return []plan.Source{
		{Stream: plan.Web},
		{Stream: plan.Email, Cond: apply(expr.OpOr, expr.Bool, isOne("action", "clicked"), human)},
		{Stream: plan.Purchase, Cond: isOne("kind", "completed")},
	}
}

// subject returns a random subject.
func (g *grammar) subject() subject {
	switch g.r.IntN(12) {
	case 10, 11:
		return g.ownSubject()
	case 0, 1:
		return subjectOf(plan.Web, phrase{}, false)
	case 2:
		return subjectOf(plan.Email, phrase{}, false)
	case 3, 4:
		return subjectOf(plan.Purchase, phrase{}, false)
	case 5:
		return subject{text: "activity", sources: g.spec.Activity}
	}
	return g.conditional(pick(g.r, plan.Web, plan.Web, plan.Email, plan.Purchase))
}

// conditional returns a random subject that is a condition over one stream.
func (g *grammar) conditional(s plan.Stream) subject {
	c, kind := g.clause(s)
	if chance(g.r, 30) {
		d, k := g.clause(s)
		op, sign := expr.OpAnd, " && "
		if chance(g.r, 40) {
			op, sign = expr.OpOr, " || "
		}
		c = phrase{"(" + c.text + ")" + sign + "(" + d.text + ")", apply(op, expr.Bool, c.node, d.node)}
		kind = kind || k
	}
	if chance(g.r, 15) {
		c = phrase{"!(" + c.text + ")", apply(expr.OpNot, expr.Bool, c.node)}
	}
	return subjectOf(s, c, kind)
}

// clause returns a condition over one event, and whether it names purchase.kind.
func (g *grammar) clause(s plan.Stream) (phrase, bool) {
	text := func(path string, words ...string) phrase {
		return versus(g.r, phrase{s.String() + "." + path, field(path, expr.String)}, quoted(pick(g.r, words...)))
	}
	money := func(path string) phrase {
		return versus(g.r, phrase{s.String() + "." + path, field(path, expr.Double)}, number(g.money()))
	}
	switch s {
	case plan.Web:
		return pick(g.r, text("name", webNames...), text("name", "product_added"), text("utm_source", utmSources...),
			money("value"), g.attribute(), g.member("web.name", field("name", expr.String), webNames), g.someItem(), product), false
	case plan.Email:
		machine := phrase{`email.action == "opened" && !email.machine_open`, apply(expr.OpAnd, expr.Bool,
			isOne("action", "opened"), apply(expr.OpNot, expr.Bool, field("machine_open", expr.Bool)))}
		return pick(g.r, text("action", emailActions...), machine, text("campaign_id", campaigns...)), false
	default: // the others need nothing here
	}
	if chance(g.r, 25) {
		return text("kind", purchaseKinds...), true
	}
	has := phrase{"has(purchase.channel)", apply(expr.OpHas, expr.Bool, field("channel", expr.String))}
	return pick(g.r, money("revenue"), money("total"), text("channel", channels...), has), false
}

// product holds for what is done with a product.
var product = phrase{`web.name.startsWith("product_")`, &expr.Node{
	Op: expr.OpCall, Type: expr.Bool, Name: "startsWith",
	Args: []*expr.Node{field("name", expr.String), constant(expr.StringValue("product_"))},
}}

// someItem returns a condition that one of the event's items must meet.
func (g *grammar) someItem() phrase {
	it := &expr.Node{Op: expr.OpVar, Type: expr.Record, Ref: 0}
	found := &expr.Node{Op: expr.OpVar, Type: expr.Bool, Ref: 1}
	kind, part, name, limit := expr.Int, g.line.quantity, "quantity", number(expr.IntValue(2))
	if chance(g.r, 50) {
		kind, part, name, limit = expr.Double, g.line.price, "price", number(expr.DoubleValue(20.5))
	}
	c := versus(g.r, phrase{"i." + name, &expr.Node{Op: expr.OpMember, Type: kind, Args: []*expr.Node{it}, Ref: part}}, limit)
	return phrase{"web.items.exists(i, " + c.text + ")", &expr.Node{Op: expr.OpFold, Type: expr.Bool, Fold: &expr.Fold{
		Var: 0, Acc: 1,
		Range: field("items", expr.List), Init: constant(expr.BoolValue(false)),
		While:  apply(expr.OpNot, expr.Bool, found),
		Step:   apply(expr.OpOr, expr.Bool, found, c.node),
		Result: found,
	}}}
}

// attribute returns a condition over a key of web.attributes.
func (g *grammar) attribute() phrase {
	return versus(g.r, phrase{`web.attributes["plan"]`, field("attributes.plan", expr.String)}, quoted(pick(g.r, plans...)))
}

// member returns "x in [...]".
func (g *grammar) member(text string, n *expr.Node, words []string) phrase {
	a, b := quoted(pick(g.r, words...)), quoted(pick(g.r, words...))
	list := constant(expr.ListValue([]expr.Value{a.node.Const, b.node.Const}))
	return phrase{text + " in [" + a.text + ", " + b.text + "]", apply(expr.OpIn, expr.Bool, n, list)}
}

// money returns a constant to compare money with.
func (g *grammar) money() expr.Value {
	if chance(g.r, 30) {
		return expr.IntValue(int64(pick(g.r, 0, 50, 100)))
	}
	return expr.DoubleValue(pick(g.r, 0, 49.5, 50, 99.99, 100, 150.25, 300))
}

// Words that events and rules draw from, so that rules meet events.
var (
	webNames      = []string{"page_viewed", "product_viewed", "product_added", "product_removed", "cart_updated"}
	utmSources    = []string{"ad", "news"}
	plans         = []string{"pro", "free"}
	emailActions  = []string{"sent", "opened", "clicked"}
	campaigns     = []string{"k1", "k2", "k3"}
	purchaseKinds = []string{"completed", "refunded", "cancelled"}
	channels      = []string{"web", "store"}
	countries     = []string{"FR", "DE", "JP"}
	tiers         = []string{"gold", "silver"}
	sessions      = []string{"s1", "s2", "s3", "s4"}
)

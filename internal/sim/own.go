package sim

import (
	"fmt"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Every random rule set declares the same fields and the same stream, and many of its
// rules read them.

const support = "support"

var (
	topicsOfSupport = []string{"invoice", "delivery", "login"}
	cities          = []string{"Oslo", "Rome"}
	interests       = []string{"golf", "chess", "tennis"}
)

// declare adds the declarations to the rule set and to its text.
func (g *grammar) declare(base *plan.Catalog) {
	activity := chance(g.r, 50)
	fields := []struct{ stream, name, word string }{
		{"profile", "city", "text"},
		{"profile", "employees", "number"},
		{"profile", "renewal", "date"},
		{"profile", "interests", "list"},
		{"web", "seconds", "number"},
		{support, "topic", "text"},
		{support, "minutes", "number"},
		{support, "solved", "truth"},
	}
	own := make([]plan.OwnField, len(fields))
	for i, f := range fields {
		t, _ := plan.OwnType(f.word)
		own[i] = plan.OwnField{Stream: f.stream, Name: f.name, Type: t}
	}
	g.spec.Catalog = base.With([]plan.OwnStream{{Name: support, Activity: activity}}, own)
	g.support, _ = g.spec.Streams().ByName(support)
	if activity {
		g.spec.Activity = append(g.spec.Activity, plan.Source{Stream: g.support})
	}
	fmt.Fprintf(&g.text, "fields:\n  profile: {city: text, employees: number, renewal: date, interests: list}\n  web: {seconds: number}\n"+
		"streams:\n  support: {activity: %t, fields: {topic: text, minutes: number, solved: truth}}\n", activity)
}

// ownSubject returns a subject over the declared stream.
func (g *grammar) ownSubject() subject {
	c := phrase{}
	switch g.r.IntN(5) {
	case 0:
		c = versus(g.r, phrase{"support.minutes", field("minutes", expr.Double)}, number(g.money()))
	case 1:
		c = versus(g.r, phrase{"support.topic", field("topic", expr.String)}, quoted(pick(g.r, topicsOfSupport...)))
	case 2:
		c = phrase{"support.solved", field("solved", expr.Bool)}
	}
	s := subject{text: c.text, stream: g.support, cond: c.node, sources: []plan.Source{{Stream: g.support, Cond: c.node}}}
	if c.node == nil {
		s.text = support
	}
	return s
}

// attributeOf returns a declared attribute.
func (g *grammar) attributeOf(name string, typ, stored expr.Kind) phrase {
	return g.read(plan.Input{Text: "profile." + name, Kind: plan.InProfile, Type: typ, Stored: stored, Field: name})
}

// ownAmount returns an aggregate over a declared number.
func (g *grammar) ownAmount() phrase {
	agg := pick(g.r, ofNumbers()...)
	in := plan.Input{Kind: plan.InAggregate, Type: expr.Double, Agg: agg, Field: "minutes", Stored: expr.Decimal, Sources: []plan.Source{{Stream: g.support}}}
	in.Text = agg.Name + "(support.minutes"
	if chance(g.r, 30) {
		in.Field, in.Sources, in.Text = "seconds", []plan.Source{{Stream: plan.Web}}, agg.Name+"(web.seconds"
	}
	if agg.Window != nil {
		w, text := g.window()
		in.Window, in.Text = w, in.Text+text
	}
	in.Text += ")"
	return g.read(in)
}

// ownCondition returns a condition that reads what is declared.
func (g *grammar) ownCondition() phrase {
	switch g.r.IntN(7) {
	case 0:
		return versus(g.r, g.ownAmount(), number(g.money()))
	case 1:
		list := g.attributeOf("interests", expr.List, expr.List)
		word := quoted(pick(g.r, interests...))
		return phrase{word.text + " in profile.interests", apply(expr.OpIn, expr.Bool, word.node, list.node)}
	case 2:
		return versus(g.r, g.attributeOf("employees", expr.Double, expr.Decimal), number(g.money()))
	case 3:
		return versus(g.r, g.attributeOf("city", expr.String, expr.String), quoted(pick(g.r, cities...)))
	case 4:
		of := g.ref(plan.Input{Text: "profile.renewal", Kind: plan.InProfile, Type: expr.Date, Stored: expr.Date, Field: "renewal"})
		in := plan.Input{Kind: plan.InUntil, Type: expr.Duration, Of: of, Text: "until(profile.renewal)"}
		return g.growing(g.read(in), duration(pick(g.r, g.windows...)))
	case 5:
		w, text := g.window()
		return versus(g.r, g.read(plan.Input{
			Text: "distinct(support.topic" + text + ")", Kind: plan.InAggregate, Type: expr.Int, Agg: ofField("distinct"),
			Sources: []plan.Source{{Stream: g.support}}, Field: "topic", Stored: expr.String, Window: w,
		}), number(expr.IntValue(int64(g.r.IntN(4)))))
	}
	return versus(g.r, g.read(plan.Input{
		Text: "last(support.topic)", Kind: plan.InAggregate, Type: expr.String, Agg: ofField("last"),
		Sources: []plan.Source{{Stream: g.support}}, Field: "topic", Stored: expr.String,
	}), quoted(pick(g.r, topicsOfSupport...)))
}

// own sets what is declared of an event of a stream.
func (h *history) own(f map[string]expr.Value, s plan.Stream, at Millis) {
	switch s {
	case plan.Web:
		if chance(h.r, 40) {
			f["seconds"] = h.amount()
		}
	case plan.Profile:
		h.ownProfile(f, at)
	case h.support:
		word(h.r, f, "topic", 80, topicsOfSupport)
		if chance(h.r, 80) {
			f["minutes"] = h.amount()
		}
		if chance(h.r, 60) {
			f["solved"] = expr.BoolValue(chance(h.r, 50))
		}
	default: // nothing is declared of the others
	}
}

func (h *history) ownProfile(f map[string]expr.Value, at Millis) {
	word(h.r, f, "city", 40, append(cities, ""))
	if chance(h.r, 40) {
		f["employees"] = h.amount()
	}
	if chance(h.r, 40) {
		f["renewal"] = expr.DateValue(int64(at)/int64(Day) + int64(h.r.IntN(90)-20))
	}
	if chance(h.r, 40) {
		var l []expr.Value
		for _, w := range interests[:h.r.IntN(4)] {
			l = append(l, expr.StringValue(w))
		}
		f["interests"] = expr.ListValue(l)
	}
	for _, path := range []string{"employees", "renewal", "interests"} {
		if chance(h.r, 10) {
			f[path] = expr.StringValue("") // cleared
		}
	}
}

// horizon is how long ids of a stream are remembered.
func (o *Oracle) horizon(s plan.Stream) Millis {
	if s >= plan.NumBuiltin {
		return Day
	}
	return o.opt.Dedup[s]
}

// shown is a value of an input as people see it: numbers that are no money lose the zeros
// of an amount.
func (o *Oracle) shown(ref int, v expr.Value) expr.Value {
	in := &o.spec.Inputs[ref]
	number := in.Field == "minutes" || in.Field == "seconds" || in.Field == "employees"
	if number && in.Stored == expr.Decimal && v.K == expr.Decimal {
		return expr.DoubleValue(float64(v.N) / expr.DecimalOne)
	}
	return v
}

// shownOf is shown for the value of an expression.
func (o *Oracle) shownOf(n *expr.Node, v expr.Value) expr.Value {
	for _, ref := range inputsOf(n) {
		v = o.shown(ref, v)
	}
	return v
}

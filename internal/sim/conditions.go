package sim

import (
	"fmt"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// ref returns the number of an input, which is added if the rule set has none of
// its text.
func (g *grammar) ref(in plan.Input) int {
	if i, ok := g.refs[in.Text]; ok {
		return i
	}
	g.refs[in.Text] = len(g.spec.Inputs)
	g.spec.Inputs = append(g.spec.Inputs, in)
	return len(g.spec.Inputs) - 1
}

// read returns an input as part of a condition.
func (g *grammar) read(in plan.Input) phrase {
	return phrase{in.Text, &expr.Node{Op: expr.OpInput, Type: in.Type, Ref: g.ref(in)}}
}

// condition returns a random condition, at most so many operators deep.
func (g *grammar) condition(depth int) phrase {
	if depth == 0 || chance(g.r, 30) {
		return g.simple()
	}
	a := g.condition(depth - 1)
	switch g.r.IntN(7) {
	case 0:
		return phrase{"!(" + a.text + ")", apply(expr.OpNot, expr.Bool, a.node)}
	case 1:
		b, c := g.condition(depth-1), g.condition(depth-1)
		return phrase{"((" + a.text + ") ? (" + b.text + ") : (" + c.text + "))", apply(expr.OpCond, expr.Bool, a.node, b.node, c.node)}
	case 2, 3:
		b := g.condition(depth - 1)
		return phrase{"(" + a.text + ") || (" + b.text + ")", apply(expr.OpOr, expr.Bool, a.node, b.node)}
	}
	b := g.condition(depth - 1)
	return phrase{"(" + a.text + ") && (" + b.text + ")", apply(expr.OpAnd, expr.Bool, a.node, b.node)}
}

// simple returns a condition without && || ! ?.
func (g *grammar) simple() phrase {
	switch g.r.IntN(20) {
	case 16, 17, 18, 19:
		return g.ownCondition()
	case 0, 1, 2, 3:
		n, k := g.numeric()
		return versus(g.r, n, g.threshold(k))
	case 4:
		c := g.count()
		return phrase{"did" + c.text[len("count"):], apply(expr.OpGt, expr.Bool, c.node, constant(expr.IntValue(0)))}
	case 5, 6:
		return g.sum()
	case 7, 8:
		return g.recency()
	case 9:
		return g.years()
	case 10:
		return g.profile()
	case 11:
		if len(g.names) == 0 {
			return g.recency()
		}
		name := g.names[g.r.IntN(len(g.names))]
		return g.read(plan.Input{Text: fmt.Sprintf("in_segment(%q)", name), Kind: plan.InSegment, Type: expr.Bool, Segment: name})
	case 12:
		return g.consent()
	case 13:
		c := g.count()
		list := constant(expr.ListValue([]expr.Value{expr.IntValue(1), expr.IntValue(3)}))
		return phrase{c.text + " in [1, 3]", apply(expr.OpIn, expr.Bool, c.node, list)}
	case 14:
		return g.latest()
	}
	return versus(g.r, g.count(), number(expr.IntValue(int64(g.r.IntN(4)))))
}

// threshold returns a constant to compare a number with.
func (g *grammar) threshold(k expr.Kind) phrase {
	if k == expr.Int {
		return number(expr.IntValue(int64(g.r.IntN(4))))
	}
	return number(g.money())
}

// window returns a window and how it is written as a last argument.
func (g *grammar) window() (Millis, string) {
	if chance(g.r, 25) {
		return 0, ""
	}
	w := pick(g.r, g.windows...)
	return w, ", " + duration(w).text
}

func (g *grammar) count() phrase {
	s := g.subject()
	w, text := g.window()
	return g.read(plan.Input{
		Text: "count(" + s.text + text + ")", Kind: plan.InAggregate, Type: expr.Int,
		Agg: count(), Sources: s.sources, Window: w,
	})
}

// The rows of the table of aggregates, by what rules call them.

func ofField(name string) *plan.Aggregate { return plan.AggregateOf(name, true) }

// ofNumbers are those that can read a number and give one.
func ofNumbers() (l []*plan.Aggregate) {
	for _, a := range plan.Aggregates() {
		if a.Takes == plan.TakesNumber || a.Takes == plan.TakesField && a.Gives == expr.Absent {
			l = append(l, a)
		}
	}
	return l
}

func ofTime(name string) *plan.Aggregate { return plan.AggregateOf(name, false) }

func count() *plan.Aggregate { return plan.AggregateOf("count", false) }

// moneyFields are the numeric fields that events have.
var moneyFields = []struct {
	stream plan.Stream
	path   string
}{{plan.Purchase, "revenue"}, {plan.Purchase, "revenue"}, {plan.Purchase, "total"}, {plan.Web, "value"}}

// numeric returns a number that depends on time in no way but through windows.
func (g *grammar) numeric() (phrase, expr.Kind) {
	if g.free && chance(g.r, 40) {
		return g.figure()
	}
	if chance(g.r, 15) { // in place of a number that is absent, another
		n, k := g.numeric()
		other := g.threshold(k)
		return orElse(k, n, other), k
	}
	switch g.r.IntN(7) {
	case 0:
		return g.count(), expr.Int
	case 1:
		// Which number it is depends on a condition.
		c, a, b := g.simple(), g.count(), number(expr.IntValue(2))
		return phrase{"(" + c.text + " ? " + a.text + " : " + b.text + ")", apply(expr.OpCond, expr.Int, c.node, a.node, b.node)}, expr.Int
	case 2:
		s := g.conditional(pick(g.r, plan.Web, plan.Purchase))
		field := map[plan.Stream]string{plan.Web: "session_id", plan.Purchase: "channel"}[s.stream]
		w, text := g.window()
		return g.read(plan.Input{
			Text: fmt.Sprintf("distinct(%s.%s, %s%s)", s.stream, field, s.text, text), Kind: plan.InAggregate, Type: expr.Int,
			Agg: ofField("distinct"), Sources: s.sources, Field: field, Stored: expr.String, Window: w,
		}), expr.Int
	}
	return g.amount(pick(g.r, ofNumbers()...)), expr.Double
}

func orElse(k expr.Kind, a, b phrase) phrase {
	n := apply(expr.OpCall, k, a.node, b.node)
	n.Name = "orElse"
	return phrase{"orElse(" + a.text + ", " + b.text + ")", n}
}

// amount returns an aggregate over a field of money.
func (g *grammar) amount(agg *plan.Aggregate) phrase {
	f := moneyFields[g.r.IntN(len(moneyFields))]
	s := subjectOf(f.stream, phrase{}, false)
	in := plan.Input{Kind: plan.InAggregate, Type: expr.Double, Agg: agg, Field: f.path, Stored: expr.Decimal}
	in.Text = agg.Name + "(" + f.stream.String() + "." + f.path
	if chance(g.r, 40) {
		s = g.conditional(f.stream)
		in.Text += ", " + s.text
	}
	in.Sources = s.sources
	if agg.Name == "sum" && f.stream == plan.Purchase {
		in.Sources = signed(s)
	}
	if agg.Window != nil {
		w, text := g.window()
		in.Window, in.Text = w, in.Text+text
	}
	in.Text += ")"
	return g.read(in)
}

// figure returns an aggregate over a field of kind Int or Double.
func (g *grammar) figure() (phrase, expr.Kind) {
	in := plan.Input{Kind: plan.InAggregate, Type: expr.Int, Field: "hits", Stored: expr.Int}
	if chance(g.r, 50) {
		in.Type, in.Field, in.Stored = expr.Double, "score", expr.Double
	}
	s := g.conditional(plan.Web)
	in.Sources = s.sources
	in.Agg = pick(g.r, append(ofNumbers(), ofField("distinct"))...)
	switch in.Agg.Name {
	case "avg":
		in.Type = expr.Double
	case "distinct":
		in.Type = expr.Int
	}
	text := ""
	if in.Agg.Window != nil {
		in.Window, text = g.window()
	}
	in.Text = fmt.Sprintf("%s(web.%s, %s%s)", in.Agg.Name, in.Field, s.text, text)
	return g.read(in), in.Type
}

// signed returns the sources of a sum of money over purchases: what was given
// back counts against what was paid.
func signed(s subject) []plan.Source {
	back := isOne("kind", "refunded", "cancelled")
	if s.kind {
		return []plan.Source{{Stream: plan.Purchase, Cond: s.cond, Negate: back}}
	}
	seen := isOne("kind", "completed", "refunded", "cancelled")
	if s.cond != nil {
		seen = apply(expr.OpAnd, expr.Bool, seen, s.cond)
	}
	return []plan.Source{{Stream: plan.Purchase, Cond: seen, Negate: back}}
}

// sum returns a comparison of arithmetic over several aggregates.
func (g *grammar) sum() phrase {
	a, ka := g.numeric()
	b, kb := g.numeric()
	kind := expr.Double
	if ka == expr.Int && kb == expr.Int {
		kind = expr.Int
	}
	factor := number(expr.IntValue(int64(2 + g.r.IntN(3))))
	a = phrase{factor.text + " * " + a.text, apply(expr.OpMul, ka, factor.node, a.node)}
	op, sign := expr.OpAdd, " + "
	switch g.r.IntN(4) {
	case 0:
		op, sign = expr.OpSub, " - "
	case 1:
		op, sign = expr.OpDiv, " / "
	}
	return versus(g.r, phrase{a.text + sign + b.text, apply(op, kind, a.node, b.node)}, g.threshold(kind))
}

// recency returns a comparison of the time since something with a constant.
func (g *grammar) recency() phrase {
	of := plan.Input{Kind: plan.InAggregate, Type: expr.Time, Agg: ofTime("last")}
	in := plan.Input{Kind: plan.InSince, Type: expr.Duration}
	switch s := g.subject(); g.r.IntN(6) {
	case 0:
		of.Text, of.Agg, of.Sources = "first("+s.text+")", ofTime("first"), s.sources
		in.Of, in.Text = g.ref(of), "since_first("+s.text+")"
	case 1:
		in.Of, in.Text = g.date("profile.signed_up_at"), "since(profile.signed_up_at)"
	case 2:
		base := pick(g.r, "profile.signed_up_at", "profile.birth_date")
		in.Kind, in.Of, in.Text = plan.InUntil, g.date(base), "until("+base+")"
		if w := pick(g.r, g.windows...); chance(g.r, 30) {
			return g.growing(g.read(in), duration(-w))
		}
	default:
		of.Text, of.Sources = "last("+s.text+")", s.sources
		in.Of, in.Text = g.ref(of), "since_last("+s.text+")"
	}
	return g.growing(g.read(in), duration(pick(g.r, append(g.windows, 45*Day)...)))
}

// date returns the number of an input that names a day.
func (g *grammar) date(text string) int {
	switch text {
	case "profile.birth_date":
		return g.ref(plan.Input{Text: text, Kind: plan.InProfile, Type: expr.Date, Stored: expr.Date, Field: "birth_date"})
	case "profile.signed_up_at":
		return g.ref(plan.Input{Text: text, Kind: plan.InProfile, Type: expr.Time, Stored: expr.Time, Field: "signed_up_at"})
	}
	if text == "profile.renewal" {
		return g.ref(plan.Input{Text: text, Kind: plan.InProfile, Type: expr.Date, Stored: expr.Date, Field: "renewal"})
	}
	s := subjectOf(plan.Purchase, phrase{}, false)
	return g.ref(plan.Input{Text: "first(purchase)", Kind: plan.InAggregate, Type: expr.Time, Agg: ofTime("first"), Sources: s.sources})
}

// years returns a comparison of whole calendar years with a constant.
func (g *grammar) years() phrase {
	text := pick(g.r, "profile.birth_date", "profile.signed_up_at", "first(purchase)")
	in := plan.Input{Text: "years_since(" + text + ")", Kind: plan.InYears, Type: expr.Int, Of: g.date(text)}
	limit := int64(g.r.IntN(3))
	if text == "profile.birth_date" {
		in.Text, limit = "age("+text+")", int64(pick(g.r, 18, 30, 31))
	}
	return versus(g.r, g.read(in), number(expr.IntValue(limit)))
}

func (g *grammar) profileCountry() phrase {
	return g.read(plan.Input{Text: "profile.country", Kind: plan.InProfile, Type: expr.String, Stored: expr.String, Field: "country"})
}

// profile returns a condition over an attribute.
func (g *grammar) profile() phrase {
	tier := plan.Input{Text: `profile.traits["tier"]`, Kind: plan.InProfile, Type: expr.String, Stored: expr.String, Field: "traits.tier"}
	c := g.profileCountry()
	switch g.r.IntN(4) {
	case 0:
		if chance(g.r, 50) {
			return related(g.r, pick(g.r, expr.OpEq, expr.OpNe), orElse(expr.String, c, quoted("none")), quoted(pick(g.r, append(countries, "none")...)))
		}
		return phrase{"has(profile.country)", apply(expr.OpHas, expr.Bool, c.node)}
	case 1:
		return g.member(c.text, c.node, countries)
	case 2:
		return versus(g.r, g.read(tier), quoted(pick(g.r, tiers...)))
	}
	return versus(g.r, c, quoted(pick(g.r, countries...)))
}

func (g *grammar) consent() phrase {
	in := plan.Input{Text: `consented("email")`, Kind: plan.InConsent, Type: expr.Bool, Channel: "email", Purpose: "marketing"}
	if chance(g.r, 30) {
		in.Text, in.Channel, in.Purpose = `consented("sms", "analytics")`, "sms", "analytics"
	}
	return g.read(in)
}

// latest returns a condition over the latest or earliest value of a field that is
// not a number.
func (g *grammar) latest() phrase {
	name := "last"
	if chance(g.r, 40) {
		name = "first"
	}
	if chance(g.r, 30) {
		return g.read(plan.Input{
			Text: name + "(email.machine_open)", Kind: plan.InAggregate, Type: expr.Bool, Agg: ofField(name),
			Sources: subjectOf(plan.Email, phrase{}, false).sources, Field: "machine_open", Stored: expr.Bool,
		})
	}
	s := g.conditional(plan.Web)
	return versus(g.r, g.read(plan.Input{
		Text: name + "(web.utm_source, " + s.text + ")", Kind: plan.InAggregate, Type: expr.String, Agg: ofField(name),
		Sources: s.sources, Field: "utm_source", Stored: expr.String,
	}), quoted(pick(g.r, utmSources...)))
}

package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Rules is a random rule set: as a specification and as the text of a rule file
// that means the same.
type Rules struct {
	Spec *plan.Spec
	Text string
}

// RandomRules makes a rule set over the streams of a catalog. The same r gives the
// same rules.
func RandomRules(r *rand.Rand, c *plan.Catalog) Rules { return randomRules(r, c, false) }

// RandomSpec makes a rule set that reads fields of kinds that no schema has so
// far, web.hits (Int) and web.score (Double), and makes comparisons that rule
// files may not.
func RandomSpec(r *rand.Rand, c *plan.Catalog) *plan.Spec { return randomRules(r, c, true).Spec }

func randomRules(r *rand.Rand, c *plan.Catalog, free bool) Rules {
	g := &grammar{r: r, free: free, refs: map[string]int{}, spec: &plan.Spec{
		Zone: pick(r, "UTC", "Europe/Paris", "America/New_York"), Activity: Activity(),
		MarFirst: free && chance(r, 50), Catalog: c,
	}}
	g.line = lineItemOf(g.spec)
	for range 2 + r.IntN(3) {
		g.windows = append(g.windows, pick(r, Minute, 30*Minute, 6*Hour, Day, 7*Day, 30*Day, 90*Day))
	}
	fmt.Fprintf(&g.text, "version: 1\ndefaults: {timezone: %s}\n", g.spec.Zone)
	var segments, lifecycles []func()
	for i := range 1 + r.IntN(5) {
		if i > 0 && chance(r, 25) {
			lifecycles = append(lifecycles, g.lifecycle(i))
		} else {
			segments = append(segments, g.segment(i))
		}
	}
	if chance(r, 25) {
		segments = append(segments, g.family()...)
	}
	g.section("segments", segments)
	g.section("lifecycles", lifecycles)
	var triggers []func()
	for i := range r.IntN(5) {
		triggers = append(triggers, g.trigger(i))
	}
	g.section("triggers", triggers)
	return Rules{g.spec, g.text.String()}
}

// grammar makes the parts of one rule set.
type grammar struct {
	r       *rand.Rand
	spec    *plan.Spec
	line    lineItem
	free    bool // see RandomSpec
	text    strings.Builder
	refs    map[string]int // inputs of the Spec by text
	windows []Millis       // few, so that aggregates share them
	names   []string       // segments and stages made so far
}

// section writes a list of the rule file. The order in a file means nothing, so
// it is a random one.
func (g *grammar) section(name string, parts []func()) {
	if len(parts) == 0 {
		return
	}
	fmt.Fprintf(&g.text, "%s:\n", name)
	g.r.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	for _, write := range parts {
		write()
	}
}

const ruleMeta = "objective: testing, owner: sim, review_by: 2099-01-01"

// segment makes a segment now and returns what writes it down.
func (g *grammar) segment(i int) func() {
	id, when := fmt.Sprintf("s%d", i), g.condition(3)
	g.names = append(g.names, id)
	return func() {
		g.spec.Segments = append(g.spec.Segments, plan.Segment{ID: id, When: when.node})
		fmt.Fprintf(&g.text, "  - {id: %s, %s, when: %q}\n", id, ruleMeta, when.text)
	}
}

// lifecycle makes a lifecycle of two to four stages.
func (g *grammar) lifecycle(i int) func() {
	l := plan.Lifecycle{ID: fmt.Sprintf("l%d", i)}
	var b strings.Builder
	fmt.Fprintf(&b, "  - id: %s\n    objective: testing\n    owner: sim\n    review_by: 2099-01-01\n    stages:\n", l.ID)
	n := 2 + g.r.IntN(3)
	for k := range n {
		when := g.condition(2)
		if k == n-1 && chance(g.r, 40) {
			when = phrase{"true", constant(expr.BoolValue(true))}
		}
		s := plan.Stage{ID: fmt.Sprintf("a%d", n-k), When: when.node}
		l.Stages = append(l.Stages, s)
		fmt.Fprintf(&b, "      - {id: %s, when: %q}\n", s.ID, when.text)
	}
	for _, s := range l.Stages {
		g.names = append(g.names, l.ID+"/"+s.ID)
	}
	return func() {
		g.spec.Lifecycles = append(g.spec.Lifecycles, l)
		g.text.WriteString(b.String())
	}
}

// trigger makes a trigger of a random kind.
func (g *grammar) trigger(i int) func() {
	t := plan.Trigger{ID: fmt.Sprintf("t%d", i), Kind: plan.TriggerKind(g.r.IntN(4))}
	var rest string
	switch t.Kind {
	case plan.AbandonedCart:
		t.After = pick(g.r, 30*Minute, 20*Minute, 6*Hour, Day, 30*Day)
		rest = ", after: " + expr.FormatDuration(t.After)
	case plan.Inactivity:
		t.After = pick(g.r, append(g.windows, 7*Day, 45*Day)...)
		t.Sources = Activity()
		rest = ", after: " + expr.FormatDuration(t.After)
		if chance(g.r, 40) {
			// Naming streams narrows what counts as activity, it does not widen it.
			t.Sources = slices.DeleteFunc(Activity(), func(s plan.Source) bool { return s.Stream == plan.Web })
			rest += ", streams: [email, purchase]"
		}
	case plan.Anniversary:
		rest = g.anniversary(&t)
	case plan.Rule:
		when := g.condition(2)
		t.When = when.node
		rest = fmt.Sprintf(", when: %q", when.text)
		if chance(g.r, 50) {
			n, _ := g.numeric()
			t.Fields = []plan.NamedNode{{Name: "amount", Node: n.node}, {Name: "zebra", Node: g.profileCountry().node}}
			rest += fmt.Sprintf(", fields: {zebra: profile.country, amount: %q}", n.text)
		}
	}
	if chance(g.r, 30) {
		t.Reentry = plan.Once
		rest += ", reentry: once"
	}
	return func() {
		g.spec.Triggers = append(g.spec.Triggers, t)
		fmt.Fprintf(&g.text, "  - {id: %s, kind: %s%s}\n", t.ID, t.Kind, rest)
	}
}

// anniversary fills in a trigger of that kind and returns how it is written.
func (g *grammar) anniversary(t *plan.Trigger) string {
	date := pick(g.r, "profile.birth_date", "profile.birth_date", "profile.signed_up_at", "first(purchase)")
	t.Date = g.date(date)
	hours, minutes := pick(g.r, 0, 2, 9), pick(g.r, 0, 30)
	t.At = Millis(hours)*Hour + Millis(minutes)*Minute
	t.Offset = pick(g.r, 0, 0, -7, 1)
	text := fmt.Sprintf(", date: %s, at: \"%02d:%02d\"", date, hours, minutes)
	if t.Offset != 0 {
		text += fmt.Sprintf(", offset: %dd", t.Offset)
	}
	if t.MarFirst = chance(g.r, 40); t.MarFirst {
		text += ", feb_29: mar_1"
	}
	return text
}

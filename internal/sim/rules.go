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

// World is what rules are made for: streams, and the kinds of triggers by the
// names that this package knows.
type World struct {
	Catalog *plan.Catalog
	Kinds   []*plan.Kind
}

// RandomRules makes a rule set. The same r gives the same rules.
func RandomRules(r *rand.Rand, w World) Rules { return randomRules(r, w, false) }

// RandomSpec makes a rule set that reads fields of kinds that no schema has so
// far, web.hits (Int) and web.score (Double), and makes comparisons that rule
// files may not.
func RandomSpec(r *rand.Rand, w World) *plan.Spec { return randomRules(r, w, true).Spec }

func randomRules(r *rand.Rand, w World, free bool) Rules {
	g := &grammar{r: r, free: free, refs: map[string]int{}, spec: &plan.Spec{
		Zone: pick(r, "UTC", "Europe/Paris", "America/New_York"), Activity: Activity(),
		MarFirst: free && chance(r, 50), Catalog: w.Catalog,
	}, kinds: w.Kinds}
	for range 2 + r.IntN(3) {
		g.windows = append(g.windows, pick(r, Minute, 30*Minute, 6*Hour, Day, 7*Day, 30*Day, 90*Day))
	}
	g.reading()
	g.declare(w.Catalog)
	g.line = lineItemOf(g.spec)
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
	kinds   []*plan.Kind
	free    bool // see RandomSpec
	text    strings.Builder
	refs    map[string]int // inputs of the Spec by text
	windows []Millis       // few, so that aggregates share them
	names   []string       // segments and stages made so far
	support plan.Stream    // the declared stream
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
	t := plan.Trigger{ID: fmt.Sprintf("t%d", i), Kind: g.kind(pick(g.r, abandonedCart, inactivity, anniversary, ruleKind))}
	t.Values = t.Kind.NoValues()
	var rest string
	switch t.Kind.Name {
	case abandonedCart:
		rest = after(&t, pick(g.r, 30*Minute, 20*Minute, 6*Hour, Day, 30*Day))
	case inactivity:
		rest = after(&t, pick(g.r, append(g.windows, 7*Day, 45*Day)...))
		t.Sources = g.spec.Activity
		if chance(g.r, 40) {
			// Naming streams narrows what counts as activity, it does not widen it.
			t.Sources = slices.DeleteFunc(Activity(), func(s plan.Source) bool { return s.Stream == plan.Web })
			rest += ", streams: [email, purchase"
			if chance(g.r, 40) {
				t.Sources = append(t.Sources, plan.Source{Stream: g.support})
				rest += ", support"
			}
			rest += "]"
		}
	case anniversary:
		rest = g.anniversary(&t)
	case ruleKind:
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
		fmt.Fprintf(&g.text, "  - {id: %s, kind: %s%s}\n", t.ID, t.Kind.Name, rest)
	}
}

// kind returns the kind of that name.
func (g *grammar) kind(name string) *plan.Kind {
	for _, k := range g.kinds {
		if k.Name == name {
			return k
		}
	}
	panic("sim: no triggers of kind " + name)
}

// set sets a value of a trigger.
func set(t *plan.Trigger, word string, v expr.Value) {
	for i, s := range t.Kind.Settings {
		if s.Word == word {
			t.Values[i] = v
			return
		}
	}
	panic("sim: no setting " + word)
}

// after sets the delay of a trigger and returns how it is written.
func after(t *plan.Trigger, d Millis) string {
	set(t, "after", expr.DurationValue(d))
	return ", after: " + expr.FormatDuration(d)
}

// anniversary fills in a trigger of that kind and returns how it is written.
func (g *grammar) anniversary(t *plan.Trigger) string {
	date := pick(g.r, "profile.birth_date", "profile.birth_date", "profile.renewal", "profile.signed_up_at", "first(purchase)")
	t.Input = g.date(date)
	hours, minutes := pick(g.r, 0, 2, 9), pick(g.r, 0, 30)
	set(t, "at", expr.DurationValue(Millis(hours)*Hour+Millis(minutes)*Minute))
	offset := pick(g.r, 0, 0, -7, 1)
	set(t, "offset", expr.IntValue(int64(offset)))
	text := fmt.Sprintf(", date: %s, at: \"%02d:%02d\"", date, hours, minutes)
	if offset != 0 {
		text += fmt.Sprintf(", offset: %dd", offset)
	}
	marFirst := chance(g.r, 40)
	set(t, "feb_29", expr.BoolValue(marFirst))
	if marFirst {
		text += ", feb_29: mar_1"
	}
	return text
}

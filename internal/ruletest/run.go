package ruletest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/schemas"
)

// Result is what became of a test.
type Result struct {
	*Test
	Failures []Failure
}

// Failure is a way in which a test was wrong. Times are relative to the test's start.
type Failure struct {
	Line     int    `json:"line,omitempty"` // of the expectation, 0 if it is of none
	At       string `json:"at"`
	Customer string `json:"customer"`
	Expected string `json:"expected"`
	Got      string `json:"got"`
	// Values are what the rule's condition read then, by name.
	Values Values `json:"values,omitempty"`
}

// Values are values by name; the empty text is that of one that is absent.
type Values []engine.Pair

// MarshalJSON writes them as an object.
func (v Values) MarshalJSON() ([]byte, error) {
	m := make(map[string]string, len(v))
	for _, p := range v {
		m[p.Name] = p.Value
	}
	return json.Marshal(m)
}

// got is an effect with its message.
type got struct {
	engine.Effect
	message map[string]any
	matched bool
}

// maxExplained is of how many missing effects a result has the values: for each, the
// events are run again.
const maxExplained = 20

// Run runs the test.
func (t *Test) Run() Result {
	all := t.play(t.until, nil)
	if cover := t.rules.coverage; cover != nil {
		t.play(t.until, cover) // in steps of its own: what is due is seen when it is due
	}
	var effects []*got
	for i := range all {
		if t.Names == nil || slices.Contains(t.Names, nameOf(&all[i].Effect)) {
			effects = append(effects, &all[i])
		}
	}
	r := Result{Test: t}
	var missing []*expectation
	for i := range t.expected {
		x := &t.expected[i]
		if g := find(effects, func(g *got) bool { return x.isOf(g) && x.at == g.At }); g != nil {
			g.matched = true
			r.Failures = append(r.Failures, t.differences(x, g)...)
		} else {
			missing = append(missing, x)
		}
	}
	for _, x := range missing {
		// The same thing at another time is one mistake, not two.
		f := Failure{Line: x.pos.Line, At: Relative(x.at, t.start), Customer: x.customer, Expected: x.String(), Got: "nothing"}
		if g := find(effects, x.isOf); g != nil {
			g.matched = true
			f.Got = "it at " + Relative(g.At, t.start)
		}
		if len(r.Failures) < maxExplained {
			f.Values = t.valuesAt(x)
		}
		r.Failures = append(r.Failures, f)
	}
	for _, g := range effects {
		if !g.matched {
			f := Failure{At: Relative(g.At, t.start), Customer: g.Customer, Expected: "nothing", Got: g.String(), Values: Values(g.Evidence)}
			r.Failures = append(r.Failures, f)
		}
	}
	return r
}

func find(effects []*got, is func(*got) bool) *got {
	for _, g := range effects {
		if !g.matched && is(g) {
			return g
		}
	}
	return nil
}

// isOf reports whether g may be what x expects, but for its time and its details.
func (x *expectation) isOf(g *got) bool {
	return x.customer == g.Customer && x.action == g.Action && x.name == nameOf(&g.Effect)
}

// String says what is expected.
func (x *expectation) String() string { return Shown(x.name) + " " + x.action.String() }

// String says what was emitted, and why.
func (g *got) String() string {
	s := g.Name + " " + g.Action.String()
	switch g.Cause {
	case engine.CauseEvent:
		s += " (event)"
	case engine.CauseTimer:
		s += " (timer)"
	default: // of a trigger
	}
	return s
}

// differences are the details in which an effect is not what was expected.
func (t *Test) differences(x *expectation, g *got) (l []Failure) {
	add := func(expected, was string) {
		l = append(l, Failure{
			Line: x.pos.Line, At: Relative(x.at, t.start), Customer: x.customer,
			Expected: x.String() + " " + expected, Got: was, Values: Values(g.Evidence),
		})
	}
	if c := g.Cause.String(); x.cause != "" && x.cause != c {
		add("by "+x.cause, c)
	}
	if x.from != "" && x.from != g.From {
		add("from "+x.from, fmt.Sprintf("%q", g.From))
	}
	keys := make([]string, 0, len(x.message))
	for key := range x.message {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		compare("message."+key, x.message[key], g.message[key], func(path, expected, was string) { add("with "+path+": "+expected, was) })
	}
	return l
}

// compare calls differs for each value of an expected document that is not there. What
// is expected may leave out fields, and not elements of lists.
func compare(path string, want *yaml.Node, is any, differs func(path, want, is string)) {
	switch want.Kind {
	case yaml.MappingNode:
		m, ok := is.(map[string]any)
		if !ok {
			differs(path, "an object", shown(is))
			return
		}
		for i := 0; i+1 < len(want.Content); i += 2 {
			key := want.Content[i].Value
			compare(path+"."+key, want.Content[i+1], m[key], differs)
		}
	case yaml.SequenceNode:
		l, ok := is.([]any)
		if !ok || len(l) != len(want.Content) {
			differs(path, fmt.Sprintf("a list of %d", len(want.Content)), shown(is))
			return
		}
		for i, n := range want.Content {
			compare(fmt.Sprintf("%s[%d]", path, i), n, l[i], differs)
		}
	default:
		if !same(want, is) {
			differs(path, shown(document(want)), shown(is))
		}
	}
}

func shown(v any) string {
	b, err := json.Marshal(withoutNulls(v))
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(b)
}

// withoutNulls leaves out the fields of objects that are null: messages have many.
func withoutNulls(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, x := range v {
			if x != nil {
				m[key] = withoutNulls(x)
			}
		}
		return m
	case []any:
		l := make([]any, len(v))
		for i, x := range v {
			l[i] = withoutNulls(x)
		}
		return l
	}
	return v
}

// same reports whether a single value is the expected one: numbers and instants
// however they are written.
func same(want *yaml.Node, is any) bool {
	if is == nil || want.Tag == "!!null" {
		return is == nil && want.Tag == "!!null"
	}
	text := fmt.Sprint(is)
	if text == want.Value {
		return true
	}
	x, isNumber := new(big.Rat).SetString(want.Value)
	y, areNumbers := new(big.Rat).SetString(text)
	if isNumber && areNumbers {
		return x.Cmp(y) == 0
	}
	a, isTime := absolute(want.Value)
	b, err := time.Parse(time.RFC3339, text)
	return isTime && err == nil && a.Equal(b)
}

// play runs the events until an instant and returns what was emitted.
func (t *Test) play(until engine.Millis, cover *Coverage) []got {
	var all []got
	runner := t.runner(func(effects []engine.Effect) {
		for i := range effects {
			all = append(all, got{Effect: effects[i], message: t.rules.message(&effects[i])})
			cover.emitted(t.rules, &effects[i])
		}
	})
	if cover != nil {
		x := t.rules.Engine.Evaluator()
		runner.Stepped = func(c *engine.Customer) { cover.step(t.rules, x, c) }
	}
	for i := range t.events {
		if t.events[i].At <= until {
			ev := t.events[i]
			runner.Feed(&ev)
		}
	}
	runner.Turn(until)
	return all
}

func (t *Test) runner(emit func([]engine.Effect)) *replay.Runner {
	return &replay.Runner{Engine: t.rules.Engine, Grace: t.rules.Grace, Emit: emit}
}

// message returns what a trigger says, as outputs have it.
func (r *Rules) message(e *engine.Effect) map[string]any {
	if e.Action != engine.Fired {
		return nil
	}
	var o schemas.Output
	r.encoder.Append(nil, &o, e, e.At)
	d := json.NewDecoder(bytes.NewReader(o.Value))
	d.UseNumber()
	var m map[string]any
	if err := d.Decode(&m); err != nil {
		return map[string]any{}
	}
	return m
}

// valuesAt returns what the condition of a rule reads at the instant of an
// expectation, as far as it has one.
func (t *Test) valuesAt(x *expectation) []engine.Pair {
	cond := t.rules.condition(x.name)
	if cond == nil {
		return nil
	}
	var who *engine.Customer
	runner := t.runner(func([]engine.Effect) {})
	runner.Stepped = func(c *engine.Customer) {
		if c.ID == x.customer {
			who = c
		}
	}
	for i := range t.events {
		if t.events[i].At <= x.at {
			ev := t.events[i]
			runner.Feed(&ev)
		}
	}
	runner.Turn(x.at)
	if who == nil {
		return nil
	}
	return t.rules.Engine.Evaluator().Evidence(who, x.at, cond)
}

// condition returns the condition of a segment, a stage or a trigger, nil if it has
// none.
func (r *Rules) condition(name string) *plan.Cond {
	p := r.Engine.Plan()
	for u := range p.Units {
		unit := &p.Units[u]
		for i := range unit.Conds {
			c := &unit.Conds[i]
			if c.Segment >= 0 && p.Segments[c.Segment].ID == name {
				return c
			}
			if unit.Kind == plan.UnitTrigger && triggerName(p.Triggers[unit.Trigger].ID) == name {
				return c
			}
		}
	}
	return nil
}

// Title is what reports call the test.
func (t *Test) Title() string { return strings.Join(strings.Fields(t.Name), " ") }

package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// runner is an oracle or an engine.
type runner interface {
	Run(c *Call) ([]engine.Effect, bool)
}

// underTest runs calls on the engine.
type underTest struct {
	e         *engine.Engine
	x         *engine.Evaluator
	customers map[string]*engine.Customer
	out       engine.Output
	store     bool // encode and decode the customer after every call
}

// world is the real one.
func world() World { return World{Catalog: schemas.Catalog(), Kinds: triggers.Kinds()} }

func newSubject(t testing.TB, s *plan.Spec) *underTest {
	return newSubjectThat(t, s, engine.Options{Zones: Zones})
}

// newSubjectThat returns the engine with other options.
func newSubjectThat(t testing.TB, s *plan.Spec, opt engine.Options) *underTest {
	t.Helper()
	p, err := plan.Compile(s, Zones)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(p, triggers.New(p), opt)
	if err != nil {
		t.Fatal(err)
	}
	return &underTest{e: e, x: e.Evaluator(), customers: map[string]*engine.Customer{}}
}

// customer returns a customer, a new one if nothing is known.
func (u *underTest) customer(id string) *engine.Customer {
	if u.customers[id] == nil {
		u.customers[id] = u.e.NewCustomer(id)
	}
	return u.customers[id]
}

// Run makes a call and returns what is emitted, and whether an event was accepted.
func (u *underTest) Run(c *Call) ([]engine.Effect, bool) {
	u.out.Reset()
	accepted := true
	cust := u.customer(c.Customer)
	switch c.Do {
	case DoApply:
		accepted = u.x.Apply(cust, c.Record.Event(u.e.Layout(c.Record.Stream)), c.Clock, &u.out)
	case DoAdvance:
		u.x.Advance(cust, c.Clock, &u.out)
	case DoErase:
		u.x.Erase(cust, c.Record.Erasure(), c.Clock, &u.out)
	}
	if !cust.Known() {
		delete(u.customers, c.Customer)
	} else if u.store {
		u.customers[c.Customer] = u.reload(cust)
	}
	return slices.Clone(u.out.Effects), accepted
}

// reload returns the customer as it comes back from its bytes.
func (u *underTest) reload(c *engine.Customer) *engine.Customer {
	d, err := u.e.Decode(c.ID, u.e.Append(nil, c))
	if err != nil {
		panic(fmt.Sprintf("decode %s: %v", c.ID, err))
	}
	return d
}

// compareEffects returns the difference between what the oracle and the engine
// emit in one call, "" if there is none. Of the evidence it asks that every
// value is that of an input of the rule.
func compareEffects(want, got []engine.Effect) string {
	want, got = slices.Clone(want), slices.Clone(got)
	var report strings.Builder
	for i := range got {
		got[i].Version = ""
		if i < len(want) {
			evidence(&report, &want[i], &got[i])
		}
		got[i].Evidence = nil
		onlyOfAction(&got[i])
	}
	for i := range want {
		want[i].Version, want[i].Evidence = "", nil
		onlyOfAction(&want[i])
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b Millis) bool { return a == b })); d != "" {
		fmt.Fprintf(&report, "(-oracle +engine)\n%s", d)
	}
	return report.String()
}

// onlyOfAction clears what says nothing about an effect of its action.
func onlyOfAction(e *engine.Effect) {
	if e.Action == engine.Fired {
		e.Cause, e.CauseEvent = 0, ""
		plainTexts(e.Context)
		return
	}
	e.Message = nil
}

// evidence reports values of got that are not those of want.
func evidence(b *strings.Builder, want, got *engine.Effect) {
	values := map[string]string{}
	for _, p := range want.Evidence {
		values[p.Name] = plainText(p.Value)
	}
	for _, p := range got.Evidence {
		if v, ok := values[p.Name]; !ok || v != plainText(p.Value) {
			fmt.Fprintf(b, "%s %s: evidence %s is %q, want %q\n", got.Action, got.Name, p.Name, p.Value, v)
		}
	}
}

func plainTexts(l []engine.Pair) {
	for i := range l {
		l[i].Value = plainText(l[i].Value)
	}
}

// plainText writes a number as the shortest text of a double, so that 12.5 and
// 12.50 are the same.
func plainText(s string) string {
	var f float64
	var rest string
	if n, _ := fmt.Sscanf(s, "%g%s", &f, &rest); n == 1 {
		return expr.DoubleValue(f).String()
	}
	return s
}

package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
)

// Two of each kind whose keys have one half: up to version 4 of the format, they were equal.
var (
	pairOfSegments  = [2]string{"s10065", "s10823"}
	pairOfTriggers  = [2]string{"t22245", "t71372"}
	pairOfSummaries = [2]string{"did(web.name == 'p20657')", "did(web.name == 'p44905')"}
)

func TestPairs(t *testing.T) {
	pair := func(a, b plan.Key) {
		t.Helper()
		if a == b || a.Half() != b.Half() {
			t.Errorf("the keys are %x and %x", a, b)
		}
	}
	pair(engine.SegmentKey(pairOfSegments[0]), engine.SegmentKey(pairOfSegments[1]))
	p := paired(t, pairOfTriggers[:], segment("a", pairOfSummaries[0]), segment("b", pairOfSummaries[1])).Plan()
	pair(p.Triggers[0].Key, p.Triggers[1].Key)
	if len(p.Summaries) != 3 {
		t.Fatalf("%d summaries", len(p.Summaries))
	}
	i := slices.IndexFunc(p.Summaries[:2], func(s plan.Summary) bool {
		return strings.Contains(s.Text, "p20657") || strings.Contains(s.Text, "p44905")
	})
	pair(p.Summaries[i].Key, p.Summaries[i+1].Key)
}

// segment writes a segment.
func segment(id, when string) string {
	return fmt.Sprintf("  - {id: %s, objective: o, owner: w, review_by: 2099-01-01, when: \"%s\"}\n", id, when)
}

// paired returns an engine of segments, and of triggers that fire when a web event is the first
// one, the second one and so on.
func paired(t testing.TB, triggers []string, segments ...string) *engine.Engine {
	t.Helper()
	text := "version: 1\nsegments:\n" + strings.Join(segments, "")
	if len(triggers) > 0 {
		text += "triggers:\n"
	}
	for i, id := range triggers {
		text += fmt.Sprintf("  - {id: %s, kind: rule, when: 'count(web) >= %d'}\n", id, i+1)
	}
	return testEngine(t, text)
}

// page folds a visit of a page and returns what is emitted.
func page(e *engine.Engine, c *engine.Customer, at engine.Millis, id, name string) string {
	l := e.Layout(plan.Web)
	ev := engine.Event{Stream: plan.Web, Customer: "c", ID: id, At: at, Fields: make([]expr.Value, len(l.Paths))}
	if i := l.Slot("name"); i >= 0 {
		ev.Fields[i] = expr.StringValue(name)
	}
	var out engine.Output
	e.Evaluator().Apply(c, &ev, at, &out)
	return said(out.Effects)
}

// adopt brings a customer over, as bytes say it, and returns it with what is emitted.
func adopt(t testing.TB, e *engine.Engine, change *engine.RuleChange, b []byte) (*engine.Customer, string) {
	t.Helper()
	c, err := change.Decode("c", b)
	if err != nil {
		t.Fatal(err)
	}
	var out engine.Output
	e.Evaluator().Adopt(c, nil, change, &out)
	return c, said(out.Effects)
}

func expectSaid(t testing.TB, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// changeOf returns the change from the rules of one engine to those of another.
func changeOf(e, next *engine.Engine, number uint32, at engine.Millis) *engine.RuleChange {
	before := e.Versions()
	renames := ruleset.RenamesTo(next.Plan(), before, before)
	former := engine.Former{Versions: before, Renamed: ruleset.Then(nil, renames, [16]byte{1}, [16]byte{2}), Number: number}
	return next.RuleChange(ruleset.Of(e.Plan()).Common(next.Plan(), renames), former, at)
}

var (
	first  = segment(pairOfSegments[0], pairOfSummaries[0])
	second = segment(pairOfSegments[1], pairOfSummaries[1])
)

const noon = 1000*day + day/2

// What is kept under keys of one half is kept apart.
func TestPairIsKeptApart(t *testing.T) {
	e := paired(t, pairOfTriggers[:], first, second)
	c := e.NewCustomer("c")
	again := func() {
		t.Helper()
		b := e.Append(nil, c)
		d, err := e.Decode("c", b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(e.Append(nil, d), b) {
			t.Error("read and written again, the bytes differ")
		}
		c = d
	}
	expectSaid(t, "the page of the first", page(e, c, noon, "1", "p20657"), "entered s10065 #1, fired t22245 #1")
	again()
	expectSaid(t, "the page of the second", page(e, c, noon, "2", "p44905"), "entered s10823 #1, fired t71372 #1")
	again()
	expectSaid(t, "another one", page(e, c, noon, "3", "p20657"), "")
	expectSaid(t, "member of", strings.Join(e.Memberships(c), " "), "s10065 s10823")
}

// An earlier version has written a customer under one of a pair. With both it cannot be told
// which one is meant, except in the change that adds the other.
func TestHalfOfAPair(t *testing.T) {
	before, both := paired(t, pairOfTriggers[:1], first), paired(t, pairOfTriggers[:], first, second)
	c := before.NewCustomer("c")
	page(before, c, noon, "1", "p20657")
	old := before.AppendOld(nil, c)
	if _, err := before.Decode("c", old); err != nil {
		t.Errorf("under the rules as they were: %v", err)
	}
	for what, e := range map[string]*engine.Engine{
		`segment "s10065" and segment "s10823"`:        paired(t, nil, segment("s10065", "count(web) > 0"), segment("s10823", "count(web) > 1")),
		`trigger "t22245" and trigger "t71372"`:        paired(t, pairOfTriggers[:], segment("a", "count(web) > 0")),
		`count(web.name == "p44905"), which "b" reads`: paired(t, nil, segment("a", pairOfSummaries[0]), segment("b", pairOfSummaries[1])),
	} {
		if _, err := e.Decode("c", old); !errors.Is(err, engine.ErrFormat) || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "change the id of the newer one") {
			t.Errorf("without a change: %v, want an error that names %s", err, what)
		}
	}
	// A change that was given up: both were there before the next one.
	kept, former := ruleset.Of(before.Plan()), engine.Former{Versions: both.Versions()}
	if d, err := both.RuleChange(kept, former, noon).Decode("c", old); err != nil {
		t.Error(err)
	} else {
		expectSaid(t, "after a change that was given up, member of", strings.Join(both.Memberships(d), " "), "s10065")
	}
	kept.Rules = nil
	if _, err := both.RuleChange(kept, former, noon).Decode("c", old); !errors.Is(err, engine.ErrFormat) {
		t.Errorf("if neither was there all along: %v", err)
	}
	change := changeOf(before, both, 0, noon)
	for i, b := range [][]byte{old, before.Append(nil, c)} {
		d, emitted := adopt(t, both, change, b)
		expectSaid(t, fmt.Sprint("brought over, ", i), emitted, "")
		expectSaid(t, "member of", strings.Join(both.Memberships(d), " "), "s10065")
		expectSaid(t, "the first page again", page(both, d, noon, "2", "p20657"), "fired t71372 #1")
		expectSaid(t, "the page of the second", page(both, d, noon, "3", "p44905"), "entered s10823 #1")
	}
}

// One of a pair takes the place of the other: it is not the same, though an earlier version has
// written the customer.
func TestHalfOfARemovedRule(t *testing.T) {
	before, after := paired(t, nil, first), paired(t, nil, second)
	c := before.NewCustomer("c")
	page(before, c, noon, "1", "p20657")
	change := changeOf(before, after, 5, noon)
	for i, b := range [][]byte{before.AppendOld(nil, c), before.Append(nil, c)} {
		d, emitted := adopt(t, after, change, b)
		expectSaid(t, fmt.Sprint("brought over, ", i), emitted, "exited s10065 #2")
		expectSaid(t, "the page of the second", page(after, d, noon, "2", "p44905"), "entered s10823 #1")
	}
	c = after.NewCustomer("c")
	page(after, c, noon, "1", "p44905")
	for number, want := range map[uint32]string{5: "s10823", 4: ""} {
		c.SetBrought(number)
		d, err := change.Decode("c", after.AppendOld(nil, c))
		if err != nil {
			t.Fatal(err)
		}
		expectSaid(t, fmt.Sprint("brought over by change ", number), strings.Join(after.Memberships(d), " "), want)
	}
}

// What no rule knows waits in the form in which it came, until rules know it.
func TestHalfWaits(t *testing.T) {
	here, there := segment("here", "count(web) > 0"), segment("gone", pairOfSummaries[0])
	both, one := paired(t, pairOfTriggers[:1], here, there), paired(t, nil, here)
	c := both.NewCustomer("c")
	page(both, c, noon, "1", "p20657")
	page(both, c, noon, "2", "p20657")
	d, err := one.Decode("c", both.AppendOld(nil, c))
	if err != nil {
		t.Fatal(err)
	}
	kept := one.Append(nil, d)
	if d, err = one.Decode("c", kept); err != nil || !bytes.Equal(one.Append(nil, d), kept) {
		t.Errorf("read and written again, the bytes differ (%v)", err)
	}
	expectSaid(t, "member of", strings.Join(one.Memberships(d), " "), "here")
	back, err := both.Decode("c", kept)
	if err != nil {
		t.Fatal(err)
	}
	expectSaid(t, "member of, when the rule is back", strings.Join(both.Memberships(back), " "), "gone here")
	expectSaid(t, "a visit", page(both, back, noon, "3", ""), "")
	// A change that removed it has yet to come by.
	left, emitted := adopt(t, one, changeOf(both, one, 0, noon), kept)
	expectSaid(t, "removed", emitted, "exited gone #2")
	expectSaid(t, "member of", strings.Join(one.Memberships(left), " "), "here")
}

package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
)

// renaming is an engine and a customer of it.
type renaming struct {
	*testing.T
	e *engine.Engine
	c *engine.Customer
	n byte // of changes

	old bool // an earlier version has written the customer before each change
}

// named returns an engine of segments, each written "id need" or "id was need": members have so
// many visits.
func named(t *testing.T, segments ...string) *engine.Engine {
	t.Helper()
	b := "version: 1\nsegments:\n"
	for _, s := range segments {
		f := strings.Fields(s)
		was := ""
		if len(f) == 3 {
			was = "was: " + f[1] + ", "
		}
		b += fmt.Sprintf("  - {id: %s, %sobjective: o, owner: w, review_by: 2099-01-01, when: 'count(web, days(1)) >= %s'}\n", f[0], was, f[len(f)-1])
	}
	return testEngine(t, b)
}

// visit folds visits and returns what is emitted.
func (r *renaming) visit(at engine.Millis, ids ...string) string {
	var out engine.Output
	for _, id := range ids {
		r.e.Evaluator().Apply(r.c, &engine.Event{Stream: plan.Web, Customer: "c", ID: id, At: at}, at, &out)
	}
	return said(out.Effects)
}

func said(l []engine.Effect) string {
	var b []string
	for i := range l {
		s := fmt.Sprintf("%s %s #%d", l[i].Action, l[i].Name, l[i].Sequence)
		if l[i].From != "" {
			s += " from " + l[i].From
		}
		b = append(b, s)
	}
	return strings.Join(b, ", ")
}

// become changes the rules, twice, the second time without a trace.
func (r *renaming) become(at engine.Millis, segments ...string) string {
	r.Helper()
	next := named(r.T, segments...)
	before := r.e.Versions()
	renames := ruleset.RenamesTo(next.Plan(), before, before)
	r.n++
	former := engine.Former{Versions: before, Renamed: ruleset.Then(nil, renames, [16]byte{r.n}, [16]byte{r.n + 1})}
	change := next.RuleChange(ruleset.Of(r.e.Plan()).Common(next.Plan(), renames), former, at)
	var text []string
	b := r.e.Append(nil, r.c)
	if r.old {
		b = r.e.AppendOld(nil, r.c)
	}
	for range 2 {
		c, err := change.Decode("c", b)
		if err != nil {
			r.Fatal(err)
		}
		var out engine.Output
		next.Evaluator().Adopt(c, nil, change, &out)
		text = append(text, said(out.Effects))
		b, r.c = next.Append(nil, c), c
	}
	if text[1] != "" {
		r.Errorf("done again, it emits %s", text[1])
	}
	r.e = next
	return text[0]
}

// docs/semantics.md, 7.15 and 7.16: what is emitted of renames, with which numbers.
func TestRename(t *testing.T) {
	t.Run("as it is", func(t *testing.T) { testRename(t, false) })
	t.Run("from an earlier version", func(t *testing.T) { testRename(t, true) })
}

func testRename(t *testing.T, old bool) {
	const hour = engine.Millis(3_600_000)
	at := 1000 * 24 * hour
	r := &renaming{T: t, e: named(t, "a 1", "b 2", "far 9"), old: old}
	r.c = r.e.NewCustomer("c")
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	expect("visits", r.visit(at, "1", "2"), "entered a #1, entered b #1")
	expect("one is renamed", r.become(at, "c a 1", "b 2", "far 9"), "renamed c #1 from a")
	expect("the same again", r.become(at, "c a 1", "b 2", "far 8"), "")
	expect("a swap", r.become(at, "c b 2", "b c 1", "far 8"), "renamed b #3, renamed c #3")
	expect("the swap is still in the file", r.become(at, "c b 2", "b c 1", "far 9"), "")
	expect("a chain", r.become(at, "d c 2", "c b 1", "far 9"), "renamed c #5 from b, renamed d #3")
	expect("renamed and changed", r.become(at, "e d 3", "c 1", "far 9"), "renamed e #3 from d, exited e #4")
	expect("a day later", r.visit(at+25*hour, "3"), "exited c #6, entered c #7")
	expect("of who has left, nothing is emitted", r.become(at+26*hour, "f e 3", "c 1", "far 9"), "")
	expect("and the number goes on", r.visit(at+26*hour, "4", "5"), "entered f #5")
	expect("what was due is under the old id", r.become(at+60*hour, "g f 3", "h c 1", "far 9"), "exited f #6, exited c #8")
	expect("the end", r.visit(at+60*hour, "6", "7", "8"), "entered h #9, entered g #7")
}

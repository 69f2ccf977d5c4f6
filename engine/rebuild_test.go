package engine_test

import (
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// Who loses facts: a customer with fewer events left, if that shows in what rules read.
func TestLosesFacts(t *testing.T) {
	const day = engine.Millis(24 * 3_600_000)
	e := testEngine(t, `version: 1
segments:
  - {id: ever, objective: o, owner: w, review_by: 2099-01-01, when: 'count(email) > 1'}
  - {id: week, objective: o, owner: w, review_by: 2099-01-01, when: 'count(web, days(7)) > 1'}
`)
	longer := testEngine(t, `version: 1
segments:
  - {id: month, objective: o, owner: w, review_by: 2099-01-01, when: 'count(web, days(30)) > 1'}
`)
	now := 100 * day
	of := func(e *engine.Engine, events ...engine.Event) *engine.Customer {
		c, x := e.NewCustomer("c"), e.Evaluator()
		var out engine.Output
		for _, ev := range events {
			x.FoldFacts(c, &ev, &out)
		}
		b := e.Append(nil, c)
		c, err := e.Decode("c", b)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	mail := engine.Event{Stream: plan.Email, Customer: "c", ID: "b", At: now - 60*day}
	visit := func(id string, ago engine.Millis) engine.Event {
		return engine.Event{Stream: plan.Web, Customer: "c", ID: id, At: now - ago}
	}
	early, old, fresh := visit("v0", 20*day), visit("v1", 8*day), visit("v2", day)
	for name, c := range map[string]struct {
		e         *engine.Engine
		was, left []engine.Event
		want      bool
	}{
		"nothing is lost":                   {e, []engine.Event{mail, old, fresh}, []engine.Event{mail, old, fresh}, false},
		"what is lost is beyond the window": {e, []engine.Event{mail, old, fresh}, []engine.Event{mail, fresh}, false},
		"a visit of the week is lost":       {e, []engine.Event{mail, old, fresh}, []engine.Event{mail, old}, true},
		"a mail of long ago is lost":        {e, []engine.Event{mail, old, fresh}, []engine.Event{old, fresh}, true},
		"all is lost":                       {e, []engine.Event{mail}, nil, true},
		"all is lost, and was over":         {e, []engine.Event{old}, nil, false},
		"other events are there":            {e, []engine.Event{mail}, []engine.Event{fresh}, false},
		"rules look further back now":       {longer, []engine.Event{early, old, fresh}, []engine.Event{old, fresh}, false},
	} {
		was := of(e, c.was...)
		if c.e != e {
			// What the former rules kept of a list reaches back as far as they looked.
			var err error
			if was, err = c.e.Decode("c", e.Append(nil, was)); err != nil {
				t.Fatal(err)
			}
		}
		var left *engine.Customer
		if c.left != nil {
			left = of(c.e, c.left...)
		}
		if got := c.e.LosesFacts(was, left, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

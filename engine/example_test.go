package engine_test

import (
	"fmt"
	"log"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// From a rule to the effects of an event, and of time that passes without one.
func Example() {
	const text = `
version: 1
segments:
  - id: regulars
    objective: retention
    owner: crm
    review_by: 2099-01-01
    when: count(purchase, days(30)) >= 2
`
	// 1. Rules are read and checked, planned, and made an engine, which never changes.
	zones := func(name string) (*time.Location, bool) {
		zone, err := time.LoadLocation(name)
		return zone, err == nil
	}
	set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), zones)
	if err != nil {
		log.Fatal(err)
	}
	planned, err := plan.Compile(set.Spec, zones)
	if err != nil {
		log.Fatal(err)
	}
	e, err := engine.New(planned, triggers.New(planned), engine.Options{Zones: zones})
	if err != nil {
		log.Fatal(err)
	}

	// 2. A customer is what the events of one person have left.
	anna := e.NewCustomer("anna")
	var out engine.Output
	show := func(what string) {
		fmt.Println(what)
		for _, effect := range out.Effects {
			fmt.Printf("  %s %s %s\n", effect.At.Time().UTC().Format(time.DateOnly), effect.Action, effect.Name)
		}
		out.Reset()
	}

	// 3. An evaluator folds events into customers, one after the other. A clock that is
	// unknown yet is 0.
	evaluator := e.Evaluator()
	evaluator.Apply(anna, purchase(e, "order-1", 1), 0, &out)
	show("the first purchase")
	evaluator.Apply(anna, purchase(e, "order-2", 10), 0, &out)
	show("the second purchase")
	evaluator.Apply(anna, purchase(e, "order-2", 10), 0, &out)
	show("a duplicate")

	// 4. The customer says when something happens by time alone.
	evaluator.Advance(anna, anna.Wake(), &out)
	show("silence")

	// Output:
	// the first purchase
	// the second purchase
	//   2026-01-10 entered regulars
	// a duplicate
	// silence
	//   2026-01-31 exited regulars
}

// purchase returns an event of a day in January 2026. Its fields are those that the
// rules read, in slots; to fill them from Kafka records is what schemas.Reader is for.
func purchase(e *engine.Engine, id string, day int) *engine.Event {
	layout := e.Layout(plan.Purchase)
	fields := make([]expr.Value, len(layout.Paths))
	fields[layout.Slot("kind")] = expr.StringValue("completed")
	at := time.Date(2026, 1, day, 0, 0, 0, 0, time.UTC)
	return &engine.Event{Stream: plan.Purchase, ID: id, Source: "/shop", At: expr.MillisOf(at), Fields: fields}
}

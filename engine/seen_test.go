package engine_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// accepted is an event id as the model of the memory of ids has it.
type accepted struct {
	id string
	at engine.Millis
}

// TestRepeatsOfBusyCustomers sends events with ids of which many repeat, in times of
// much and of little, and holds what is taken for a repeat against a plain list of
// the newest ids of the last day.
func TestRepeatsOfBusyCustomers(t *testing.T) {
	const day = engine.Millis(24 * 3600 * 1000)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	e := testEngine(t, jobless)
	for range 4 {
		c, x, out := e.NewCustomer("c"), e.Evaluator(), engine.Output{}
		now, n, longest, repeats := -20*day, 0, 0, 0 // the zero instant is nothing special
		var model []accepted
		for range 30 {
			pace := []engine.Millis{10_000, 60_000, 600_000, 10_000_000}[rng.IntN(4)]
			for range rng.IntN(3000) {
				now += 1 + engine.Millis(rng.Int64N(int64(pace)))
				next := accepted{fmt.Sprint("e", n), now}
				switch n++; rng.IntN(8) {
				case 0: // late
					next.at -= engine.Millis(rng.Int64N(int64(day + day/8)))
				case 1: // a repeat, mostly of the last day, not always with its time
					next.id = fmt.Sprint("e", max(0, n-1-rng.IntN(6000)))
				case 2:
					if len(model) > 0 {
						next = model[rng.IntN(len(model))]
					}
				}
				for slices.ContainsFunc(model, func(a accepted) bool { return a.at == next.at && a.id != next.id }) {
					next.at++ // which of two at one instant is forgotten first is nobody's business
				}
				instant := max(c.Instant(), -1<<60)
				want := !slices.ContainsFunc(model, func(a accepted) bool { return a.id == next.id && a.at > instant-day })
				out.Reset()
				if got := x.Apply(c, purchaseAt(e, next), -100*day, &out); got != want {
					t.Fatalf("event %d, %v, with %d ids known: taken %v, want %v", n, next, len(model), got, want)
				}
				if !want {
					repeats++
					continue
				}
				instant = max(instant, next.at)
				model = slices.DeleteFunc(model, func(a accepted) bool { return a.at <= instant-day })
				if next.at > instant-day {
					i, _ := slices.BinarySearchFunc(model, next.at, func(a accepted, at engine.Millis) int { return cmp.Compare(a.at, at) })
					model = slices.Insert(model, i, next)
				}
				model = model[max(0, len(model)-engine.MaxSeen):]
				longest = max(longest, len(model))
			}
			if rng.IntN(3) == 0 {
				b := e.Append(nil, c)
				var err error
				if c, err = e.Decode("c", b); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("%d events, %d repeats, at most %d ids", n, repeats, longest)
		if repeats == 0 || longest < 100 {
			t.Error("nothing was seen of long lists")
		}
	}
}

const jobless = `
version: 1
segments:
  - {id: all, objective: test, owner: test, review_by: 2030-01-01, when: "count(purchase) > 0"}
`

func purchaseAt(e *engine.Engine, a accepted) *engine.Event {
	return &engine.Event{Stream: plan.Purchase, Customer: "c", ID: a.id, Source: "s", At: a.at, Fields: make([]expr.Value, len(e.Layout(plan.Purchase).Paths))}
}

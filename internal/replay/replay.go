// Package replay runs the engine over a sequence of events without Kafka: one
// task whose clock follows the events.
package replay

import (
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/wakes"
)

// Runner folds events in the order in which they are given. The effects of each
// step go to Emit at once.
type Runner struct {
	Engine *engine.Engine
	// Grace is how far the clock stays behind the greatest event time, in ms.
	Grace engine.Millis
	// Emit receives effects; the slice is reused after it returns.
	Emit func([]engine.Effect)
	// Stepped, if it is set, sees a customer after each of its steps. What is due before an
	// event is then a step of its own.
	Stepped func(*engine.Customer)

	customers map[string]*person
	due       wakes.Heap[*person]
	started   bool
	latest    engine.Millis // the greatest event time
	clock     engine.Millis
	eval      *engine.Evaluator
	out       engine.Output
}

// person is a customer and the place of its wake-up in the due index.
type person struct {
	*engine.Customer
	place wakes.Place
}

// byID is the order of customers that are due at one instant.
func byID(a, b *person) bool { return a.ID < b.ID }

// Feed folds one event, moves the clock, and fires what that makes due. It
// returns false for an event that was folded before.
func (r *Runner) Feed(ev *engine.Event) bool {
	if r.customers == nil {
		r.customers, r.due = map[string]*person{}, wakes.New(byID)
		r.eval = r.Engine.Evaluator()
	}
	if !r.started {
		r.started, r.latest, r.clock = true, ev.At, ev.At-r.Grace
	}
	c := r.customers[ev.Customer]
	if c == nil {
		c = &person{Customer: r.Engine.NewCustomer(ev.Customer)}
		r.customers[ev.Customer] = c
	}
	for r.Stepped != nil && c.Wake() <= ev.At {
		r.eval.Advance(c.Customer, c.Wake(), &r.out)
		r.emit(c)
	}
	fresh := r.eval.Apply(c.Customer, ev, r.clock, &r.out)
	r.emit(c)
	r.latest = max(r.latest, ev.At)
	r.Turn(r.latest - r.Grace)
	return fresh
}

// Turn turns the clock to an instant, unless it is past it, and fires what is
// due by then in the order of due instant and customer.
func (r *Runner) Turn(to engine.Millis) {
	if !r.started {
		return
	}
	r.clock = max(r.clock, to)
	for {
		c, at, ok := r.due.First()
		if !ok || at > r.clock {
			return
		}
		r.eval.Advance(c.Customer, at, &r.out)
		r.emit(c)
	}
}

// emit hands out the effects of a step and notes when c wakes next.
func (r *Runner) emit(c *person) {
	if len(r.out.Effects) > 0 {
		r.Emit(r.out.Effects)
	}
	r.out.Reset()
	if r.Stepped != nil {
		r.Stepped(c.Customer)
	}
	r.due.Set(c, &c.place, c.Wake())
}

// Latest returns the greatest event time that was fed; ok is false if there was
// none.
func (r *Runner) Latest() (t engine.Millis, ok bool) { return r.latest, r.started }

// Clock returns where the clock is; ok is false if there was no event.
func (r *Runner) Clock() (t engine.Millis, ok bool) { return r.clock, r.started }

// Customer returns a customer, nil if it is not known.
func (r *Runner) Customer(id string) *engine.Customer {
	if p := r.customers[id]; p != nil {
		return p.Customer
	}
	return nil
}

// Customers returns how many customers are known.
func (r *Runner) Customers() int { return len(r.customers) }

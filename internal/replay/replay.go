// Package replay runs the engine over a sequence of events without Kafka: one
// task whose clock follows the events.
package replay

import (
	"container/heap"

	"github.com/segmill/segmill/engine"
)

// Runner folds events in the order in which they are given. The effects of each
// step go to Emit at once.
type Runner struct {
	Engine *engine.Engine
	// Grace is how far the clock stays behind the greatest event time, in ms.
	Grace engine.Millis
	// Emit receives effects; the slice is reused after it returns.
	Emit func([]engine.Effect)

	customers map[string]*engine.Customer
	due       wakes
	wakes     map[*engine.Customer]*wake // the entries of due
	started   bool
	latest    engine.Millis // the greatest event time
	clock     engine.Millis
	eval      *engine.Evaluator
	out       engine.Output
}

// wake is the entry of a customer in the due index. Each has one at most: it is
// moved, not left behind, when the instant changes.
type wake struct {
	at engine.Millis
	c  *engine.Customer
	i  int // index in wakes
}

// wakes is a heap, the earliest first; customers that are due at one instant are
// in the order of their ids.
type wakes []*wake

func (w wakes) Len() int { return len(w) }
func (w wakes) Less(i, j int) bool {
	return w[i].at < w[j].at || w[i].at == w[j].at && w[i].c.ID < w[j].c.ID
}

func (w wakes) Swap(i, j int) {
	w[i], w[j] = w[j], w[i]
	w[i].i, w[j].i = i, j
}

// Push and Pop serve container/heap.
func (w *wakes) Push(x any) {
	e := x.(*wake)
	e.i = len(*w)
	*w = append(*w, e)
}

// Pop removes the last entry.
func (w *wakes) Pop() any {
	old := *w
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	return x
}

// Feed folds one event, moves the clock, and fires what that makes due. It
// returns false for an event that was folded before.
func (r *Runner) Feed(ev *engine.Event) bool {
	if r.customers == nil {
		r.customers = map[string]*engine.Customer{}
		r.wakes = map[*engine.Customer]*wake{}
		r.eval = r.Engine.Evaluator()
	}
	if !r.started {
		r.started, r.latest, r.clock = true, ev.At, ev.At-r.Grace
	}
	c := r.customers[ev.Customer]
	if c == nil {
		c = r.Engine.NewCustomer(ev.Customer)
		r.customers[ev.Customer] = c
	}
	fresh := r.eval.Apply(c, ev, r.clock, &r.out)
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
	for len(r.due) > 0 && r.due[0].at <= r.clock {
		w := r.due[0]
		r.eval.Advance(w.c, w.at, &r.out)
		r.emit(w.c)
	}
}

// emit hands out the effects of a step and notes when c wakes next.
func (r *Runner) emit(c *engine.Customer) {
	if len(r.out.Effects) > 0 {
		r.Emit(r.out.Effects)
	}
	r.out.Reset()
	at, w := c.Wake(), r.wakes[c]
	switch {
	case w == nil && at != engine.Never:
		w = &wake{at: at, c: c}
		r.wakes[c] = w
		heap.Push(&r.due, w)
	case w != nil && at == engine.Never:
		heap.Remove(&r.due, w.i)
		delete(r.wakes, c)
	case w != nil && at != w.at:
		w.at = at
		heap.Fix(&r.due, w.i)
	}
}

// Latest returns the greatest event time that was fed; ok is false if there was
// none.
func (r *Runner) Latest() (t engine.Millis, ok bool) { return r.latest, r.started }

// Customers returns how many customers are known.
func (r *Runner) Customers() int { return len(r.customers) }

// Customer returns a customer, nil if it is not known.
func (r *Runner) Customer(id string) *engine.Customer { return r.customers[id] }

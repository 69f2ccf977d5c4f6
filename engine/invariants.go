package engine

import "github.com/segmill/segmill/internal/invariants"

// check checks what holds of a customer after each call: the wake-up is the earliest of
// what is due and still to come, the instant never goes back, and what is looked up by
// search is sorted. before is the instant before the call, to the instant up to which
// everything due has fired. It is called in builds with invariants.
func (e *Engine) check(c *Customer, before, to Millis) {
	wake := Never
	for i := range c.cells {
		wake = min(wake, c.cells[i].next)
		if i > 0 && c.cells[i-1].summary >= c.cells[i].summary {
			invariants.Broken("customer %q: summary %d stands before %d", c.ID, c.cells[i-1].summary, c.cells[i].summary)
		}
	}
	for _, due := range c.dues() {
		wake = min(wake, due)
	}
	for i := 1; i < len(c.members); i++ {
		if c.members[i-1].key >= c.members[i].key {
			invariants.Broken("customer %q: memberships are not sorted", c.ID)
		}
	}
	switch {
	case c.wake != wake:
		invariants.Broken("customer %q: the wake-up is %v, and the earliest that is due is %v", c.ID, c.wake, wake)
	case c.wake <= to:
		invariants.Broken("customer %q: due at %v, which was to fire by %v", c.ID, c.wake, to)
	case c.instant < before:
		invariants.Broken("customer %q: the instant went back from %v to %v", c.ID, before, c.instant)
	}
}

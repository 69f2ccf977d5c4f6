package engine

import (
	"testing"

	"github.com/segmill/segmill/internal/invariants"
)

// A wake-up that is not the earliest of what is due is noticed.
func TestWakeIsChecked(t *testing.T) {
	if !invariants.Enabled {
		t.Skip("needs the build tag segmill_invariants")
	}
	e := &Engine{}
	c := &Customer{ID: "anna", wake: 20, instant: 5, cells: []cell{{next: 20, summary: 1}, {next: 30, summary: 2}}}
	e.check(c, 5, 10)
	for what, change := range map[string]func(*Customer){
		"too late":     func(c *Customer) { c.wake = 30 },
		"too early":    func(c *Customer) { c.wake = 15 },
		"overdue":      func(c *Customer) { c.wake, c.cells[0].next = 10, 10 },
		"back in time": func(c *Customer) { c.instant = 4 },
		"out of order": func(c *Customer) { c.cells[1].summary = 0 },
	} {
		t.Run(what, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("nothing is said")
				}
			}()
			wrong := *c
			wrong.cells = append([]cell(nil), c.cells...)
			change(&wrong)
			e.check(&wrong, 5, 10)
		})
	}
}

package task

import (
	"sync"
	"time"
)

// Guard watches the wall clock of the process. A jump ahead that the monotonic
// clock did not make would fire timers that can't be taken back. Whoever starts the
// process again confirms the clock as it is then: the guard knows only its own life, so
// time that the process was down is no jump.
type Guard struct {
	limit time.Duration

	mu      sync.Mutex
	start   time.Time
	ahead   time.Duration // of the wall clock since start, at most
	tripped bool
}

// Observe takes in the wall clock. It returns false from a jump on. first is true at the
// jump itself.
func (g *Guard) Observe(now time.Time) (ok, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.start.IsZero() {
		g.start = now
	}
	// Sub goes by the monotonic clock, and by the wall clock if there is none.
	return g.compare(now.Round(0).Sub(g.start.Round(0)), now.Sub(g.start))
}

// compare takes in how far both clocks have come since start.
func (g *Guard) compare(wall, monotonic time.Duration) (ok, first bool) {
	ahead := wall - monotonic
	if !g.tripped && ahead-g.ahead > g.limit {
		g.tripped, first = true, true
	}
	if !g.tripped {
		g.ahead = max(g.ahead, ahead) // coming back from a step back is no jump
	}
	return !g.tripped, first
}

// OK reports whether the clock is trusted.
func (g *Guard) OK() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.tripped
}

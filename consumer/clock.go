package consumer

import (
	"sync"
	"time"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
)

// clock is the task clock: the instant up to which the task believes to have
// heard everybody, so that silence means something. It never goes back. Two
// things move it: reports of where the inputs end, read once per batch, and the
// records themselves, after each one.
type clock struct {
	mode config.ClockMode
	// grace is how much later than others a record may be and still have its place in
	// the order of records; silence, at least as much, is how far now stays behind.
	grace, silence engine.Millis
	now            engine.Millis
	order          engine.Millis // what is older has no place in the order
	latest         engine.Millis // the greatest event time folded
	// held: an input's partition has no leader, or had none a moment ago. What was sent
	// to it is yet to come, however late, and now waits.
	held bool
}

// report is where a partition ended, as of the wall clock when the question was
// sent: its high watermark, and where the first transaction that is still open stands
// in it, which is the high watermark if none is.
type report struct {
	end, stable int64
	asked       engine.Millis
}

// hear takes in a report. What stands in an open transaction is known to exist, so
// until that has ended nothing is known of the time after it.
func (in *input) hear(r report) {
	in.end, in.stable = max(in.end, r.end), max(in.stable, r.stable)
	if in.next >= r.end || in.passesOver() {
		in.asOf = max(in.asOf, r.asked)
	}
}

// begin takes in what was heard of an input. With the wall clock, a partition
// that is read up to a reported end has nothing older than the question.
func (c *clock) begin(in *input) {
	if c.mode == config.WallClock {
		in.mark = max(in.mark, in.asOf)
	}
	c.look(in)
}

// look takes in the head of an input, once it is in hand or the end is known.
// The clock of events does not wait for the end: a record in hand says that it is
// not reached, and were the clock to wait, late records would be told as of an
// instant that depends on when brokers answer.
func (c *clock) look(in *input) {
	if in.loaded && (c.mode == config.EventsClock || in.head.rec.Offset < min(in.end, in.limit)) {
		in.mark = max(in.mark, in.seen)
	}
}

// heard returns where the clock would be if a batch began now.
func (c *clock) heard(inputs []*input) engine.Millis {
	least := engine.Never
	for _, in := range inputs {
		least = min(least, max(in.mark, in.asOf))
	}
	if c.held || least == engine.Never || least <= changelog.Never+c.silence {
		return c.now
	}
	return max(c.now, least-c.silence)
}

// advance moves the clock to what the inputs allow.
func (c *clock) advance(inputs []*input) {
	least := engine.Never
	for _, in := range inputs {
		if c.mode == config.EventsClock && !in.loaded && !in.unread() && in.end != unknown {
			continue // read to its end: no mark
		}
		least = min(least, in.mark)
	}
	if least == engine.Never {
		least = c.latest
	}
	if least > changelog.Never+c.grace {
		c.order = max(c.order, least-c.grace)
	}
	if !c.held && least > changelog.Never+c.silence {
		c.now = max(c.now, least-c.silence)
	}
}

// guard watches the wall clock of the process. A jump ahead that the monotonic
// clock did not make would fire timers that can't be taken back. Time that the
// process was down is no jump: the guard knows only its own life.
type guard struct {
	limit time.Duration

	mu      sync.Mutex
	start   time.Time
	ahead   time.Duration // of the wall clock since start, at most
	tripped bool
}

// observe takes in the wall clock. It returns false from a jump on until confirm.
// first is true at the jump itself.
func (g *guard) observe(now time.Time) (ok, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.start.IsZero() {
		g.start = now
	}
	// Sub goes by the monotonic clock, and by the wall clock if there is none.
	return g.compare(now.Round(0).Sub(g.start.Round(0)), now.Sub(g.start))
}

// compare takes in how far both clocks have come since start.
func (g *guard) compare(wall, monotonic time.Duration) (ok, first bool) {
	ahead := wall - monotonic
	if !g.tripped && ahead-g.ahead > g.limit {
		g.tripped, first = true, true
	}
	if !g.tripped {
		g.ahead = max(g.ahead, ahead) // coming back from a step back is no jump
	}
	return !g.tripped, first
}

// ok reports whether the clock is trusted.
func (g *guard) ok() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.tripped
}

// confirm accepts the clock as it is.
func (g *guard) confirm() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tripped, g.start, g.ahead = false, time.Time{}, 0
}

package engine

import (
	"math/bits"

	"github.com/segmill/segmill/engine/expr"
)

// Output collects what calls on an Engine give, and holds their scratch space.
// It belongs to one goroutine; reuse it after Reset.
type Output struct {
	Effects []Effect
	Stats   Stats

	x exec
}

// Stats counts what happened since Reset.
type Stats struct {
	Duplicates int // events that were already folded
	EarlyWakes int // timer steps that changed nothing
	Evaluated  int // units of rules evaluated
	Unmerged   int // shared events that a merge could not count once
	Coarsened  int // lists and sets that became inexact because of their size
}

// Reset empties o for reuse.
func (o *Output) Reset() { o.Effects, o.Stats = o.Effects[:0], Stats{} }

// exec is the scratch space of one call.
type exec struct {
	e   *Engine
	c   *Customer
	out *Output
	now Millis
	env expr.Env
	// silent: rule triggers take their condition as it is and do not fire.
	silent bool

	touched set // units to evaluate in this step
	pending set // units that the event touched, evaluated at the customer's instant

	overdue []overdue // triggers to judge in this step
	late    []overdue // those that the event made overdue

	sample  sampleScratch
	matched []match
	before  []before
	entered []Effect
	exited  []Effect
	fired   []Effect
	same    sameScratch
}

type overdue struct {
	trigger int
	due     Millis
}

// begin prepares the scratch space for a call on customer c.
func (o *Output) begin(e *Engine, c *Customer) *exec {
	x := &o.x
	if x.e != e {
		*x = exec{e: e, out: o}
		x.env.Input = func(i int) expr.Value { return e.value(x.c, i, x.now) }
		x.touched = newSet(len(e.p.Units))
		x.pending = newSet(len(e.p.Units))
		x.same.fn = x.same.accept
	}
	x.c, x.out = c, o
	return x
}

// takeOverdue moves the triggers that are due at or before the customer's
// instant out of the schedule: the event made them overdue, and they are judged
// at its new instant.
func (x *exec) takeOverdue() {
	x.late = x.late[:0]
	c := x.c
	for i, due := range c.dues {
		if due <= c.instant {
			x.late = append(x.late, overdue{i, due})
			c.dues[i] = Never
		}
	}
	x.e.schedule(c)
}

// set is a set of small numbers that is read in ascending order.
type set []uint64

func newSet(n int) set { return make(set, (n+63)/64) }

func (s set) add(i int) { s[i>>6] |= 1 << (i & 63) }

func (s set) addAll(l []int) {
	for _, i := range l {
		s.add(i)
	}
}

// pop removes and returns the least member that is at least from, -1 if none.
func (s set) pop(from int) int {
	for w := from >> 6; w < len(s); w++ {
		word := s[w]
		if w == from>>6 {
			word &= ^uint64(0) << (from & 63)
		}
		if word != 0 {
			i := bits.TrailingZeros64(word)
			s[w] &^= 1 << i
			return w<<6 + i
		}
	}
	return -1
}

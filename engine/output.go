package engine

import "slices"

// Output collects what calls on an Evaluator give. The zero Output is ready for use.
// It belongs to one goroutine; reuse it after Reset.
type Output struct {
	Effects []Effect
	Stats   Stats
}

// Stats counts what happened since Reset.
type Stats struct {
	Duplicates int // events that were already folded
	Conflicts  int // of those, events with another time than the one folded
	Prolonged  int // of those, events whose id is remembered longer because of it
	EarlyWakes int // timer steps that changed nothing
	Evaluated  int // units of rules evaluated
	Unmerged   int // shared events that a merge could not count once
	Coarsened  int // lists and sets that became inexact because of their size
	Unmatched  int // removals from carts that matched nothing in them
}

// Reset empties o for reuse.
func (o *Output) Reset() { o.Effects, o.Stats = o.Effects[:0], Stats{} }

// effect appends an empty effect and returns it. It stays in place until the next
// one is appended.
func (o *Output) effect() *Effect {
	n := len(o.Effects)
	if n == cap(o.Effects) {
		o.Effects = slices.Grow(o.Effects, 1)
	}
	o.Effects = o.Effects[:n+1]
	o.Effects[n] = Effect{}
	return &o.Effects[n]
}

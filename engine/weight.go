package engine

import (
	"github.com/segmill/segmill/engine/plan"
)

// Lists give way where a customer becomes too large; texts that rules keep do not.
// Whoever folds events can ask before how large they would make the customer.

// Keepers returns how many summaries can each keep a copy of what is in an event
// of a stream.
func (e *Engine) Keepers(s plan.Stream) int { return e.keepers[s] }

// keepersOf counts the folds of a stream whose summaries keep texts.
func keepersOf(p *plan.Plan, s plan.Stream) (n int) {
	each := func(folds []plan.Fold) {
		for i := range folds {
			if keeps(p, &folds[i]) {
				n++
			}
		}
	}
	each(p.Streams[s].Every)
	for _, folds := range p.Streams[s].ByCond {
		each(folds)
	}
	return n
}

// keeps reports whether a fold can keep a text of its event.
func keeps(p *plan.Plan, f *plan.Fold) bool {
	return p.Summaries[f.Summary].Family.KeepsTexts()
}

// SizeWith returns how many bytes a customer takes, and how many it would take with an
// event folded at the task clock, both after lists have given way. Neither the customer
// nor the event changes.
func (x *Evaluator) SizeWith(c *Customer, ev *Event, clock Millis) (before, after int, err error) {
	e := x.e
	b := e.append(nil, c)
	with, err := e.Decode(c.ID, b)
	if err != nil {
		return 0, 0, err
	}
	before = len(e.Append(nil, with))
	if with, err = e.Decode(c.ID, b); err != nil {
		return 0, 0, err
	}
	x.Apply(with, ev, clock, &x.trial)
	x.trial.Reset()
	return before, len(e.Append(nil, with)), nil
}

// Heaviest returns what takes most of a customer's bytes, as rules write it, and how
// many bytes that is; "" if nothing is known.
func (e *Engine) Heaviest(c *Customer) (text string, bytes int) {
	var b []byte
	var most *plan.Summary
	for i := range c.cells {
		cell := &c.cells[i]
		if b = cell.sum().Append(b[:0], c.instant); len(b) > bytes {
			most, bytes = &e.p.Summaries[cell.summary], len(b)
		}
	}
	switch {
	case most == nil:
		return "", 0
	case len(most.Inputs) > 0:
		return e.p.Spec.Inputs[most.Inputs[0]].Text, bytes
	}
	return most.Text, bytes
}

// Reader returns the id of a segment or trigger that reads a value, as rules write it;
// "" if none does.
func (e *Engine) Reader(text string) string {
	for u := range e.p.Units {
		unit := &e.p.Units[u]
		for i := range unit.Conds {
			for _, in := range unit.Conds[i].Inputs {
				if e.p.Spec.Inputs[in].Text != text {
					continue
				}
				if s := unit.Conds[i].Segment; s >= 0 {
					return e.p.Segments[s].ID
				}
				return e.p.Triggers[unit.Trigger].ID
			}
		}
	}
	return ""
}

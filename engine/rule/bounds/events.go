package bounds

import (
	"math"
	"slices"

	"github.com/segmill/segmill/engine/plan"
)

// amount says of some events that there are at least, or at most, so many.
type amount struct {
	stream string
	conds  []string
	window float64 // milliseconds; infinite: of all time
	n      float64
}

// within reports whether all events of a are among those of o.
func (a amount) within(o amount) bool {
	return a.stream == o.stream && a.window <= o.window &&
		!slices.ContainsFunc(o.conds, func(c string) bool { return !slices.Contains(a.conds, c) })
}

// consistent reports whether what is assumed of counts, and of the times of events, can be
// true together: of what is within something else there is no more than of that.
func (s *search) consistent(b *box) bool {
	var least, most []amount
	for _, ref := range b.inputs {
		in := &s.Spec.Inputs[ref]
		base := in
		for base.Kind.Derived() {
			base = &s.Spec.Inputs[base.Of]
		}
		if base.Kind != plan.InAggregate {
			continue
		}
		a := s.amountOf(base)
		h, ok := b.values[in.Text]
		switch {
		case in == base && in.Agg.Name == "count":
			if ok {
				least = append(least, a.with(a.window, h.numbers.lo))
				most = append(most, a.with(a.window, h.numbers.hi))
			}
		case in.Kind == plan.InSince && base.Field == "":
			least = append(least, a.with(math.Inf(1), 1))
			if ok {
				least = append(least, a.with(h.numbers.hi+1, 1))
			}
			if ok && base.Agg.Name == "last" {
				most = append(most, a.with(h.numbers.lo, 0))
			}
		case !base.Agg.Zero:
			least = append(least, a.with(a.window, 1))
		}
	}
	for _, l := range least {
		if slices.ContainsFunc(most, func(m amount) bool { return l.n > m.n && l.within(m) }) {
			return false
		}
	}
	return true
}

func (a amount) with(window, n float64) amount {
	a.window, a.n = window, n
	return a
}

// amountOf returns which events an aggregate looks at.
func (s *search) amountOf(in *plan.Input) amount {
	a := amount{window: math.Inf(1)}
	if in.Window > 0 {
		a.window = float64(in.Window)
	}
	for _, src := range in.Sources {
		name := s.Spec.Streams().Name(src.Stream)
		if len(in.Sources) > 1 { // only the same is within it
			if a.stream += name + " "; src.Cond != nil {
				a.stream += s.text(src.Cond)
			}
			continue
		}
		a.stream = name
		if src.Cond != nil {
			for _, c := range conjuncts(src.Cond) {
				a.conds = append(a.conds, s.text(c))
			}
		}
	}
	return a
}

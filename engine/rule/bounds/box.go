package bounds

import (
	"slices"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// box is what is assumed of the values of a customer, or of an event.
type box struct {
	values map[string]held
	// there says whether a value is there, by its text.
	there map[string]bool
	// relations say how two values compare: a set of less, equal, more.
	relations map[string]int
	// inputs are those of which anything is assumed.
	inputs []int
}

// held is what is assumed of one value: its domain without some texts.
type held struct {
	domain
	not []string
}

func newBox() *box {
	return &box{values: map[string]held{}, there: map[string]bool{}, relations: map[string]int{}}
}

// value returns what is assumed of a value that can be anything in a domain.
func (b *box) value(name string, can domain) held {
	if h, ok := b.values[name]; ok {
		return h
	}
	return held{domain: can}
}

// limit narrows a value. It reports whether anything is left.
func (b *box) limit(name string, to, can domain) bool {
	h := b.value(name, can)
	h.numbers = h.numbers.meet(to.numbers)
	if to.texts != nil {
		var left []string
		for _, t := range to.texts {
			if (h.texts == nil || slices.Contains(h.texts, t)) && !slices.Contains(h.not, t) {
				left = append(left, t)
			}
		}
		h.texts = left
		if left == nil {
			return false
		}
	}
	b.values[name] = h
	return !h.numbers.empty()
}

// exclude takes texts away from what a value can be.
func (b *box) exclude(name string, can domain, texts ...string) bool {
	h := b.value(name, can)
	h.not = append(slices.Clip(h.not), texts...)
	if h.texts != nil {
		h.texts = slices.DeleteFunc(slices.Clone(h.texts), func(t string) bool { return slices.Contains(texts, t) })
		if len(h.texts) == 0 {
			return false
		}
	}
	b.values[name] = h
	return true
}

// compare narrows a value by a comparison with a number.
func (b *box) compare(name string, op expr.Op, f float64, can domain) bool {
	h := b.value(name, can)
	i := h.numbers
	switch op {
	case expr.OpEq:
		if i.whole && !point(f).whole {
			return false
		}
		i = i.meet(interval{f, f, i.whole})
	case expr.OpNe: // only the ends can be taken away
		if i.lo == f {
			i = i.meet(i.above(f))
		} else if i.hi == f {
			i = i.meet(i.below(f))
		}
	case expr.OpLt:
		i = i.meet(i.below(f))
	case expr.OpLe:
		i = i.meet(interval{everything.lo, f, i.whole})
	case expr.OpGt:
		i = i.meet(i.above(f))
	default:
		i = i.meet(interval{f, everything.hi, i.whole})
	}
	h.numbers = i
	b.values[name] = h
	return !i.empty()
}

// present takes it into the box that a value is there, or not.
func (s *search) present(leaf *expr.Node, is bool, b *box) bool {
	name := s.text(leaf)
	if leaf.Op == expr.OpInput {
		ref := leaf.Ref
		if is && !slices.Contains(b.inputs, ref) {
			b.inputs = append(b.inputs, ref)
		}
		for s.Spec.Inputs[ref].Kind.Derived() {
			if !is && s.Spec.Inputs[ref].Kind != plan.InSince {
				return true // it may be absent though what it is computed from is there
			}
			ref = s.Spec.Inputs[ref].Of
		}
		name = s.Spec.Inputs[ref].Text
	}
	if was, ok := b.there[name]; ok && was != is {
		return false
	}
	b.there[name] = is
	return true
}

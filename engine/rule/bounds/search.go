package bounds

import (
	"maps"
	"slices"

	"github.com/segmill/segmill/engine/expr"
)

// maxSteps bounds the work on one condition; with 64 terms of some operands each, an
// answer is found below it.
const maxSteps = 512

// want is what a condition has to be.
type want uint8

const (
	isTrue want = iota
	isFalse
	notTrue  // false or unknown
	notFalse // true or unknown
)

// goal is a condition with what it has to be.
type goal struct {
	node *expr.Node
	want want
}

// search looks for values with which all goals are met.
type search struct {
	*Judge
	left int
}

// possible reports whether goals can be met in a box, or that this is not known. It may
// change the box.
func (s *search) possible(goals []goal, b *box) bool {
	for len(goals) > 0 {
		if s.left--; s.left < 0 {
			return true
		}
		g := goals[len(goals)-1]
		goals = goals[:len(goals)-1]
		all, either := s.expand(g)
		switch {
		case either != nil:
			for _, e := range either {
				if s.possible(append(slices.Clip(goals), e...), b.clone()) {
					return true
				}
			}
			return false
		case all != nil:
			goals = append(slices.Clip(goals), all...)
		case !s.settle(g, b):
			return false
		}
	}
	return s.consistent(b)
}

// expand takes a goal apart: into goals of which all have to be met, or into alternatives.
// Of an atom both are nil.
func (s *search) expand(g goal) (all []goal, either [][]goal) {
	n := g.node
	switch n.Op {
	case expr.OpNot:
		return []goal{{n.Args[0], [...]want{isFalse, isTrue, notFalse, notTrue}[g.want]}}, nil
	case expr.OpAnd, expr.OpOr:
		positive := g.want == isTrue || g.want == notFalse
		for _, a := range n.Args {
			all = append(all, goal{a, g.want})
			either = append(either, []goal{{a, g.want}})
		}
		if positive == (n.Op == expr.OpAnd) {
			return all, nil
		}
		return nil, either
	case expr.OpCond:
		if n.Type != expr.Bool {
			break
		}
		c := n.Args[0]
		either = [][]goal{{{c, isTrue}, {n.Args[1], g.want}}, {{c, isFalse}, {n.Args[2], g.want}}}
		if g.want >= notTrue && s.canBeUnknown(c) {
			either = append(either, []goal{})
		}
		return nil, either
	default:
	}
	if g.want < notTrue {
		return nil, nil
	}
	// An atom that may be unknown.
	definite := goal{n, isFalse}
	if g.want == notFalse {
		definite.want = isTrue
	}
	if !s.canBeUnknown(n) {
		return []goal{definite}, nil
	}
	return nil, [][]goal{{definite}, s.unknown(n)}
}

// unknown is what must hold for an atom to be unknown, as far as it can be said: that its
// only part which can be absent is absent.
func (s *search) unknown(n *expr.Node) []goal {
	leaves := s.absentLeaves(n, nil)
	if len(leaves) != 1 || canFail(n) {
		return []goal{}
	}
	return []goal{{&expr.Node{Op: expr.OpHas, Type: expr.Bool, Args: leaves}, isFalse}}
}

// isAtom reports whether a condition is not made of others.
func isAtom(n *expr.Node) bool {
	return n.Op != expr.OpAnd && n.Op != expr.OpOr && n.Op != expr.OpNot && n.Op != expr.OpCond
}

// settle takes an atom into the box. It reports whether that is possible.
func (s *search) settle(g goal, b *box) bool { return s.assume(g.node, g.want == isTrue, b) }

// assume takes it into the box that an atom is true, or false, and not unknown.
func (s *search) assume(n *expr.Node, value bool, b *box) bool {
	switch n.Op {
	case expr.OpConst:
		return n.Const.K == expr.Bool && (n.Const.N == 1) == value
	case expr.OpHas:
		return s.present(n.Args[0], value, b)
	case expr.OpVar, expr.OpFold:
		return b.limit(s.text(n), domain{numbers: point(truth(value))}, domain{numbers: interval{0, 1, true}})
	default:
	}
	for _, l := range s.absentLeaves(n, nil) {
		if !s.present(l, true, b) {
			return false
		}
	}
	switch n.Op {
	case expr.OpEq, expr.OpNe, expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe:
		return s.compare(n, value, b)
	case expr.OpIn:
		return s.member(n, value, b)
	default:
		return b.limit(s.text(n), domain{numbers: point(truth(value))}, s.of(n))
	}
}

func truth(value bool) float64 {
	if value {
		return 1
	}
	return 0
}

// opposite is the comparison that is true where one is false.
var opposite = map[expr.Op]expr.Op{
	expr.OpEq: expr.OpNe, expr.OpNe: expr.OpEq, expr.OpLt: expr.OpGe, expr.OpGe: expr.OpLt, expr.OpGt: expr.OpLe, expr.OpLe: expr.OpGt,
}

// compare takes a comparison into the box.
func (s *search) compare(n *expr.Node, value bool, b *box) bool {
	op, x, y := n.Op, n.Args[0], n.Args[1]
	if !value {
		op = opposite[op]
	}
	if y.Op != expr.OpConst {
		return s.relate(op, x, y, b)
	}
	d := s.of(x)
	if y.Const.K == expr.String {
		switch op {
		case expr.OpEq:
			return b.limit(s.text(x), domain{everything, []string{y.Const.S}}, d)
		case expr.OpNe:
			return b.exclude(s.text(x), d, y.Const.S)
		default:
			return b.limit(s.text(x), domain{numbers: everything}, d)
		}
	}
	f, ok := number(y.Const)
	if !ok || x.Type == expr.List || x.Type == expr.Record {
		return true
	}
	return b.compare(s.text(x), op, f, d)
}

// member takes x in list into the box.
func (s *search) member(n *expr.Node, value bool, b *box) bool {
	x, list := n.Args[0], n.Args[1]
	if list.Op != expr.OpConst {
		return true
	}
	d := s.of(x)
	var texts []string
	numbers := interval{1, 0, true}
	for i, v := range list.Const.L {
		f, ok := number(v)
		switch {
		case v.K == expr.String:
			texts = append(texts, v.S)
		case !ok:
			return true
		case i == 0:
			numbers = point(f)
		default:
			numbers = numbers.hull(point(f))
		}
	}
	switch {
	case texts != nil && value:
		return b.limit(s.text(x), domain{everything, texts}, d)
	case texts != nil:
		return b.exclude(s.text(x), d, texts...)
	case value:
		return b.limit(s.text(x), domain{numbers: numbers}, d)
	}
	return true
}

// relate takes a comparison of two values into the box.
func (s *search) relate(op expr.Op, x, y *expr.Node, b *box) bool {
	if x.Type == expr.List || y.Type == expr.List || x.Type == expr.Record {
		return true
	}
	const less, equal, more = 1, 2, 4
	mask := map[expr.Op]int{
		expr.OpEq: equal, expr.OpNe: less | more, expr.OpLt: less, expr.OpLe: less | equal, expr.OpGt: more, expr.OpGe: more | equal,
	}[op]
	p, q := s.text(x), s.text(y)
	can := less | equal | more
	if p == q {
		can = equal
	} else if a, c := s.of(x).numbers, s.of(y).numbers; x.Type != expr.String && x.Type != expr.Date && y.Type != expr.Date {
		if a.hi < c.lo {
			can = less
		} else if a.lo > c.hi {
			can = more
		}
	}
	if p > q {
		p, q = q, p
		swap := func(m int) int { return m&equal | (m&less)<<2 | (m&more)>>2 }
		mask, can = swap(mask), swap(can)
	}
	key := p + "\x00" + q
	now, ok := b.relations[key]
	if !ok {
		now = can
	}
	b.relations[key] = now & mask
	return now&mask != 0
}

// clone returns a copy for one of several alternatives.
func (b *box) clone() *box {
	c := *b
	c.values, c.there, c.relations = maps.Clone(b.values), maps.Clone(b.there), maps.Clone(b.relations)
	c.inputs = slices.Clip(b.inputs)
	return &c
}

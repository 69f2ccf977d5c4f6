package plan

import (
	"fmt"
	"math"
	"sort"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// Move is a finer Touch. Of a unit with one condition, whose membership is the
// truth of that condition, it uses two things.
//
// Direction. Take the condition apart at && and ||, down to comparisons `input op
// constant` and other parts. In three-valued logic && and || of the parts is true
// exactly if && and || of "the part is true" is: a part that goes from unknown to
// false changes nothing. And && and || never fall when a part rises. So if the
// condition becomes true, some part became true; if it ceases to be true, some
// part did.
//
// Guards. Let the condition be C1 && C2 && ..., and let G be one of them that is a
// comparison. If the condition becomes true in a move, it is a part of some Cj,
// which was not true, that became true, and every other Ck is true after the move.
// If it ceases to be true, a part of some Cj did that was true, and every Ck was
// true before the move. So a unit need be touched by a comparison in Cj that
// becomes true only if G, not Cj, is true after the move, and by one that ceases
// to be true only if G was true before. It does not matter how many comparisons
// move at once: the one that the argument finds is among them.
//
// Hence: if Move does not touch a unit, the truth of its condition is the same
// before and after, as far as the move of all inputs is given to Move. Whoever
// keeps units that are touched but not yet evaluated must not rely on it for them.
//
// Comparisons that many units share ("hot") keep these units by the guard, others
// are kept by their own constants under a hot guard: `count(x) > 2 &&
// since_last(x) >= hours(i)` for ten thousand i costs what the crossed i cost.
type guarded struct {
	plain  Index // units of several conditions, parts that are no such comparison
	own    table // the comparisons, each with its units, by its own constant first
	guards []nested
}

// hot is how many units share a comparison that guards are worth their while for.
const hot = 4

// table holds comparisons of one input by where they are true.
type table struct {
	up, down []entry          // >= and >, < and <=: sorted by cut
	texts    map[string]*leaf // ==, in
	few      []textLeaf       // the same, if there are few
}

type textLeaf struct {
	text string
	*leaf
}

type entry struct {
	aggregate.Cut
	*leaf
}

// leaf is what one comparison leads to.
type leaf struct {
	units  []int    // to be touched
	nested []nested // to be touched if their guard holds, by guard
	own    *table   // of a guard: the comparisons that it guards
}

// nested is a table over another input, the guard.
type nested struct {
	input int
	table
}

// Sides returns the values of inputs before and after a move.
type Sides struct{ Before, After func(input int) expr.Value }

func (s *Sides) value(input int, after bool) expr.Value {
	if after {
		return s.After(input)
	}
	return s.Before(input)
}

// Move adds the units that a move of the input from a to b touches. s gives the
// values of other inputs.
func (x *Index) Move(a, b expr.Value, s *Sides, to *Set) {
	if !expr.Identical(a, b) && !x.still(a, b) {
		x.Cross(a, b, s, to)
	}
}

// Cross is Move where a and b are known to differ and not to be Still.
func (x *Index) Cross(a, b expr.Value, s *Sides, to *Set) {
	g := x.guarded
	if len(g.plain.All) > 0 {
		g.plain.Touch(a, b, to)
	}
	up, down := g.own.moved(a, b)
	for i := range up.entries {
		up.entries[i].touch(up.became, s, to)
	}
	for i := range down.entries {
		down.entries[i].touch(down.became, s, to)
	}
	if l := g.own.text(a); l != nil {
		l.touch(false, s, to)
	}
	if l := g.own.text(b); l != nil {
		l.touch(true, s, to)
	}
	for i := range g.guards {
		n := &g.guards[i]
		n.each(s.Before(n.input), func(l *leaf) { l.own.add(a, b, false, to) })
		n.each(s.After(n.input), func(l *leaf) { l.own.add(a, b, true, to) })
	}
}

// touch adds the units of a comparison that became true or ceased to be.
func (l *leaf) touch(became bool, s *Sides, to *Set) {
	to.AddAll(l.units)
	for i := range l.nested {
		n := &l.nested[i]
		n.each(s.value(n.input, became), func(g *leaf) { to.AddAll(g.units) })
	}
}

// add adds the units of the comparisons that become true, or cease to be, in a
// move from a to b.
func (t *table) add(a, b expr.Value, became bool, to *Set) {
	up, down := t.moved(a, b)
	for _, r := range [...]crossed{up, down} {
		for i := range r.entries {
			if r.became == became {
				to.AddAll(r.entries[i].units)
			}
		}
	}
	v := a
	if became {
		v = b
	}
	if l := t.text(v); l != nil {
		to.AddAll(l.units)
	}
}

// crossed are neighbouring comparisons that all became true or all ceased to be.
type crossed struct {
	entries []entry
	became  bool
}

// moved returns the comparisons with numbers whose truth a move changes.
func (t *table) moved(a, b expr.Value) (up, down crossed) {
	if len(t.up) > 0 {
		i, j := above(t.up, a, 0), above(t.up, b, 0)
		up = crossed{t.up[min(i, j):max(i, j)], i < j}
	}
	if len(t.down) > 0 {
		n := len(t.down)
		i, j := above(t.down, a, n), above(t.down, b, n)
		down = crossed{t.down[min(i, j):max(i, j)], j < i}
	}
	return up, down
}

// each calls f with every comparison that is true of v.
func (t *table) each(v expr.Value, f func(*leaf)) {
	up := t.up[:above(t.up, v, 0)]
	for i := range up {
		f(up[i].leaf)
	}
	down := t.down[above(t.down, v, len(t.down)):]
	for i := range down {
		f(down[i].leaf)
	}
	if l := t.text(v); l != nil {
		f(l)
	}
}

func (t *table) text(v expr.Value) *leaf {
	if v.K != expr.String || len(t.texts) == 0 {
		return nil
	}
	if t.few == nil {
		return t.texts[v.S]
	}
	for i := range t.few {
		if t.few[i].text == v.S {
			return t.few[i].leaf
		}
	}
	return nil
}

// above returns how many cuts v lies above; none if v is no number.
func above(l []entry, v expr.Value, none int) int {
	switch v.K {
	case expr.Int, expr.Double, expr.Decimal, expr.Duration, expr.Time, expr.Date:
	default:
		return none
	}
	f := expr.FloatOf(v.K, v.N)
	return sort.Search(len(l), func(i int) bool { return !l[i].Passed(f) })
}

// atom is a comparison that && and || lead to.
type atom struct {
	input int
	op    expr.Op
	v     expr.Value
}

// atomOf returns n as an atom. Numbers that a double does not hold exactly are
// left out, and == and != of numbers: few rules have them.
func atomOf(n *expr.Node) (a atom, ok bool) {
	in, op, v, ok := comparison(n)
	switch {
	case !ok:
		return a, false
	case op == expr.OpIn:
		ok = len(v.L) > 0 && allTexts(v.L)
	case v.K == expr.String:
		ok = op == expr.OpEq
	case v.K == expr.Int || v.K == expr.Double || v.K == expr.Duration || v.K == expr.Time:
		ok = op != expr.OpEq && op != expr.OpNe && math.Abs(v.Float()) < 1<<53
	default:
		ok = false
	}
	return atom{in, op, v}, ok
}

func (a *atom) key() string {
	if a.v.K == expr.Int || a.v.K == expr.Double {
		return fmt.Sprint(a.input, a.op, a.v.Float())
	}
	return fmt.Sprint(a.input, a.op, a.v.String())
}

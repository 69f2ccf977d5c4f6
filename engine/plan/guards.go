package plan

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// part is a comparison in a unit's condition.
type part struct {
	atom
	key   string
	conj  int  // which of the condition's conjuncts it stands in
	alone bool // it is that conjunct
}

// guard fills what Move reads.
func (c *compiler) guard() {
	for i := range c.Inputs {
		c.Inputs[i].Index.guarded = &guarded{}
	}
	plain := func(input int) *Index { return &c.Inputs[input].Index.guarded.plain }
	parts := make([][]part, len(c.Units))
	shared := map[string]int{} // how many units have a comparison
	for u := range c.Units {
		unit := &c.Units[u]
		if len(unit.Conds) != 1 {
			for _, cond := range unit.Conds {
				c.indexNode(u, cond.node, plain)
			}
			continue
		}
		for i, n := range conjuncts(unit.Conds[0].node) {
			c.dissect(u, n, i, true, &parts[u])
		}
		for _, p := range parts[u] {
			shared[p.key]++
		}
	}
	many := max(hot, int(math.Sqrt(float64(len(c.Units)))))
	for u := range parts {
		for i := range parts[u] {
			p := &parts[u][i]
			c.enter(u, p, guardOf(p, parts[u], shared, many), shared[p.key] >= hot)
		}
	}
	for i := range c.Inputs {
		g := c.Inputs[i].Index.guarded
		g.plain.tidy()
		g.own.finish()
		for k := range g.guards {
			g.guards[k].finish()
		}
	}
}

// conjuncts takes a condition apart at &&.
func conjuncts(n *expr.Node) []*expr.Node {
	if n.Op != expr.OpAnd {
		return []*expr.Node{n}
	}
	var l []*expr.Node
	for _, a := range n.Args {
		l = append(l, conjuncts(a)...)
	}
	return l
}

// dissect collects the comparisons that && and || lead to, and enters everything
// else plainly.
func (c *compiler) dissect(u int, n *expr.Node, conj int, alone bool, to *[]part) {
	if a, ok := atomOf(n); ok {
		*to = append(*to, part{a, a.key(), conj, alone})
		return
	}
	if n.Op != expr.OpAnd && n.Op != expr.OpOr {
		c.indexNode(u, n, func(input int) *Index { return &c.Inputs[input].Index.guarded.plain })
		return
	}
	for _, a := range n.Args {
		c.dissect(u, a, conj, false, to)
	}
}

// guardOf chooses the guard of a comparison among the unit's others, nil if none
// is worth its while. The guard of a shared comparison should be shared by few:
// units are found by it. That of one with few units should be shared by many: they
// are all passed over by it; by so many that going through all such guards costs
// little.
func guardOf(p *part, all []part, shared map[string]int, many int) *part {
	var best *part
	for i := range all {
		g := &all[i]
		if !g.alone || g.conj == p.conj {
			continue
		}
		switch n := shared[g.key]; {
		case shared[p.key] >= hot:
			if best == nil || n < shared[best.key] {
				best = g
			}
		case n >= many:
			if best == nil || n > shared[best.key] {
				best = g
			}
		}
	}
	return best
}

// enter enters unit u under comparison p with guard g.
func (c *compiler) enter(u int, p, g *part, shared bool) {
	x := c.Inputs[p.input].Index.guarded
	switch {
	case g == nil:
		x.own.leaves(&p.atom, func(l *leaf) { l.units = append(l.units, u) })
	case shared:
		x.own.leaves(&p.atom, func(l *leaf) {
			under(&l.nested, g.input).leaves(&g.atom, func(l *leaf) { l.units = append(l.units, u) })
		})
	default:
		under(&x.guards, g.input).leaves(&g.atom, func(l *leaf) {
			if l.own == nil {
				l.own = &table{}
			}
			l.own.leaves(&p.atom, func(l *leaf) { l.units = append(l.units, u) })
		})
	}
}

// under returns the table over an input, adding it.
func under(l *[]nested, input int) *nested {
	i := slices.IndexFunc(*l, func(n nested) bool { return n.input == input })
	if i < 0 {
		i = len(*l)
		*l = append(*l, nested{input: input})
	}
	return &(*l)[i]
}

// leaves calls f with the leaves of a comparison, adding them: one, or one for
// each text of a list.
func (t *table) leaves(a *atom, f func(*leaf)) {
	if a.op == expr.OpIn || a.v.K == expr.String {
		texts := a.v.L
		if a.op != expr.OpIn {
			texts = []expr.Value{a.v}
		}
		if t.texts == nil {
			t.texts = map[string]*leaf{}
		}
		for _, v := range texts {
			if t.texts[v.S] == nil {
				t.texts[v.S] = &leaf{}
			}
			f(t.texts[v.S])
		}
		return
	}
	l, cut := &t.up, aggregate.Cut{At: a.v.Float(), Above: a.op == expr.OpGt || a.op == expr.OpLe}
	if a.op == expr.OpLt || a.op == expr.OpLe {
		l = &t.down
	}
	f(leafAt(l, cut))
}

// leafAt returns the leaf at a cut, adding it.
func leafAt(l *[]entry, cut aggregate.Cut) *leaf {
	i, ok := slices.BinarySearchFunc(*l, cut, func(e entry, c aggregate.Cut) int { return compareCuts(e.Cut, c) })
	if !ok {
		*l = slices.Insert(*l, i, entry{cut, &leaf{}})
	}
	return (*l)[i].leaf
}

func compareCuts(a, b aggregate.Cut) int {
	if a.At == b.At && a.Above != b.Above {
		if b.Above {
			return -1
		}
		return 1
	}
	return cmp.Compare(a.At, b.At)
}

// finish puts the units of every leaf in order.
func (t *table) finish() {
	visit := func(l *leaf) {
		l.units = slices.Clip(tidy(l.units))
		for i := range l.nested {
			l.nested[i].finish()
		}
		if l.own != nil {
			l.own.finish()
		}
	}
	for _, l := range [][]entry{t.up, t.down} {
		for _, e := range l {
			visit(e.leaf)
		}
	}
	for _, l := range t.texts {
		visit(l)
	}
	if len(t.texts) <= fewTexts {
		for _, s := range slices.Sorted(maps.Keys(t.texts)) {
			t.few = append(t.few, textLeaf{s, t.texts[s]})
		}
	}
}

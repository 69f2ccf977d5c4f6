package plan

import (
	"slices"
	"sort"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
)

// Index finds, for a move of one input from one value to another, the units
// whose comparisons with that input change their truth. Its cost is with the
// thresholds crossed, not with the number of rules.
type Index struct {
	// Cuts are the places between values where a comparison with a number, an
	// instant or a length of time changes, sorted.
	Cuts []Cut
	// Equal are the units that compare the input with a text.
	Equal map[string][]int
	// Always are the units that read the input in any other way.
	Always []int
	// All are all units that read the input.
	All []int

	edges   []aggregate.Cut // those of Cuts
	least   []float64       // the least double above each of them, NaN if there is none
	guarded *guarded        // the same for Move
}

// Cut is a place between two neighbouring values: just below At (>= and < change
// there), or just above it (> and <= change there). == and != change at both.
type Cut struct {
	aggregate.Cut
	Units []int // their truth differs below and above
	Equal []int // compared with == or !=: to be judged at both ends of a move
}

// Pos returns how many cuts v lies above.
func (x *Index) Pos(v expr.Value) int { return x.pos(v.Float()) }

// fewCuts are passed faster one by one than by halves.
const fewCuts = 12

func (x *Index) pos(f float64) int {
	least := x.least
	lo, hi := 0, len(least)
	for hi-lo > fewCuts {
		if m := int(uint(lo+hi) >> 1); f >= least[m] {
			lo = m + 1
		} else {
			hi = m
		}
	}
	for lo < hi && f >= least[lo] {
		lo++
	}
	return lo
}

// Still reports whether a move from a to b, numbers or instants, certainly touches
// nothing.
func (x *Index) Still(a, b float64) bool {
	return len(x.Always) == 0 && x.pos(a) == x.pos(b)
}

// still is Still for any values.
func (x *Index) still(a, b expr.Value) bool {
	return a.K != expr.String && b.K != expr.String && a.K != expr.List && b.K != expr.List && a.Present() && b.Present() && x.Still(a.Float(), b.Float())
}

// Around makes r the values to which the input may move from a number, or from
// Absent, without touching a unit.
func (x *Index) Around(kind expr.Kind, n int64, r *aggregate.Range) {
	r.Kind, r.N, r.Only, r.Lo, r.Hi = kind, n, len(x.Always) > 0, aggregate.Lowest, aggregate.Highest
	if kind == expr.Absent {
		return
	}
	p := x.pos(expr.FloatOf(kind, n))
	if p > 0 {
		r.Lo = x.edges[p-1]
	}
	if p < len(x.edges) {
		r.Hi = x.edges[p]
	}
}

// Crosses reports whether Touch would add a unit.
func (x *Index) Crosses(a, b expr.Value) bool {
	switch {
	case expr.Identical(a, b):
		return false
	case a.Present() != b.Present():
		return len(x.All) > 0
	case len(x.Always) > 0:
		return true
	case a.K == expr.String:
		return len(x.Equal[a.S])+len(x.Equal[b.S]) > 0
	}
	i, j := x.Pos(a), x.Pos(b)
	for _, c := range x.Cuts[min(i, j):max(i, j)] {
		if len(c.Units) > 0 || c.equal(a, b) {
			return true
		}
	}
	return false
}

// Touch adds every unit that a move from a to b touches.
func (x *Index) Touch(a, b expr.Value, to *Set) {
	switch {
	case expr.Identical(a, b):
		return
	case a.Present() != b.Present():
		to.AddAll(x.All)
		return
	}
	to.AddAll(x.Always)
	if a.K == expr.String {
		to.AddAll(x.Equal[a.S])
		to.AddAll(x.Equal[b.S])
		return
	}
	if len(x.Cuts) == 0 {
		return
	}
	i, j := x.Pos(a), x.Pos(b)
	for _, c := range x.Cuts[min(i, j):max(i, j)] {
		to.AddAll(c.Units)
		if c.equal(a, b) {
			to.AddAll(c.Equal)
		}
	}
}

// equal reports whether a move over the cut changes the truth of == and != there.
func (c *Cut) equal(a, b expr.Value) bool {
	return len(c.Equal) > 0 && (a.Float() == c.At) != (b.Float() == c.At)
}

// index fills the Index of every input from the conditions of the units.
func (c *compiler) index() {
	for u := range c.Units {
		for _, cond := range c.Units[u].Conds {
			c.indexNode(u, cond.node, func(in int) *Index { return &c.Inputs[in].Index })
		}
	}
	for i := range c.Inputs {
		in := &c.Inputs[i]
		in.Index.tidy()
		if len(in.Index.All) == 0 || in.Summary < 0 {
			continue
		}
		s := &c.Summaries[in.Summary]
		s.Read = append(s.Read, i)
		if in.Timed() {
			s.Timed = append(s.Timed, i)
		}
	}
	c.guard()
}

func (x *Index) tidy() {
	x.All, x.Always = tidy(x.All), tidy(x.Always)
	x.edges, x.least = make([]aggregate.Cut, len(x.Cuts)), make([]float64, len(x.Cuts))
	for k := range x.Cuts {
		x.edges[k], x.least[k] = x.Cuts[k].Cut, x.Cuts[k].Least()
		x.Cuts[k].Units, x.Cuts[k].Equal = tidy(x.Cuts[k].Units), tidy(x.Cuts[k].Equal)
	}
	for k, v := range x.Equal {
		x.Equal[k] = tidy(v)
	}
}

func tidy(l []int) []int {
	slices.Sort(l)
	return slices.Compact(l)
}

// indexNode enters what n compares and reads into the indexes of its inputs.
func (c *compiler) indexNode(u int, n *expr.Node, of func(input int) *Index) {
	if in, op, v, ok := comparison(n); ok && of(in).compare(op, v, u) {
		return
	}
	if n.Op == expr.OpInput {
		x := of(n.Ref)
		x.All, x.Always = append(x.All, u), append(x.Always, u)
	}
	for _, a := range n.Args {
		c.indexNode(u, a, of)
	}
	if d := n.Fold; d != nil {
		for _, a := range []*expr.Node{d.Range, d.Init, d.While, d.Step, d.Result} {
			c.indexNode(u, a, of)
		}
	}
}

var mirrored = map[expr.Op]expr.Op{
	expr.OpEq: expr.OpEq, expr.OpNe: expr.OpNe,
	expr.OpLt: expr.OpGt, expr.OpGt: expr.OpLt, expr.OpLe: expr.OpGe, expr.OpGe: expr.OpLe,
}

// comparison takes `input op constant`, in either order, and `input in [texts]`
// apart.
func comparison(n *expr.Node) (input int, op expr.Op, v expr.Value, ok bool) {
	if len(n.Args) != 2 {
		return 0, 0, v, false
	}
	a, b := n.Args[0], n.Args[1]
	if n.Op == expr.OpIn {
		if a.Op != expr.OpInput {
			return 0, 0, v, false
		}
		v, ok = constantList(b)
		return a.Ref, expr.OpIn, v, ok
	}
	back, ok := mirrored[n.Op]
	switch {
	case !ok:
	case a.Op == expr.OpInput && b.Op == expr.OpConst:
		return a.Ref, n.Op, b.Const, true
	case a.Op == expr.OpConst && b.Op == expr.OpInput:
		return b.Ref, back, a.Const, true
	}
	return 0, 0, v, false
}

func constantList(n *expr.Node) (expr.Value, bool) {
	if n.Op == expr.OpConst && n.Const.K == expr.List {
		return n.Const, true
	}
	if n.Op != expr.OpList {
		return expr.Value{}, false
	}
	var l []expr.Value
	for _, a := range n.Args {
		if a.Op != expr.OpConst {
			return expr.Value{}, false
		}
		l = append(l, a.Const)
	}
	return expr.ListValue(l), true
}

// compare enters a comparison; false if it is not one that the index knows.
func (x *Index) compare(op expr.Op, v expr.Value, u int) bool {
	texts := []expr.Value{v}
	if op == expr.OpIn {
		texts = v.L
	}
	switch {
	case v.K == expr.String && (op == expr.OpEq || op == expr.OpNe), op == expr.OpIn && allTexts(texts):
		if x.Equal == nil {
			x.Equal = map[string][]int{}
		}
		for _, t := range texts {
			x.Equal[t.S] = append(x.Equal[t.S], u)
		}
	case op == expr.OpIn:
		return false
	case v.K == expr.Int || v.K == expr.Double || v.K == expr.Duration || v.K == expr.Time:
		f := v.Float()
		switch op {
		case expr.OpGe, expr.OpLt:
			x.cut(f, false).add(u)
		case expr.OpGt, expr.OpLe:
			x.cut(f, true).add(u)
		default:
			for _, above := range []bool{false, true} {
				c := x.cut(f, above)
				c.Equal = append(c.Equal, u)
			}
		}
	default:
		return false
	}
	x.All = append(x.All, u)
	return true
}

func (c *Cut) add(u int) { c.Units = append(c.Units, u) }

func allTexts(l []expr.Value) bool {
	return !slices.ContainsFunc(l, func(v expr.Value) bool { return v.K != expr.String })
}

// cut returns the cut at a place, adding it.
func (x *Index) cut(at float64, above bool) *Cut {
	i := sort.Search(len(x.Cuts), func(i int) bool {
		c := &x.Cuts[i]
		return c.At > at || c.At == at && (c.Above || !above)
	})
	if i == len(x.Cuts) || x.Cuts[i].At != at || x.Cuts[i].Above != above {
		x.Cuts = slices.Insert(x.Cuts, i, Cut{Cut: aggregate.Cut{At: at, Above: above}})
	}
	return &x.Cuts[i]
}

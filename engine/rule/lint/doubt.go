package lint

import (
	"slices"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/canon"
	"github.com/segmill/segmill/engine/rule/file"
)

// Doubts are the places of one expression where an absent value may surprise: !, != and
// the comparisons of order of two things that can both be absent. They are collected
// while the expression is read, since its canonical form no longer has their places.
type Doubts struct {
	*Linter
	doubts map[*expr.Node]doubt
	// places are where comparisons are.
	places map[*expr.Node]file.Place
	// Consented is where consent is asked for, nil if nowhere.
	Consented file.Place
}

// doubt is a node that can be unknown where people expect it to be true.
type doubt struct {
	at     file.Place
	text   string // as written, "" if that is not known
	leaves []leaf
}

// leaf is a value that can be absent, with its name in the rule.
type leaf struct {
	node *expr.Node
	name string
}

// Written says how a rule has what is in doubt.
type Written struct {
	// Part is all of it, "" if that is not known.
	Part func() string
	// NameOf prints a leaf.
	NameOf func(*expr.Node) string
}

// Add enters a comparison or a negation.
func (d *Doubts) Add(at file.Place, n *expr.Node, w Written) {
	if n.Op != expr.OpNot {
		if d.places == nil {
			d.places = make(map[*expr.Node]file.Place)
		}
		d.places[n] = at
	}
	if n.Op >= expr.OpEq && n.Op <= expr.OpGe {
		d.Comparison(at, n)
	}
	var found []*expr.Node
	switch n.Op {
	case expr.OpNot, expr.OpNe:
		found = d.absentLeaves(n, nil)
	case expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe:
		if less, more := sides(n); len(d.absentLeaves(more, nil)) > 0 {
			found = d.absentLeaves(less, nil)
		}
	default:
	}
	if len(found) == 0 {
		return
	}
	if d.doubts == nil {
		d.doubts = make(map[*expr.Node]doubt)
	}
	one := doubt{at: at, text: w.Part()}
	for _, l := range found {
		one.leaves = append(one.leaves, leaf{l, w.NameOf(l)})
	}
	d.doubts[n] = one
}

// sides are the operands of a comparison of order: the one that has to be less, and the
// one that has to be more. Where only the first is missing, people expect true.
func sides(n *expr.Node) (less, more *expr.Node) {
	if n.Op == expr.OpLt || n.Op == expr.OpLe {
		return n.Args[0], n.Args[1]
	}
	return n.Args[1], n.Args[0]
}

// Warn warns of the doubts that nothing in the same expression answers, and of comparisons
// whose result is always the same. It reports whether there is one of those.
func (d *Doubts) Warn(root *expr.Node) (decided bool) {
	if len(d.doubts) > 0 {
		d.visit(root, nil)
	}
	if d.Consented != nil {
		d.consent(d.Consented, root)
	}
	canon.Walk(root, func(n *expr.Node) {
		if at := d.places[n]; at != nil && d.comparison(at, n) {
			decided = true
		}
	})
	return decided
}

// visit warns of the doubts at and below n, where the facts in known hold if n decides.
func (d *Doubts) visit(n *expr.Node, known []fact) {
	one, doubted := d.doubts[n]
	ordered := doubted && n.Op != expr.OpNot && n.Op != expr.OpNe
	if ordered { // it decides only if the other side is there
		_, more := sides(n)
		for _, l := range d.absentLeaves(more, nil) {
			known = append(slices.Clip(known), d.factOf(l))
		}
	}
	if i := slices.IndexFunc(one.leaves, func(l leaf) bool { return !d.isKnown(l.node, known) }); i >= 0 {
		if d.tell(n, one, one.leaves[i]); n.Op == expr.OpNot {
			return // of what is below it, that says enough
		}
	}
	switch n.Op {
	case expr.OpAnd, expr.OpOr:
		for i, a := range n.Args {
			around := slices.Clip(known)
			for k, b := range n.Args {
				if k != i {
					around = append(around, d.beside(b, n.Op)...)
				}
			}
			d.visit(a, around)
		}
	case expr.OpCond:
		d.visit(n.Args[0], known)
		d.visit(n.Args[1], append(slices.Clip(known), d.given(n.Args[0], true)...))
		d.visit(n.Args[2], append(slices.Clip(known), d.given(n.Args[0], false)...))
	default:
		canon.Below(n, func(a *expr.Node) { d.visit(a, known) })
	}
}

// tell warns of one doubt, with what to write in its place.
func (d *Doubts) tell(n *expr.Node, one doubt, l leaf) {
	sign := map[expr.Op]string{expr.OpNot: "!", expr.OpNe: "!="}[n.Op]
	if sign == "" {
		d.Log.Warn(one.at, file.AbsentComparison.Hint("if those count, write "+d.withElse(n, l.node)), "where %s is absent, this comparison is unknown and not true", l.name)
		return
	}
	text := one.text
	if text == "" {
		text = d.text(n)
	}
	d.Log.Warn(one.at, file.AbsentComparison.Hint("if those count, write ("+text+" || "+withKeys(d.missing(l))+")"), "where %s is absent, this %s is unknown and not true", l.name, sign)
}

// missing is a condition that holds where the leaf is absent.
func (d *Doubts) missing(l leaf) string {
	if l.node.Op == expr.OpInput {
		if in := d.base(l.node.Ref); in.Kind == plan.InAggregate {
			return "!" + d.didText(in)
		} else if in != &d.Spec.Inputs[l.node.Ref] {
			return "!has(" + in.Text + ")"
		}
	}
	return "!has(" + l.name + ")"
}

// base is the input that an input is computed from, itself if from no other.
func (d *Doubts) base(ref int) *plan.Input {
	in := &d.Spec.Inputs[ref]
	for in.Kind.Derived() {
		in = &d.Spec.Inputs[in.Of]
	}
	return in
}

// didText prints the question whether an aggregate has anything to look at.
func (d *Doubts) didText(in *plan.Input) string {
	what := "activity"
	if len(in.Sources) == 1 {
		what = d.eventsText(in.Sources[0].Stream, d.seen(in, in.Sources[0]))
	}
	if in.Window > 0 {
		what += ", " + expr.DurationText(in.Window)
	}
	return "did(" + what + ")"
}

// seen is the condition of the events that an aggregate takes a value from.
func (d *Doubts) seen(in *plan.Input, s plan.Source) *expr.Node {
	if in.Field == "" {
		return s.Cond
	}
	t := d.Spec.Catalog.TypeOf(s.Stream, in.Field)
	if t != nil && !t.Optional && !strings.Contains(in.Field, ".") {
		return s.Cond
	}
	has := &expr.Node{Op: expr.OpHas, Type: expr.Bool, Args: []*expr.Node{
		{Op: expr.OpField, Type: in.Type, Name: d.Spec.Streams().Name(s.Stream), Path: in.Field},
	}}
	if s.Cond == nil {
		return has
	}
	return canon.Join(expr.OpAnd, nil, has, s.Cond)
}

// withElse prints n with something that is less than usual in the place of a leaf that is
// absent.
func (d *Doubts) withElse(n, leaf *expr.Node) string {
	least := expr.Value{K: leaf.Type}
	if leaf.Type == expr.Date {
		least = expr.TimeValue(0)
	}
	const instead = -1
	return replaced(n, leaf, &expr.Node{Op: expr.OpInput, Ref: instead}).Text(func(i int) string {
		if i == instead {
			return "orElse(" + d.text(leaf) + ", " + canon.Const(least).Text(nil) + ")"
		}
		return d.Spec.Inputs[i].Text
	})
}

// replaced is n with another node in the place of one.
func replaced(n, one, by *expr.Node) *expr.Node {
	if n == one {
		return by
	}
	out := *n
	out.Args = nil
	for _, a := range n.Args {
		out.Args = append(out.Args, replaced(a, one, by))
	}
	return &out
}

func (l *Linter) text(n *expr.Node) string {
	return n.Text(func(i int) string { return l.Spec.Inputs[i].Text })
}

// absentLeaves appends the parts of n that can be absent and then make n unknown.
func (d *Doubts) absentLeaves(n *expr.Node, to []*expr.Node) []*expr.Node {
	switch n.Op {
	case expr.OpHas, expr.OpFold:
		return to
	case expr.OpCall:
		if n.Name == expr.OrElse {
			return d.absentLeaves(n.Args[1], to)
		}
	case expr.OpInput:
		if canBeAbsent(&d.Spec.Inputs[n.Ref]) {
			return append(to, n)
		}
	case expr.OpField, expr.OpMember:
		if f := d.Fields[n]; f != nil && f.Optional {
			return append(to, n)
		}
	default:
	}
	for _, a := range n.Args {
		to = d.absentLeaves(a, to)
	}
	return to
}

func canBeAbsent(in *plan.Input) bool {
	switch in.Kind {
	case plan.InSegment, plan.InConsent:
		return false
	case plan.InAggregate:
		return !in.Agg.Zero
	default:
		return true
	}
}

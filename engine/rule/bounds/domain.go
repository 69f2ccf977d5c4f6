package bounds

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// domain is what a value can be if it is there: a number in an interval, or one of some
// texts.
type domain struct {
	numbers interval
	texts   []string // nil: any
}

// parts are what calendar functions can give.
var parts = map[string]interval{
	"getHours": {0, 23, true}, "getMinutes": {0, 59, true}, "getSeconds": {0, 59, true}, "getMilliseconds": {0, 999, true},
	"getMonth": {0, 11, true}, "getDate": {1, 31, true}, "getDayOfMonth": {0, 30, true}, "getDayOfWeek": {0, 6, true},
	"getDayOfYear": {0, 365, true}, "size": {0, math.Inf(1), true},
}

// isWhole reports whether values of the kind are whole numbers, of what unit ever.
func isWhole(k expr.Kind) bool {
	return k == expr.Int || k == expr.Time || k == expr.Duration || k == expr.Date || k == expr.Bool
}

// Of says in words what the value of a node is always, "" if that is not known.
func (j *Judge) Of(n *expr.Node) string {
	switch d := j.of(n); {
	case len(d.texts) == 1:
		return "always " + strconv.Quote(d.texts[0])
	case d.texts != nil:
		return "always one of " + strings.Join(d.texts, ", ")
	case d.numbers.lo > d.numbers.hi:
		return ""
	case d.numbers.lo > -exact && d.numbers.hi < exact:
		return "from " + show(n, d.numbers.lo) + " to " + show(n, d.numbers.hi)
	case d.numbers.lo > -exact && d.numbers.whole && n.Type == expr.Int:
		return "a whole number and never below " + show(n, d.numbers.lo)
	case d.numbers.lo > -exact:
		return "never below " + show(n, d.numbers.lo)
	case d.numbers.hi < exact:
		return "never above " + show(n, d.numbers.hi)
	case n.Type == expr.Int:
		return "a whole number"
	}
	return ""
}

// show prints a number as a value of the node.
func show(n *expr.Node, f float64) string {
	v := expr.DoubleValue(f)
	if isWhole(n.Type) {
		v = expr.Value{K: n.Type, N: int64(f)}
	}
	return (&expr.Node{Op: expr.OpConst, Type: v.K, Const: v}).Text(nil)
}

// of returns what a node can be.
func (j *Judge) of(n *expr.Node) domain {
	all := domain{numbers: interval{math.Inf(-1), math.Inf(1), isWhole(n.Type)}}
	if n.Type == expr.Bool {
		all.numbers = interval{0, 1, true}
	}
	switch n.Op {
	case expr.OpConst:
		return ofValue(n.Const)
	case expr.OpInput:
		return j.ofInput(&j.Spec.Inputs[n.Ref], all)
	case expr.OpCond:
		return union(j.of(n.Args[1]), j.of(n.Args[2]))
	case expr.OpNeg, expr.OpAdd, expr.OpSub, expr.OpMul, expr.OpDiv, expr.OpMod:
		if n.Type == expr.Int || n.Type == expr.Double {
			all.numbers = j.arithmetic(n)
		}
	case expr.OpCall:
		if p, ok := parts[n.Name]; ok {
			all.numbers = p
		}
		if n.Name == expr.OrElse {
			return union(j.of(n.Args[0]), j.of(n.Args[1]))
		}
		if n.Name == "double" && n.Args[0].Type == expr.Int {
			all.numbers = j.of(n.Args[0]).numbers
			all.numbers.whole = true
		}
	default:
	}
	return all
}

// number is a constant as its place in an interval.
func number(v expr.Value) (float64, bool) {
	switch v.K {
	case expr.Int, expr.Time, expr.Duration, expr.Date, expr.Bool, expr.Double, expr.Decimal:
		f := v.Float()
		return f, f >= -exact && f <= exact
	default:
		return 0, false
	}
}

func ofValue(v expr.Value) domain {
	if v.K == expr.String {
		return domain{everything, []string{v.S}}
	}
	if f, ok := number(v); ok {
		return domain{numbers: point(f)}
	}
	return domain{numbers: everything}
}

func union(a, b domain) domain {
	out := domain{numbers: a.numbers.hull(b.numbers)}
	if a.texts != nil && b.texts != nil {
		out.texts = append(slices.Clone(a.texts), b.texts...)
	}
	return out
}

func (j *Judge) arithmetic(n *expr.Node) interval {
	a := j.of(n.Args[0]).numbers
	if n.Op == expr.OpNeg {
		return interval{-a.hi, -a.lo, a.whole}
	}
	b := j.of(n.Args[1]).numbers
	if n.Type == expr.Int {
		a.whole, b.whole = true, true
	}
	var out interval
	switch n.Op {
	case expr.OpAdd:
		out = combine(a, b, add)
	case expr.OpSub:
		out = combine(a, b, sub)
	case expr.OpMul:
		out = combine(a, b, mul)
	case expr.OpMod:
		return rest(a, b)
	default:
		if n.Type == expr.Double { // of whole doubles too, the quotient is none
			a.whole = false
		}
		return quotient(a, b)
	}
	if n.Type == expr.Double && (math.IsInf(out.lo, 0) || math.IsInf(out.hi, 0)) {
		out.whole = false
	}
	return out
}

// ofInput returns what an input can be.
func (j *Judge) ofInput(in *plan.Input, all domain) domain {
	switch in.Kind {
	case plan.InSince:
		if j.Spec.Inputs[in.Of].Kind == plan.InAggregate && j.Spec.Inputs[in.Of].Field == "" {
			all.numbers.lo = 0 // no event is later than the customer's instant
		}
	case plan.InAggregate:
		if in.Agg.Zero && in.Type == expr.Int && in.Agg.Gives == expr.Int {
			all.numbers.lo = 0
		}
		if in.Field != "" && slices.Contains([]string{"first", "last", "min", "max"}, in.Agg.Name) && len(in.Sources) == 1 {
			return j.ofField(in, all)
		}
	default:
	}
	return all
}

// ofField returns what a field can be in the events that an aggregate looks at.
func (j *Judge) ofField(in *plan.Input, all domain) domain {
	cond := in.Sources[0].Cond
	if cond == nil {
		return all
	}
	if d, ok := j.domains[in.Text]; ok {
		return d
	}
	d := all
	b := newBox()
	s := search{Judge: j, left: maxSteps}
	good := true
	for _, c := range conjuncts(cond) {
		if isAtom(c) {
			good = good && s.assume(c, true, b)
		}
	}
	name := expr.FieldText(j.Spec.Streams().Name(in.Sources[0].Stream), in.Field)
	if v, ok := b.values[name]; good && ok {
		d = domain{d.numbers.meet(v.numbers), v.texts}
	}
	j.domains[in.Text] = d
	return d
}

func conjuncts(n *expr.Node) []*expr.Node {
	if n.Op == expr.OpAnd {
		return n.Args
	}
	return []*expr.Node{n}
}

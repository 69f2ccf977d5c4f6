package sim

import (
	"math"
	"regexp"
	"strings"

	"github.com/segmill/segmill/engine/expr"
)

// scope is what the leaves of an expression mean.
type scope struct {
	field func(path string) expr.Value
	input func(ref int) expr.Value
	vars  map[int]expr.Value
}

// eval walks an expression. Absent means unknown or in error.
func (s *scope) eval(n *expr.Node) expr.Value {
	switch n.Op {
	case expr.OpConst:
		return n.Const
	case expr.OpField:
		return s.field(n.Path)
	case expr.OpInput:
		return s.input(n.Ref)
	case expr.OpVar:
		return s.vars[n.Ref]
	case expr.OpHas:
		return expr.BoolValue(s.eval(n.Args[0]).Present())
	case expr.OpNot:
		if v := s.eval(n.Args[0]); v.Present() {
			return expr.BoolValue(v.N == 0)
		}
		return expr.Value{}
	case expr.OpAnd:
		return s.all(n.Args, false)
	case expr.OpOr:
		return s.all(n.Args, true)
	case expr.OpCond:
		switch c := s.eval(n.Args[0]); {
		case !c.Present():
			return expr.Value{}
		case c.N != 0:
			return s.eval(n.Args[1])
		default:
			return s.eval(n.Args[2])
		}
	case expr.OpFold:
		return s.fold(n.Fold)
	case expr.OpCall:
		if n.Name == "orElse" {
			return s.orElse(n)
		}
	default: // all operands must be there
	}
	args := make([]expr.Value, len(n.Args))
	for i, a := range n.Args {
		args[i] = s.eval(a)
	}
	return strict(n, args)
}

// orElse evaluates the second operand only where the first is absent.
func (s *scope) orElse(n *expr.Node) expr.Value {
	v := s.eval(n.Args[0])
	if !v.Present() {
		v = s.eval(n.Args[1])
	}
	if n.Type == expr.Double && v.K == expr.Int {
		return expr.DoubleValue(float64(v.N))
	}
	return v
}

// holds reports whether an expression is true: not false and not unknown.
func (s *scope) holds(n *expr.Node) bool {
	v := s.eval(n)
	return v.K == expr.Bool && v.N != 0
}

// all evaluates && (absorbing is false) and || (absorbing is true): one absorbing
// operand decides, else one unknown operand makes the whole unknown.
func (s *scope) all(args []*expr.Node, absorbing bool) expr.Value {
	unknown := false
	for _, a := range args {
		switch v := s.eval(a); {
		case !v.Present():
			unknown = true
		case (v.N != 0) == absorbing:
			return v
		}
	}
	if unknown {
		return expr.Value{}
	}
	return expr.BoolValue(!absorbing)
}

// fold runs a comprehension. The loop goes on while its condition is not false,
// as CEL's does: an element in error must not hide a later one that decides.
func (s *scope) fold(f *expr.Fold) expr.Value {
	list := s.eval(f.Range)
	if list.K != expr.List {
		return expr.Value{}
	}
	in := &scope{field: s.field, input: s.input, vars: map[int]expr.Value{}}
	for k, v := range s.vars {
		in.vars[k] = v
	}
	in.vars[f.Acc] = s.eval(f.Init)
	for _, e := range list.L {
		in.vars[f.Var] = e
		if w := in.eval(f.While); w.Present() && w.N == 0 {
			break
		}
		in.vars[f.Acc] = in.eval(f.Step)
	}
	return in.eval(f.Result)
}

// strict computes the operations that need all their operands.
func strict(n *expr.Node, a []expr.Value) expr.Value {
	if n.Op == expr.OpList {
		return expr.ListValue(a)
	}
	for _, v := range a {
		if !v.Present() {
			return expr.Value{}
		}
	}
	switch n.Op {
	case expr.OpMember:
		if n.Ref < len(a[0].L) {
			return a[0].L[n.Ref]
		}
		return expr.Value{}
	case expr.OpIndex:
		if i := a[1].N; i >= 0 && i < int64(len(a[0].L)) {
			return a[0].L[i]
		}
		return expr.Value{}
	case expr.OpEq, expr.OpNe, expr.OpLt, expr.OpLe, expr.OpGt, expr.OpGe:
		return compare(n.Op, a[0], a[1])
	case expr.OpIn:
		for _, e := range a[1].L {
			if v := compare(expr.OpEq, a[0], e); v.N != 0 {
				return v
			}
		}
		return expr.BoolValue(false)
	case expr.OpCall:
		return call(n.Name, a)
	case expr.OpNeg:
		return arithmetic(expr.OpSub, expr.Value{K: a[0].K}, a[0])
	}
	v := arithmetic(n.Op, a[0], a[1])
	if n.Type == expr.Double && v.Present() {
		return expr.DoubleValue(v.Float())
	}
	return v
}

func numeric(k expr.Kind) bool { return k == expr.Int || k == expr.Double || k == expr.Decimal }

func timely(k expr.Kind) bool { return k == expr.Time || k == expr.Date }

// compare computes a comparison of two present values.
func compare(op expr.Op, a, b expr.Value) expr.Value {
	var c int
	switch {
	case a.K == expr.String && b.K == expr.String:
		c = strings.Compare(a.S, b.S)
	case a.K == b.K && a.K != expr.Double && a.K != expr.List && a.K != expr.Record:
		c = sign(float64(a.N) - float64(b.N))
	case numeric(a.K) && numeric(b.K), timely(a.K) && timely(b.K):
		c = sign(a.Float() - b.Float())
	default:
		return expr.Value{}
	}
	var r bool
	switch op {
	case expr.OpEq:
		r = c == 0
	case expr.OpNe:
		r = c != 0
	case expr.OpLt:
		r = c < 0
	case expr.OpLe:
		r = c <= 0
	case expr.OpGt:
		r = c > 0
	case expr.OpGe:
		r = c >= 0
	}
	return expr.BoolValue(r)
}

func sign(f float64) int {
	switch {
	case f < 0:
		return -1
	case f > 0:
		return 1
	}
	return 0
}

// arithmetic computes + - * / % on two present values. Two integers stay
// integers, as long as they fit.
func arithmetic(op expr.Op, a, b expr.Value) expr.Value {
	if a.K == expr.String && b.K == expr.String && op == expr.OpAdd {
		return expr.StringValue(a.S + b.S)
	}
	if k, ok := integral(op, a.K, b.K); ok {
		return whole(op, k, a.N, b.N)
	}
	if !numeric(a.K) || !numeric(b.K) {
		return expr.Value{}
	}
	x, y := a.Float(), b.Float()
	switch op {
	case expr.OpAdd:
		return expr.DoubleValue(x + y)
	case expr.OpSub:
		return expr.DoubleValue(x - y)
	case expr.OpMul:
		return expr.DoubleValue(x * y)
	case expr.OpDiv:
		if y == 0 {
			return expr.Value{}
		}
		return expr.DoubleValue(x / y)
	}
	return expr.Value{}
}

// integral says of which kind the result is where both operands are whole
// numbers of milliseconds or of anything.
func integral(op expr.Op, a, b expr.Kind) (expr.Kind, bool) {
	switch {
	case a == expr.Int && b == expr.Int:
		return expr.Int, true
	case a == expr.Duration && b == expr.Duration, a == expr.Time && b == expr.Time && op == expr.OpSub:
		return expr.Duration, true
	case a == expr.Time && b == expr.Duration, a == expr.Duration && b == expr.Time && op == expr.OpAdd:
		return expr.Time, true
	}
	return 0, false
}

func whole(op expr.Op, k expr.Kind, a, b int64) expr.Value {
	var r int64
	switch op {
	case expr.OpAdd:
		r = a + b
	case expr.OpSub:
		r = a - b
	case expr.OpMul:
		r = a * b
	case expr.OpDiv, expr.OpMod:
		if b == 0 {
			return expr.Value{}
		}
		if r = a / b; op == expr.OpMod {
			r = a % b
		}
	}
	if math.Abs(float64(a))+math.Abs(float64(b)) > 1<<62 || op == expr.OpMul && math.Abs(float64(a))*math.Abs(float64(b)) > 1<<62 {
		return expr.Value{}
	}
	return expr.Value{K: k, N: r}
}

// call computes the functions that rules use on strings and lists.
func call(name string, a []expr.Value) expr.Value {
	switch name {
	case "startsWith":
		return expr.BoolValue(strings.HasPrefix(a[0].S, a[1].S))
	case "endsWith":
		return expr.BoolValue(strings.HasSuffix(a[0].S, a[1].S))
	case "contains":
		return expr.BoolValue(strings.Contains(a[0].S, a[1].S))
	case "matches":
		ok, err := regexp.MatchString(a[1].S, a[0].S)
		if err != nil {
			return expr.Value{}
		}
		return expr.BoolValue(ok)
	case "size":
		if a[0].K == expr.String {
			return expr.IntValue(int64(len([]rune(a[0].S))))
		}
		return expr.IntValue(int64(len(a[0].L)))
	}
	return moreCalls(name, a)
}

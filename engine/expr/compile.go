package expr

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxVars bounds how deep comprehensions may be nested: each takes two.
const MaxVars = 16

// Env is what a compiled expression reads: the fields of one event, or the
// inputs of one customer. It belongs to one goroutine.
type Env struct {
	Fields []Value
	Input  func(ref int) Value
	vars   [MaxVars]Value
}

// Fn is a compiled expression. It never panics and keeps nothing of env.
type Fn func(env *Env) Value

// Zones resolves an IANA time zone name.
type Zones func(name string) (*time.Location, bool)

// Compiler compiles trees. Slot gives the slot of an event field's path.
type Compiler struct {
	Slot  func(path string) int
	Zones Zones
}

// Compile compiles the tree n. The error says which part the running version
// cannot evaluate; a tree made by engine/rule has none.
//
// Functions that an OpCall may name: size, contains, startsWith, endsWith,
// matches (its pattern must be constant), int, double, string, and the accessors
// getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours
// getMinutes getSeconds getMilliseconds with an optional constant zone. They
// mean what they mean in CEL, except that a result that is not finite is absent.
func (c *Compiler) Compile(n *Node) (Fn, error) {
	switch n.Op {
	case OpConst:
		v := n.Const
		return func(*Env) Value { return v }, nil
	case OpField:
		slot := c.Slot(n.Path)
		if slot < 0 {
			return nil, fmt.Errorf("field %q has no slot", n.Path)
		}
		return func(e *Env) Value {
			if slot < len(e.Fields) {
				return e.Fields[slot]
			}
			return Value{}
		}, nil
	case OpInput:
		ref := n.Ref
		return func(e *Env) Value { return e.Input(ref) }, nil
	case OpVar:
		ref := n.Ref
		if ref < 0 || ref >= MaxVars {
			return nil, fmt.Errorf("comprehensions are nested too deep")
		}
		return func(e *Env) Value { return e.vars[ref] }, nil
	case OpFold:
		return c.fold(n.Fold)
	}
	args := make([]Fn, len(n.Args))
	for i, a := range n.Args {
		f, err := c.Compile(a)
		if err != nil {
			return nil, err
		}
		args[i] = f
	}
	switch n.Op {
	case OpCall:
		return c.call(n, args)
	case OpIn:
		return compileIn(n, args), nil
	}
	if f := operator(n, args); f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("operation %d cannot be evaluated", n.Op)
}

func operator(n *Node, args []Fn) Fn {
	switch n.Op {
	case OpList:
		return func(e *Env) Value {
			l := make([]Value, len(args))
			for i, a := range args {
				if l[i] = a(e); l[i].K == Absent {
					return Value{}
				}
			}
			return ListValue(l)
		}
	case OpMember:
		rec, i := args[0], n.Ref
		return func(e *Env) Value {
			if r := rec(e); r.K == Record && i < len(r.L) {
				return r.L[i]
			}
			return Value{}
		}
	case OpIndex:
		list, idx := args[0], args[1]
		return func(e *Env) Value {
			l, i := list(e), idx(e)
			if l.K == List && i.K == Int && i.N >= 0 && i.N < int64(len(l.L)) {
				return l.L[i.N]
			}
			return Value{}
		}
	case OpHas:
		a := args[0]
		return func(e *Env) Value { return BoolValue(a(e).K != Absent) }
	case OpNot:
		a := args[0]
		return func(e *Env) Value {
			if v := a(e); v.K == Bool {
				return BoolValue(v.N == 0)
			}
			return Value{}
		}
	case OpAnd:
		return logic(args, 0)
	case OpOr:
		return logic(args, 1)
	case OpCond:
		return func(e *Env) Value {
			c := args[0](e)
			if c.K != Bool {
				return Value{}
			}
			if c.N != 0 {
				return args[1](e)
			}
			return args[2](e)
		}
	case OpEq, OpNe, OpLt, OpLe, OpGt, OpGe:
		op, a, b := n.Op, args[0], args[1]
		return func(e *Env) Value { return Relate(op, a(e), b(e)) }
	case OpAdd, OpSub, OpMul, OpDiv, OpMod:
		op, a, b := n.Op, args[0], args[1]
		return func(e *Env) Value { return Arithmetic(op, a(e), b(e)) }
	case OpNeg:
		a := args[0]
		return func(e *Env) Value { return Arithmetic(OpSub, zeroLike(a(e)), a(e)) }
	}
	return nil
}

func zeroLike(v Value) Value {
	switch v.K {
	case Int, Duration:
		return Value{K: v.K}
	}
	return DoubleValue(0)
}

// logic is && for stop 0 and || for stop 1: an operand that equals stop decides,
// whatever the others are.
func logic(args []Fn, stop int64) Fn {
	return func(e *Env) Value {
		unknown := false
		for _, a := range args {
			switch v := a(e); {
			case v.K != Bool:
				unknown = true
			case v.N == stop:
				return Value{K: Bool, N: stop}
			}
		}
		if unknown {
			return Value{}
		}
		return Value{K: Bool, N: 1 - stop}
	}
}

func (c *Compiler) fold(f *Fold) (Fn, error) {
	if f.Var < 0 || f.Acc < 0 || f.Var >= MaxVars || f.Acc >= MaxVars {
		return nil, fmt.Errorf("comprehensions are nested too deep")
	}
	var fns [5]Fn
	for i, n := range []*Node{f.Range, f.Init, f.While, f.Step, f.Result} {
		fn, err := c.Compile(n)
		if err != nil {
			return nil, err
		}
		fns[i] = fn
	}
	return func(e *Env) Value {
		r := fns[0](e)
		if r.K != List {
			return Value{}
		}
		e.vars[f.Acc] = fns[1](e)
		for _, v := range r.L {
			// An unknown accumulator goes on: a later element may decide.
			if w := fns[2](e); w.K == Bool && w.N == 0 {
				break
			}
			e.vars[f.Var] = v
			e.vars[f.Acc] = fns[3](e)
		}
		return fns[4](e)
	}, nil
}

// numeric reports whether Float gives v's value for comparison with numbers.
func (v Value) numeric() bool { return v.K == Int || v.K == Double || v.K == Decimal }

// timelike reports whether v is an instant or a date (its midnight UTC).
func (v Value) timelike() bool { return v.K == Time || v.K == Date }

func (v Value) millis() int64 {
	if v.K == Date {
		return v.N * 86_400_000
	}
	return v.N
}

// Compare orders two values of comparable kinds: -1, 0 or 1. ok is false if one
// is absent or the kinds do not compare.
func Compare(a, b Value) (c int, ok bool) {
	switch {
	case a.K == b.K && (a.K == Int || a.K == Decimal || a.K == Duration || a.K == Bool || a.K == Time || a.K == Date):
		return cmp3(a.N, b.N), true
	case a.numeric() && b.numeric():
		return cmp3(a.Float(), b.Float()), true
	case a.K == String && b.K == String:
		return strings.Compare(a.S, b.S), true
	case a.timelike() && b.timelike():
		return cmp3(a.millis(), b.millis()), true
	}
	return 0, false
}

func cmp3[T int64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Equal reports whether two values are equal; ok is false if that is unknown.
func Equal(a, b Value) (eq, ok bool) {
	if a.K == Absent || b.K == Absent {
		return false, false
	}
	if a.K == List || a.K == Record {
		if a.K != b.K || len(a.L) != len(b.L) {
			return false, true
		}
		for i := range a.L {
			if eq, ok := Equal(a.L[i], b.L[i]); !ok || !eq {
				return eq, ok
			}
		}
		return true, true
	}
	c, ok := Compare(a, b)
	return ok && c == 0, true
}

// Relate applies one of the six comparisons; the result is a Bool or unknown.
func Relate(op Op, a, b Value) Value {
	if op == OpEq || op == OpNe {
		eq, ok := Equal(a, b)
		if !ok {
			return Value{}
		}
		return BoolValue(eq == (op == OpEq))
	}
	c, ok := Compare(a, b)
	if !ok {
		return Value{}
	}
	switch op {
	case OpLt:
		return BoolValue(c < 0)
	case OpLe:
		return BoolValue(c <= 0)
	case OpGt:
		return BoolValue(c > 0)
	default:
		return BoolValue(c >= 0)
	}
}

// Arithmetic applies + - * / %. Integers overflow to absent, doubles that are
// not finite are absent, and division of integers truncates.
func Arithmetic(op Op, a, b Value) Value {
	switch {
	case a.K == Int && b.K == Int:
		return integers(op, a.N, b.N, Int)
	case a.numeric() && b.numeric():
		return doubles(op, a.Float(), b.Float())
	case op == OpAdd && a.K == String && b.K == String:
		return StringValue(a.S + b.S)
	case op == OpAdd && a.K == List && b.K == List:
		return ListValue(append(append([]Value(nil), a.L...), b.L...))
	case a.K == Duration && b.K == Duration && (op == OpAdd || op == OpSub):
		return integers(op, a.N, b.N, Duration)
	case a.timelike() && b.K == Duration && (op == OpAdd || op == OpSub):
		return integers(op, a.millis(), b.N, Time)
	case a.K == Duration && b.timelike() && op == OpAdd:
		return integers(op, a.N, b.millis(), Time)
	case a.timelike() && b.timelike() && op == OpSub:
		return integers(op, a.millis(), b.millis(), Duration)
	}
	return Value{}
}

func integers(op Op, a, b int64, k Kind) Value {
	var r int64
	switch op {
	case OpAdd:
		if r = a + b; (r > a) != (b > 0) && b != 0 {
			return Value{}
		}
	case OpSub:
		if r = a - b; (r < a) != (b > 0) && b != 0 {
			return Value{}
		}
	case OpMul:
		if r = a * b; a != 0 && (r/a != b || a == -1 && b == math.MinInt64) {
			return Value{}
		}
	default:
		if b == 0 || a == math.MinInt64 && b == -1 {
			return Value{}
		}
		if r = a / b; op == OpMod {
			r = a % b
		}
	}
	return Value{K: k, N: r}
}

func doubles(op Op, a, b float64) Value {
	var r float64
	switch op {
	case OpAdd:
		r = a + b
	case OpSub:
		r = a - b
	case OpMul:
		r = a * b
	case OpDiv:
		r = a / b
	default:
		return Value{}
	}
	if math.IsInf(r, 0) {
		return Value{}
	}
	return DoubleValue(r)
}

func compileIn(n *Node, args []Fn) Fn {
	x := args[0]
	if set := constantStrings(n.Args[1]); set != nil {
		return func(e *Env) Value {
			v := x(e)
			if v.K != String {
				return Value{}
			}
			return BoolValue(set[v.S])
		}
	}
	list := args[1]
	return func(e *Env) Value {
		v, l := x(e), list(e)
		if v.K == Absent || l.K != List {
			return Value{}
		}
		unknown := false
		for _, w := range l.L {
			eq, ok := Equal(v, w)
			if eq {
				return BoolValue(true)
			}
			unknown = unknown || !ok
		}
		if unknown {
			return Value{}
		}
		return BoolValue(false)
	}
}

// constantStrings returns the set of a list of string constants, or nil.
func constantStrings(n *Node) map[string]bool {
	var vals []Value
	switch {
	case n.Op == OpConst && n.Const.K == List:
		vals = n.Const.L
	case n.Op == OpList:
		for _, a := range n.Args {
			if a.Op != OpConst {
				return nil
			}
			vals = append(vals, a.Const)
		}
	}
	set := make(map[string]bool, len(vals))
	for _, v := range vals {
		if v.K != String {
			return nil
		}
		set[v.S] = true
	}
	if len(set) == 0 {
		return nil
	}
	return set
}

func (c *Compiler) call(n *Node, args []Fn) (Fn, error) {
	if f, ok := stringTests[n.Name]; ok && len(args) == 2 {
		return func(e *Env) Value {
			s, t := args[0](e), args[1](e)
			if s.K != String || t.K != String {
				return Value{}
			}
			return BoolValue(f(s.S, t.S))
		}, nil
	}
	if f, ok := conversions[n.Name]; ok && len(args) == 1 {
		return func(e *Env) Value { return f(args[0](e)) }, nil
	}
	if f, ok := accessors[n.Name]; ok && len(args) >= 1 {
		return c.accessor(n, args[0], f)
	}
	if n.Name == "matches" && len(args) == 2 && n.Args[1].Op == OpConst {
		re, err := regexp.Compile(n.Args[1].Const.S)
		if err != nil {
			return nil, err
		}
		return func(e *Env) Value {
			s := args[0](e)
			if s.K != String {
				return Value{}
			}
			return BoolValue(re.MatchString(s.S))
		}, nil
	}
	return nil, fmt.Errorf("function %s with %d arguments cannot be evaluated", n.Name, len(args))
}

var stringTests = map[string]func(s, t string) bool{
	"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
}

var conversions = map[string]func(Value) Value{"size": size, "int": toInt, "double": toDouble, "string": toString}

func size(v Value) Value {
	switch v.K {
	case String:
		return IntValue(int64(utf8.RuneCountInString(v.S)))
	case List:
		return IntValue(int64(len(v.L)))
	}
	return Value{}
}

func toInt(v Value) Value {
	switch v.K {
	case Int:
		return v
	case Double, Decimal:
		// The largest double below 2^63; beyond it the conversion is an error.
		if f := v.Float(); f > -0x1p63 && f < 0x1p63 {
			return IntValue(int64(f))
		}
	case String:
		if n, err := strconv.ParseInt(v.S, 10, 64); err == nil {
			return IntValue(n)
		}
	case Time, Date:
		s := v.millis() / 1000
		if v.millis()%1000 < 0 {
			s--
		}
		return IntValue(s)
	}
	return Value{}
}

func toDouble(v Value) Value {
	switch v.K {
	case Int, Double, Decimal:
		return DoubleValue(v.Float())
	case String:
		if f, err := strconv.ParseFloat(v.S, 64); err == nil && !math.IsInf(f, 0) {
			return DoubleValue(f)
		}
	}
	return Value{}
}

func toString(v Value) Value {
	switch v.K {
	case String:
		return v
	case Bool, Int:
		return StringValue(v.String())
	case Double, Decimal:
		return StringValue(strconv.FormatFloat(v.Float(), 'g', -1, 64))
	case Time, Date:
		return StringValue(Millis(v.millis()).Time().Format(time.RFC3339Nano))
	case Duration:
		return StringValue(strconv.FormatFloat(float64(v.N)/1000, 'f', -1, 64) + "s")
	}
	return Value{}
}

var accessors = map[string]func(time.Time) int{
	"getFullYear":     time.Time.Year,
	"getMonth":        func(t time.Time) int { return int(t.Month()) - 1 },
	"getDate":         time.Time.Day,
	"getDayOfMonth":   func(t time.Time) int { return t.Day() - 1 },
	"getDayOfWeek":    func(t time.Time) int { return int(t.Weekday()) },
	"getDayOfYear":    func(t time.Time) int { return t.YearDay() - 1 },
	"getHours":        time.Time.Hour,
	"getMinutes":      time.Time.Minute,
	"getSeconds":      time.Time.Second,
	"getMilliseconds": func(t time.Time) int { return t.Nanosecond() / 1e6 },
}

func (c *Compiler) accessor(n *Node, arg Fn, f func(time.Time) int) (Fn, error) {
	loc := time.UTC
	if len(n.Args) == 2 {
		if n.Args[1].Op != OpConst {
			return nil, fmt.Errorf("%s: the zone must be a constant", n.Name)
		}
		z, ok := c.Zones(n.Args[1].Const.S)
		if !ok {
			return nil, fmt.Errorf("%s: unknown time zone %q", n.Name, n.Args[1].Const.S)
		}
		loc = z
	}
	return func(e *Env) Value {
		v := arg(e)
		if !v.timelike() {
			return Value{}
		}
		return IntValue(int64(f(Millis(v.millis()).Time().In(loc))))
	}, nil
}

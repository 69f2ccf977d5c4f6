package expr

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// MaxVars bounds how deep comprehensions may be nested: each takes two.
const MaxVars = 16

// Env is what a compiled expression reads: the fields of one event, or the
// inputs of one customer. It belongs to one goroutine.
type Env struct {
	Fields []Value
	Input  func(ref int) Value
	// Member looks a member up, of expressions over documents.
	Member Lookup
	// Steps is how many steps expressions over documents may still take.
	Steps int
	vars  [MaxVars]Value
}

// Fn is a compiled expression. It never panics and keeps nothing of env.
type Fn func(env *Env) Value

// Zones resolves an IANA time zone name.
type Zones func(name string) (*time.Location, bool)

// Compiler compiles trees. Slot gives the slot of an event field's path.
type Compiler struct {
	Slot  func(path string) int
	Zones Zones
	// Document is given for expressions over documents, nil for those of rules.
	Document *Document
}

// Compile compiles the tree n. The error says which part the running version
// cannot evaluate; a tree made by engine/rule has none.
//
// Functions that an OpCall may name: size, contains, startsWith, endsWith,
// matches (its pattern must be constant), orElse, int, double, string, and the accessors
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
	if f := c.fieldText(n); f != nil && c.Document == nil {
		return f, nil
	}
	args := make([]Fn, len(n.Args))
	for i, a := range n.Args {
		f, err := c.Compile(a)
		if err != nil {
			return nil, err
		}
		args[i] = f
	}
	if c.Document != nil {
		if f, err := c.Document.compile(n, args); f != nil || err != nil {
			return f, err
		}
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
		if f := constantRelation(n, a); f != nil {
			return f
		}
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
	counted := c.Document != nil
	if counted {
		if list := c.listFold(f, fns[0]); list != nil {
			return list, nil
		}
	}
	return func(e *Env) Value {
		r := fns[0](e)
		if r.K != List {
			return Value{}
		}
		e.vars[f.Acc] = fns[1](e)
		for _, v := range r.L {
			if counted && !e.Spend(1) {
				return Value{}
			}
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

// fewStrings are found faster one by one than by their hash.
const fewStrings = 6

func compileIn(n *Node, args []Fn) Fn {
	x := args[0]
	if set := constantStrings(n.Args[1]); len(set) > 0 && len(set) <= fewStrings {
		few := slices.Collect(maps.Keys(set))
		return func(e *Env) Value {
			v := x(e)
			if v.K != String {
				return Value{}
			}
			for _, s := range few {
				if s == v.S {
					return Value{K: Bool, N: 1}
				}
			}
			return Value{K: Bool}
		}
	} else if set != nil {
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

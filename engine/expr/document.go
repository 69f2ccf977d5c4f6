package expr

import (
	"fmt"
	"strconv"
	"strings"
)

// Expressions over documents: what a record holds has no type before it is there, so
// kinds are looked at where rules have types. What does not fit is absent, with both
// operators of equality as well: that a text is not a number is no answer to whether
// they are equal.

// Document compiles expressions over documents, whose values have no types. It is what
// a Compiler needs for them.
type Document struct {
	// Calls are the functions that the expressions may call beside those of rules.
	Calls map[string]func(env *Env, args []Value) Value
}

// Lookup finds the member of an object; Absent if it has none of that name.
type Lookup func(object Value, name string) Value

// Null is a value that was written as null: absent in every respect, but for who asks
// [Value.Null].
func Null() Value { return Value{N: 1} }

// Null reports whether the value is absent because it was written as null.
func (v Value) Null() bool { return v.K == Absent && v.N == 1 }

// NumberValue returns a number by its digits, as JSON writes it: a whole one that an
// Int can hold is an Int, and any other keeps its digits.
func NumberValue(text string) Value {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && text != "-0" {
		return IntValue(n)
	}
	return Value{K: Number, S: text}
}

// Spend takes n steps from what the environment may still take. It is false if there are
// not as many, and then whatever was computed is of no use.
func (e *Env) Spend(n int) bool {
	e.Steps -= n
	return e.Steps >= 0
}

// compile returns what n means over documents, nil if that is what it means in rules.
func (d *Document) compile(n *Node, args []Fn) (Fn, error) {
	switch n.Op {
	case OpSelect:
		of, name := args[0], n.Name
		return func(e *Env) Value {
			v := of(e)
			switch {
			case v.K == Object && e.Spend(1):
				return e.Member(v, name)
			case v.K == Record:
				return recordMember(v, name)
			}
			return Value{}
		}, nil
	case OpObject:
		names := n.Const.L
		return func(e *Env) Value {
			l := make([]Value, len(names), 2*len(names))
			for i, a := range args {
				l[i] = a(e)
			}
			return Value{K: Record, L: append(l, names...)}
		}, nil
	case OpList:
		return func(e *Env) Value {
			l := make([]Value, 0, len(args))
			for _, a := range args {
				if v := a(e); v.Present() {
					l = append(l, v)
				}
			}
			return ListValue(l)
		}, nil
	case OpIndex:
		of, at := args[0], args[1]
		return func(e *Env) Value {
			v, i := of(e), at(e)
			switch {
			case v.K == Object && i.K == String && e.Spend(1):
				return e.Member(v, i.S)
			case v.K == Record && i.K == String:
				return recordMember(v, i.S)
			case v.K == List && i.K == Int && i.N >= 0 && i.N < int64(len(v.L)):
				return v.L[i.N]
			}
			return Value{}
		}, nil
	case OpEq, OpNe:
		op, a, b := n.Op, args[0], args[1]
		return func(e *Env) Value { return sameKinds(op, a(e), b(e)) }, nil
	case OpIn:
		return dynamicIn(args[0], args[1]), nil
	case OpAdd:
		a, b := args[0], args[1]
		return func(e *Env) Value { return join(a(e), b(e)) }, nil
	case OpDiv:
		a, b := args[0], args[1]
		return func(e *Env) Value { return divide(a(e), b(e)) }, nil
	case OpCall:
		if f := d.Calls[n.Name]; f != nil {
			return func(e *Env) Value {
				vals := make([]Value, len(args))
				for i, a := range args {
					vals[i] = a(e)
				}
				return f(e, vals)
			}, nil
		}
	case OpConst, OpField, OpVar, OpHas, OpNot, OpAnd, OpOr, OpCond, OpLt, OpLe, OpGt, OpGe, OpSub, OpMul, OpMod, OpNeg, OpFold:
	default:
		return nil, fmt.Errorf("operation %d means nothing over documents", n.Op)
	}
	return nil, nil
}

// recordMember looks up a member of an object that an expression has made: its values,
// then their names.
func recordMember(v Value, name string) Value {
	n := len(v.L) / 2
	for i, key := range v.L[n:] {
		if key.S == name {
			return v.L[i]
		}
	}
	return Value{}
}

// comparableKinds reports whether it can be said if two values are equal.
func comparableKinds(a, b Value) bool {
	if _, ok := Compare(a, b); ok {
		return true
	}
	return a.K == List && b.K == List
}

func sameKinds(op Op, a, b Value) Value {
	if !comparableKinds(a, b) {
		return Value{}
	}
	return Relate(op, a, b)
}

// dynamicIn is membership of a list, or whether an object has a member.
func dynamicIn(x, list Fn) Fn {
	return func(e *Env) Value {
		v, l := x(e), list(e)
		if l.K == Object && v.K == String && e.Spend(1) {
			return BoolValue(e.Member(l, v.S).Present())
		}
		if v.K == Absent || l.K != List || !e.Spend(len(l.L)) {
			return Value{}
		}
		unknown := false
		for _, w := range l.L {
			switch {
			case !comparableKinds(v, w):
				unknown = true
			case Relate(OpEq, v, w).True():
				return BoolValue(true)
			}
		}
		if unknown {
			return Value{}
		}
		return BoolValue(false)
	}
}

// join is + : a text and a text or number are joined.
func join(a, b Value) Value {
	if a.K == String && b.numeric() || a.numeric() && b.K == String {
		return StringValue(a.Digits() + b.Digits())
	}
	return Arithmetic(OpAdd, a, b)
}

// divide is / : what is left over is not lost.
func divide(a, b Value) Value {
	if a.K == Int && b.K == Int && b.N != 0 && a.N%b.N != 0 {
		return doubles(OpDiv, a.Float(), b.Float())
	}
	return Arithmetic(OpDiv, a, b)
}

// Digits returns a text as it is, and a number as JSON writes it.
func (v Value) Digits() string {
	switch v.K {
	case String, Number:
		return v.S
	case Double:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	}
	return v.String()
}

// lower returns a text with A to Z in lower case, as CEL's lowerAscii.
func lower(v Value) Value {
	if v.K != String {
		return Value{}
	}
	return StringValue(strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, v.S))
}

// listFold returns filter and map: what has no value, and what a condition says nothing
// of, is left out. nil if the comprehension is none of them.
func (c *Compiler) listFold(f *Fold, over Fn) Fn {
	name, parts := macro(f)
	if name != "filter" && name != "map" {
		return nil
	}
	cond := func(*Env) Value { return BoolValue(true) }
	give := func(e *Env) Value { return e.vars[f.Var] }
	var err error
	if name == "filter" || len(parts) == 2 {
		if cond, err = c.Compile(parts[0]); err != nil {
			return nil
		}
	}
	if name == "map" {
		if give, err = c.Compile(parts[len(parts)-1]); err != nil {
			return nil
		}
	}
	return func(e *Env) Value {
		r := over(e)
		if r.K != List {
			return Value{}
		}
		l := make([]Value, 0, len(r.L))
		for _, v := range r.L {
			if !e.Spend(1) {
				return Value{}
			}
			e.vars[f.Var] = v
			if !cond(e).True() {
				continue
			}
			if v := give(e); v.Present() {
				l = append(l, v)
			}
		}
		return ListValue(l)
	}
}

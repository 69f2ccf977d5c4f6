package shapes

import (
	"fmt"
	"strconv"
)

// exists makes a condition over a list.
func (x *expressions) exists(depth int) node {
	l, name, cond := x.over(depth)
	word, decides := "exists", true
	if chance(x.r, 50) {
		word, decides = "all", false
	}
	return node{fmt.Sprintf("%s.%s(%s, %s)", l.text, word, name, cond.text), func(s scope) any {
		list, ok := l.eval(s).([]any)
		if !ok {
			return nil
		}
		var of []any
		for _, e := range list {
			of = append(of, cond.eval(s.with(name, e)))
		}
		return three(decides, of...)
	}}
}

func (s scope) with(name string, v any) scope {
	c := scope{name: v}
	for k, v := range s {
		if k != name {
			c[k] = v
		}
	}
	return c
}

// over makes a list, and a condition over an element of it.
func (x *expressions) over(depth int) (l node, name string, cond node) {
	l = x.list(max(0, depth-2))
	name = "x" + strconv.Itoa(len(x.vars))
	x.vars = append(x.vars, name)
	cond = x.truth(max(0, depth-1))
	x.vars = x.vars[:len(x.vars)-1]
	return l, name, cond
}

// list makes a list.
func (x *expressions) list(depth int) node {
	if depth == 0 || len(x.vars) > 1 {
		return x.path(arrays)
	}
	l, name, cond := x.over(depth)
	if chance(x.r, 50) {
		return node{fmt.Sprintf("%s.filter(%s, %s)", l.text, name, cond.text), func(s scope) any {
			return each(l.eval(s), func(e any) any {
				if cond.eval(s.with(name, e)) == true {
					return e
				}
				return nil
			})
		}}
	}
	x.vars = append(x.vars, name)
	give := x.value(max(0, depth-1))
	x.vars = x.vars[:len(x.vars)-1]
	return node{fmt.Sprintf("%s.map(%s, %s)", l.text, name, give.text), func(s scope) any {
		return each(l.eval(s), func(e any) any { return give.eval(s.with(name, e)) })
	}}
}

// each returns what there is of the elements; nil of what is no list.
func each(list any, of func(any) any) any {
	l, ok := list.([]any)
	if !ok {
		return nil
	}
	kept := []any{}
	for _, e := range l {
		if v := of(e); v != nil {
			kept = append(kept, v)
		}
	}
	return kept
}

package shapes

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
)

// A second reading of docs/mappings.md: expressions as functions over what encoding/json
// makes of a record. They are made with their text, and share nothing with those that run
// mappings. A value is nil (absent, also null), a bool, a num, a string, []any or Object.

// num is a number: digits is how it is written.
type num struct {
	is     *big.Rat
	digits string
}

func numOf(digits string) num {
	r, ok := new(big.Rat).SetString(digits)
	if !ok {
		panic("shapes: no number: " + digits)
	}
	return num{r, digits}
}

// computed returns a number that no producer has written.
func computed(r *big.Rat) num {
	if r.IsInt() {
		return num{r, r.Num().String()}
	}
	return num{r, strings.TrimRight(r.FloatString(20), "0")}
}

// scope is what an expression can read.
type scope map[string]any

// node is an expression.
type node struct {
	text string
	eval func(s scope) any
}

// expressions makes random ones.
type expressions struct {
	r    *rand.Rand
	vars []string // of the comprehensions around
}

// scalars and lists are the members that records have, or not.
var (
	scalars = []string{"a", "b", "c", "d", "e"}
	arrays  = []string{"k", "l"}
)

// path reads a member.
func (x *expressions) path(names []string) node {
	root := pick(x.r, append([]string{"msg", "msg", "it"}, x.vars...)...)
	steps := []string{pick(x.r, names...)}
	for range x.r.IntN(2) {
		steps = append([]string{pick(x.r, "o", "o p")}, steps...)
	}
	text := root
	for _, step := range steps {
		if strings.Contains(step, " ") || chance(x.r, 20) {
			text += fmt.Sprintf("[%q]", step)
		} else {
			text += "." + step
		}
	}
	return node{text, func(s scope) any {
		v := s[root]
		for _, step := range steps {
			o, _ := v.(Object)
			v = o[step]
		}
		return v
	}}
}

func constant(v any) node {
	switch v := v.(type) {
	case num:
		return node{v.digits, func(scope) any { return v }}
	case string:
		return node{strconv.Quote(v), func(scope) any { return v }}
	}
	return node{fmt.Sprint(v), func(scope) any { return v }}
}

func (x *expressions) number() node {
	return constant(numOf(pick(x.r, "0", "1", "2", "2.5", "100")))
}

func (x *expressions) word() node { return constant(pick(x.r, "", "a", "b", "ab", "1")) }

// value makes an expression of any kind.
func (x *expressions) value(depth int) node {
	if depth == 0 {
		if len(x.vars) > 0 && chance(x.r, 30) {
			name := pick(x.r, x.vars...)
			return node{name, func(s scope) any { return s[name] }}
		}
		return x.path(scalars)
	}
	switch x.r.IntN(10) {
	case 0:
		a, b := x.value(depth-1), x.path(scalars)
		return node{"orElse(" + a.text + ", " + b.text + ")", func(s scope) any {
			if v := a.eval(s); v != nil {
				return v
			}
			return b.eval(s)
		}}
	case 1:
		c, a, b := x.truth(depth-1), x.path(scalars), pick(x.r, x.path(scalars), x.number(), x.word(), constant(nil))
		if b.text == "<nil>" {
			b.text = "null"
		}
		return node{"(" + c.text + " ? " + a.text + " : " + b.text + ")", func(s scope) any {
			switch c.eval(s) {
			case true:
				return a.eval(s)
			case false:
				return b.eval(s)
			}
			return nil
		}}
	case 2, 3:
		return x.sum(depth)
	case 4:
		a, b := x.path(scalars), x.path(scalars)
		return node{"id(" + a.text + ", " + b.text + ")", func(s scope) any {
			p, ok := textOf(a.eval(s))
			q, also := textOf(b.eval(s))
			if !ok || !also || p == "" || q == "" {
				return nil
			}
			return strings.ReplaceAll(p, ":", "::") + ":" + strings.ReplaceAll(q, ":", "::")
		}}
	case 5:
		a := x.path(arrays)
		return node{a.text + "[1]", func(s scope) any {
			if l, _ := a.eval(s).([]any); len(l) > 1 {
				return l[1]
			}
			return nil
		}}
	case 6:
		a := x.path(scalars)
		return node{a.text + ".lowerAscii()", func(s scope) any {
			if t, ok := a.eval(s).(string); ok {
				return strings.ToLower(t)
			}
			return nil
		}}
	case 7:
		l := x.list(depth - 1)
		return node{"size(" + l.text + ")", func(s scope) any {
			n := 0
			switch v := l.eval(s).(type) {
			case []any:
				n = len(v)
			case string:
				n = len([]rune(v))
			default:
				return nil
			}
			return computed(big.NewRat(int64(n), 1))
		}}
	case 8:
		return x.truth(depth)
	}
	return x.path(scalars)
}

// textOf returns a text, or the digits of a number.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case num:
		return v.digits, true
	}
	return "", false
}

// sum makes arithmetic: + joins texts, and texts with numbers.
func (x *expressions) sum(depth int) node {
	a, b := x.path(scalars), pick(x.r, x.path(scalars), x.number())
	op := pick(x.r, "+", "+", "-", "*")
	if chance(x.r, 30) {
		op, b = "/", constant(numOf(pick(x.r, "2", "4", "0")))
	}
	return node{"(" + a.text + " " + op + " " + b.text + ")", func(s scope) any {
		v, w := a.eval(s), b.eval(s)
		p, isNum := v.(num)
		q, too := w.(num)
		if !isNum || !too {
			t, ok := textOf(v)
			u, also := textOf(w)
			if op == "+" && ok && also {
				return t + u
			}
			return nil
		}
		switch r := new(big.Rat); {
		case op == "+":
			return computed(r.Add(p.is, q.is))
		case op == "-":
			return computed(r.Sub(p.is, q.is))
		case op == "*":
			return computed(r.Mul(p.is, q.is))
		case q.is.Sign() != 0:
			return computed(r.Quo(p.is, q.is))
		}
		return nil
	}}
}

// truth makes a condition.
func (x *expressions) truth(depth int) node {
	if depth == 0 {
		return x.comparison()
	}
	switch x.r.IntN(8) {
	case 0, 1:
		a, b, and := x.truth(depth-1), x.truth(depth-1), chance(x.r, 50)
		op := map[bool]string{true: "&&", false: "||"}[and]
		return node{"(" + a.text + " " + op + " " + b.text + ")", func(s scope) any { return three(!and, a.eval(s), b.eval(s)) }}
	case 2:
		a := x.truth(depth - 1)
		return node{"!(" + a.text + ")", func(s scope) any {
			if v, ok := a.eval(s).(bool); ok {
				return !v
			}
			return nil
		}}
	case 3:
		a := x.path(append(scalars, arrays...))
		if strings.HasSuffix(a.text, "]") { // has() needs a dot
			return x.comparison()
		}
		return node{"has(" + a.text + ")", func(s scope) any { return a.eval(s) != nil }}
	case 4, 5:
		return x.exists(depth)
	case 6:
		a, w := x.path(scalars), x.word()
		name, does := "startsWith", strings.HasPrefix
		if chance(x.r, 50) {
			name, does = "contains", strings.Contains
		}
		return node{fmt.Sprintf("%s.%s(%s)", a.text, name, w.text), func(s scope) any {
			if t, ok := a.eval(s).(string); ok {
				return does(t, w.eval(s).(string))
			}
			return nil
		}}
	}
	return x.comparison()
}

// three is || where decides is true, and && where it is false, of three-valued logic.
func three(decides bool, of ...any) any {
	unknown := false
	for _, v := range of {
		switch v {
		case decides:
			return decides
		case !decides:
		default:
			unknown = true
		}
	}
	if unknown {
		return nil
	}
	return !decides
}

func (x *expressions) comparison() node {
	a, b := x.value(0), pick(x.r, x.number(), x.word(), x.path(scalars))
	op := pick(x.r, "==", "!=", "<", ">=")
	if strings.ContainsAny(b.text, ".[") && !strings.ContainsAny(b.text[:1], `"0123456789`) {
		op = pick(x.r, "==", "!=") // of two truths, nobody asks which is greater
	}
	if op == "==" && chance(x.r, 30) {
		c := x.word()
		return node{fmt.Sprintf("%s in [%s, %s]", a.text, c.text, b.text), func(s scope) any {
			v := a.eval(s)
			if v == nil {
				return nil
			}
			of := []any{equal(v, c.eval(s))}
			if w := b.eval(s); w != nil { // a list holds what is there
				of = append(of, equal(v, w))
			}
			return three(true, of...)
		}}
	}
	return node{"(" + a.text + " " + op + " " + b.text + ")", func(s scope) any {
		v, w := a.eval(s), b.eval(s)
		switch op {
		case "==":
			return equal(v, w)
		case "!=":
			if e, ok := equal(v, w).(bool); ok {
				return !e
			}
			return nil
		}
		c, ok := order(v, w)
		if !ok {
			return nil
		}
		return op == "<" && c < 0 || op == ">=" && c >= 0
	}}
}

// order compares two texts or two numbers.
func order(v, w any) (int, bool) {
	switch v := v.(type) {
	case string:
		if w, ok := w.(string); ok {
			return strings.Compare(v, w), true
		}
	case num:
		if w, ok := w.(num); ok {
			return v.is.Cmp(w.is), true
		}
	}
	return 0, false
}

func equal(v, w any) any {
	if a, ok := v.(bool); ok {
		if b, ok := w.(bool); ok {
			return a == b
		}
		return nil
	}
	if c, ok := order(v, w); ok {
		return c == 0
	}
	return nil
}

// decoded reads JSON as expressions see it.
func decoded(text []byte) any {
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		panic(fmt.Sprintf("%v: %s", err, text))
	}
	return numbers(v)
}

func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		return numOf(string(v))
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case Object:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

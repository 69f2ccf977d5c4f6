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
	if n.Name == OrElse && len(args) == 2 {
		return orElse(n.Type, args[0], args[1]), nil
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

// OrElse is the name of the function whose value is that of its second argument where
// the first is absent.
const OrElse = "orElse"

// orElse makes whole numbers doubles where either argument can be one: the value must be
// of its type, whichever argument it comes from.
func orElse(k Kind, first, second Fn) Fn {
	return func(e *Env) Value {
		v := first(e)
		if !v.Present() {
			v = second(e)
		}
		if k == Double && v.K == Int {
			return DoubleValue(v.Float())
		}
		return v
	}
}

var stringTests = map[string]func(s, t string) bool{
	"contains": strings.Contains, "startsWith": strings.HasPrefix, "endsWith": strings.HasSuffix,
}

var conversions = map[string]func(Value) Value{"size": size, "int": toInt, "double": toDouble, "string": toString, "lowerAscii": lower}

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
	case Double, Decimal, Number:
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
	case Number:
		if f := v.Float(); !math.IsInf(f, 0) {
			return DoubleValue(f)
		}
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
	case Number:
		return StringValue(v.S)
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

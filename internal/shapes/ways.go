package shapes

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmill/segmill/internal/sim"
)

// way is an expression, and what writes a value such that the expression gives it. A value
// that is nil is written so that the expression has none.
type way struct {
	text string
	put  func(el Object, v any)
}

// writer makes ways to write the values of one field.
type writer struct {
	*grammar
	root   string // what the expressions read
	clears bool   // null clears
	empty  bool   // an empty text clears
}

// of returns a way to write a field that has the known values.
func (w *writer) of(known []any) way {
	place := w.place()
	if w.clears { // an empty text is null, which only a bare member gives
		return place
	}
	f := w.form(known)
	text := strings.ReplaceAll(f.text, "$", place.text)
	value := func(el Object, v any) {
		if v == nil {
			place.put(el, nil)
			return
		}
		place.put(el, f.of(v))
	}
	switch {
	case f.of == nil:
		return place
	case !w.empty:
		return way{text, value}
	}
	// What clears cannot be computed: it is written beside.
	beside := w.name()
	return way{fmt.Sprintf("orElse(%s, %s.%s)", text, w.root, beside), func(el Object, v any) {
		if v == "" {
			el[beside] = v
			return
		}
		value(el, v)
	}}
}

// place returns a way to write any value as it is.
func (w *writer) place() way {
	n, root := w.name(), w.root
	plain := way{root + "." + n, func(el Object, v any) {
		switch {
		case v == "" && w.clears:
			el[n] = nil
		case v != nil:
			el[n] = shown(v)
		case !w.clears && chance(w.r, 20):
			el[n] = nil // as if it were not there
		}
	}}
	if w.clears {
		return plain
	}
	put := func(el Object, name string, v any) {
		if v != nil {
			el[name] = shown(v)
		}
	}
	switch w.r.IntN(7) {
	case 0:
		strange := n + ` no-word`
		return way{fmt.Sprintf("%s[%q]", root, strange), func(el Object, v any) { put(el, strange, v) }}
	case 1:
		return way{fmt.Sprintf("%s.%s.a.b", root, n), func(el Object, v any) {
			if v != nil || chance(w.r, 50) {
				inner := Object{}
				put(inner, "b", v)
				el[n] = Object{"a": inner}
			}
		}}
	case 2:
		return way{fmt.Sprintf("orElse(%s.%s, %s.%s_2)", root, n, root, n), func(el Object, v any) {
			put(el, n+pick(w.r, "", "_2"), v)
		}}
	case 3:
		return way{fmt.Sprintf("(%s.%s_is ? %s.%s : %s.%s_2)", root, n, root, n, root, n), func(el Object, v any) {
			is := chance(w.r, 50)
			el[n+"_is"] = is
			put(el, n+map[bool]string{true: "", false: "_2"}[is], v)
			put(el, n+map[bool]string{true: "_2", false: ""}[is], "other")
		}}
	case 4:
		return way{fmt.Sprintf("pair(%s.%s, \"p\")", root, n), func(el Object, v any) {
			l := []any{Object{"key": "o", "value": 1}}
			if v != nil {
				l = append(l, Object{pick(w.r, "key", "name"): "p", "value": shown(v)})
			}
			el[n] = l
		}}
	case 5:
		return way{fmt.Sprintf("json(%s.%s).x", root, n), func(el Object, v any) {
			if v == nil {
				return
			}
			b, err := json.Marshal(Object{"x": shown(v)})
			if err != nil {
				panic(err)
			}
			el[n] = string(b)
		}}
	}
	return plain
}

// shown returns a value as JSON can have it: an instant in one of its forms.
func shown(v any) any {
	at, ok := v.(sim.Millis)
	if !ok {
		return v
	}
	switch at % 3 {
	case 0:
		return int64(at)
	case 1:
		return strconv.FormatInt(int64(at), 10)
	default:
		return at.Time().In(time.FixedZone("", 5*3600+1800)).Format("2006-01-02T15:04:05.000Z07:00")
	}
}

// form is a computation, of the place $, and what is written there.
type form struct {
	text string
	of   func(v any) any // nil: the value as it is
}

// form returns one for values such as the known ones.
func (w *writer) form(known []any) form {
	same := form{"$", nil}
	l := slices.DeleteFunc(slices.Clone(known), func(v any) bool { return v == "" })
	if len(l) == 0 || chance(w.r, 30) {
		return same
	}
	switch l[0].(type) {
	case json.Number:
		return w.number(l)
	case bool:
		return pick(w.r, same,
			form{`($ == "yes")`, func(v any) any { return map[bool]string{true: "yes", false: "no"}[v.(bool)] }},
			form{`!($ == 0)`, func(v any) any { return map[bool]int{true: 1, false: 0}[v.(bool)] }},
			form{"$", func(v any) any { return pick(w.r, fmt.Sprint(v), strings.ToUpper(fmt.Sprint(v))) }})
	case string:
		return w.word(l)
	case []any:
		return w.list(l)
	}
	return same
}

// number returns a form of numbers.
func (w *writer) number(known []any) form {
	cents := !slices.ContainsFunc(known, func(v any) bool { return units(v)%100 != 0 })
	l := []form{
		{"$", func(v any) any { return string(v.(json.Number)) }},
		{"($ / 10000)", func(v any) any { return units(v) }},
		{"decimal64($, 4)", func(v any) any { return base64.StdEncoding.EncodeToString(twos(units(v))) }},
	}
	if cents {
		l = append(l, form{"($ / 100)", func(v any) any { return units(v) / 100 }},
			form{`minor($, "EUR")`, func(v any) any { return units(v) / 100 }},
			form{`minor($, "KWD")`, func(v any) any { return units(v) / 10 }})
	}
	return pick(w.r, l...)
}

// units returns a number in units of 10^-4.
func units(v any) int64 {
	r, ok := new(big.Rat).SetString(string(v.(json.Number)))
	if !ok {
		panic(fmt.Sprint("shapes: no number: ", v))
	}
	return r.Mul(r, big.NewRat(10_000, 1)).Num().Int64()
}

// twos returns a number as bytes in two's complement.
func twos(n int64) (b []byte) {
	for i := 7; i >= 0; i-- {
		b = append(b, byte(n>>(8*i)))
	}
	return b
}

// word returns a form of texts.
func (w *writer) word(known []any) form {
	var words []string
	dates := true
	for _, v := range known {
		s := v.(string)
		if _, err := time.Parse(time.DateOnly, s); err != nil {
			dates = false
		}
		if !slices.Contains(words, s) {
			words = append(words, s)
		}
	}
	l := []form{{`("" + $)`, func(v any) any { return v }}, {"$", nil}}
	if dates {
		return pick(w.r, l[1], form{"epoch_days($)", func(v any) any {
			at, _ := time.Parse(time.DateOnly, v.(string))
			return at.Unix() / 86_400
		}})
	}
	if !slices.ContainsFunc(words, func(s string) bool { return s != strings.ToLower(s) }) {
		l = append(l, form{"$.lowerAscii()", func(v any) any { return strings.ToUpper(v.(string)) }})
	}
	if len(words) < 6 { // numbers stand for words
		text := "null"
		for i, s := range words {
			text = fmt.Sprintf("$ == %d ? %q : (%s)", i, s, text)
		}
		l = append(l, form{"(" + text + ")", func(v any) any { return slices.Index(words, v.(string)) }})
	}
	return pick(w.r, l...)
}

// list returns a form of lists: of texts, or of items.
func (w *writer) list(known []any) form {
	var parts Object
	for _, v := range known {
		for _, e := range v.([]any) {
			if o, ok := e.(Object); ok {
				if parts == nil {
					parts = Object{}
				}
				for name, v := range o {
					l, _ := parts[name].([]any)
					parts[name] = append(l, v)
				}
			}
		}
	}
	element := way{"x.text", func(el Object, v any) { el["text"] = v }}
	if parts != nil {
		element = w.inner(parts)
	}
	keep := chance(w.r, 40)
	text := fmt.Sprintf("$.map(x, %s)", element.text)
	if keep {
		text = fmt.Sprintf("$.filter(x, x.on != 0).map(x, %s)", element.text)
	}
	return form{text, func(v any) any {
		l := []any{}
		for _, e := range v.([]any) {
			el := Object{"on": 1}
			element.put(el, e)
			l = append(l, el)
			if keep && chance(w.r, 30) { // and one more that is not wanted, or of which that is unknown
				more := pick(w.r, Object{"on": 0}, Object{"on": "unknown"}, Object{})
				element.put(more, e)
				l = append(l, more)
			}
		}
		return l
	}}
}

// inner returns a way to write an object, x in a list, member by member.
func (w *writer) inner(known Object) way {
	of := writer{w.grammar, "x", false, false}
	var names, texts []string
	for name := range known {
		names = append(names, name)
	}
	slices.Sort(names)
	ways := map[string]way{}
	for _, name := range names {
		ways[name] = of.of(known[name].([]any))
		texts = append(texts, fmt.Sprintf("%q: %s", name, ways[name].text))
	}
	return way{"{" + strings.Join(texts, ", ") + "}", func(el Object, v any) {
		o, _ := v.(Object)
		for _, name := range names {
			ways[name].put(el, o[name])
		}
	}}
}

// object returns a way to write attributes.
func (w *writer) object(known map[string][]any, name string) way {
	if w.clears || chance(w.r, 40) {
		at := w.name()
		return way{w.root + "." + at, func(el Object, v any) {
			if v == nil {
				return
			}
			o := Object{}
			for key, value := range v.(Object) {
				if o[key] = value; value == "" && w.clears {
					o[key] = nil
				}
			}
			el[at] = o
		}}
	}
	members := Object{}
	for path, l := range known {
		if key, ok := strings.CutPrefix(path, name+"."); ok {
			members[key] = l
		}
	}
	of := writer{w.grammar, w.root, false, w.empty}
	var names, texts []string
	for key := range members {
		names = append(names, key)
	}
	slices.Sort(names)
	ways := map[string]way{}
	for _, key := range names {
		ways[key] = of.of(members[key].([]any))
		texts = append(texts, fmt.Sprintf("%q: %s", key, ways[key].text))
	}
	return way{"{" + strings.Join(texts, ", ") + "}", func(el Object, v any) {
		o, _ := v.(Object)
		for _, key := range names {
			ways[key].put(el, o[key])
		}
	}}
}

// joined returns a way to write an event id of two parts.
func (w *writer) joined() way {
	a, b := w.name(), w.name()
	return way{fmt.Sprintf("id(%s.%s, %s.%s)", w.root, a, w.root, b), func(el Object, v any) {
		parts := v.([2]string)
		el[a] = parts[0]
		el[b] = json.Number(parts[1])
	}}
}

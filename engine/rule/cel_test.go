package rule

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"pgregory.net/rapid"

	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// oracleFields are the fields of the stream that the conditions of TestCEL are
// about. A name that starts with o may be absent.
func oracleCatalog() *plan.Catalog {
	c := testCatalog()
	item := c.Fields[plan.Web][len(c.Fields[plan.Web])-2].Type
	var fields []expr.Field
	for name, k := range map[string]expr.Kind{"b": expr.Bool, "i": expr.Int, "d": expr.Double, "s": expr.String, "t": expr.Time} {
		fields = append(fields, expr.Field{Name: name, Type: expr.Type{Kind: k}}, expr.Field{Name: "o" + name, Type: expr.Type{Kind: k, Optional: true}})
	}
	c.Fields[plan.Web] = append(fields, expr.Field{Name: "items", Type: item},
		expr.Field{Name: "li", Type: expr.Type{Kind: expr.List, Elem: &expr.Type{Kind: expr.Int}}},
		expr.Field{Name: "m", Type: expr.Type{Kind: expr.String, Map: true}})
	return c
}

// generator draws conditions on one event. Its variables are those of the
// comprehensions around.
type generator struct {
	t     *rapid.T
	items []string
	ints  []string
	names int
}

func (g *generator) pick(options ...func() string) string {
	return options[rapid.IntRange(0, len(options)-1).Draw(g.t, "form")]()
}

func (g *generator) word(words ...string) string { return rapid.SampledFrom(words).Draw(g.t, "word") }

func (g *generator) bool(depth int) string {
	leaf := func() string {
		return g.word("true", "false", "web.b", "web.ob", "has(web.oi)", "has(web.os)", "has(web.m.k)", `("k" in web.m)`, `("z" in web.m)`)
	}
	if depth == 0 {
		return leaf()
	}
	d := depth - 1
	pair := func(f func(int) string) string {
		return "(" + f(d) + " " + g.word("==", "!=", "<", "<=", ">", ">=") + " " + f(d) + ")"
	}
	return g.pick(leaf,
		func() string { return pair(g.int) }, func() string { return pair(g.double) }, func() string { return pair(g.string) },
		func() string { return pair(g.time) },
		func() string { return "(" + g.int(d) + " " + g.word("==", "!=", "<", ">=") + " " + g.double(d) + ")" },
		func() string { return "!" + g.bool(d) },
		func() string { return "(" + g.bool(d) + " " + g.word("&&", "||") + " " + g.bool(d) + ")" },
		func() string { return "(" + g.bool(d) + " " + g.word("&&", "||") + " " + g.bool(d) + ")" },
		func() string { return "(" + g.bool(d) + " ? " + g.bool(d) + " : " + g.bool(d) + ")" },
		func() string {
			return g.string(d) + g.word(".contains(", ".startsWith(", ".endsWith(") + g.string(d) + ")"
		},
		func() string { return g.string(d) + `.matches("^[ab]+$")` },
		func() string { return "(" + g.string(d) + " in [" + g.string(d) + ", " + g.string(0) + `, "b"])` },
		func() string { return "(" + g.int(d) + " in " + g.word("web.li", "[1, 2, 3]", "[1, 2.0]") + ")" },
		func() string { return g.fold(d, g.word("exists", "all", "exists_one"), g.bool) },
	)
}

// fold draws a comprehension whose last argument comes from body.
func (g *generator) fold(depth int, macro string, body func(int) string) string {
	g.names++
	v := fmt.Sprintf("x%d", g.names)
	list := "web.li"
	vars := &g.ints
	if rapid.Bool().Draw(g.t, "items") {
		list, vars = "web.items", &g.items
	}
	*vars = append(*vars, v)
	defer func() { *vars = (*vars)[:len(*vars)-1] }()
	return list + "." + macro + "(" + v + ", " + body(depth) + ")"
}

func (g *generator) int(depth int) string {
	leaf := func() string {
		words := append([]string{"0", "1", "7", "-3", "web.i", "web.oi", "9223372036854775807"}, g.ints...)
		for _, v := range g.items {
			words = append(words, v+".quantity")
		}
		return g.word(words...)
	}
	if depth == 0 {
		return leaf()
	}
	d := depth - 1
	return g.pick(leaf,
		func() string {
			return "(" + g.int(d) + " " + g.word("+", "-", "*", "/", "%") + " " + g.int(d) + ")"
		},
		func() string { return "-" + g.int(0) },
		func() string { return "size(" + g.string(d) + ")" },
		func() string { return "size(" + g.fold(d, "filter", g.bool) + ")" },
		func() string { return "size(" + g.fold(d, "map", g.int) + ")" },
		func() string { return "web.li[" + g.int(d) + "]" },
		func() string { return "int(" + g.double(d) + ")" },
		func() string { return "int(" + g.string(d) + ")" },
		func() string { return "(" + g.bool(d) + " ? " + g.int(d) + " : " + g.int(d) + ")" },
		func() string {
			return g.time(d) + g.word(".getHours()", ".getDayOfWeek()", ".getFullYear()", `.getHours("Asia/Tokyo")`, ".getDayOfYear()", ".getMonth()", ".getDate()")
		},
	)
}

func (g *generator) double(depth int) string {
	leaf := func() string {
		words := []string{"0.0", "1.5", "-2.25", "web.d", "web.od"}
		for _, v := range g.items {
			words = append(words, v+".price")
		}
		return g.word(words...)
	}
	if depth == 0 {
		return leaf()
	}
	d := depth - 1
	return g.pick(leaf,
		func() string { return "(" + g.double(d) + " " + g.word("+", "-", "*") + " " + g.double(d) + ")" },
		func() string { return "double(" + g.int(d) + ")" },
		func() string { return "(" + g.bool(d) + " ? " + g.double(d) + " : " + g.double(d) + ")" },
	)
}

func (g *generator) string(depth int) string {
	leaf := func() string {
		words := []string{`""`, `"a"`, `"b"`, `"äb"`, "web.s", "web.os", "web.m.k", `web.m["z"]`}
		for _, v := range g.items {
			words = append(words, v+".product_id", v+".category")
		}
		return g.word(words...)
	}
	if depth == 0 {
		return leaf()
	}
	d := depth - 1
	return g.pick(leaf,
		func() string { return "(" + g.string(d) + " + " + g.string(d) + ")" },
		func() string { return "string(" + g.int(d) + ")" },
		func() string { return "string(" + g.time(d) + ")" },
	)
}

func (g *generator) time(depth int) string {
	leaf := func() string { return g.word("web.t", "web.ot", `timestamp("2026-03-29T00:59:59.5Z")`) }
	if depth == 0 {
		return leaf()
	}
	return g.pick(leaf, func() string {
		return "(" + g.time(depth-1) + g.word(" + ", " - ") + g.word(`duration("36h")`, `duration("1500ms")`) + ")"
	})
}

// event draws an event, as CEL and as the engine see it.
func event1(t *rapid.T, fields []expr.Field) (map[string]any, map[string]expr.Value) {
	native, ours := make(map[string]any), make(map[string]expr.Value)
	put := func(name string, n any, v expr.Value) { native[name], ours[name] = n, v }
	word := func() string { return rapid.SampledFrom([]string{"", "a", "b", "ab", "äb", "12"}).Draw(t, "text") }
	for _, f := range fields {
		if f.Type.Optional && rapid.Bool().Draw(t, "absent") {
			continue
		}
		switch {
		case f.Type.Map:
			m := make(map[string]string)
			if rapid.Bool().Draw(t, "key") {
				m["k"] = word()
				ours["m.k"] = expr.StringValue(m["k"])
			}
			native[f.Name] = m
		case f.Name == "li":
			l, v := []int64{}, []expr.Value{}
			for range rapid.IntRange(0, 3).Draw(t, "size") {
				l = append(l, rapid.Int64Range(-2, 3).Draw(t, "n"))
				v = append(v, expr.IntValue(l[len(l)-1]))
			}
			put("li", l, expr.ListValue(v))
		case f.Name == "items":
			l, v := []any{}, []expr.Value{}
			for range rapid.IntRange(0, 3).Draw(t, "size") {
				n, o := item(t, word)
				l, v = append(l, n), append(v, o)
			}
			put("items", l, expr.ListValue(v))
		case f.Type.Kind == expr.Bool:
			b := rapid.Bool().Draw(t, "b")
			put(f.Name, b, expr.BoolValue(b))
		case f.Type.Kind == expr.Int:
			n := rapid.Int64Range(-3, 8).Draw(t, "n")
			put(f.Name, n, expr.IntValue(n))
		case f.Type.Kind == expr.Double:
			x := float64(rapid.IntRange(-9, 9).Draw(t, "d")) / 4
			put(f.Name, x, expr.DoubleValue(x))
		case f.Type.Kind == expr.String:
			s := word()
			put(f.Name, s, expr.StringValue(s))
		case f.Type.Kind == expr.Time:
			ms := rapid.Int64Range(1774745990_000, 1774746010_000).Draw(t, "t")
			put(f.Name, time.UnixMilli(ms).UTC(), expr.TimeValue(expr.Millis(ms)))
		}
	}
	return native, ours
}

func item(t *rapid.T, word func() string) (map[string]any, expr.Value) {
	id, q := word(), rapid.Int64Range(0, 3).Draw(t, "quantity")
	n := map[string]any{"product_id": id, "quantity": q}
	v := make([]expr.Value, 7)
	v[0], v[5] = expr.StringValue(id), expr.IntValue(q)
	if rapid.Bool().Draw(t, "category") {
		c := word()
		n["category"], v[3] = c, expr.StringValue(c)
	}
	if rapid.Bool().Draw(t, "price") {
		p := rapid.Int64Range(0, 40_000).Draw(t, "price")
		n["price"], v[6] = float64(p)/expr.DecimalOne, expr.DecimalValue(p)
	}
	return n, expr.RecordValue(v)
}

// TestCEL: what a condition on events is translated to gives what CEL's own
// interpreter gives; unknown stands for its errors.
func TestCEL(t *testing.T) {
	cat := oracleCatalog()
	env, err := cel.NewEnv(cel.Variable("web", cel.DynType), cel.CrossTypeNumericComparisons(true))
	if err != nil {
		t.Fatal(err)
	}
	judged, known := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		g := &generator{t: t}
		text := g.bool(rapid.IntRange(1, 4).Draw(t, "depth"))
		set, err := Parse([]File{{Name: "r.yaml", Data: []byte("version: 1\nactivity:\n  - |\n    " + text + "\n")}}, cat, testKinds(), testZones)
		if err != nil {
			if m := err.Error(); strings.Contains(m, "has no value") || strings.Contains(m, "is always") ||
				strings.Contains(m, "activity must list streams") || strings.Contains(m, "nested at most 3 deep") {
				return // constants that are worked out beforehand
			}
			t.Fatalf("%s\n%v", text, err)
		}
		// Not checked: CEL's checker refuses 1 == 1.0, its interpreter does not.
		tree, issues := env.Parse(text)
		if issues.Err() != nil {
			t.Fatalf("%s\n%v", text, issues.Err())
		}
		program, err := env.Program(tree)
		if err != nil {
			t.Fatal(err)
		}
		cond := set.Spec.Activity[0].Cond
		for range 4 {
			native, ours := event1(t, cat.Fields[plan.Web])
			want := expr.Value{}
			if out, _, err := program.Eval(map[string]any{"web": native}); err == nil {
				want = expr.BoolValue(out == types.True)
				known++
			}
			judged++
			if got := run(t, cond, ours); got.K != want.K || got.N != want.N {
				t.Fatalf("%s\nread as %s\nevent %v\ngives %v, CEL gives %v", text, cond.Text(nil), native, got, want)
			}
		}
	})
	t.Logf("%d judged, %d of them known", judged, known)
	if known == 0 || known == judged {
		t.Error("the events decide nothing")
	}
}

func run(t *rapid.T, n *expr.Node, fields map[string]expr.Value) expr.Value {
	var paths []string
	var vals []expr.Value
	for p, v := range fields {
		paths, vals = append(paths, p), append(vals, v)
	}
	paths, vals = append(paths, ""), append(vals, expr.Value{})
	c := expr.Compiler{Zones: testZones, Slot: func(p string) int {
		for i, q := range paths {
			if p == q {
				return i
			}
		}
		return len(paths) - 1
	}}
	fn, err := c.Compile(n)
	if err != nil {
		t.Fatal(err)
	}
	return fn(&expr.Env{Fields: vals})
}

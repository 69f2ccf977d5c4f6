package schemas

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/bad"
)

// The reader is tested against events that goavro wrote with schemas which differ
// from ours in every way that a producer's may. For each field one of the variants
// below is chosen: a type, a value for goavro, and what must come out.

type variant struct {
	typ    any // the writer's type
	branch string
	native any
	want   expr.Value
}

type gen struct {
	*rand.Rand
	n int // of named types so far
}

func (g *gen) name() string { g.n++; return fmt.Sprintf("T%d", g.n) }

func logical(typ, l string) map[string]any { return map[string]any{"type": typ, "logicalType": l} }

func decimal(precision, scale int) map[string]any {
	return map[string]any{"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}
}

func (g *gen) text() string {
	return []string{"", "x", "Grüße", "日本", strings.Repeat("long ", g.Intn(20)), fmt.Sprint(g.Int63())}[g.Intn(6)]
}

func (g *gen) stringField(f expr.Field) variant {
	s := "id-" + g.text()
	if f.Name == "time_zone" {
		s = "Europe/Berlin"
	}
	v := variant{native: s, want: expr.StringValue(s)}
	switch g.Intn(3) {
	case 0:
		v.typ, v.branch, v.native = "bytes", "bytes", []byte(s)
	case 1:
		n := g.name()
		v.typ = map[string]any{"type": "enum", "name": n, "symbols": []string{"other", "UTC"}}
		v.branch, v.native, v.want = n, "UTC", expr.StringValue("UTC")
	default:
		v.typ, v.branch = "string", "string"
	}
	return v
}

func (g *gen) enumField(f expr.Field) variant {
	want := f.Type.Symbols[g.Intn(len(f.Type.Symbols))]
	written := want
	if g.Intn(4) == 0 {
		written, want = "brand_new", "unknown"
	}
	if g.Intn(2) == 0 {
		return variant{"string", "string", strings.ToUpper(written), expr.StringValue(want)}
	}
	syms := append([]string{"brand_new"}, f.Type.Symbols...)
	g.Shuffle(len(syms), func(i, j int) { syms[i], syms[j] = syms[j], syms[i] })
	n := g.name()
	return variant{map[string]any{"type": "enum", "name": n, "symbols": syms}, n, written, expr.StringValue(want)}
}

// decimalField: d is the value in units of 10^-4. What becomes of signs has tests of
// its own.
func (g *gen) decimalField() variant {
	d := g.Int63n(1_000_000_000)
	v := variant{want: expr.DecimalValue(d)}
	switch g.Intn(8) {
	case 0:
		v.typ, v.branch, v.native = decimal(18, 4), "bytes.decimal", big.NewRat(d, 10_000)
	case 1:
		v.typ, v.branch, v.native = decimal(38, 20), "bytes.decimal", big.NewRat(d, 10_000)
	case 2:
		v.typ, v.branch, v.native = decimal(12, 2), "bytes.decimal", big.NewRat(d/100, 100)
		v.want.N = d / 100 * 100
	case 3:
		v.typ, v.branch, v.native = "double", "double", float64(d)/10_000+1e-9
	case 4:
		v.typ, v.branch, v.native, v.want.N = "float", "float", float32(d/1e6)/4, d/1e6*2500
	case 5:
		v.typ, v.branch, v.native, v.want.N = "long", "long", d, d*10_000
	case 6:
		v.typ, v.branch, v.native, v.want.N = "int", "int", int32(d/10), d/10*10_000
	default:
		v.typ, v.branch, v.native = "string", "string", expr.FormatDecimal(d)
	}
	return v
}

func (g *gen) timeField() variant {
	ms := 1_000_000_000_000 + g.Int63n(1_000_000_000_000)
	t := time.UnixMilli(ms).UTC()
	v := variant{want: expr.TimeValue(expr.Millis(ms))}
	switch g.Intn(5) {
	case 0:
		v.typ, v.branch, v.native = logical("long", "timestamp-millis"), "long.timestamp-millis", t
	case 1:
		v.typ, v.branch, v.native = logical("long", "timestamp-micros"), "long.timestamp-micros", t.Add(999*time.Microsecond)
	case 2:
		v.typ, v.branch, v.native = "long", "long", ms
	case 3:
		v.typ, v.branch, v.native = "long", "long", ms*1000+999
	default:
		v.typ, v.branch, v.native = "string", "string", t.In(time.FixedZone("", 5400)).Format(time.RFC3339Nano)
	}
	return v
}

func (g *gen) dateField() variant {
	day := g.Int63n(40_000) - 20_000
	t := time.Unix(day*86_400, 0).UTC()
	v := variant{want: expr.DateValue(day)}
	switch g.Intn(4) {
	case 0:
		v.typ, v.branch, v.native = logical("int", "date"), "int.date", t
	case 1:
		v.typ, v.branch, v.native = "int", "int", int32(day)
	case 2:
		v.typ, v.branch, v.native = logical("long", "timestamp-millis"), "long.timestamp-millis", t.Add(23*time.Hour)
	default:
		v.typ, v.branch, v.native = "string", "string", t.Format(time.DateOnly)
	}
	return v
}

func (g *gen) listField(f expr.Field) variant {
	rec := *f.Type.Elem
	typ, fields := g.record(g.name(), rec.Fields, []string{"product_id"})
	var native []any
	var want []expr.Value
	for range g.Intn(4) {
		m := map[string]any{}
		item := make([]expr.Value, len(rec.Fields))
		for i, f := range rec.Fields {
			if f.Name == "quantity" {
				item[i] = expr.IntValue(1)
			}
		}
		for _, p := range fields {
			v := p.again(g)
			m[p.name] = v.native
			for i := range rec.Fields {
				if rec.Fields[i].Name == p.name && v.want.Present() {
					item[i] = v.want
				}
			}
		}
		native = append(native, m)
		want = append(want, expr.RecordValue(item))
	}
	return variant{map[string]any{"type": "array", "items": typ}, "array", native, expr.ListValue(want)}
}

// variant returns a random variant of a field.
func (g *gen) variant(f expr.Field) variant {
	switch {
	case f.Type.Map:
		return variant{
			typ: map[string]any{"type": "map", "values": "string"}, branch: "map",
			native: map[string]any{"plan": "gold", "other": "x", "tier": ""},
		}
	case f.Type.Symbols != nil:
		return g.enumField(f)
	}
	switch f.Type.Kind {
	case expr.String:
		return g.stringField(f)
	case expr.Decimal:
		return g.decimalField()
	case expr.Time:
		return g.timeField()
	case expr.Date:
		return g.dateField()
	case expr.Bool:
		b := g.Intn(2) == 0
		return variant{"boolean", "boolean", b, expr.BoolValue(b)}
	case expr.Int:
		n := int64(g.Int31())
		if g.Intn(2) == 0 {
			return variant{"int", "int", int32(n), expr.IntValue(n)}
		}
		return variant{"long", "long", n, expr.IntValue(n)}
	}
	return g.listField(f)
}

// part is a field of a writer's schema. again makes another value of it.
type part struct {
	name  string
	typ   any
	again func(*gen) variant
}

// record returns a random writer's schema for the fields, with the fields in must
// in any case.
func (g *gen) record(name string, fields []expr.Field, must []string) (typ any, parts []part) {
	for _, f := range fields {
		needed := strings.Contains(strings.Join(must, " ")+" ", f.Name+" ")
		if !needed && g.Intn(5) == 0 {
			continue // a writer that does not know the field
		}
		seed, n := g.Int63(), g.n
		once := &gen{rand.New(rand.NewSource(seed)), n}
		first := once.variant(f)
		g.n = once.n
		p := part{name: f.Name, typ: first.typ, again: func(*gen) variant {
			return (&gen{rand.New(rand.NewSource(seed)), n}).variant(f)
		}}
		if g.Intn(3) == 0 {
			null, first := !needed && g.Intn(2) == 0, g.Intn(2)
			inner, plain := p.again, p.typ
			p.typ = []any{[]any{"null", plain}, []any{plain, "null"}}[first]
			p.again = func(g *gen) variant {
				v := inner(g)
				v.native = map[string]any{v.branch: v.native}
				if null {
					v.native, v.want = nil, expr.Value{}
				}
				return v
			}
		}
		parts = append(parts, p)
		if g.Intn(4) == 0 {
			parts = append(parts, g.stranger())
		}
	}
	g.Shuffle(len(parts), func(i, j int) { parts[i], parts[j] = parts[j], parts[i] })
	var l []any
	for _, p := range parts {
		l = append(l, map[string]any{"name": p.name, "type": p.typ})
	}
	return map[string]any{"type": "record", "name": name, "fields": l}, parts
}

// stranger is a field that we do not have.
func (g *gen) stranger() part {
	n := g.name()
	rec := map[string]any{"type": "record", "name": n, "fields": []any{
		map[string]any{"name": "a", "type": "double"}, map[string]any{"name": "b", "type": map[string]any{"type": "array", "items": "string"}},
	}}
	lines := map[string]any{"type": "array", "items": map[string]any{"type": "record", "name": n, "fields": []any{
		map[string]any{"name": "a", "type": []any{"null", "string"}},
		map[string]any{"name": "b", "type": map[string]any{"type": "array", "items": map[string]any{"type": "record", "name": n + "b", "fields": []any{
			map[string]any{"name": "c", "type": "long"},
		}}}},
	}}}
	list := []any{}
	for range []int{0, 1, 3, 70}[g.Intn(4)] {
		list = append(list, map[string]any{"a": map[string]any{"string": "ü"}, "b": []any{map[string]any{"c": int64(1 << 40)}, map[string]any{"c": int64(0)}}},
			map[string]any{"a": nil, "b": []any{}})
	}
	s := []variant{
		{typ: lines, native: list},
		{typ: []any{"null", lines}, native: map[string]any{"array": list}},
		{typ: "null"},
		{typ: "bytes", native: []byte{0xff, 0}},
		{typ: "float", native: float32(1.5)},
		{typ: map[string]any{"type": "fixed", "name": n, "size": 7}, native: []byte("1234567")},
		{typ: rec, native: map[string]any{"a": 2.5, "b": []any{"x", "yy"}}},
		{typ: map[string]any{"type": "map", "values": rec}, native: map[string]any{"k": map[string]any{"a": 0.0, "b": []any{}}}},
		{typ: []any{"null", "int", rec}, native: map[string]any{n: map[string]any{"a": 1.0, "b": []any{"z"}}}},
	}[g.Intn(9)]
	return part{"x_" + n, s.typ, func(*gen) variant { return s }}
}

// event returns a random writer's schema for a stream, an event that goavro wrote
// with it, and the fields that must come out.
func (g *gen) event(t *testing.T, s plan.Stream) (schema string, b []byte, want map[string]expr.Value) {
	fields := Catalog().Fields[s]
	var must []string
	want = map[string]expr.Value{}
	for i, sf := range mustSchema(InputName(s)).Fields {
		if d := avro.DefaultOf(&sf); d.Present() {
			want[fields[i].Name] = d
		}
		if !sf.HasDefault {
			must = append(must, sf.Name)
		}
	}
	typ, parts := g.record("W", fields, append(must, "customer_id", "revenue")) // which is derived else
	native := map[string]any{}
	for _, p := range parts {
		v := p.again(g)
		native[p.name] = v.native
		if v.want.Present() {
			want[p.name] = v.want
		}
		if (p.name == "attributes" || p.name == "traits") && v.native != nil {
			want[p.name+".plan"] = expr.StringValue("gold")
			if s.Builtin().Attributes {
				want[p.name+".tier"] = expr.StringValue("") // cleared
			}
		}
	}
	js, err := json.Marshal(typ)
	if err != nil {
		t.Fatal(err)
	}
	codec, err := goavro.NewCodec(string(js))
	if err != nil {
		t.Fatalf("%v\n%s", err, js)
	}
	if b, err = codec.BinaryFromNative(nil, native); err != nil {
		t.Fatalf("%v\n%s\n%v", err, js, native)
	}
	return string(js), b, want
}

func show(m map[string]expr.Value, fields []expr.Field) string {
	var b strings.Builder
	for _, p := range allLayoutPaths(fields) {
		if v, ok := m[p]; ok {
			fmt.Fprintf(&b, "%s = %d %s\n", p, v.K, v)
		}
	}
	return b.String()
}

func allLayoutPaths(fields []expr.Field) (l []string) {
	for _, f := range fields {
		l = append(l, f.Name)
		for _, k := range mapKeys {
			l = append(l, f.Name+"."+k)
		}
	}
	return l
}

func confluent(id int, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(id)), b...)
}

func TestAvroAgainstGoavro(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 50
	}
	for seed := range int64(rounds) {
		for s := range plan.NumBuiltin {
			g := &gen{Rand: rand.New(rand.NewSource(seed))}
			schema, b, want := g.event(t, s)
			r := readerOf(t, &fakeRegistry{texts: map[int]string{7: schema}}, nil)
			var ev engine.Event
			if _, err := r.Read(&Record{Topic: topicOf(s), Value: confluent(7, b)}, &ev); err != nil {
				t.Fatalf("seed %d, %v: %v\n%s", seed, s, err, schema)
			}
			got, wantText := show(values(&ev), Catalog().Fields[s]), show(want, Catalog().Fields[s])
			if got != wantText {
				t.Fatalf("seed %d, %v: got\n%s\nwant\n%s\n%s", seed, s, got, wantText, schema)
			}
			if seed > 8 {
				continue
			}
			for i := range b { // a record that is cut off is never an event
				_, err := r.Read(&Record{Topic: topicOf(s), Value: confluent(7, b[:i])}, &ev)
				if CauseOf(err) != bad.Decode {
					t.Fatalf("seed %d, %v: cut off at %d of %d: %v", seed, s, i, len(b), err)
				}
			}
			_, err := r.Read(&Record{Topic: topicOf(s), Value: confluent(7, append(b, 0))}, &ev)
			wantBad(t, err, bad.Decode, "")
		}
	}
}

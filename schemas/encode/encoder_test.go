package encode

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/jsontext"
	"github.com/segmill/segmill/schemas/scalar"
)

// outputText returns the text of an output schema.
func outputText(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile("../" + name + ".avsc")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func testEncoder(t testing.TB, f Format) *Encoder {
	t.Helper()
	cfg := Config{Format: f, App: "shop", IDs: IDs{Change: 6, Trigger: 7}}
	var err error
	if cfg.Change, err = avro.Parse([]byte(outputText(t, "membership_change"))); err != nil {
		t.Fatal(err)
	}
	if cfg.Trigger, err = avro.Parse([]byte(outputText(t, "trigger_fired"))); err != nil {
		t.Fatal(err)
	}
	e, err := NewEncoder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func valueOfEffect(enc *Encoder, e *engine.Effect, emitted expr.Millis) []byte {
	var o Output
	enc.Append(nil, &o, e, emitted)
	return o.Value
}

// randomEffect returns an effect as the engine makes them.
func randomEffect(g *rand.Rand) engine.Effect {
	text := func() string {
		return []string{"", "a", "ü/\"\\\n\x01", "日本", strings.Repeat("x", g.Intn(200))}[g.Intn(5)]
	}
	at := func() expr.Millis { return expr.Millis(g.Int63n(4e12) - 1e12) }
	pairs := func() (l []engine.Pair) {
		for i := range g.Intn(4) {
			l = append(l, engine.Pair{Name: fmt.Sprint(i, text()), Value: text()})
		}
		return l
	}
	amount := func() expr.Value {
		if g.Intn(3) == 0 {
			return expr.Value{}
		}
		return expr.DecimalValue(int64(g.Uint64()) >> g.Intn(64))
	}
	e := engine.Effect{
		Action: engine.Action(1 + g.Intn(int(engine.Renamed))), Customer: "c" + text(), Name: text(), Version: text(), At: at(), Sequence: g.Uint64() >> (1 + g.Intn(63)),
		Cause: engine.Cause(1 + g.Intn(6)), CauseEvent: text(), Group: text(), From: text(), MemberFor: at(), Evidence: pairs(), Known: g.Intn(2) == 0,
		Message: &engine.Message{
			Kind: []string{"abandoned_cart", "inactivity", "anniversary", "rule"}[g.Intn(4)], Due: at(), AnchorID: text(), AnchorAt: expr.Never,
			Context: pairs(),
		},
	}
	if g.Intn(2) == 0 {
		e.AnchorAt = at()
	}
	say := func(name string, v expr.Value) { e.Fields = append(e.Fields, engine.Field{Name: name, Value: v}) }
	switch e.Kind {
	case "abandoned_cart":
		var items []expr.Value
		for range g.Intn(3) {
			maybe := func() expr.Value {
				if s := text(); s != "" {
					return expr.StringValue(s)
				}
				return expr.Value{}
			}
			items = append(items, expr.RecordValue([]expr.Value{
				expr.StringValue(text()), expr.IntValue(int64(g.Intn(1000))), amount(), maybe(), maybe(), amount(),
			}))
		}
		say("cart_id", expr.StringValue(text()))
		say("items", expr.ListValue(items))
		say("value", amount())
		say("currency", expr.StringValue(text()))
	case "inactivity":
		say("last_event_at", expr.TimeValue(at()))
		say("days_silent", expr.IntValue(g.Int63n(1000)))
		say("segments", expr.ListValue([]expr.Value{expr.StringValue("a"), expr.StringValue(text())}[:g.Intn(3)]))
	case "anniversary":
		say("date", expr.DateValue(g.Int63n(40_000)-20_000))
		say("years", expr.IntValue(1+g.Int63n(90)))
	}
	return e
}

// native is the effect as goavro gives it, written down apart from the encoder.
func native(e *engine.Effect, emitted expr.Millis) map[string]any {
	opt := func(branch string, v any, has bool) any {
		if !has {
			return nil
		}
		return map[string]any{branch: v}
	}
	str := func(s string) any { return opt("string", s, s != "") }
	m := func(l []engine.Pair) map[string]any {
		o := map[string]any{}
		for _, p := range l {
			o[p.Name] = p.Value
		}
		return o
	}
	rat := func(v expr.Value) any { return opt("bytes.decimal", big.NewRat(v.N, 10_000), v.Present()) }
	if e.Action != engine.Fired {
		return map[string]any{
			"change_id": e.ID("shop"), "customer_id": e.Customer, "segment": e.Name, "action": e.Action.String(),
			"effective_at": e.At.Time(), "emitted_at": emitted.Time(), "sequence": int64(e.Sequence), "cause": e.Cause.String(),
			"cause_event_id": str(e.CauseEvent), "rule_version": e.Version, "group": str(e.Group), "from_segment": str(e.From),
			"member_for_ms": opt("long", int64(e.MemberFor), e.Action == engine.Exited), "evidence": m(e.Evidence),
			"known": opt("boolean", e.Known, e.Action == engine.Erased),
		}
	}
	items := []any{}
	for _, i := range e.Field("items").L {
		items = append(items, map[string]any{
			"product_id": i.L[0].S, "sku": str(i.L[4].S), "name": nil, "category": nil, "brand": nil,
			"quantity": int32(i.L[1].N), "price": rat(i.L[2]),
			"variant_id": str(i.L[3].S), "url": nil, "image_url": nil, "amount": rat(i.L[5]),
		})
	}
	segments := []any{}
	for _, s := range e.Field("segments").L {
		segments = append(segments, s.S)
	}
	silent, birthday := e.Kind == "inactivity", e.Kind == "anniversary"
	return map[string]any{
		"trigger_id": e.ID("shop"), "trigger": e.Name, "kind": e.Kind, "customer_id": e.Customer,
		"due_at": e.Due.Time(), "fired_at": e.At.Time(), "emitted_at": emitted.Time(), "sequence": int64(e.Sequence),
		"rule_version": e.Version, "anchor_event_id": str(e.AnchorID),
		"anchor_at": opt("long.timestamp-millis", e.AnchorAt.Time(), e.AnchorAt != expr.Never), "items": items,
		"cart_id": str(e.Field("cart_id").S),
		"value":   rat(e.Field("value")), "currency": str(e.Field("currency").S),
		"last_event_at": opt("long.timestamp-millis", expr.Millis(e.Field("last_event_at").N).Time(), silent), "days_silent": opt("long", e.Field("days_silent").N, silent),
		"segments": opt("array", segments, silent), "date": opt("int.date", time.Unix(e.Field("date").N*86_400, 0).UTC(), birthday),
		"years": opt("int", int32(e.Field("years").N), birthday), "from": nil, "to": nil, "context": m(e.Context),
	}
}

// plain turns what goavro gives into what JSON gives: unions without their
// branch, and everything as our JSON writes it.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 1 {
			for k, x := range v {
				if k == "string" || k == "long" || k == "int" || k == "boolean" || k == "array" || k == "bytes.decimal" || k == "long.timestamp-millis" {
					return plain(x)
				}
				if k == "int.date" {
					return x.(time.Time).Format(time.DateOnly)
				}
			}
		}
		m := map[string]any{}
		for k, x := range v {
			m[k] = plain(x)
		}
		return m
	case []any:
		l := []any{}
		for _, x := range v {
			l = append(l, plain(x))
		}
		return l
	case *big.Rat:
		n := new(big.Rat).Mul(v, big.NewRat(10_000, 1)).Num().Int64()
		return expr.FormatDecimal(n)
	case time.Time:
		return v.Format("2006-01-02T15:04:05.000Z")
	case int64:
		return json.Number(fmt.Sprint(v))
	case int32:
		return json.Number(fmt.Sprint(v))
	}
	return v
}

// same compares values of goavro, numbers as numbers.
func same(a, b any) bool { return reflect.DeepEqual(plain(a), plain(b)) }

func TestEncoderAgainstGoavro(t *testing.T) {
	enc, js := testEncoder(t, Avro), testEncoder(t, JSON)
	codecs := map[bool]*goavro.Codec{}
	for fired, name := range map[bool]string{false: "membership_change", true: "trigger_fired"} {
		c, err := goavro.NewCodec(outputText(t, name))
		if err != nil {
			t.Fatal(err)
		}
		codecs[fired] = c
	}
	for seed := range int64(2000) {
		g := rand.New(rand.NewSource(seed))
		e := randomEffect(g)
		emitted := expr.Millis(g.Int63n(1e13))
		fired := e.Action == engine.Fired
		id := uint32(6)
		if fired {
			id = 7
		}
		b := valueOfEffect(enc, &e, emitted)
		if b[0] != 0 || binary.BigEndian.Uint32(b[1:]) != id {
			t.Fatalf("seed %d: head % x", seed, b[:5])
		}
		got, rest, err := codecs[fired].NativeFromBinary(b[5:])
		want := native(&e, emitted)
		if err != nil || len(rest) > 0 || !same(got, want) {
			t.Fatalf("seed %d: %v, %d bytes left; got\n%v\nwant\n%v", seed, err, len(rest), plain(got), plain(want))
		}
		d := json.NewDecoder(strings.NewReader(string(valueOfEffect(js, &e, emitted))))
		d.UseNumber()
		var fromJSON any
		if err := d.Decode(&fromJSON); err != nil || !reflect.DeepEqual(fromJSON, plain(want)) {
			t.Fatalf("seed %d: %v; JSON\n%v\nwant\n%v", seed, err, fromJSON, plain(want))
		}
	}
}

// A schema with a field that the encoder cannot fill, or not in every message, is an
// error when the encoder is made and not when the first effect is sent.
func TestEncoderKnowsEveryField(t *testing.T) {
	text := outputText(t, "trigger_fired")
	for _, change := range [][2]string{
		{`"fields": [`, `"fields": [{"name":"x","type":"string"},`},
		{`"name": "brand", "type": ["null", "string"]`, `"name": "brand", "type": "string"`},
		{`"name": "years", "type": ["null", "int"]`, `"name": "years", "type": "int"`},
		{`"name": "sequence", "type": "long"`, `"name": "sequence", "type": "string"`},
		{`"name": "from", "type": ["null", "string"]`, `"name": "from", "type": ["string", "null"]`},
	} {
		s, err := avro.Parse([]byte(strings.Replace(text, change[0], change[1], 1)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := compileOutput(s, triggerFields, messageField, 1); err == nil {
			t.Errorf("%s is accepted", change[1])
		}
	}
}

func TestEncoderJSON(t *testing.T) {
	e := engine.Effect{
		Action: engine.Exited, Customer: "c", Name: "loyal", Version: "v", At: 1_700_000_000_000, Sequence: 2, Cause: engine.CauseTimer,
		MemberFor: 5, Evidence: []engine.Pair{{Name: "count(purchase)", Value: "3"}},
	}
	got := string(valueOfEffect(testEncoder(t, JSON), &e, 1_700_000_000_001))
	want := `{"change_id":"` + e.ID("shop") + `","customer_id":"c","segment":"loyal","action":"exited","effective_at":"2023-11-14T22:13:20.000Z",` +
		`"emitted_at":"2023-11-14T22:13:20.001Z","sequence":2,"cause":"timer","cause_event_id":null,"rule_version":"v","group":null,` +
		`"from_segment":null,"member_for_ms":5,"evidence":{"count(purchase)":"3"},"known":null}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestHeaders(t *testing.T) {
	for action, typ := range map[engine.Action]string{
		engine.Entered: "segmill.segment.entered.v1", engine.Exited: "segmill.segment.exited.v1",
		engine.Erased: "segmill.customer.erased.v1", engine.Fired: "segmill.trigger.fired.v1",
		engine.Renamed: "segmill.segment.renamed.v1",
	} {
		e := engine.Effect{Action: action, Customer: "c", At: 1_700_000_000_000, Message: &engine.Message{}}
		id := "change_id"
		if action == engine.Fired {
			id = "trigger_id"
		}
		for set, want := range map[HeaderSet]string{
			CloudEventsHeaders: fmt.Sprintf("ce_id=%s ce_source=/segmill/shop ce_specversion=1.0 ce_type=%s content-type=application/avro", e.ID("shop"), typ),
			IDHeaders:          id + "=" + e.ID("shop"),
			NoHeaders:          "",
		} {
			var o Output
			testEncoder(t, Avro).Append(nil, &o, &e, 0)
			before := []header{{"mine", nil}}
			var got []string
			for _, h := range HeadersOf[header](testEncoder(t, Avro), set).Append(before, &o)[1:] {
				got = append(got, h.Key+"="+string(h.Value))
			}
			if got := strings.Join(got, " "); got != want {
				t.Errorf("%v: %s\nwant %s", action, got, want)
			}
		}
	}
}

// Every value of an encoder is known as one, and nothing else that is written beside
// them is.
func TestMade(t *testing.T) {
	g := rand.New(rand.NewSource(1))
	for _, f := range []Format{Avro, JSON} {
		enc := testEncoder(t, f)
		for range 50 {
			e := randomEffect(g)
			var o Output
			enc.Append(nil, &o, &e, 7)
			if !enc.Made(o.Value) {
				t.Errorf("%v: %q is not known", f, o.Value)
			}
		}
		for _, other := range []string{"", "{", "\x00", "\x00\x00\x00\x00\x7f1234", `{"event_id":"a"}`, "\x02\x00\x00\x00\x00"} {
			if enc.Made([]byte(other)) {
				t.Errorf("%v: %q is taken for an output", f, other)
			}
		}
	}
}

// Records share one piece of memory, and no record reaches into another.
func TestOutputsShareMemory(t *testing.T) {
	type record struct {
		key, value []byte
		headers    []header
	}
	enc := testEncoder(t, Avro)
	table := HeadersOf[header](enc, CloudEventsHeaders)
	g := rand.New(rand.NewSource(1))
	var b []byte
	var headers []header
	var got, want []record
	for range 200 {
		e := randomEffect(g)
		var o, alone Output
		b = enc.Append(b, &o, &e, 7)
		n := len(headers)
		headers = table.Append(headers, &o)
		r := record{o.Key, o.Value, headers[n:len(headers):len(headers)]}
		enc.Append(nil, &alone, &e, 7)
		got, want = append(got, r), append(want, record{alone.Key, alone.Value, table.Append(nil, &alone)})
		for _, part := range [][]byte{r.key, r.value, r.headers[0].Value} {
			if cap(part) != len(part) {
				t.Fatalf("%q could be appended to", part)
			}
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("records differ from those that were made alone")
	}
}

func TestAppendQuoted(t *testing.T) {
	for _, s := range []string{"", "a", "ü\u2028日本😀", "\"\\\n\x00\x1f\x7f", "\xff", "a\xc3", "\xed\xa0\x80b", "\uFFFD", "x\xe6\x97y"} {
		b := jsontext.AppendQuoted([]byte("x"), s)
		var got string
		if err := json.Unmarshal(b[1:], &got); err != nil || got != strings.ToValidUTF8(s, "\uFFFD") && got != string([]rune(s)) {
			t.Errorf("%q: %s, %v", s, b, err)
		}
	}
}

func TestDecimalBytes(t *testing.T) {
	for _, n := range []int64{0, 1, -1, 127, 128, -128, -129, 255, 256, 1 << 31, math.MaxInt64, math.MinInt64} {
		b := appendDecimal(nil, n)
		got, err := scalar.DecimalOfBytes(b[1:], 4)
		if err != nil || got != n || int(b[0])/2 != len(b)-1 {
			t.Errorf("%d: % x becomes %d, %v", n, b, got, err)
		}
		if k := len(b) - 1; k > 1 && int64(int8(b[2]))>>7 == int64(int8(b[1])) {
			t.Errorf("%d: % x is not the shortest form", n, b)
		}
	}
}

// The short way of changes gives the bytes that the fields of the schema give one
// by one.
func TestChangesAreAsTheirFields(t *testing.T) {
	enc := testEncoder(t, Avro)
	g := rand.New(rand.NewSource(1))
	for range 2000 {
		e := randomEffect(g)
		if e.Action == engine.Fired {
			continue
		}
		emitted := expr.Millis(int64(g.Uint64()) >> g.Intn(64))
		want := enc.change.appendAvro(nil, &outEffect{Effect: &e, id: []byte(e.ID("shop")), emittedAt: emitted})
		var o Output
		enc.Append(nil, &o, &e, emitted)
		if string(o.Value) != string(want) || string(o.Key) != e.Customer || string(o.id) != e.ID("shop") {
			t.Fatalf("%+v:\ngot  %x\nwant %x", e, o.Value, want)
		}
	}
}

package schemas

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/avro"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
	"github.com/segmill/segmill/schemas/jsonread"
)

// Every record of the corpus is refused for the reason that its name says.
func TestBadInput(t *testing.T) {
	a, err := txtar.ParseFile("testdata/bad.txtar")
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Files) < 80 {
		t.Errorf("only %d cases", len(a.Files))
	}
	r := readerOf(t, ownRegistry(t), nil)
	for _, f := range a.Files {
		head, _, _ := strings.Cut(f.Name, ": ")
		parts := strings.Fields(head)
		if len(parts) != 3 {
			t.Fatalf("%s: a name is: stream cause field: what", f.Name)
		}
		t.Run(f.Name, func(t *testing.T) {
			value := []byte(strings.TrimSuffix(string(f.Data), "\n"))
			if h, ok := strings.CutPrefix(string(value), "hex "); ok {
				if value, err = hex.DecodeString(strings.ReplaceAll(h, " ", "")); err != nil {
					t.Fatal(err)
				}
			}
			var ev engine.Event
			_, err := r.Read(&Record{Topic: "events." + parts[0], Value: value}, &ev)
			wantBad(t, err, bad.Cause(parts[1]), strings.TrimPrefix(parts[2], "-"))
		})
	}
}

// Values as large as they may be, and one larger.
func TestLimits(t *testing.T) {
	r := readerOf(t, nil, nil)
	web := func(id, name, more string) string {
		return fmt.Sprintf(`{"event_id":"e","customer_id":%q,"occurred_at":1700000000,"name":%q%s}`, id, name, more)
	}
	x := func(n int) string { return strings.Repeat("x", n) }
	items := func(n int) string {
		return `,"items":[` + strings.TrimSuffix(strings.Repeat(`{"product_id":"p"},`, n), ",") + `]`
	}
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"m%d":0`, i)
		}
		return b.String()
	}
	nested := func(n int) string { return `,"z":` + strings.Repeat("[", n) + strings.Repeat("]", n) }
	for _, tt := range []struct {
		name, value string
		cause       bad.Cause
		field       string
	}{
		{"id", web(x(1024), "n", ""), "", ""},
		{"id", web(x(1025), "n", ""), bad.Identity, "customer_id"},
		{"text", web("c", x(frame.MaxText), ""), "", ""},
		{"text", web("c", x(frame.MaxText+1), ""), "", ""},
		{"items", web("c", "n", items(frame.MaxItems)), "", ""},
		{"items", web("c", "n", items(frame.MaxItems+1)), bad.Size, ""},
		{"depth", web("c", "n", nested(jsonread.MaxDepth-1)), "", ""},
		{"depth", web("c", "n", nested(jsonread.MaxDepth)), bad.Format, ""},
		{"members", web("c", "n", members(frame.MaxItems-4)), "", ""},
		{"members", web("c", "n", members(frame.MaxItems-3)), bad.Format, ""},
		{"record", web("c", "n", strings.Repeat(" ", 1<<20-len(web("c", "n", "")))), "", ""},
		{"record", web("c", "n", strings.Repeat(" ", 1<<20+1-len(web("c", "n", "")))), bad.Size, ""},
	} {
		var ev engine.Event
		_, err := r.Read(&Record{Topic: "events.web", Value: []byte(tt.value)}, &ev)
		if tt.cause == "" && err != nil {
			t.Errorf("%s at its limit: %v", tt.name, err)
		} else if tt.cause != "" {
			wantBad(t, err, tt.cause, tt.field)
		}
	}
	var ev engine.Event
	for _, key := range []string{"a\xff", "a\x00", x(1025)} {
		_, err := r.Read(&Record{Topic: "events.profile", Key: []byte(key)}, &ev)
		wantBad(t, err, bad.Identity, "key")
	}
	_, err := r.Read(&Record{Topic: "nosuch", Value: []byte("{}")}, &ev)
	wantBad(t, err, bad.Format, "")
}

// The memory of an event's lists is used again, but not that of a giant, and it
// does not keep texts of earlier events.
func TestListsAreUsedAgain(t *testing.T) {
	r := readerOf(t, nil, map[plan.Stream][]string{plan.Web: {"items"}})
	read := func(ev *engine.Event, items int) {
		value := `{"event_id":"e","customer_id":"c","occurred_at":1700000000,"items":[` +
			strings.TrimSuffix(strings.Repeat(`{"product_id":"p"},`, items), ",") + `]}`
		if _, err := r.Read(&Record{Topic: "events.web", Value: []byte(value)}, ev); err != nil {
			t.Fatal(err)
		}
		l := ev.Fields[0].L
		if len(l) != items || items > 0 && (l[0].L[0].S != "p" || l[items-1].L[5].N != 1) {
			t.Errorf("%d items read as %v", items, ev.Fields)
		}
	}
	var ev engine.Event
	read(&ev, 20)
	memory := &ev.Fields[0]
	read(&ev, 20)
	if memory != &ev.Fields[0] || memory.L[0].L[0].S != "p" {
		t.Error("the memory is not used again")
	}
	read(&ev, 0)
	for _, v := range ev.Fields[:cap(ev.Fields)][1:] {
		if v.K != expr.Absent {
			t.Fatalf("%v is left of the event before", v)
		}
	}
	read(&ev, frame.MaxItems)
	read(&ev, 1)
	if cap(ev.Fields) > 512 {
		t.Errorf("memory for %d values is kept", cap(ev.Fields))
	}
}

// bounded runs f and fails if it takes long or allocates much.
func bounded(t *testing.T, what string, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	f()
	took := time.Since(start)
	runtime.ReadMemStats(&after)
	if mb := (after.TotalAlloc - before.TotalAlloc) >> 20; mb > 64 {
		t.Errorf("%s: %d MiB allocated", what, mb)
	}
	if took > 2*time.Second { // far more than needed: the machine may be busy
		t.Errorf("%s: took %v", what, took)
	}
}

// Schemas that crash or stall Avro libraries are refused at the gate.
func TestKillerSchemas(t *testing.T) {
	linked := func(n int) string { // each record names the one before
		var b strings.Builder
		b.WriteString(`{"type":"record","name":"R0","fields":[]}`)
		s := b.String()
		for i := range n {
			s = fmt.Sprintf(`{"type":"record","name":"R%d","fields":[{"name":"a","type":%s}]}`, i+1, s)
		}
		return s
	}
	doubling := func(n int) string { // 2^n values of no bytes
		s := `{"type":"record","name":"R0","fields":[{"name":"a","type":"null"}]}`
		for i := range n {
			s = fmt.Sprintf(`{"type":"record","name":"R%d","fields":[{"name":"a","type":%s},{"name":"b","type":"R%d"}]}`, i+1, s, i)
		}
		return s
	}
	field := func(typ string) string {
		return `{"type":"record","name":"R","fields":[{"name":"a","type":` + typ + `}]}`
	}
	for _, tt := range []struct{ name, schema, part string }{
		{"array of null", field(`{"type":"array","items":"null"}`), "no bytes"},
		{"array of empty records", field(`{"type":"array","items":{"type":"record","name":"E","fields":[]}}`), "no bytes"},
		{"array of fixed 0", field(`{"type":"array","items":{"type":"fixed","name":"F","size":0}}`), "no bytes"},
		{"deep types", linked(40), "deep"},
		{"deep arrays", strings.Repeat(`{"type":"array","items":`, 5000) + `"int"` + strings.Repeat("}", 5000), "more than"},
		{"deep JSON", strings.Repeat("[", 9000) + strings.Repeat("]", 9000), "deep"},
		{"deep type objects", strings.Repeat(`{"type":`, 40) + `"int"` + strings.Repeat("}", 40), "deep"},
		{"doubling", doubling(20), "values"},
		{"doubling in unions", `{"type":"record","name":"R","fields":[{"name":"a","type":["null",` + doubling(9) + `]},{"name":"b","type":["null","R9"]},
			{"name":"c","type":["null","R9"]},{"name":"d","type":["null","R9"]},{"name":"e","type":["null","R9"]}]}`, "values"},
		{"long", field(`{"type":"enum","name":"E","symbols":["a"],"doc":"` + strings.Repeat("x", avro.MaxSchemaBytes) + `"}`), "bytes long"},
		{"key twice", `{"type":"int","type":"string"}`, "duplicate key"},
		{"not JSON", `{"type":`, "byte"},
		{"no type", `{}`, "type"},
		{"unknown type", field(`"Nosuch"`), "not defined"},
		{"defined twice", `["null",{"type":"fixed","name":"F","size":1},{"type":"record","name":"F","fields":[]}]`, "twice"},
		{"field twice", `{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}`, "twice"},
		{"no fields", `{"type":"record","name":"R"}`, "no fields"},
		{"no name", `{"type":"record","fields":[]}`, "no name"},
		{"union in a union", field(`[["null","int"],"string"]`), "union"},
		{"empty union", field(`[]`), "union"},
		{"negative fixed", field(`{"type":"fixed","name":"F","size":-1}`), "size"},
		{"huge fixed", field(`{"type":"fixed","name":"F","size":2147483647}`), "size"},
		{"huge scale", field(`{"type":"bytes","logicalType":"decimal","precision":200,"scale":100}`), "scale"},
		{"symbols of numbers", field(`{"type":"enum","name":"E","symbols":[1]}`), "symbol"},
		{"bad field name, which only goavro minds", `{"type":"record","name":"R","fields":[{"name":"1a","type":"int"}]}`, ""},
	} {
		bounded(t, tt.name, func() {
			_, err := avro.Gate(tt.schema)
			if err == nil || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("%s: error %v, want one with %q", tt.name, err, tt.part)
			}
		})
	}
	if _, err := avro.Gate(doubling(9)); err != nil {
		t.Errorf("a schema within the limits: %v", err)
	}
	if _, err := avro.Gate(linked(14)); err != nil {
		t.Errorf("a schema within the limits: %v", err)
	}
}

// Bytes that announce more than they hold, with schemas that pass the gate.
func TestKillerBytes(t *testing.T) {
	head := []byte{2, 'e', 2, 'c', 2} // event_id, customer_id, occurred_at
	schema := func(extra string) string {
		return `{"type":"record","name":"W","fields":[{"name":"event_id","type":"string"},
			{"name":"customer_id","type":"string"},{"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-millis"}},` + extra + `]}`
	}
	deep := `{"type":"array","items":`
	fill := func(b byte, n int) string { return strings.Repeat(string([]byte{b}), n) }
	long := func(n int64) string { return string(appendLong(nil, n)) }
	nulls := make([]string, 2000)
	for i := range nulls {
		nulls[i] = fmt.Sprintf(`{"name":"n%d","type":"null"}`, i)
	}
	wide := `{"type":"array","items":{"type":"record","name":"N","fields":[{"name":"i","type":"int"},` + strings.Join(nulls[:1500], ",") + `]}}`
	for _, tt := range []struct {
		name, extra, tail string
		cause             bad.Cause
	}{
		{"2^31-2 strings", `{"name":"a","type":{"type":"array","items":"string"}}`, long(1<<31 - 2), bad.Decode},
		{"2^62 strings", `{"name":"a","type":{"type":"array","items":"string"}}`, long(1 << 62), bad.Decode},
		{"-2^63 strings", `{"name":"a","type":{"type":"array","items":"string"}}`, long(math.MinInt64) + long(8), bad.Decode},
		{"2^31 map entries", `{"name":"a","type":{"type":"map","values":"int"}}`, long(1 << 31), bad.Decode},
		{"-2^63 strings in no bytes", `{"name":"a","type":{"type":"array","items":"string"}}`, long(math.MinInt64) + long(0) + "\x00", bad.Decode},
		{"an unread text that is not UTF-8", `{"name":"a","type":"string"}`, "\x04\xc3\x28", ""},
		{"an unread key that is not UTF-8", `{"name":"a","type":{"type":"map","values":"int"}}`, "\x02\x04\xc3\x28\x00\x00", ""},
		{"a block of negative size", `{"name":"a","type":{"type":"array","items":"int"}}`, long(-1) + long(-5) + "\x00\x00", bad.Decode},
		{"a block of wrong size", `{"name":"a","type":{"type":"array","items":"int"}}`, long(-1) + long(2) + "\x00\x00", bad.Decode},
		{"a block of huge size", `{"name":"a","type":{"type":"array","items":"int"}}`, long(-1) + long(math.MaxInt64) + "\x00", bad.Decode},
		{"bytes of 2^40", `{"name":"a","type":"bytes"}`, long(1 << 40), bad.Decode},
		{"many blocks", `{"name":"a","type":{"type":"array","items":"int"}}`, strings.Repeat("\x02\x00", 300_000) + "\x00", bad.Size},
		{
			"many items", `{"name":"items","type":{"type":"array","items":{"type":"record","name":"I","fields":[{"name":"product_id","type":"string"}]}}}`,
			long(500_000) + fill(0, 500_001), bad.Size,
		},
		{"arrays in arrays", `{"name":"a","type":` + strings.Repeat(deep, 25) + `"int"` + strings.Repeat("}", 25) + `}`, fill(2, 500_000), bad.Size},
		{"items of a thousand nulls", `{"name":"a","type":` + wide + `}`, long(9000) + fill(0, 9001), bad.Size},
		{"a truth value of 2", `{"name":"a","type":"boolean"}`, "\x02", bad.Decode},
		{"an int of 33 bits", `{"name":"a","type":"int"}`, long(1 << 32), bad.Decode},
		{"half a double", `{"name":"a","type":"double"}`, "\x00\x00", bad.Decode},
	} {
		s := schema(tt.extra)
		r := readerOf(t, &fakeRegistry{texts: map[int]string{1: s}}, map[plan.Stream][]string{plan.Web: {"items"}})
		value := confluent(1, append(head, tt.tail...))
		bounded(t, tt.name, func() {
			var ev engine.Event
			_, err := r.Read(&Record{Topic: "events.web", Value: value}, &ev)
			if CauseOf(err) != tt.cause {
				t.Errorf("%s: error %v, want %s", tt.name, err, tt.cause)
			}
			if strings.HasPrefix(tt.name, "2^") && !strings.Contains(err.Error(), "elements announced") {
				t.Errorf("%s: found out late: %v", tt.name, err)
			}
		})
	}
}

func appendLong(b []byte, n int64) []byte {
	u := uint64(n<<1) ^ uint64(n>>63)
	for ; u >= 0x80; u >>= 7 {
		b = append(b, byte(u)|0x80)
	}
	return append(b, byte(u))
}

// JSON that is large in every direction ends soon too.
func TestKillerJSON(t *testing.T) {
	r := readerOf(t, nil, nil)
	var keys, flat strings.Builder
	for i := 0; keys.Len() < 1<<20-100; i++ {
		fmt.Fprintf(&keys, `"%x":1,`, i)
	}
	for i := 0; flat.Len() < 1<<20-1000; i++ {
		fmt.Fprintf(&flat, `{"%x":1},`, i)
	}
	for name, value := range map[string]string{
		"deep":            strings.Repeat(`{"a":`, 200_000),
		"deep arrays":     `{"a":` + strings.Repeat(`[`, 1_000_000),
		"many keys":       `{` + keys.String() + `"z":1}`,
		"many inner keys": `{"z":{` + keys.String() + `"z":1}}`,
		"many objects":    `{"z":[` + flat.String() + `1]}`,
		"long number":     `{"z":` + strings.Repeat("1", 1<<19) + `}`,
		"long amount":     `{"value":"` + strings.Repeat("1", 1<<19) + `"}`,
		"long zeros":      `{"value":0.` + strings.Repeat("0", 1<<19) + `1}`,
		"escapes":         `{"z":"` + strings.Repeat(`\u0041`, 100_000) + `"}`,
		"white space":     strings.Repeat(" ", 1<<20),
	} {
		bounded(t, name, func() {
			var ev engine.Event
			if _, err := r.Read(&Record{Topic: "events.web", Value: []byte(value)}, &ev); CauseOf(err) == "" {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// withField reads a record in Avro of two fields: an id, and one of the given type, whose
// value is in the bytes.
func withField(t *testing.T, topic, field, typ, value string) ([]Note, error) {
	t.Helper()
	schema := fmt.Sprintf(`{"type":"record","name":"W","fields":[{"name":"customer_id","type":"string"},{"name":%q,"type":%s}]}`, field, typ)
	for _, head := range []string{"event_id", "occurred_at"} {
		if head != field {
			schema = strings.Replace(schema, `"fields":[`, `"fields":[{"name":"`+head+`","type":"string"},`, 1)
		}
	}
	head := "\x02c"
	if field != "event_id" {
		head = "\x02e" + head
	}
	if field != "occurred_at" {
		head = "\x282026-01-01T00:00:00Z" + head
	}
	var notes []Note
	r := readerOf(t, &fakeRegistry{texts: map[int]string{1: schema}}, nil)
	r.cfg.Noted = func(_ string, n *Note) { notes = append(notes, *n) }
	var ev engine.Event
	_, err := r.Read(&Record{Topic: topic, Value: confluent(1, []byte(head+value))}, &ev)
	return notes, err
}

// Money that an Avro writer cannot mean costs itself.
func TestBadMoneyInAvro(t *testing.T) {
	for _, tt := range []struct {
		typ    any
		native any
	}{
		{`"double"`, math.NaN()},
		{`"double"`, math.Inf(1)},
		{`"double"`, 1e300},
		{`"long"`, int64(math.MaxInt64)},
		{`{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}`, big.NewRat(1e15, 1)},
		{`"string"`, "1e31"},
	} {
		codec, err := goavro.NewCodec(fmt.Sprint(tt.typ))
		if err != nil {
			t.Fatal(err)
		}
		b, err := codec.BinaryFromNative(nil, tt.native)
		if err != nil {
			t.Fatal(err)
		}
		notes, err := withField(t, "events.purchase", "revenue", fmt.Sprint(tt.typ), string(b))
		if err != nil || len(notes) != 1 || notes[0].Kind != bad.Refused || notes[0].Field != "revenue" || notes[0].Cause != bad.Range {
			t.Errorf("%v: %v, %v", tt.native, err, notes)
		}
	}
}

// What was noted of a record by whoever forwarded it is not noted again.
func TestForwardedIsNotedOnce(t *testing.T) {
	notes := 0
	r := readerOf(t, nil, nil)
	r.cfg.Noted = func(string, *Note) { notes++ }
	for want, value := range []string{
		`{"event_id":"e","customer_id":"c","occurred_at":1767225600,"value":"much","name":"n"}`,
		`{"type":"delete","messageId":"m","userId":"u","timestamp":"2026-01-01T09:00:00Z"}`,
	} {
		for _, forwarded := range []bool{true, false, true} {
			var ev engine.Event
			if _, err := r.Read(&Record{Topic: "events.web", Value: []byte(value), Forwarded: forwarded}, &ev); err != nil {
				t.Fatal(err)
			}
		}
		if notes != want+1 {
			t.Errorf("%s: %d notes in all", value, notes)
		}
	}
}

// Docs, formats.md: a plain int that counts days is a date of Avro; another one, and a
// long, are times.
func TestAvroIntAsDate(t *testing.T) {
	day := func(year int, month time.Month, day int) int64 {
		return time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix() / 86400
	}
	for _, tt := range []struct {
		typ  string
		n    int64
		want string
	}{
		{`"int"`, day(1990, 5, 31), "1990-05-31"},
		{`"int"`, 0, "1970-01-01"},
		{`"int"`, -1, "1969-12-31"},
		{`"int"`, day(9999, 12, 31), "9999-12-31"},
		{`"int"`, day(9999, 12, 31) + 1, "1970-02-03"},
		{`"int"`, 644110200, "1990-05-30"},
		{`"int"`, 19900531, ""},
		{`"long"`, day(1990, 5, 31), "1970-01-01"},
		{`"long"`, 644110200, "1990-05-30"},
		{`{"type":"int","logicalType":"date"}`, 644110200, ""},
	} {
		schema := `{"type":"record","name":"R","fields":[{"name":"event_id","type":"string"},{"name":"customer_id","type":"string"},` +
			`{"name":"occurred_at","type":"long"},{"name":"birth_date","type":` + tt.typ + `}]}`
		r := readerOf(t, &fakeRegistry{texts: map[int]string{1: schema}}, map[plan.Stream][]string{plan.Profile: {"birth_date"}})
		b := binary.AppendVarint(binary.AppendVarint([]byte("\x02e\x02c"), 1767225600), tt.n)
		var ev engine.Event
		if _, err := r.Read(&Record{Topic: "events.profile", Value: confluent(1, b)}, &ev); err != nil || ev.Fields[0].String() != tt.want {
			t.Errorf("%s %d: %v, %v; want %q", tt.typ, tt.n, ev.Fields, err, tt.want)
		}
	}
}

// A type that can never become the field's is refused with both types named; the event
// stays, unless it needs the field.
func TestWrongWriterTypes(t *testing.T) {
	for _, tt := range []struct {
		field, typ, bytes string
		cause             bad.Cause // of a dead letter
	}{
		{"revenue", `"boolean"`, "\x01", ""},
		{"revenue", `"bytes"`, "\x00", ""},
		{"revenue", `{"type":"record","name":"M","fields":[{"name":"minor","type":"int"}]}`, "\x02", ""},
		{"items", `"string"`, "\x00", ""},
		{"attributes", `{"type":"array","items":"string"}`, "\x00", ""},
		{"occurred_at", `{"type":"long","logicalType":"local-timestamp-millis"}`, "\x00", bad.Type},
		{"occurred_at", `{"type":"int","logicalType":"date"}`, "\x00", bad.Type},
		{"event_id", `"boolean"`, "\x00", bad.Identity},
		{"event_id", `"double"`, "\x00\x00\x00\x00\x00\x00\xf8\x3f", bad.Identity},
		{"event_id", `{"type":"array","items":"string"}`, "\x00", bad.Identity},
	} {
		notes, err := withField(t, "events.purchase", tt.field, tt.typ, tt.bytes)
		if tt.cause != "" {
			wantBad(t, err, tt.cause, tt.field)
		} else if err != nil || len(notes) != 1 || notes[0].Field != tt.field || notes[0].Cause != bad.Type {
			t.Errorf("%s %s: %v, %v", tt.field, tt.typ, err, notes)
		}
	}
}

// Types that are used in many unions make a program no larger than the schema.
func TestSharedTypesCompileOnce(t *testing.T) {
	branches, fields := `"null"`, ""
	for i := range 30 {
		fields += fmt.Sprintf(`{"name":"f%d","type":["null",{"type":"record","name":"R%d","fields":[{"name":"a","type":[%s]}]}]},`, i, i, branches)
		branches += fmt.Sprintf(`,"R%d"`, i)
	}
	schema := `{"type":"record","name":"W","fields":[` + strings.TrimSuffix(fields, ",") + `]}`
	bounded(t, "many unions", func() {
		r := readerOf(t, &fakeRegistry{texts: map[int]string{1: schema}}, nil)
		var ev engine.Event
		_, err := r.Read(&Record{Topic: "events.web", Value: confluent(1, make([]byte, 30))}, &ev)
		wantBad(t, err, bad.Missing, "event_id")
	})
}

package schemas

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
)

// forms returns a row in every form that it can have.
func (row *reading) forms(t *testing.T, reg *fakeRegistry) map[string]*Record {
	t.Helper()
	js := row.canonical()
	m := map[string]*Record{
		"json":        {Value: []byte(js)},
		"cloudevents": {Value: []byte(`{"specversion":"1.0","type":"t","source":"/s","data":` + js + `}`)},
	}
	if s := row.message(); s != "" {
		m["segment"] = &Record{Value: []byte(s)}
	}
	if !strings.Contains(js, `\ud8`) { // which Avro has not
		schema, b := foreign(t, js)
		reg.texts[row.line] = schema
		m["avro"] = &Record{Value: confluent(row.line, b)}
	}
	for _, rec := range m {
		rec.Topic = topicOf(row.inTopic)
	}
	return m
}

// docs/semantics.md, 10.4 and 11.4: whether a record is an event does not depend on the rules, on
// strict inputs either.
func TestValidityDoesNotDependOnRules(t *testing.T) {
	reg := &fakeRegistry{texts: map[int]string{}}
	for _, strict := range []bool{false, true} {
		settings := DefaultSettings()
		settings.Strict = strict
		all := map[string]*Settings{}
		for topic := range topics {
			all[topic] = settings
		}
		reader := func(layout func(plan.Stream) *plan.Layout) *Reader {
			r, err := NewReader(Config{Catalog: readingCatalog(), Layouts: layout, Topics: topics, Registry: reg, Settings: all, Zones: func(name string) bool { return name == "Europe/Berlin" }})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		full := reader(func(s plan.Stream) *plan.Layout { return &plan.Layout{Stream: s, Paths: readingPaths(s)} })
		none := reader(func(s plan.Stream) *plan.Layout { return &plan.Layout{Stream: s} })
		dead := 0
		for _, row := range table(t) {
			for name, rec := range row.forms(t, reg) {
				var ev engine.Event
				_, err1 := full.Read(rec, &ev)
				_, err2 := none.Read(rec, &ev)
				if CauseOf(err1) != CauseOf(err2) {
					t.Errorf("line %d, %s, strict %v: %v with rules that read everything, %v with none", row.line, name, strict, err1, err2)
				}
				if err1 != nil {
					dead++
				}
			}
		}
		if dead < 100 {
			t.Errorf("strict %v: only %d dead letters", strict, dead)
		}
	}
}

// docs/semantics.md, 10.5 and 11.4: on a strict input a refused field of the schema is a dead
// letter with its cause; a key of a free-form map and a declared field never are.
func TestStrict(t *testing.T) {
	settings := DefaultSettings()
	settings.Strict = true
	rr := newRowReader(t, settings)
	n := 0
	for _, row := range table(t) {
		cause, refused := strings.CutPrefix(row.is, "refused ")
		if !refused {
			continue
		}
		for name, rec := range row.forms(t, rr.reg) {
			var ev engine.Event
			_, err := rr.Read(rec, &ev)
			if free := row.kind == "free" || strings.HasPrefix(row.kind, "my_"); free && err != nil || !free && string(CauseOf(err)) != cause {
				t.Errorf("line %d, %s: %s %s: %v", row.line, name, row.kind, row.comes, err)
			}
			n++
		}
	}
	if n < 100 {
		t.Errorf("only %d records", n)
	}
}

// docs/semantics.md, 10.9: the last of two equal keys counts, also in objects within, and
// what is null there is absent.
func TestDoubledKeys(t *testing.T) {
	for _, tt := range []struct{ members, path, want string }{
		{`"url":"u","url":"v"`, "url", "v"},
		{`"url":"u","\u0075rl":"v"`, "url", "v"},
		{`"url":"u","url":null`, "url", ""},
		{`"value":1,"value":"one"`, "value", ""},
		{`"attributes":{"plan":"a","plan":"b"}`, "attributes.plan", "b"},
		{`"attributes":{"plan":"a","plan":null}`, "attributes.plan", ""},
		{`"attributes":{"plan":"a"},"attributes":{"tier":"b"}`, "attributes.plan", ""},
		{`"plan":"a","plan":"b"`, "attributes.plan", "b"},
		{`"attributes":{"address":{"city":"a","city":"b"}}`, "attributes.address.city", "b"},
		{`"attributes":{"address":{"city":"a","city":null}}`, "attributes.address.city", ""},
		{`"attributes":{"address":{"city":"a"},"address":{"city":"b"}}`, "attributes.address.city", "b"},
		{`"address":{"city":"a","city":"b"}`, "attributes.address.city", "b"},
		{`"items":[{"product_id":"p","sku":"a","sku":"b"}]`, "items", "[[p, b, , , , 1, ]]"},
		{`"z":{"y":1,"y":2}`, "url", ""},
	} {
		rr := newRowReader(t, DefaultSettings())
		var ev engine.Event
		_, err := rr.Read(&Record{Topic: "events.web", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":1700000000,"name":"n",` + tt.members + `}`)}, &ev)
		if err != nil {
			t.Errorf("%s: %v", tt.members, err)
			continue
		}
		got := slotOf(&ev, tt.path).String()
		if tt.path == "items" {
			got = strings.ReplaceAll(itemOf(&ev), " 1", "") + " " + lineField(slotOf(&ev, "items").L[0], "sku").S
			tt.want = "p b"
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.members, got, tt.want)
		}
		if i := slices.IndexFunc(rr.notes, func(n Note) bool { return n.Kind == bad.Doubled }); i < 0 {
			t.Errorf("%s: not noted", tt.members)
		}
	}
	r := readerOf(t, nil, nil)
	var page engine.Event
	if _, err := r.Read(&Record{Topic: "events.web", Value: []byte(`{"type":"identify","messageId":"m","userId":"u","timestamp":1700000000,"type":"page"}`)}, &page); err != nil || page.Stream != plan.Web {
		t.Errorf("the first of two types counts: %v, %v", page.Stream, err)
	}
	for _, value := range []string{
		`{"event_id":"e","customer_id":"c","customer_id":"c","occurred_at":1700000000}`,
		`{"event_id":"e","customer_id":"c","occurred_at":1700000000,"occurred_at":1700000000}`,
		`{"event_id":"e","anonymous_id":"c","anonymous_id":"d","occurred_at":1700000000}`,
		`{"specversion":"1.0","id":"e","id":"f","subject":"c","time":"2026-01-01T00:00:00Z","data":{}}`,
		`{"type":"page","messageId":"m","userId":"u","userId":"v","timestamp":"2026-01-01T00:00:00Z"}`,
	} {
		var ev engine.Event
		if _, err := r.Read(&Record{Topic: "events.web", Value: []byte(value)}, &ev); CauseOf(err) != bad.Format {
			t.Errorf("%s: %v", value, err)
		}
	}
}

// docs/semantics.md, 10.8: a message of a type that is no event is skipped.
func TestSkipped(t *testing.T) {
	rr := newRowReader(t, DefaultSettings())
	var ev engine.Event
	res, err := rr.Read(&Record{Topic: "events.web", Time: 7, Value: []byte(`{"type":"delete","messageId":"m","userId":"u"}`)}, &ev)
	if err != nil || res != IsSkipped || ev.At != 7 || len(rr.notes) != 1 || rr.notes[0].Kind != bad.Skipped || !strings.Contains(rr.notes[0].Detail, "delete") {
		t.Errorf("%v, %v, %v, %v", res, err, ev, rr.notes)
	}
}

// What a CloudEvent says around its payload is read as what is in it.
func TestAttributesAreRead(t *testing.T) {
	r := readerOf(t, nil, nil)
	for _, tt := range []struct{ attrs, customer, id string }{
		{`"id":17,"subject":42.0`, "42", "17"},
		{`"id":"e","subject":"undefined"`, "key", "e"},
		{`"id":"null","subject":"c"`, "", ""},
		{`"id":{"a":1},"subject":"c"`, "", ""},
		{`"id":true,"subject":"c"`, "", ""},
		{`"id":1.5,"subject":"c"`, "", ""},
		{`"id":"\ud83d","subject":"c"`, "", ""},
	} {
		var ev engine.Event
		_, err := r.Read(&Record{Topic: "events.web", Key: []byte("key"), Value: []byte(`{"specversion":"1.0",` + tt.attrs + `,"time":1767258000,"data":{"customer_id":"null"}}`)}, &ev)
		if tt.customer == "" {
			if CauseOf(err) != bad.Identity {
				t.Errorf("%s: %v", tt.attrs, err)
			}
		} else if err != nil || ev.Customer != tt.customer || ev.ID != tt.id || ev.At != 1767258000000 {
			t.Errorf("%s: %v, %q %q %v", tt.attrs, err, ev.Customer, ev.ID, ev.At)
		}
	}
}

// Of names with dots, the deepest that is read has eight parts; a key of the very name
// wins, whichever comes first.
func TestDottedNames(t *testing.T) {
	const eight = "traits.a.b.c.d.e.f.g.h"
	for _, form := range []string{"json", "avro"} {
		for members, want := range map[string]string{
			`"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":"x"}}}}}}}`:                "x",
			`"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":{"i":"x"}}}}}}}}`:          "",
			`"a":{"b":{"c":{"d":{"e":{"f":{"g":{"h":"x"}}}}}}},"z":{"a":"no"}`: "x",
		} {
			r, reg := readerOfPaths(t, plan.Profile, eight, "traits.a.b.c.d.e.f.g.h.i")
			var ev engine.Event
			js := `{"event_id":"e","customer_id":"c","occurred_at":"2026-01-01T00:00:00Z","traits":{` + members + `}}`
			rec := &Record{Topic: "events.profile", Value: []byte(js)}
			if form == "avro" {
				schema, b := foreign(t, js)
				reg.texts[1], rec.Value = schema, confluent(1, b)
			}
			if _, err := r.Read(rec, &ev); err != nil || ev.Fields[0].S != want || ev.Fields[1].Present() {
				t.Errorf("%s %s: %v, %v", form, members, err, ev.Fields)
			}
		}
	}
	for _, members := range []string{
		`"address":{"city":"in"},"address.city":"out"`, `"address.city":"out","address":{"city":"in"}`,
	} {
		r, _ := readerOfPaths(t, plan.Profile, "traits.address.city")
		var ev engine.Event
		for _, traits := range []string{`"traits":{` + members + `}`, members + `,"traits":{}`} {
			js := `{"event_id":"e","customer_id":"c","occurred_at":"2026-01-01T00:00:00Z",` + traits + `}`
			_, err := r.Read(&Record{Topic: "events.profile", Value: []byte(js)}, &ev)
			if want := "out"; err != nil || ev.Fields[0].S != want && strings.HasPrefix(traits, `"traits"`) {
				t.Errorf("%s: %v, %v", js, err, ev.Fields)
			}
		}
	}
}

// readerOfPaths returns a reader of some paths of a stream.
func readerOfPaths(t *testing.T, s plan.Stream, paths ...string) (*Reader, *fakeRegistry) {
	t.Helper()
	reg := &fakeRegistry{texts: map[int]string{}}
	return readerOf(t, reg, map[plan.Stream][]string{s: paths}), reg
}

// An Avro type that contains itself is stepped over, up to a depth.
func TestRecursiveTypes(t *testing.T) {
	const schema = `{"type":"record","name":"W","fields":[{"name":"event_id","type":"string"},{"name":"customer_id","type":"string"},
		{"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"tree","type":{"type":"record","name":"T","fields":[{"name":"name","type":"string"},{"name":"kids","type":{"type":"array","items":"T"}},{"name":"next","type":["null","T"]}]}},
		{"name":"url","type":"string"}]}`
	r := readerOf(t, &fakeRegistry{texts: map[int]string{1: schema}}, nil)
	tree := func(depth int, next bool) []byte {
		down, up := "\x02n\x02", "\x00\x00"
		if next {
			down, up = "\x02n\x00\x02", ""
		}
		return []byte(strings.Repeat(down, depth-1) + "\x02n\x00\x00" + strings.Repeat(up, depth-1))
	}
	for _, next := range []bool{false, true} {
		for depth, fine := range map[int]bool{1: true, 2: true, 60: true, 70: false, 100_000: false} {
			value := slices.Concat([]byte{2, 'e', 2, 'c'}, appendLong(nil, 1_700_000_000_000), tree(depth, next), []byte{2, 'u'})
			var ev engine.Event
			_, err := r.Read(&Record{Topic: "events.web", Value: confluent(1, value)}, &ev)
			if fine != (err == nil) || !fine && CauseOf(err) != bad.Size || fine && values(&ev)["url"].S != "u" {
				t.Errorf("next %v, %d deep: %v", next, depth, err)
			}
		}
	}
}

// What a foreign schema stores a field as decides what it is, and never breaks the reader.
func TestForeignTypes(t *testing.T) {
	settings := DefaultSettings()
	settings.Zone = time.UTC
	const local = `{"type":"long","logicalType":"local-timestamp-millis"}`
	const decimal = `{"type":"bytes","logicalType":"decimal","precision":38,"scale":0}`
	at := appendLong(nil, 1_700_000_000_000)
	huge := slices.Concat(appendLong(nil, 1_000_000), bytes.Repeat([]byte{0x11}, 1_000_000))
	for i, tt := range []struct {
		field, typ string
		value      []byte
		want       string // of the field, if that is a text
		cause      bad.Cause
	}{
		{"customer_id", local, at, "1700000000000", ""},
		{"event_id", local, at, "1700000000000", ""},
		{"order_id", local, at, "1700000000000", ""},
		{"revenue", local, at, "1700000000000.00", ""},
		{"customer_id", `{"type":"fixed","name":"U","size":16}`, make([]byte, 16), "", bad.Identity},
		{"revenue", `{"type":"fixed","name":"F","size":4}`, []byte{0, 0, 1, 0}, "", bad.Type},
		{"revenue", `{"type":"fixed","name":"F","size":2,"logicalType":"decimal","precision":4,"scale":2}`, []byte{0, 125}, "1.25", ""},
		{"order_id", decimal, []byte{2, 125}, "125", ""},
		{"order_id", decimal, huge, "", bad.Range},
		{"customer_id", decimal, huge, "", bad.Identity},
	} {
		schema, value := `{"type":"record","name":"W","fields":[`, []byte(nil)
		for _, f := range []string{"event_id", "customer_id", "occurred_at", tt.field} {
			switch typ := `"string"`; {
			case f == tt.field && strings.Contains(schema, `"`+f+`"`):
			case f == tt.field:
				schema, value = schema+`{"name":"`+f+`","type":`+tt.typ+`},`, append(value, tt.value...)
			case f == "occurred_at":
				schema, value = schema+`{"name":"occurred_at","type":"long"},`, append(value, at...)
			default:
				schema, value = schema+`{"name":"`+f+`","type":`+typ+`},`, append(value, 2, 'x')
			}
		}
		rr := newRowReader(t, settings)
		rr.reg.texts[i] = strings.TrimSuffix(schema, ",") + "]}"
		var ev engine.Event
		_, err := rr.Read(&Record{Topic: "events.purchase", Value: confluent(i, value)}, &ev)
		if vital := tt.cause == bad.Identity; vital || err != nil {
			if CauseOf(err) != tt.cause || !vital {
				t.Errorf("%s of %s: %v", tt.field, tt.typ, err)
			}
			continue
		}
		var got string
		switch tt.field {
		case "customer_id":
			got = ev.Customer
		case "event_id":
			got = ev.ID
		default:
			got = slotOf(&ev, tt.field).String()
		}
		refused := slices.ContainsFunc(rr.notes, func(n Note) bool { return n.Kind == bad.Refused && n.Cause == tt.cause })
		if got != tt.want || refused != (tt.cause != "") {
			t.Errorf("%s of %s: %q, want %q; %+v", tt.field, tt.typ, got, tt.want, rr.notes)
		}
	}
}

// docs/formats.md has every other word of the closed lists, and no more.
func TestWordsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../docs/formats.md")
	if err != nil {
		t.Fatal(err)
	}
	for enum, l := range words {
		by := map[string][]string{}
		for _, w := range l {
			by[w.means] = append(by[w.means], "`"+w.text+"`")
		}
		for means, others := range by {
			if row := "`" + means + "` | " + strings.Join(others, ", ") + " |"; !bytes.Contains(b, []byte(row)) {
				t.Errorf("%s: formats.md has no row %s", enum, row)
			}
		}
	}
}

// docs/semantics.md, 3.15 and 10.5: a web event's own price is that of a product only if
// the event is about one; else it is no field of the schema, and cannot be a bad one.
func TestPriceOfNoProduct(t *testing.T) {
	for members, want := range map[string]string{
		`"name":"page_viewed","price":"from 12 EUR","quantity":"some","amount":"a lot"`: "",
		`"name":"page_viewed","sku":"s","price":"from 12 EUR"`:                          "",
		`"name":"product_viewed","sku":"s","price":"from 12 EUR"`:                       "items.price",
		`"name":"page_viewed","product_id":"p","price":"from 12 EUR"`:                   "items.price",
	} {
		for _, strict := range []bool{false, true} {
			settings := DefaultSettings()
			settings.Strict = strict
			rr := newRowReader(t, settings)
			var ev engine.Event
			_, err := rr.Read(&Record{Topic: "events.web", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":"2026-01-01T00:00:00Z",` + members + `}`)}, &ev)
			var noted []string
			for _, n := range rr.notes {
				noted = append(noted, n.Field)
			}
			if got := strings.Join(noted, " "); strict && (err != nil) != (want != "") || !strict && (err != nil || got != want) {
				t.Errorf("strict %v, %s: %q, %v", strict, members, got, err)
			}
		}
	}
}

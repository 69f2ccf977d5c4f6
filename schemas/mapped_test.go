package schemas

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas/bad"
)

func testZones(name string) (*time.Location, bool) {
	z, err := time.LoadLocation(name)
	return z, err == nil
}

// mappedReader returns a reader whose topic in has the mappings of a rule file.
func mappedReader(t testing.TB, mappings string, noted func(string, *Note)) *Reader {
	t.Helper()
	set, err := rule.Parse([]rule.File{{Name: "r.yaml", Data: []byte("version: 1\nmappings:\n" + mappings)}}, Catalog(), nil, testZones)
	if err != nil {
		t.Fatal(err)
	}
	var l []*plan.Mapping
	for i := range set.Spec.Mappings {
		l = append(l, &set.Spec.Mappings[i])
	}
	r, err := NewReader(Config{
		Layouts: func(s plan.Stream) *plan.Layout { return allLayouts()[s] }, Mappings: map[string][]*plan.Mapping{"in": l},
		Locations: testZones, Noted: noted, Registry: ownRegistry(t),
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// said returns what became of a record, one line for each event and refusal.
func said(r *Reader, rec *Record) string {
	var ev engine.Event
	rec.Topic = "in"
	what, err := r.Read(rec, &ev)
	var b strings.Builder
	switch {
	case err != nil:
		fmt.Fprintf(&b, "refused %v\n", err)
	case what == IsSkipped:
		b.WriteString("skipped\n")
	case what == IsTombstone:
		fmt.Fprintf(&b, "erases %s\n", ev.Customer)
	}
	for _, text := range rec.More.Texts {
		fmt.Fprintf(&b, "%s %d %s\n", text.Mapping, text.Number, text.JSON)
	}
	for _, e := range rec.More.Refused {
		fmt.Fprintf(&b, "refused %v\n", e)
	}
	return b.String()
}

const ticket = `
  tickets:
    stream: web
    when: msg.status == "closed"
    each: msg.updates
    map: {customer_id: msg.requester.id, event_id: 'id(msg.id, it.id)', occurred_at: it.closed_at, name: 'orElse(it.kind, "closed")', url: msg.subject}
`

// docs/semantics.md, 12.1, 12.2, 12.3, 12.8 and 12.9.
func TestMapped(t *testing.T) {
	for _, tt := range []struct{ name, mappings, value, want string }{
		{
			"each element is an event, the earliest first", ticket,
			`{"status":"closed","id":7,"requester":{"id":12345678901234567890},"subject":"a \"b\"","updates":[{"id":2,"closed_at":"2026-01-02T00:00:00Z"},{"id":1,"closed_at":1767225600,"kind":"opened"}]}`,
			`tickets 1 {"customer_id":12345678901234567890,"event_id":"7:1","occurred_at":1767225600,"name":"opened","url":"a \"b\"","source":"/tickets"}
tickets 0 {"customer_id":12345678901234567890,"event_id":"7:2","occurred_at":"2026-01-02T00:00:00Z","name":"closed","url":"a \"b\"","source":"/tickets"}
`,
		},
		{"a record that when leaves out is skipped", ticket, `{"status":"open"}`, "skipped\n"},
		{"and one of which it says nothing", ticket, `{"status":5}`, "skipped\n"},
		{"and one without the list", ticket, `{"status":"closed"}`, "skipped\n"},
		{"each is no list", ticket, `{"status":"closed","updates":5}`, "refused bad input (mapping): each: the mapping tickets: msg.updates is no list\n"},
		{
			"a bad element does not take the others with it", ticket,
			`{"status":"closed","id":7,"requester":{"id":"c"},"updates":[{"closed_at":1},{"id":1,"closed_at":1767225600}]}`,
			`tickets 1 {"customer_id":"c","event_id":"7:1","occurred_at":1767225600,"name":"closed","source":"/tickets"}
refused bad input (missing): event_id: not in the record, and every event needs it; the mapping tickets has it from id(msg.id, it.id)
`,
		},
		{
			"functions", `
  m:
    stream: purchase
    map:
      event_id: id(msg.a, msg.b)
      customer_id: json(msg.text).user
      occurred_at: msg.at
      order_id: pair(msg.params, "order")
      revenue: minor(msg.cents, "EUR")
      discount: minor(msg.cents, "jpy")
      total: decimal64(msg.bytes, 2)
      coupon: epoch_days(msg.days)
      items: 'msg.lines.filter(i, i.n > 0).map(i, {"product_id": i.p, "price": i.c / 100, "quantity": i.n})'
      kind: 'msg.state == "paid" ? "completed" : "unknown"'
      attributes: '{"plan": msg.at}'
`, `{"a":"x:y","b":2,"text":"{\"user\":\"u1\"}","at":1767225600,"params":[{"key":"no"},{"key":"order","value":{"int_value":"9"}}],"cents":1999,"bytes":"AMg=","days":20000,"state":"paid",
			"lines":[{"p":1,"c":1999,"n":2},{"p":2,"c":100,"n":0},{"p":3}]}`,
			`m 0 {"event_id":"x::y:2","customer_id":"u1","occurred_at":1767225600,"order_id":"9","revenue":19.99,"discount":1999,"total":2.00,"coupon":"2024-10-04",` +
				`"items":[{"product_id":1,"price":19.99,"quantity":2}],"kind":"completed","attributes":{"plan":1767225600},"source":"/m"}
`,
		},
		{
			"null clears where that is written", `
  m:
    stream: profile
    nulls: clear
    map: {event_id: msg.id, customer_id: msg.id, occurred_at: record.time, country: msg.country, language: msg.language, signed_up_at: msg.since}
`, `{"id":"c","country":null,"since":null}`,
			`m 0 {"event_id":"c","customer_id":"c","occurred_at":"2026-01-01T00:00:00.000Z","country":"","signed_up_at":"","source":"/m"}
`,
		},
		{
			"and in an object each by itself; what Debezium did not read is absent", `
  m:
    stream: profile
    nulls: clear
    map: {event_id: msg.id, customer_id: msg.id, occurred_at: record.time, traits: msg.row, country: msg.country}
`, `{"id":"c","row":{"a":1,"b":null,"c":"__debezium_unavailable_value"},"country":"__debezium_unavailable_value"}`,
			`m 0 {"event_id":"c","customer_id":"c","occurred_at":"2026-01-01T00:00:00.000Z","traits":{"a":1,"b":""},"source":"/m"}
`,
		},
		{"key, headers and record", `
  m:
    stream: web
    map: {event_id: record.id, customer_id: key, occurred_at: record.time, name: 'headers["type"]', url: record.topic}
`, `{}`, `m 0 {"event_id":"in/3/17","customer_id":"the key","occurred_at":"2026-01-01T00:00:00.000Z","name":"view","url":"in","source":"/m"}
`},
		{
			"several mappings of one topic", `
  a:
    stream: web
    when: msg.type == "view"
    map: {event_id: msg.id, customer_id: msg.u, occurred_at: msg.at, name: '"view"'}
  b:
    stream: purchase
    when: msg.type in ["order", "view"]
    map: {event_id: msg.id, customer_id: msg.u, occurred_at: msg.at, kind: '"completed"'}
`, `{"type":"view","id":"e","u":"c","at":1767225600}`,
			`a 0 {"event_id":"e","customer_id":"c","occurred_at":1767225600,"name":"view","source":"/a"}
b 0 {"event_id":"e","customer_id":"c","occurred_at":1767225600,"kind":"completed","source":"/b"}
`,
		},
		{"no JSON", ticket, `hello`, "refused bad input (format): byte 0: not a JSON value\n"},
		{"a number", ticket, `5`, "refused bad input (format): neither a JSON object nor an array: it begins with \"5\"\n"},
		{"erasure", "\n  m: {stream: profile, tombstone: erase, key: json(key).id, map: {event_id: msg.id, customer_id: msg.id, occurred_at: record.time}}\n", "", "refused bad input (mapping): key: the mapping m finds no customer in the key: json(key).id has no value\n"},
		{"no erasure", ticket, "", "skipped\n"},
	} {
		r := mappedReader(t, tt.mappings, nil)
		rec := &Record{Key: []byte("the key"), Value: []byte(tt.value), Time: 1767225600000, Partition: 3, Offset: 17, Headers: []Header{{"type", []byte("view")}}}
		if got := said(r, rec); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
	r := mappedReader(t, "\n  m: {stream: profile, tombstone: erase, key: json(key).id, map: {event_id: msg.id, customer_id: msg.id, occurred_at: record.time}}\n", nil)
	if got := said(r, &Record{Key: []byte(`{"id": 17}`)}); got != "erases 17\n" {
		t.Error(got)
	}
}

// docs/semantics.md, 12.5: what a forwarded event is does not depend on where it is read: the text of a mapped
// event, read again, is the event.
func TestMappedForwarded(t *testing.T) {
	r := mappedReader(t, ticket, nil)
	rec := &Record{Topic: "in", Time: 1767225700000, Value: []byte(`{"status":"closed","id":7,"requester":{"id":"c"},"subject":"s","updates":[{"id":2,"closed_at":1767225600}]}`)}
	var ev, again engine.Event
	if _, err := r.Read(rec, &ev); err != nil {
		t.Fatal(err)
	}
	text := rec.More.Texts[0]
	copied := &Record{Topic: "in", Time: rec.Time, Value: text.JSON, Mapped: &MappedAs{Mapping: text.Mapping, Stream: "web"}}
	if _, err := r.Read(copied, &again); err != nil || fmt.Sprint(again) != fmt.Sprint(ev) {
		t.Errorf("%v is read again as %v (%v)", ev, again, err)
	}
}

// docs/semantics.md, 12.2: a filter of which it is unknown whether it holds is noted, and one that is false is not.
func TestMappedUndecided(t *testing.T) {
	var notes []Note
	r := mappedReader(t, ticket, func(_ string, n *Note) { notes = append(notes, *n) })
	said(r, &Record{Value: []byte(`{"status":"open"}`)})
	said(r, &Record{Value: []byte(`{"state":"open"}`)})
	said(r, &Record{Value: []byte(`{"status":5}`)}) // no text: whether it is "closed" is no question
	if len(notes) != 2 || notes[0].Kind != bad.Undecided || notes[0].Field != "tickets" {
		t.Error(notes)
	}
}

// docs/semantics.md, 12.4: steps, events and bytes that come of one record are bounded.
func TestMappedBounds(t *testing.T) {
	list := "[" + strings.Repeat("1,", 2_000) + "1]"
	for _, tt := range []struct{ mappings, value, want string }{
		{"\n  m: {stream: web, each: msg.l, map: {event_id: 'string(it)', customer_id: msg.c, occurred_at: msg.at, name: msg.c}}\n", `{"c":"c","at":1,"l":` + list + `}`, "has 2001 elements, more than 1000"},
		{"\n  m: {stream: web, map: {event_id: msg.c, customer_id: msg.c, occurred_at: msg.at, name: 'msg.l.exists(a, msg.l.exists(b, a + b == 5)) ? \"a\" : \"b\"'}}\n", `{"c":"c","at":1,"l":` + list + `}`, "more than 100000 steps"},
		{
			"\n  m: {stream: web, each: msg.l, map: {event_id: 'string(it)', customer_id: msg.c, occurred_at: msg.at, name: msg.text}}\n",
			`{"c":"c","at":1,"l":[` + strings.Repeat("1,", 900) + `1],"text":"` + strings.Repeat("x", 30_000) + `"}`, "more than 4194304 bytes",
		},
		{"\n  m: {stream: web, when: 'msg.l.exists(a, msg.l.exists(b, a + b == 5))', map: {event_id: msg.c, customer_id: msg.c, occurred_at: msg.at, name: msg.c}}\n", `{"c":"c","at":1,"l":` + list + `}`, "more than 100000 steps"},
	} {
		if got := said(mappedReader(t, tt.mappings, nil), &Record{Value: []byte(tt.value)}); !strings.Contains(got, tt.want) {
			t.Errorf("%.300s\nwant %s", got, tt.want)
		}
	}
}

// A record in Avro is mapped as the JSON that it would be.
func TestMappedAvro(t *testing.T) {
	r := mappedReader(t, `
  m:
    stream: purchase
    map: {event_id: msg.event_id, customer_id: msg.customer_id, occurred_at: msg.occurred_at, kind: msg.kind, revenue: msg.revenue, items: msg.items}
`, nil)
	value, err := NewEventEncoder(Avro, ownIDs).Append(nil, plan.Purchase, map[string]any{
		"event_id": "e1", "customer_id": "c1", "occurred_at": time.UnixMilli(1_700_000_000_123), "kind": "completed", "revenue": "-129.9",
		"items": []map[string]any{{"product_id": "p1", "price": "64.95", "quantity": 2}},
	})
	if err != nil {
		t.Fatal(err)
	}
	got := said(r, &Record{Value: value})
	want := `"event_id":"e1","customer_id":"c1","occurred_at":"2023-11-14T22:13:20.123Z","kind":"completed","revenue":-129.9000`
	if !strings.Contains(got, want) || !strings.Contains(got, `"price":64.9500`) {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// Whatever a record holds, a mapping makes events of it that can be read again as the same,
// or says what is wrong.
func FuzzMapped(f *testing.F) {
	r := mappedReader(f, `
  orders: {preset: shopify/orders@1, customer_id: msg.customer.id}
  mails: {preset: sendgrid@1, customer_id: it.customer_id}
  rows: {preset: debezium/profile@1, customer_id: it.after.id}
  own:
    stream: purchase
    each: '[orElse(json(msg.text), msg)]'
    map:
      event_id: id(it.a, it["b c"])
      customer_id: orElse(it.u, key)
      occurred_at: orElse(it.at, record.time)
      revenue: minor(it.n, "EUR")
      items: 'it.l.filter(i, i.n > 0).map(i, {"product_id": i.p, "price": i.c / 3})'
      attributes: it
`, nil)
	for _, seed := range []string{
		`{"id":1,"financial_status":"paid","processed_at":"2026-03-01T10:00:00Z","customer":{"id":2},"line_items":[{"product_id":3,"quantity":1,"price":"2.50"}],"refunds":[{"id":4,"created_at":"2026-03-02T10:00:00Z","refund_line_items":[],"transactions":[{"amount":"1"}]}]}`,
		`[{"event":"open","sg_event_id":"e","timestamp":1772359200,"customer_id":"c"}]`,
		`{"op":"u","after":{"id":7,"x":null,"y":"__debezium_unavailable_value"},"source":{"lsn":1,"ts_ms":1772359200000}}`,
		`{"text":"{\"a\":1,\"b c\":\"x:y\",\"u\":\"c\",\"n\":1999,\"l\":[{\"n\":1,\"p\":\"p\",\"c\":10}]}"}`,
		"{\"a\":1e400,\"b c\":\"\\ud800\",\"n\":\"-0\",\"l\":[1,null,{}]}", "\x00\x00\x00\x00\x01", `[]`, `[[]]`, `{"a":`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rec := &Record{Topic: "in", Key: []byte("k"), Value: value, Time: 1772362800000}
		var ev engine.Event
		what, err := r.Read(rec, &ev)
		if err != nil && CauseOf(err) == "" {
			t.Skip(err) // a registry is asked
		}
		if what == IsEvent && len(rec.More.Texts) != 1+len(rec.More.Events) {
			t.Fatalf("%d texts of %d events", len(rec.More.Texts), 1+len(rec.More.Events))
		}
		events := append([]engine.Event{ev}, rec.More.Events...)
		for i, text := range rec.More.Texts {
			var again engine.Event
			copied := &Record{Topic: "in", Time: rec.Time, Value: text.JSON, Mapped: &MappedAs{Mapping: text.Mapping, Stream: text.Stream, Number: text.Number}}
			if _, err := r.Read(copied, &again); err != nil || fmt.Sprint(again) != fmt.Sprint(events[i]) {
				t.Errorf("%s\nis %v\nand read again %v (%v)", text.JSON, events[i], again, err)
			}
		}
	})
}

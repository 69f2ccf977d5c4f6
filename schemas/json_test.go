package schemas

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/frame"
)

// Every JSON value of a time, an amount and a date that is accepted, and what it
// becomes.
func TestJSONValues(t *testing.T) {
	r := readerOf(t, nil, nil)
	for _, tt := range []struct {
		stream      plan.Stream
		field, json string
		want        string
	}{
		{plan.Web, "occurred_at", `1700000000`, "2023-11-14T22:13:20.000Z"},
		{plan.Web, "occurred_at", `1700000000.1239`, "2023-11-14T22:13:20.123Z"},
		{plan.Web, "occurred_at", `1700000000123`, "2023-11-14T22:13:20.123Z"},
		{plan.Web, "occurred_at", `1.700000000123e12`, "2023-11-14T22:13:20.123Z"},
		{plan.Web, "occurred_at", `1700000000123456`, "2023-11-14T22:13:20.123Z"},
		{plan.Web, "occurred_at", `150000000000000`, "1974-10-03T02:40:00.000Z"},
		{plan.Web, "occurred_at", `-1.0001`, "1969-12-31T23:59:58.999Z"},
		{plan.Web, "occurred_at", `-1`, "1969-12-31T23:59:59.000Z"},
		{plan.Web, "occurred_at", `"2023-11-14t22:13:20.1z"`, "2023-11-14T22:13:20.100Z"},
		{plan.Web, "occurred_at", `"2023-11-15 00:13:20+02:00"`, "2023-11-14T22:13:20.000Z"},
		{plan.Web, "occurred_at", `"2024-02-29T00:00:00.123999999-00:30"`, "2024-02-29T00:30:00.123Z"},
		{plan.Purchase, "revenue", `12`, "12.00"},
		{plan.Purchase, "revenue", `0.1`, "0.10"},
		{plan.Purchase, "revenue", `1.2345000000000000000000`, "1.2345"},
		{plan.Purchase, "revenue", `125e-2`, "1.25"},
		{plan.Purchase, "revenue", `922337203685477.5807`, "922337203685477.5807"},
		{plan.Purchase, "revenue", `"0012.50"`, "12.50"},
		{plan.Purchase, "kind", `"REFUNDED"`, "refunded"},
		{plan.Purchase, "kind", `"swapped"`, "unknown"},
		{plan.Purchase, "kind", `null`, "completed"},
		{plan.Purchase, "coupon", `null`, ""},
		{plan.Purchase, "coupon", `"\u00e9\ud83d\ude00"`, "é😀"},
		{plan.Email, "machine_open", `true`, "true"},
		{plan.Email, "machine_open", `null`, "false"},
		{plan.Profile, "birth_date", `"1990-05-31"`, "1990-05-31"},
		{plan.Profile, "birth_date", `"1900-03-01"`, "1900-03-01"},
		{plan.Profile, "birth_date", `"1990-05-31T23:30:00Z"`, "1990-05-31"},
		{plan.Profile, "time_zone", `""`, ""},
		{plan.Profile, "time_zone", `"Europe/Berlin"`, "Europe/Berlin"},
		{plan.Profile, "traits", `{"plan":1.50,"tier":false}`, ""},
		{plan.Web, "items", `[]`, "[]"},
		{plan.Web, "items", `null`, "[]"},
		{plan.Web, "source", `""`, "/unknown"},
	} {
		fields := map[string]string{
			"event_id": `"e"`, "customer_id": `"c"`, "occurred_at": `1700000000`, "name": `"n"`, "action": `"sent"`,
			"campaign_id": `"k"`, "order_id": `"o"`, "revenue": `1`, "currency": `"EUR"`, "channel": `"email"`, "state": `"granted"`,
		}
		fields[tt.field] = tt.json
		var parts []string
		for k, v := range fields {
			parts = append(parts, fmt.Sprintf("%q:%s", k, v))
		}
		var ev engine.Event
		if _, err := r.Read(&Record{Topic: topicOf(tt.stream), Value: []byte("{" + strings.Join(parts, ",") + "}")}, &ev); err != nil {
			t.Errorf("%s = %s: %v", tt.field, tt.json, err)
			continue
		}
		v := values(&ev)
		if got := v[tt.field].String(); got != tt.want {
			t.Errorf("%s = %s: got %q, want %q", tt.field, tt.json, got, tt.want)
		}
		if tt.field == "traits" && (v["traits.plan"].S != "1.50" || v["traits.tier"].S != "false") {
			t.Errorf("traits: %v", v)
		}
	}
}

// A key in attributes wins over a field of the same name outside of it, in
// either order.
func TestAttributesWin(t *testing.T) {
	r := readerOf(t, nil, nil)
	for _, more := range []string{
		`"plan":"out","attributes":{"plan":"in"}`, `"attributes":{"plan":"in"},"plan":"out"`,
		`"attributes":{"plan":null},"plan":"in"`, `"attributes":{},"plan":"in"`, `"plan":"in"`,
	} {
		var ev engine.Event
		_, err := r.Read(&Record{Topic: "events.web", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":1700000000,"name":"n",` + more + `}`)}, &ev)
		if got := values(&ev)["attributes.plan"].S; err != nil || got != "in" {
			t.Errorf("%s: %q, %v", more, got, err)
		}
	}
	var ev engine.Event // what is no scalar is no attribute, and no fault
	_, err := r.Read(&Record{Topic: "events.web", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":1700000000,"name":"n","plan":{"x":1},"tier":[]}`)}, &ev)
	if v := values(&ev); err != nil || v["attributes.plan"].Present() || v["attributes.tier"].Present() {
		t.Errorf("%v: %v", err, v)
	}
}

// What Read returns refers to nothing that later reads overwrite.
func TestEventsDoNotShareMemory(t *testing.T) {
	r := readerOf(t, nil, nil)
	value := []byte(purchaseJSON)
	var first, second engine.Event
	if _, err := r.Read(&Record{Topic: "events.purchase", Value: value}, &first); err != nil {
		t.Fatal(err)
	}
	want := text(&first)
	for i := range value {
		value[i] ^= 0x55
	}
	if _, err := r.Read(&Record{Topic: "events.purchase", Value: []byte(strings.ReplaceAll(purchaseJSON, `1"`, `7"`))}, &second); err != nil {
		t.Fatal(err)
	}
	if got := text(&first); got != want {
		t.Errorf("the event became %s", got)
	}
}

// Keys with escapes are the keys that they spell, however many there are.
func TestEscapedKeys(t *testing.T) {
	r := readerOf(t, nil, nil)
	var ev engine.Event
	_, err := r.Read(&Record{Topic: "events.web", Value: []byte(`{"event\u005fid":"\u0065","customer_\u0069d":"\u0063","occurred\u005fat":1,"n\u0061me":"\u006e",
		"\u0061ttributes":{"\u0070lan":"\u0067old"}}`)}, &ev)
	if err != nil || ev.ID != "e" || ev.Customer != "c" || values(&ev)["name"].S != "n" || values(&ev)["attributes.plan"].S != "gold" {
		t.Errorf("%v, %s", err, text(&ev))
	}
}

// The budget of elements is that of one record, and the records of a list do not
// share memory that can grow.
func TestLists(t *testing.T) {
	r := readerOf(t, nil, nil)
	value := []byte(`{"event_id":"e","customer_id":"c","occurred_at":1700000000,"name":"n","items":[` +
		strings.Repeat(`{"product_id":"p"},`, 300) + `{"product_id":"q"}]}`)
	var ev engine.Event
	for range frame.MaxItems/300 + 1 { // together more than one record may have
		if _, err := r.Read(&Record{Topic: "events.web", Value: value}, &ev); err != nil {
			t.Fatal(err)
		}
	}
	items := values(&ev)["items"].L
	_ = append(items[0].L, expr.IntValue(7))
	if got := items[1].L[0].S; got != "p" || len(items) != 301 {
		t.Errorf("product of item 1 is %q, of %d", got, len(items))
	}
}

// "stream" says what a line is; it is no attribute of the event.
func TestStreamIsNoAttribute(t *testing.T) {
	r := readerOf(t, nil, map[plan.Stream][]string{plan.Web: {"attributes.stream"}})
	var ev engine.Event
	const value = `{"stream":"web","event_id":"e","customer_id":"c","occurred_at":1700000000}`
	if _, err := r.ReadJSONLine([]byte(value), &ev, nil); err != nil || ev.Fields[0].Present() {
		t.Errorf("as a line: %v, %v", err, ev.Fields)
	}
	if _, err := r.Read(&Record{Topic: "events.web", Value: []byte(value)}, &ev); err != nil || ev.Fields[0].S != "web" {
		t.Errorf("as a record: %v, %v", err, ev.Fields)
	}
}

// Errors and notes quote what they complain of, but not all of it.
func TestLongValuesInErrors(t *testing.T) {
	r := readerOf(t, nil, nil)
	var notes []Note
	r.cfg.Noted = func(_ string, n *Note) { notes = append(notes, *n) }
	for _, value := range []string{strings.Repeat("1", 5000), `{"x":"` + strings.Repeat("é", 5000) + `"}`, `"` + strings.Repeat("é", 5000) + `"`} {
		var ev engine.Event
		_, err := r.Read(&Record{Topic: "events.web", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":1700000000,"value":` + value + `}`)}, &ev)
		if err != nil || len(notes) != 1 || len(notes[0].Detail) > 300 || !utf8.ValidString(notes[0].Detail) {
			t.Errorf("%v, %q", err, notes)
		}
		notes = nil
		_, err = r.Read(&Record{Topic: "events.web", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":"` + strings.Repeat("é", 5000) + `"}`)}, &ev)
		if wantBad(t, err, bad.Type, "occurred_at"); !utf8.ValidString(err.Error()) {
			t.Errorf("error %q", err)
		}
	}
}

func TestCauseOf(t *testing.T) {
	err := fmt.Errorf("partition 1: %w", bad.New(bad.Type, "x", "y"))
	if CauseOf(err) != bad.Type || CauseOf(errors.New("x")) != "" || CauseOf(nil) != "" {
		t.Error("CauseOf")
	}
}

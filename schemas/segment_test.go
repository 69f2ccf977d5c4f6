package schemas

import (
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/schemas/bad"
)

// A message becomes the event below it: only what is beyond its head.
func TestSegment(t *testing.T) {
	r := readerOf(t, nil, nil)
	for _, tt := range []struct{ name, message, want string }{
		{"order", `{"type":"track","event":"Order Completed","properties":{"order_id":"o1","revenue":19.99,"total":25,"currency":"EUR",
			"coupon":"X","products":[{"product_id":"p1","name":"Shoe","price":19.99,"quantity":1,"image_url":"u"}],"plan":"gold"}}`, `purchase
  attributes.plan = 5 gold
  coupon = 5 X
  currency = 5 EUR
  items = 9 [[p1, , Shoe, , , 1, 19.99, , , u, ]]
  kind = 5 completed
  order_id = 5 o1
  revenue = 4 19.99
  total = 4 25.00`},
		{"two lists", `{"type":"track","event":"Order Completed ","properties":{"products":[{"product_id":"p","price":5}],"items":[{"product_id":"p","price":5}]}}`, `purchase
  items = 9 [[p, , , , , 1, 5.00, , , , ]]
  kind = 5 completed
  revenue = 4 5.00`},
		{"refund", `{"type":"track","event":"Order Refunded","properties":{"order_id":"o1","revenue":"5","currency":"EUR"}}`, `purchase
  currency = 5 EUR
  items = 9 []
  kind = 5 refunded
  order_id = 5 o1
  revenue = 4 5.00`},
		{"cancelled", `{"type":"track","event":"Order Cancelled","properties":{"order_id":"o1","revenue":5,"currency":"EUR","kind":"completed",
			"customer_id":"not the user","event_id":7,"received_at":"never"}}`, `purchase
  currency = 5 EUR
  items = 9 []
  kind = 5 cancelled
  order_id = 5 o1
  revenue = 4 5.00`},
		{"product", `{"type":"track","event":"Product Added","properties":{"cart_id":"k","product_id":"p1","name":"Shoe","price":"9.5","quantity":2,"tier":"a"}}`, `web
  attributes.tier = 5 a
  cart_id = 5 k
  items = 9 [[p1, , Shoe, , , 2, 9.50, , , , ]]
  name = 5 product_added`},
		{"products", `{"type":"track","event":"Cart Viewed","properties":{"cart_id":"k","product_id":"ignored","products":[{"product_id":"p1"},{"product_id":"p2"}]}}`, `web
  cart_id = 5 k
  items = 9 [[p1, , , , , 1, , , , , ], [p2, , , , , 1, , , , , ]]
  name = 5 cart_viewed`},
		{"other", `{"type":"track","event":"Signed Up","properties":{}}`, "web\n  items = 9 []\n  name = 5 signed_up"},
		{"email", `{"type":"track","event":"Email Link Clicked","properties":{"campaign_id":"k","link_url":"u"}}`, `email
  action = 5 clicked
  campaign_id = 5 k
  link_url = 5 u
  machine_open = 1 false`},
		{"spam", `{"type":"track","event":"Email Marked as Spam","properties":{"campaign_id":"k"}}`, `email
  action = 5 complained
  campaign_id = 5 k
  machine_open = 1 false`},
		{"page", `{"type":"page","name":"Home","properties":{"url":"u","title":"t"},
			"context":{"page":{"url":"not this","referrer":"r"},"campaign":{"source":"s","name":"n","term":{}},"ip":"x"}}`, `web
  items = 9 []
  name = 5 page_viewed
  referrer = 5 r
  url = 5 u
  utm_campaign = 5 n
  utm_source = 5 s`},
		{"screen", `{"type":"screen","context":{"c\u0061mpaign":{"source":"s"}}}`, "web\n  items = 9 []\n  name = 5 screen_viewed\n  utm_source = 5 s"},
		{"identify", `{"type":"identify","traits":{"createdAt":"2020-01-01T00:00:00Z","birthday":"1990-05-31","country":"DE","plan":"gold","address":{"city":"x"}},
			"context":{"timezone":"Europe/Berlin","locale":"de-DE"}}`, `profile
  birth_date = 8 1990-05-31
  country = 5 DE
  language = 5 de-DE
  signed_up_at = 6 2020-01-01T00:00:00.000Z
  time_zone = 5 Europe/Berlin
  traits.plan = 5 gold`},
		{"what the context has twice", `{"type":"identify","traits":{"address":{"country":"AT","country":"DE"}},
			"context":{"locale":"fr-FR","timezone":"Europe/Paris","locale":"de-DE","timezone":"Europe/Berlin"}}`, `profile
  country = 5 DE
  language = 5 de-DE
  time_zone = 5 Europe/Berlin`},
		{
			"an object in the context twice", `{"type":"screen","context":{"campaign":{"source":"r","source":"s","name":"m"},"campaign":{"source":"s","source":"t"}}}`,
			"web\n  items = 9 []\n  name = 5 screen_viewed\n  utm_source = 5 t",
		},
		{"alias", `{"type":"alias","previousId":"old"}`, "profile\n  merge_from = 5 old"},
		{"group", `{"type":"group","groupId":"g","traits":{"plan":"not the user's"}}`, "profile"},
	} {
		const head = `{"messageId":"m","userId":"u","anonymousId":"a","originalTimestamp":"2026-01-01T09:00:00Z","timestamp":"2026-01-01T08:00:00Z",`
		var ev engine.Event
		// The topic does not matter: the message says what it is.
		_, err := r.Read(&Record{Topic: "events.consent", Value: []byte(head + strings.TrimPrefix(tt.message, "{"))}, &ev)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		lines := strings.Split(text(&ev), "\n")
		const about = ` "u" "m" "/unknown" 2026-01-01T08:00:00.000Z`
		if !strings.HasSuffix(lines[0], about) {
			t.Errorf("%s: head %s", tt.name, lines[0])
		}
		got := strings.TrimSuffix(lines[0], about)
		for _, l := range lines[1:] {
			if f := strings.Fields(l)[0]; f != "event_id" && f != "customer_id" && f != "anonymous_id" && f != "occurred_at" && f != "source" {
				got += "\n" + l
			}
		}
		if got != tt.want {
			t.Errorf("%s: got\n%s\nwant\n%s", tt.name, got, tt.want)
		}
	}
}

// The time is timestamp, else originalTimestamp, else sentAt; the visitor stands in
// for the user.
func TestSegmentHead(t *testing.T) {
	r := readerOf(t, nil, nil)
	for _, tt := range []struct{ head, customer, at string }{
		{`"anonymousId":"a","sentAt":"2026-01-01T03:00:00Z","originalTimestamp":"2026-01-01T02:00:00Z"`, "anon:a", "2026-01-01T02:00:00.000Z"},
		{`"userId":null,"anonymousId":"a","timestamp":null,"sentAt":"2026-01-01T03:00:00Z"`, "anon:a", "2026-01-01T03:00:00.000Z"},
	} {
		var ev engine.Event
		_, err := r.ReadJSONLine([]byte(`{"messageId":"m","type":"page",`+tt.head+`}`), &ev, nil)
		if err != nil || ev.Customer != tt.customer || ev.At.String() != tt.at {
			t.Errorf("%s: %v %s %v", tt.head, err, ev.Customer, ev.At)
		}
	}
}

// JSON with our names is not mistaken for a Segment message.
func TestNotSegment(t *testing.T) {
	r := readerOf(t, nil, nil)
	for _, more := range []string{`"messageId":"m"`, `"type":"track"`, `"messageId":"m","type":"other"`, `"messageId":"m","type":1`} {
		var ev engine.Event
		_, err := r.Read(&Record{Topic: "events.web", Value: []byte(`{"event_id":"e","customer_id":"c","occurred_at":1700000000,"name":"n",` + more + `}`)}, &ev)
		if err != nil || ev.ID != "e" {
			t.Errorf("%s: %v", more, err)
		}
	}
}

// The envelope fills in what the payload lacks, in both modes.
func TestCloudEvents(t *testing.T) {
	r := readerOf(t, nil, nil)
	const envelope = `{"specversion":"1.0","type":"t","id":"ce","source":"/ce","time":"2026-01-01T00:00:00Z","subject":"s\u0075b","data":`
	headers := []Header{
		{"ce_id", []byte("ce")},
		{"ce_source", []byte("/ce")},
		{"ce_time", []byte("2026-01-01T00:00:00Z")},
		{"ce_subject", []byte("sub")},
		{"ce_", nil},
		{"ce_idx", []byte("no")},
		{"traceparent", []byte{0xff}},
	}
	for _, tt := range []struct{ data, want string }{
		{`{"name":"n"}`, `web "sub" "ce" "/ce" 2026-01-01T00:00:00.000Z`},
		{`{"name":"n","event_id":"e","customer_id":"c","source":"/own","occurred_at":0}`, `web "c" "e" "/own" 1970-01-01T00:00:00.000Z`},
		{`{"name":"n","anonymous_id":"a"}`, `web "anon:a" "ce" "/ce" 2026-01-01T00:00:00.000Z`},
		{`{"messageId":"m","type":"page","userId":"u","context":{"page":{"url":"x"}},"properties":{"z":1}}`, `web "u" "m" "/ce" 2026-01-01T00:00:00.000Z`},
	} {
		for mode, rec := range map[string]*Record{
			"structured": {Topic: "events.web", Value: []byte(envelope + tt.data + "}")},
			"binary":     {Topic: "events.web", Value: []byte(tt.data), Headers: headers},
		} {
			var ev engine.Event
			_, err := r.Read(rec, &ev)
			if err != nil {
				t.Errorf("%s %s: %v", mode, tt.data, err)
				continue
			}
			if got, _, _ := strings.Cut(text(&ev), "\n"); got != tt.want {
				t.Errorf("%s %s: got %s, want %s", mode, tt.data, got, tt.want)
			}
		}
	}
	var ev engine.Event
	_, err := r.Read(&Record{Topic: "events.web", Value: []byte(`{"name":"n"}`), Headers: []Header{{"ce_id", []byte{0xff}}}}, &ev)
	wantBad(t, err, bad.Identity, "event_id")
	_, err = r.Read(&Record{Topic: "events.web", Value: []byte(`{"name":"n"}`), Headers: []Header{{"ce_id", []byte("a\x00")}}}, &ev)
	wantBad(t, err, bad.Identity, "event_id")
}

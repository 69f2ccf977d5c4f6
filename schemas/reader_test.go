package schemas

import (
	"errors"
	"fmt"
	"math/rand"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/encode"
	"github.com/segmill/segmill/schemas/registry"
)

const purchaseJSON = `{"event_id":"e1","customer_id":"c1","occurred_at":"2026-03-01T12:00:00.250+01:00",
 "order_id":"o1","revenue":129.90,"currency":"EUR","coupon":null,"channel":"web",
 "items":[{"product_id":"p1","price":"64.95","quantity":2,"colour":"red"},{"product_id":"p2"}],
 "attributes":{"plan":"gold","note":{"deep":[1,2]}},"tier":7,"unheard":{"of":[]}}`

func TestReadJSON(t *testing.T) {
	r := readerOf(t, nil, nil)
	var ev engine.Event
	res, err := r.Read(&Record{Topic: "events.purchase", Value: []byte(purchaseJSON)}, &ev)
	if err != nil || res != IsEvent {
		t.Fatal(res, err)
	}
	const want = `purchase "c1" "e1" "/unknown" 2026-03-01T11:00:00.250Z
  attributes.plan = 5 gold
  attributes.tier = 5 7
  channel = 5 web
  currency = 5 EUR
  customer_id = 5 c1
  event_id = 5 e1
  items = 9 [[p1, , , , , 2, 64.95, , , , ], [p2, , , , , 1, , , , , ]]
  kind = 5 completed
  occurred_at = 6 2026-03-01T11:00:00.250Z
  order_id = 5 o1
  revenue = 4 129.90
  source = 5 /unknown`
	if got := text(&ev); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

// A record in Avro and the same record in JSON are the same event.
func TestFormatsAgree(t *testing.T) {
	r := readerOf(t, ownRegistry(t), nil)
	fields := map[string]any{
		"event_id": "e1", "customer_id": "c1", "occurred_at": time.UnixMilli(1_700_000_000_123),
		"order_id": "o1", "revenue": "129.9", "currency": "EUR", "discount": -0.25, "total": "922337203685477.5807",
		"items":      []map[string]any{{"product_id": "p1", "price": "64.95", "quantity": 2}, {"product_id": "p2"}},
		"attributes": map[string]string{"plan": "gold", "x": "y"},
	}
	var got [2]string
	for _, f := range []encode.Format{encode.Avro, encode.JSON} {
		b, err := NewEventEncoder(f, ownIDs).Append(nil, plan.Purchase, fields)
		if err != nil {
			t.Fatal(err)
		}
		var ev engine.Event
		if _, err := r.Read(&Record{Topic: "events.purchase", Value: b}, &ev); err != nil {
			t.Fatal(err)
		}
		got[f] = text(&ev)
	}
	if got[encode.Avro] != got[encode.JSON] {
		t.Errorf("Avro: %s\nJSON: %s", got[encode.Avro], got[encode.JSON])
	}
}

func TestTombstone(t *testing.T) {
	r := readerOf(t, nil, nil)
	var ev engine.Event
	res, err := r.Read(&Record{Topic: "events.profile", Key: []byte("c1"), Time: 99}, &ev)
	if err != nil || res != IsTombstone || ev.Customer != "c1" || ev.At != 99 || ev.Stream != plan.Profile {
		t.Errorf("%v %v %+v", res, err, ev)
	}
	_, err = r.Read(&Record{Topic: "events.web", Key: []byte("c1")}, &ev)
	wantBad(t, err, bad.Format, "")
	_, err = r.Read(&Record{Topic: "events.profile"}, &ev)
	wantBad(t, err, bad.Identity, "key")
}

// The customer is customer_id, else anon:<anonymous_id>, else the key.
func TestWhoTheCustomerIs(t *testing.T) {
	r := readerOf(t, nil, map[plan.Stream][]string{plan.Web: {"name"}})
	for _, tt := range []struct{ ids, key, want string }{
		{`"customer_id":"c","anonymous_id":"a",`, "k", "c"},
		{`"customer_id":"","anonymous_id":"a",`, "k", "anon:a"},
		{`"customer_id":null,"anonymous_id":"a",`, "k", "anon:a"},
		{`"anonymous_id":"",`, "k", "k"},
		{``, "k", "k"},
		{``, "", ""},
	} {
		var ev engine.Event
		_, err := r.Read(&Record{
			Topic: "events.web", Key: []byte(tt.key),
			Value: []byte(`{` + tt.ids + `"event_id":"e","occurred_at":1700000000,"name":"x"}`),
		}, &ev)
		if tt.want == "" {
			wantBad(t, err, bad.Identity, "customer_id")
		} else if err != nil || ev.Customer != tt.want {
			t.Errorf("%s key %q: customer %q, error %v; want %q", tt.ids, tt.key, ev.Customer, err, tt.want)
		}
	}
}

// A required field that is missing is absent, whether a rule reads it or not.
func TestMissingFieldsAreAbsent(t *testing.T) {
	value := []byte(`{"event_id":"e","customer_id":"c","occurred_at":1700000000}`)
	for s := range plan.NumBuiltin {
		for _, paths := range []map[plan.Stream][]string{{}, nil} {
			var ev engine.Event
			if _, err := readerOf(t, nil, paths).Read(&Record{Topic: topicOf(s), Value: value}, &ev); err != nil {
				t.Errorf("%v: %v", s, err)
			}
		}
	}
}

func TestUnknownLayoutPath(t *testing.T) {
	for _, path := range []string{"nosuch", "attributes", "attributes.", "items.price", "name.x"} {
		_, err := NewReader(Config{Layouts: func(s plan.Stream) *plan.Layout {
			return &plan.Layout{Stream: s, Paths: []string{path}}
		}})
		if err == nil {
			t.Errorf("path %q is accepted", path)
		}
	}
}

// A registry that does not answer is no fault of the record.
func TestRegistryErrors(t *testing.T) {
	reg := ownRegistry(t)
	reg.err = errors.New("connection refused")
	r := readerOf(t, reg, nil)
	b, err := NewEventEncoder(encode.Avro, ownIDs).Append(nil, plan.Consent, map[string]any{
		"event_id": "e", "customer_id": "c",
		"occurred_at": time.UnixMilli(1_700_000_000_000), "channel": "email", "state": "granted",
	})
	if err != nil {
		t.Fatal(err)
	}
	rec := &Record{Topic: "events.consent", Value: b}
	var ev engine.Event
	if _, err = r.Read(rec, &ev); !errors.Is(err, registry.ErrWaiting) || CauseOf(err) != "" {
		t.Errorf("error %v", err)
	}
	reg.err = nil
	if _, err = r.Read(rec, &ev); err != nil || values(&ev)["state"].S != "granted" {
		t.Errorf("after the registry is back: %v", err)
	}
	calls := reg.calls
	if _, err = r.Read(rec, &ev); err != nil || reg.calls != calls {
		t.Errorf("the schema was not kept: %v, %d calls", err, reg.calls-calls)
	}
	b[4] = 99
	for range 100 {
		_, err = r.Read(rec, &ev)
		wantBad(t, err, bad.Schema, "")
	}
	if reg.calls != calls+1 {
		t.Errorf("an unknown id was looked up %d times", reg.calls-calls)
	}
}

// The schema must belong to an input, if the registry can tell.
func TestSubjects(t *testing.T) {
	reg := ownRegistry(t)
	reg.subjects = map[int][]string{1: {"other-value"}, 2: {"x", "events.email-value"}}
	r := readerOf(t, reg, nil)
	var ev engine.Event
	_, err := r.Read(&Record{Topic: "events.web", Value: []byte{0, 0, 0, 0, 1, 0}}, &ev)
	wantBad(t, err, bad.Schema, "")
	_, err = r.Read(&Record{Topic: "events.email", Value: []byte{0, 0, 0, 0, 2}}, &ev)
	wantBad(t, err, bad.Decode, "event_id")
	_, err = r.Read(&Record{Topic: "events.web", Value: []byte{0, 0, 0, 0, 2}}, &ev)
	wantBad(t, err, bad.Schema, "") // an email event on the topic of web events
}

func TestReadJSONLine(t *testing.T) {
	r := readerOf(t, nil, nil)
	var ev engine.Event
	_, err := r.ReadJSONLine([]byte(`{"stream":"email","event_id":"e","customer_id":"c","occurred_at":1700000000000,
		"action":"OPENED","campaign_id":"k","plan":true}`), &ev, nil)
	v := values(&ev)
	if err != nil || ev.Stream != plan.Email || v["action"].S != "opened" || v["attributes.plan"].S != "true" {
		t.Errorf("%v: %s", err, text(&ev))
	}
	_, err = r.ReadJSONLine([]byte(`{"event_id":"e"}`), &ev, nil)
	wantBad(t, err, bad.Missing, "stream")
	_, err = r.ReadJSONLine([]byte(`{"stream":"sms"}`), &ev, nil)
	wantBad(t, err, bad.Range, "stream")
}

// One reader serves many goroutines.
func TestConcurrentReads(t *testing.T) {
	r := readerOf(t, ownRegistry(t), nil)
	recs := hotRecords(t)
	want := map[string]string{}
	for name, rec := range recs {
		var ev engine.Event
		if _, err := readerOf(t, ownRegistry(t), nil).Read(rec, &ev); err != nil {
			t.Fatal(err)
		}
		want[name] = text(&ev)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var ev engine.Event
			for range 100 {
				for name, rec := range recs {
					rec := *rec // Read says in it what else it is
					if _, err := r.Read(&rec, &ev); err != nil || text(&ev) != want[name] {
						t.Errorf("%s: %v, %s", name, err, text(&ev))
					}
				}
			}
		})
	}
	wg.Wait()
}

// An event that takes the place of another is as one in memory of its own; two slots
// may show the same field.
func TestEventsAreUsedAgain(t *testing.T) {
	few := map[plan.Stream][]string{plan.Web: {"name", "items", "url", "items", "event_id", "value", "attributes.plan"}}
	enc := NewEventEncoder(encode.Avro, ownIDs)
	for _, paths := range []map[plan.Stream][]string{few, nil} {
		r := readerOf(t, ownRegistry(t), paths)
		g := rand.New(rand.NewSource(1))
		var ev engine.Event
		for i := range 200 {
			m := map[string]any{
				"event_id": fmt.Sprint("e", i), "occurred_at": time.UnixMilli(g.Int63n(1e12)), "source": []string{"", "/shop"}[g.Intn(2)],
				"customer_id": "c", "name": "n", "items": purchase(g)["items"].([]map[string]any)[:g.Intn(4)],
			}
			for k, v := range map[string]any{"url": "u", "value": "1.50", "currency": "EUR", "attributes": map[string]string{"plan": "gold"}} {
				if g.Intn(2) == 0 {
					m[k] = v
				}
			}
			b, err := enc.Append(nil, plan.Web, m)
			if err != nil {
				t.Fatal(err)
			}
			var alone engine.Event
			for _, e := range []*engine.Event{&ev, &alone} {
				if _, err := r.Read(&Record{Topic: "events.web", Value: b}, e); err != nil {
					t.Fatal(err)
				}
			}
			if !reflect.DeepEqual(ev, alone) {
				t.Fatalf("event %d: got\n%+v\nwant\n%+v", i, ev, alone)
			}
			if paths != nil && !reflect.DeepEqual(ev.Fields[1], ev.Fields[3]) {
				t.Fatalf("event %d: %+v and %+v are the same field", i, ev.Fields[1], ev.Fields[3])
			}
		}
	}
}

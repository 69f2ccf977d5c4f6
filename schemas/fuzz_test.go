package schemas

import (
	"encoding/json"
	"math/rand"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/linkedin/goavro/v2"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// checkResult fails if a read broke the promise of this package: an event with an
// identity and valid texts, or bad input that says what is wrong.
func checkResult(t *testing.T, ev *engine.Event, err error) {
	t.Helper()
	if err != nil {
		if CauseOf(err) == "" || !utf8.ValidString(err.Error()) {
			t.Errorf("error %q", err)
		}
		return
	}
	if ev.ID == "" && ev.Customer == "" && ev.Source == "" {
		return // skipped
	}
	if ev.Customer == "" || ev.ID == "" || ev.Source == "" || len(ev.Customer) > 1024+len("anon:") || strings.Contains(ev.Customer+ev.ID+ev.Source, "\x00") {
		t.Errorf("identity of %s", text(ev))
	}
	if ev.At.Time().Year() < 1 || ev.At.Time().Year() > 9999 || !utf8.ValidString(text(ev)) {
		t.Errorf("values of %s", text(ev))
	}
}

// FuzzSchema: whatever passes the gate can be compiled and run.
func FuzzSchema(f *testing.F) {
	for _, name := range Names() {
		f.Add(mustText(f, name), []byte{2, 'e', 2, 'c', 0})
	}
	f.Add(`{"type":"record","name":"R","fields":[{"name":"a","type":["null","R"]}]}`, []byte{2, 2, 2})
	f.Add(`{"type":"record","name":"R","namespace":"a.b","fields":[{"name":"items","type":{"type":"array","items":"double"}}]}`, []byte{2, 0})
	f.Add(`{"type":"record","name":"R","fields":[{"name":"event_id","type":{"type":"fixed","name":"F","size":3}}]}`, []byte("abc"))
	r := readerOf(f, nil, nil)
	f.Fuzz(func(t *testing.T, schema string, value []byte) {
		one := &Reader{
			cfg: r.cfg, topics: r.topics, targets: r.targets,
			lookups: lookupsOf(&Config{Registry: &fakeRegistry{texts: map[int]string{1: schema}}}),
		}
		var ev engine.Event
		for topic := range topics {
			if _, err := one.Read(&Record{Topic: topic, Key: []byte("k"), Value: confluent(1, value)}, &ev); err != nil {
				checkResult(t, &ev, err)
			}
		}
	})
}

// FuzzAvro: whatever bytes follow one of our schemas, the reader ends with an
// event or bad input; and what it takes, goavro takes.
func FuzzAvro(f *testing.F) {
	r := readerOf(f, ownRegistry(f), nil)
	var codecs [plan.NumBuiltin]*goavro.Codec
	for s := range plan.NumBuiltin {
		var err error
		if codecs[s], err = goavro.NewCodec(mustText(f, InputName(s))); err != nil {
			f.Fatal(err)
		}
		f.Add(byte(s), []byte{2, 'e', 2, 2, 'c', 0, 0, 0, 2, '/', 2, 'n'})
	}
	for seed := range int64(20) {
		b := ownEvent(f, rand.New(rand.NewSource(seed)))
		f.Add(byte(plan.Purchase), b[5:])
	}
	f.Fuzz(func(t *testing.T, stream byte, value []byte) {
		s := plan.Stream(stream) % plan.NumBuiltin
		var ev engine.Event
		_, err := r.Read(&Record{Topic: topicOf(s), Key: []byte("k"), Value: confluent(int(s)+1, value)}, &ev)
		checkResult(t, &ev, err)
		if err != nil {
			return
		}
		native, rest, err := codecs[s].NativeFromBinary(value)
		if err != nil || len(rest) > 0 {
			t.Fatalf("goavro: %v, %d bytes left", err, len(rest))
		}
		if id := native.(map[string]any)["event_id"]; id != ev.ID {
			t.Errorf("event_id %q, goavro %q", ev.ID, id)
		}
	})
}

// FuzzJSON: whatever the bytes, the reader ends with an event or bad input, and
// what is no JSON is never an event.
func FuzzJSON(f *testing.F) {
	f.Add([]byte(purchaseJSON))
	b, err := os.ReadFile("testdata/bad.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range txtar.Parse(b).Files {
		f.Add(file.Data)
	}
	for _, row := range table(f) {
		f.Add([]byte(row.canonical()))
		f.Add([]byte(row.message()))
	}
	r, none := readerOf(f, nil, nil), readerOf(f, nil, map[plan.Stream][]string{})
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) == 0 {
			return
		}
		for topic := range topics {
			var ev engine.Event
			_, err := r.Read(&Record{Topic: topic, Key: []byte("k"), Value: value}, &ev)
			checkResult(t, &ev, err)
			if err == nil && !json.Valid(value) {
				t.Errorf("an event of what is not JSON: %q", value)
			}
			// Rules do not decide about what is an event.
			if _, other := none.Read(&Record{Topic: topic, Key: []byte("k"), Value: value}, &ev); CauseOf(err) != CauseOf(other) {
				t.Errorf("%q: %v with all fields, %v with none", value, err, other)
			}
		}
		var ev engine.Event
		if _, err := r.ReadJSONLine(value, &ev, nil); err != nil && CauseOf(err) == "" {
			t.Errorf("%v", err)
		}
	})
}

// FuzzSegment: any properties, traits and context in any type of message.
func FuzzSegment(f *testing.F) {
	f.Add("track", "Order Completed", `{"order_id":"o","revenue":1,"currency":"EUR","products":[{"product_id":"p"}]}`, `{}`)
	f.Add("track", "Product Added", `{"product_id":"p","price":"1.5","quantity":2}`, `{"campaign":{"name":"n"}}`)
	f.Add("identify", "", `{"birthday":"1990-05-31","address":{}}`, `{"timezone":"UTC","page":{"url":"u"}}`)
	f.Add("group", "x", `[1]`, `null`)
	r := readerOf(f, nil, nil)
	f.Fuzz(func(t *testing.T, typ, event, body, context string) {
		head, err := json.Marshal(map[string]any{"messageId": "m", "userId": "u", "timestamp": "2026-01-01T00:00:00Z", "type": typ, "event": event})
		if err != nil {
			t.Skip()
		}
		value := strings.TrimSuffix(string(head), "}") + `,"properties":` + body + `,"traits":` + body + `,"context":` + context + `}`
		var ev engine.Event
		_, rerr := r.Read(&Record{Topic: "events.web", Value: []byte(value)}, &ev)
		checkResult(t, &ev, rerr)
		if rerr == nil && !json.Valid([]byte(value)) {
			t.Errorf("an event of what is not JSON: %q", value)
		}
	})
}

// FuzzCloudEvent: any attributes, in the headers or around the payload.
func FuzzCloudEvent(f *testing.F) {
	f.Add("e", "/s", "2026-01-01T00:00:00Z", "c", []byte(`{"name":"n"}`))
	f.Add("\x00", "\xff", "10000-01-01T00:00:00Z", "", []byte(`{"event_id":"x","customer_id":null,"name":"n"}`))
	f.Add("e", "/s", "1.5e3", "c", []byte(`"data"`))
	r := readerOf(f, nil, nil)
	f.Fuzz(func(t *testing.T, id, source, at, subject string, payload []byte) {
		headers := []Header{
			{"ce_specversion", []byte("1.0")},
			{"ce_id", []byte(id)},
			{"ce_source", []byte(source)},
			{"ce_time", []byte(at)},
			{"ce_subject", []byte(subject)},
			{"ce_", nil},
			{"content-type", []byte("application/json")},
		}
		attrs, err := json.Marshal(map[string]any{"specversion": "1.0", "id": id, "source": source, "time": at, "subject": subject, "type": "t"})
		if err != nil {
			t.Skip()
		}
		structured := append([]byte(strings.TrimSuffix(string(attrs), "}")+`,"data":`), append(payload, '}')...)
		if len(payload) == 0 {
			return // a tombstone
		}
		for topic := range topics {
			var ev engine.Event
			_, err := r.Read(&Record{Topic: topic, Key: []byte("k"), Value: payload, Headers: headers}, &ev)
			checkResult(t, &ev, err)
			_, err = r.Read(&Record{Topic: topic, Key: []byte("k"), Value: structured}, &ev)
			checkResult(t, &ev, err)
			if err == nil && !json.Valid(structured) {
				t.Errorf("an event of what is not JSON: %q", structured)
			}
		}
	})
}

// FuzzRegistryAnswer: whatever a registry says of an id, a record with that id is
// an event or bad input, or has to wait.
func FuzzRegistryAnswer(f *testing.F) {
	f.Add(mustText(f, InputName(plan.Web)), "events.web-value", []byte{2, 'e', 2, 2, 'c', 0})
	f.Add(`"string"`, "", []byte{2, 'e'})
	f.Add(`{"type":"record","name":"R","fields":[]}`, "other", []byte{})
	base := readerOf(f, nil, nil)
	f.Fuzz(func(t *testing.T, text, subject string, value []byte) {
		reg := &fakeRegistry{texts: map[int]string{7: text}, subjects: map[int][]string{}}
		if subject != "" {
			reg.subjects[7] = []string{subject}
		}
		r := &Reader{
			cfg: base.cfg, topics: base.topics, targets: base.targets, own: base.own,
			lookups: lookupsOf(&Config{Registry: reg, Subjects: []string{"events.web-value"}}),
		}
		var ev engine.Event
		for range 2 { // the second time from the cache
			_, err := r.Read(&Record{Topic: "events.web", Key: []byte("k"), Value: confluent(7, value)}, &ev)
			checkResult(t, &ev, err)
		}
	})
}

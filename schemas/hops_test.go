package schemas

import (
	"bytes"
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/encode"
)

// mutate changes b a little.
func mutate(g *rand.Rand, b []byte) []byte {
	b = append([]byte(nil), b...)
	for range 1 + g.Intn(3) {
		i := g.Intn(len(b))
		switch g.Intn(4) {
		case 0:
			b[i] ^= 1 << g.Intn(8)
		case 1:
			b[i] = byte(g.Intn(256))
		case 2:
			b = append(b[:i], append([]byte{byte(g.Intn(256))}, b[i:]...)...)
		default:
			if len(b) > 1 {
				b = append(b[:i], b[i+1:]...)
			}
		}
	}
	return b
}

// What a hop takes, the op takes in the same way; what it leaves gives the same
// error.
func TestHopsAreOnlyShorter(t *testing.T) {
	few := map[plan.Stream][]string{
		plan.Web: {"name"}, plan.Email: {"action"}, plan.Purchase: {"channel", "revenue"},
		plan.Profile: {"traits.plan"}, plan.Consent: {"state"},
	}
	good, bad := 0, 0
	for seed := range int64(40) {
		for s := range plan.NumBuiltin {
			g := &gen{Rand: rand.New(rand.NewSource(seed))}
			schema, value, _ := g.event(t, s)
			if seed%4 == 0 {
				schema, value = mustText(t, InputName(s)), ownEventOf(t, g.Rand, s)
			}
			paths := map[bool]map[plan.Stream][]string{true: few}[seed%2 == 0]
			reg := &fakeRegistry{texts: map[int]string{7: schema}}
			short, long := readerOf(t, reg, paths), readerOf(t, reg, paths)
			w, err := long.lookups.Get(7, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			o, refused := w.Program(long.targets[byRules][s])
			if refused != nil {
				t.Fatal(refused)
			}
			o.WithoutHops()
			for i := range 150 {
				b := value
				if i > 0 {
					b = mutate(g.Rand, value)
				}
				rec := &Record{Topic: topicOf(s), Key: []byte("k"), Value: confluent(7, b)}
				var ev1, ev2 engine.Event
				_, err1 := short.Read(rec, &ev1)
				_, err2 := long.Read(rec, &ev2)
				if err1 != nil || err2 != nil {
					bad++
					if fmt.Sprint(err1) != fmt.Sprint(err2) {
						t.Fatalf("seed %d, %v, % x: hops %v, ops %v\n%s", seed, s, b, err1, err2, schema)
					}
					continue
				}
				good++
				if a, b := fmt.Sprintf("%+v", ev1), fmt.Sprintf("%+v", ev2); a != b {
					t.Fatalf("seed %d, %v: hops\n%s\nops\n%s\n%s", seed, s, a, b, schema)
				}
			}
		}
	}
	if good < 2000 || bad < 2000 {
		t.Errorf("%d events and %d errors: too few of one", good, bad)
	}
}

// ownEventOf is an event of our schema with a few fields.
func ownEventOf(t *testing.T, g *rand.Rand, s plan.Stream) []byte {
	fields := map[plan.Stream]map[string]any{
		plan.Web:      {"name": "product_added", "url": "https://shop/ü", "items": purchase(g)["items"]},
		plan.Email:    {"action": "opened", "campaign_id": "k"},
		plan.Purchase: purchase(g),
		plan.Profile:  {"country": "FR", "traits": map[string]string{"plan": "gold"}},
		plan.Consent:  {"channel": "email", "state": "granted"},
	}[s]
	for k, v := range order {
		if k == "event_id" || k == "customer_id" || k == "occurred_at" || k == "source" {
			fields[k] = v
		}
	}
	b, err := NewEventEncoder(encode.Avro, ownIDs).Append(nil, s, fields)
	if err != nil {
		t.Fatal(err)
	}
	return b[5:]
}

// The budget of elements is the same for lists that are stepped over, also where a
// hop gives up in the middle: the first block of the outer list ends with another.
func TestBudgetOfSkippedLists(t *testing.T) {
	schema := `{"type":"record","name":"W","fields":[{"name":"event_id","type":"string"},{"name":"customer_id","type":"string"},
		{"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-millis"}},
		{"name":"a","type":{"type":"array","items":{"type":"record","name":"A","fields":[
			{"name":"b","type":{"type":"array","items":{"type":"record","name":"B","fields":[{"name":"c","type":"long"}]}}}]}}}]}`
	r := readerOf(t, &fakeRegistry{texts: map[int]string{1: schema}}, map[plan.Stream][]string{plan.Web: nil})
	list := func(n int) []byte { return append([]byte{byte(2 * n)}, make([]byte, n+1)...) } // n records of B and the end
	for last, want := range map[int]bad.Cause{15: "", 16: bad.Size} {
		b := []byte{2, 'e', 2, 'c', 2}
		for _, n := range []int{63, 63, 30} {
			b = append(append(b, byte(2*n)), bytes.Repeat(list(63), n)...)
		}
		b = append(append(append(b, 2), list(last)...), 0) // 156*(1+63) + 1 + last elements
		var ev engine.Event
		_, err := r.Read(&Record{Topic: "events.web", Value: confluent(1, b)}, &ev)
		if CauseOf(err) != want {
			t.Errorf("%d: %v, want %q", last, err, want)
		}
	}
}

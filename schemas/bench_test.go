package schemas

import (
	"fmt"
	"math/rand"
	"testing"
	"time"

	"github.com/linkedin/goavro/v2"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/encode"
)

// purchase is an order of three items, as maps for the event encoder.
func purchase(g *rand.Rand) map[string]any {
	m := map[string]any{
		"event_id": fmt.Sprint("evt-", g.Int63()), "customer_id": fmt.Sprint("customer-", g.Intn(1e6)),
		"occurred_at": time.UnixMilli(1_700_000_000_000 + g.Int63n(1e9)), "source": "/shop/web", "order_id": fmt.Sprint("o-", g.Intn(1e9)),
		"revenue": fmt.Sprintf("%d.%02d", g.Intn(1000), g.Intn(100)), "currency": "EUR", "channel": "web",
	}
	var items []map[string]any
	for range 3 {
		items = append(items, map[string]any{"product_id": fmt.Sprint("p", g.Intn(1000)), "category": "shoes", "quantity": 1 + g.Intn(3), "price": "19.90"})
	}
	m["items"] = items
	return m
}

// order is a purchase of one item with short ids.
var order = map[string]any{
	"event_id": "e0000012345", "customer_id": "c0012345", "occurred_at": time.UnixMilli(1_700_000_000_123),
	"source": "/shop", "order_id": "o0000012345", "revenue": "49.90", "currency": "EUR", "channel": "web",
	"items": []map[string]any{{"product_id": "p123", "category": "shoes", "quantity": 1, "price": "49.90"}},
}

// ownEvent is a random purchase in Avro with the schema id of ownRegistry.
func ownEvent(t testing.TB, g *rand.Rand) []byte {
	b, err := NewEventEncoder(encode.Avro, ownIDs).Append(nil, plan.Purchase, purchase(g))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// ruleLayouts are what a usual rule set reads.
var ruleLayouts = map[plan.Stream][]string{plan.Purchase: {"channel", "kind", "revenue"}, plan.Web: {"items", "name"}}

// hotRecords are the records that the hot path is measured with.
func hotRecords(t testing.TB) map[string]*Record {
	g := rand.New(rand.NewSource(1))
	m := map[string]*Record{}
	for _, f := range []encode.Format{encode.Avro, encode.JSON} {
		name := [...]string{"avro", "json"}[f]
		enc := NewEventEncoder(f, ownIDs)
		b, err := enc.Append(nil, plan.Purchase, purchase(g))
		if err != nil {
			t.Fatal(err)
		}
		m[name+"/purchase"] = &Record{Topic: "events.purchase", Value: b}
		b, err = enc.Append(nil, plan.Web, map[string]any{
			"event_id": "e-77", "customer_id": "customer-5", "occurred_at": time.UnixMilli(1_700_000_000_000),
			"source": "/shop/web", "name": "product_added", "cart_id": "k", "items": purchase(g)["items"],
		})
		if err != nil {
			t.Fatal(err)
		}
		m[name+"/web"] = &Record{Topic: "events.web", Value: b}
		b, err = enc.Append(nil, plan.Purchase, order)
		if err != nil {
			t.Fatal(err)
		}
		m[name+"/order"] = &Record{Topic: "events.purchase", Key: []byte("c0012345"), Value: b}
	}
	return m
}

// An event costs at most one piece of memory, for its texts.
func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("allocations are not counted under the race detector")
	}
	r := readerOf(t, ownRegistry(t), ruleLayouts)
	for name, rec := range hotRecords(t) {
		var ev engine.Event
		got := testing.AllocsPerRun(200, func() {
			if _, err := r.Read(rec, &ev); err != nil {
				t.Fatal(err)
			}
		})
		if got > 1 {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
}

// An effect, its headers included, costs nothing but the bytes that it has.
func TestAppendAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("allocations are not counted under the race detector")
	}
	for _, f := range []encode.Format{encode.Avro, encode.JSON} {
		enc := encoderOf(t, f)
		table := encode.HeadersOf[Header](enc, encode.CloudEventsHeaders)
		var b []byte
		var o encode.Output
		var headers []Header
		n := testing.AllocsPerRun(200, func() {
			b = enc.Append(b[:0], &o, &change, 1_700_000_000_001)
			headers = table.Append(headers[:0], &o)
		})
		if n > 0 {
			t.Errorf("format %d: %v allocations", f, n)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	r := readerOf(b, ownRegistry(b), ruleLayouts)
	for name, rec := range hotRecords(b) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(rec.Value)))
			var ev engine.Event
			for b.Loop() {
				if _, err := r.Read(rec, &ev); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkReadGoavro is the same purchase read by goavro, for comparison.
func BenchmarkReadGoavro(b *testing.B) {
	codec, err := goavro.NewCodec(mustText(b, InputName(plan.Purchase)))
	if err != nil {
		b.Fatal(err)
	}
	value := hotRecords(b)["avro/purchase"].Value[5:]
	b.ReportAllocs()
	b.SetBytes(int64(len(value)))
	for b.Loop() {
		if _, _, err := codec.NativeFromBinary(value); err != nil {
			b.Fatal(err)
		}
	}
}

// change is what an engine says most often.
var change = engine.Effect{
	Action: engine.Entered, Customer: "c0012345", Name: "loyal", Version: "9f86d081884c7d65", At: 1_700_000_000_000,
	Sequence: 1, Cause: engine.CauseEvent, CauseEvent: "e0000012345", Evidence: []engine.Pair{
		{Name: "count(purchase, 30d)", Value: "3"}, {Name: "sum(purchase.revenue, 30d)", Value: "249.90"},
	},
}

// BenchmarkAppend is an effect with its headers.
func BenchmarkAppend(b *testing.B) {
	for _, f := range []encode.Format{encode.Avro, encode.JSON} {
		b.Run([...]string{"avro", "json"}[f], func(b *testing.B) {
			enc := encoderOf(b, f)
			table := encode.HeadersOf[Header](enc, encode.CloudEventsHeaders)
			b.ReportAllocs()
			buf := make([]byte, 0, 5000*1000)
			var o encode.Output
			headers := make([]Header, 0, 5000*5) // as many as a batch has
			for b.Loop() {
				if len(headers) == cap(headers) {
					headers, buf = headers[:0], buf[:0]
				}
				buf = enc.Append(buf, &o, &change, 1_700_000_000_001)
				headers = table.Append(headers, &o)
			}
		})
	}
}

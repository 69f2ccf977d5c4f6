package demo

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	example "github.com/segmill/segmill/examples/shop"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

var from = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// TestHistory: a seed, a number of customers and a start make one history, in the
// order of time.
func TestHistory(t *testing.T) {
	tell := func(h *history) []happening {
		l := make([]happening, 5000)
		for i := range l {
			l[i] = *h.next()
			l[i].then = nil
		}
		return l
	}
	one := tell(newHistory(7, 100, from))
	if !reflect.DeepEqual(one, tell(newHistory(7, 100, from))) {
		t.Error("the same seed made another history")
	}
	if reflect.DeepEqual(one, tell(newHistory(8, 100, from))) {
		t.Error("another seed made the same history")
	}
	ids := map[string]bool{}
	streams := map[plan.Stream]int{}
	for i, e := range one {
		if i > 0 && e.at.Before(one[i-1].at) {
			t.Fatalf("event %d is at %s, the one before at %s", i, e.at, one[i-1].at)
		}
		if e.at.Before(from) {
			t.Fatalf("event %d is before the start", i)
		}
		id := fmt.Sprint(e.stream, e.fields["event_id"])
		if ids[id] {
			t.Fatalf("the id %s was given twice", id)
		}
		ids[id] = true
		streams[e.stream]++
	}
	for _, s := range []plan.Stream{plan.Web, plan.Email, plan.Purchase, plan.Profile, plan.Consent} {
		if streams[s] == 0 {
			t.Errorf("no event of %s", s)
		}
	}
}

func shopRules(t *testing.T) *app.Rules {
	t.Helper()
	var files []rule.File
	for _, name := range []string{"rules/lifecycle.yaml", "rules/segments.yaml", "rules/triggers.yaml"} {
		b, err := example.Rules.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, rule.File{Name: name, Data: b})
	}
	r, err := app.CompileRules(files)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestEventsAreAccepted reads every event as the engine does, from the Avro that
// the demo publishes.
func TestEventsAreAccepted(t *testing.T) {
	registry := httptest.NewServer(srfake.NewRegistry().Handler())
	defer registry.Close()
	client, err := sr.NewClient(sr.URLs(registry.URL))
	if err != nil {
		t.Fatal(err)
	}
	conf := config(t.TempDir(), []string{"127.0.0.1:1"}, registry.URL)
	shop, err := newShop(t.Context(), Options{}, conf, registry.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer shop.close()
	topics := conf.InputStreams(nil)
	zones := app.Zones()
	reader, err := schemas.NewReader(schemas.Config{
		Layouts: shopRules(t).Engine.Layout, Topics: topics, Registry: schemas.SchemaRegistry(client, slog.New(slog.DiscardHandler)),
		Zones: func(name string) bool { _, ok := zones(name); return ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	var ev engine.Event
	h := newHistory(1, 200, from)
	for range 30_000 {
		e := h.next()
		value, err := shop.encoder.Append(nil, e.stream, e.fields)
		if err != nil {
			t.Fatalf("%v: %v", e.fields, err)
		}
		r, err := reader.Read(&schemas.Record{Topic: shop.topics[e.stream], Key: []byte(e.customer), Value: value}, &ev)
		if err != nil || r != schemas.IsEvent || ev.Customer != e.customer || ev.At != engine.Millis(e.at.UnixMilli()) {
			t.Fatalf("%v: %v, read as %+v", e.fields, err, ev)
		}
	}
}

package schemas

import (
	"context"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas/bad"
	"github.com/segmill/segmill/schemas/encode"
	"github.com/segmill/segmill/schemas/registry"
)

// What is registered can be read back, by a reader that asks the same registry.
func TestRegister(t *testing.T) {
	reg := srfake.New()
	defer reg.Close()
	cl, err := sr.NewClient(sr.URLs(reg.URL()))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	subjects := map[string]string{"changes-value": MembershipChange, "triggers-value": TriggerFired}
	for s := range plan.NumBuiltin {
		subjects[Subject(topicOf(s))] = InputName(s)
	}
	ids, err := Register(ctx, cl, subjects)
	if err != nil || len(ids) != 7 {
		t.Fatal(ids, err)
	}
	again, err := Register(ctx, cl, subjects)
	if err != nil || !reflect.DeepEqual(ids, again) {
		t.Errorf("registered again: %v, %v; before %v", again, err, ids)
	}
	var in [plan.NumBuiltin]int
	for s := range plan.NumBuiltin {
		in[s] = ids[Subject(topicOf(s))]
	}
	b, err := NewEventEncoder(encode.Avro, in).Append(nil, plan.Web, map[string]any{"event_id": "e", "customer_id": "c", "occurred_at": time.UnixMilli(5), "name": "n"})
	if err != nil {
		t.Fatal(err)
	}
	r := readerOf(t, registry.Confluent(cl, slog.New(slog.DiscardHandler)), nil)
	var ev engine.Event
	if _, err := r.Read(&Record{Topic: "events.web", Value: b}, &ev); err != nil || ev.Customer != "c" {
		t.Errorf("%v, %+v", err, ev)
	}
	_, err = r.Read(&Record{Topic: "events.web", Value: confluent(ids["changes-value"], []byte{0})}, &ev)
	wantBad(t, err, bad.Schema, "")
	_, err = r.Read(&Record{Topic: "events.web", Value: confluent(999, []byte{0})}, &ev)
	wantBad(t, err, bad.Schema, "")
	reg.Close()
	if _, err = r.Read(&Record{Topic: "events.web", Value: confluent(1000, []byte{0})}, &ev); CauseOf(err) != "" || err == nil {
		t.Errorf("a registry that is gone: %v", err)
	}
	if _, err := Register(ctx, cl, map[string]string{"x": "nosuch"}); err == nil {
		t.Error("a schema that there is none of is registered")
	}
}

func TestEventEncoderErrors(t *testing.T) {
	enc := NewEventEncoder(encode.Avro, ownIDs)
	good := func() map[string]any {
		return map[string]any{"event_id": "e", "occurred_at": time.UnixMilli(5), "name": "n"}
	}
	if _, err := enc.Append(nil, plan.Web, good()); err != nil {
		t.Error(err)
	}
	for field, v := range map[string]any{
		"event_id": nil, "nosuch": 1, "name": 5, "value": "x", "items": []map[string]any{{"sku": "s"}},
		"attributes": map[string]int{}, "occurred_at": "now", "currency": true, "session_id": int64(7),
	} {
		m := good()
		m[field] = v
		if _, err := enc.Append(nil, plan.Web, m); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s = %v: %v", field, v, err)
		}
	}
}

package erasure

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/rig"
)

// buyers is a rule of which one purchase makes a change.
const buyers = "version: 1\nsegments: [{id: buyers, objective: o, owner: w, review_by: 2099-01-01, when: count(purchase) > 0}]\n"

// started runs an engine. It returns once all partitions run.
func started(t *testing.T, conf *app.Config) (stop func() error) {
	t.Helper()
	rules, err := app.CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(buyers)}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done, owners := make(chan error, 1), make(chan *group.Owner, 1)
	go func() {
		done <- app.RunRules(ctx, conf, rules, app.RunOptions{Logger: slog.New(slog.DiscardHandler), OnStart: func(o *group.Owner) { owners <- o }})
	}()
	owner := <-owners
	if !rig.Within(time.Minute, func() bool { return owner.Status().Ready }) {
		t.Fatal("it does not run")
	}
	return func() error { cancel(); return <-done }
}

// cause is why a record is a dead letter.
func cause(r *kgo.Record) string {
	for _, h := range r.Headers {
		if h.Key == "dlq.cause" {
			return string(h.Value)
		}
	}
	return ""
}

// Who asks for erasures hears who was known. A tombstone with a structure for a key
// erases nobody and is a dead letter; one that is meant literally does.
func TestReceipts(t *testing.T) {
	conf, _ := testConfig(t)
	stop := started(t, conf)
	cl := client(t, conf.Kafka.Brokers)
	murmur := kgo.StickyKeyPartitioner(nil).ForTopic("")
	send := func(topic, id, value string) {
		r := &kgo.Record{Topic: topic, Key: []byte(id), Value: []byte(value)}
		if r.Partition = int32(murmur.Partition(r, 2)); value == "" {
			r.Value = nil
		}
		if err := cl.ProduceSync(t.Context(), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"c1", "c2", "{c3}"} {
		send("events.purchase", id, `{"event_id":"e-`+id+`","occurred_at":"2026-01-01T00:00:00Z","revenue":"1"}`)
	}
	erase := func(opt Options, ids ...string) (string, error) {
		t.Helper()
		var out bytes.Buffer
		opt.Wait = 20 * time.Second
		done, err := Erase(t.Context(), conf, ids, opt, &out)
		if err != nil {
			t.Fatal(err)
		}
		out.Reset()
		err = done.Report(&out)
		return out.String(), err
	}
	// An event of another topic may be taken after the tombstone: first all are in.
	changes := client(t, conf.Kafka.Brokers, kgo.ConsumeTopics(conf.Topics.Changes), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for n := 0; n < 3; {
		n += changes.PollFetches(t.Context()).NumRecords()
	}
	got, err := erase(Options{}, "c1", "nobody", "c2")
	if err != nil || got != "nobody: not known, nothing to erase\n3 erasures requested: 2 of known customers, 1 of unknown customers\n" {
		t.Errorf("%s%v", got, err)
	}
	if got, err := erase(Options{}, "c1"); err != nil || !strings.HasPrefix(got, "c1: not known") {
		t.Errorf("erased again: %s%v", got, err)
	}
	send("events.profile", `{"id":"c2"}`, "")
	dead := client(t, conf.Kafka.Brokers, kgo.ConsumeTopics("shop.dlq"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	for n := 0; n < 1; {
		for _, r := range dead.PollFetches(t.Context()).Records() {
			if n++; cause(r) != "identity" || string(r.Key) != `{"id":"c2"}` {
				t.Errorf("dead letter %q because of %s", r.Key, cause(r))
			}
		}
	}
	if got, err := erase(Options{IDs: IDs{Literal: true}}, "{c3}"); err != nil || !strings.HasPrefix(got, "1 erasure requested: 1 of known") {
		t.Errorf("literally: %s%v", got, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	receipts := map[string]int{}
	for n := 0; n < 8; { // 3 exits and 5 receipts
		for _, r := range changes.PollFetches(t.Context()).Records() {
			var v struct {
				Action string
				Known  *bool
			}
			if n++; json.Unmarshal(r.Value, &v) != nil || (v.Action == "erased") != (v.Known != nil) {
				t.Errorf("%s", r.Value)
			}
			if v.Action == "erased" {
				receipts[string(r.Key)]++
			}
		}
	}
	if len(receipts) != 4 || receipts["c1"] != 2 || receipts[`{"id":"c2"}`] > 0 {
		t.Errorf("receipts %v", receipts)
	}
}

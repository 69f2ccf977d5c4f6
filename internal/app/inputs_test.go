package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/console"
)

// Orders of three topics are one stream, each read as its mapping says.
func TestSeveralTopicsOfAStream(t *testing.T) {
	rules, err := CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(`
version: 1
mappings:
  till: {stream: purchase, zone: Europe/Paris, strict: true, not_ids: ["0"]}
  helpdesk:
    stream: purchase
    each: msg.orders
    map: {event_id: 'id("desk", it.id)', customer_id: it.who, occurred_at: it.at, revenue: it.cents / 100}
readings: {dedup: {purchase: 60d}, min_event_time: 2026-01-01}
segments:
  - {id: twice, objective: o, owner: w, review_by: 2099-01-01, when: count(purchase) >= 2}
  - {id: paid, objective: o, owner: w, review_by: 2099-01-01, when: sum(purchase.revenue) > 10}
`)}})
	if err != nil {
		t.Fatal(err)
	}
	cluster := newCluster(t, kfake.SeedTopics(1, "shop.orders", "till.orders", "desk"))
	conf, err := ParseConfig([]byte(`
app: shop
rules: [r]
state: `+t.TempDir()+`
kafka: {brokers: ["`+cluster.ListenAddrs()[0]+`"]}
clock: events
http: ""
inputs:
  - {topic: shop.orders, stream: purchase}
  - {topic: till.orders, map: till}
  - {topic: desk, map: helpdesk}
`), env())
	if err != nil {
		t.Fatal(err)
	}
	cl := client(t, conf.Kafka.Brokers)
	for _, r := range [][2]string{
		{"shop.orders", `{"event_id":"1","customer_id":"anna","occurred_at":"2026-05-01T10:00:00Z","revenue":"7"}`},
		{"shop.orders", `{"event_id":"2","customer_id":"berta","occurred_at":"2026-05-01T10:00:00Z","revenue":"much"}`},                                                    // without a revenue
		{"till.orders", `{"event_id":"3","customer_id":"anna","occurred_at":"2026-05-01 13:00:00","revenue":"7"}`},                                                         // 11:00 UTC
		{"till.orders", `{"event_id":"4","customer_id":"berta","occurred_at":"2026-05-01 13:00:00","revenue":"much"}`},                                                     // a dead letter
		{"till.orders", `{"event_id":"5","customer_id":"0","occurred_at":"2026-05-01 13:00:00","revenue":"7"}`},                                                            // nobody's
		{"shop.orders", `{"event_id":"6","customer_id":"berta","occurred_at":"2026-05-01 13:00:00","revenue":"7"}`},                                                        // of no zone
		{"shop.orders", `{"event_id":"7","customer_id":"anna","occurred_at":"2025-12-31T23:59:59Z","revenue":"100"}`},                                                      // too early
		{"desk", `{"event_id":"8","orders":[{"id":1,"who":"carla","at":"2026-05-01T12:00:00Z","cents":1999},{"id":2,"who":"dora","at":"2026-05-01T12:30:00Z"},{"id":3}]}`}, // the last one is none
	} {
		if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: r[0], Value: []byte(r[1])}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	var log buffer
	err = RunRules(t.Context(), conf, rules, RunOptions{
		Until: engine.Millis(time.Date(2026, 5, 2, 0, 0, 0, 0, time.UTC).UnixMilli()), Logger: console.NewLogger(&log, "info", true),
		OnEffects: func(_ int32, l []engine.Effect) {
			for i := range l {
				got = append(got, l[i].Customer+" "+l[i].Name+" "+l[i].At.Time().Format("15:04"))
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"anna paid 11:00", "anna twice 11:00", "carla paid 12:00"}) {
		t.Errorf("%q\n%s", got, log.String())
	}
	causes := map[string]string{}
	letters := client(t, conf.Kafka.Brokers, kgo.ConsumeTopics("shop.dlq"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(causes) < 5 && ctx.Err() == nil {
		letters.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			_, id, _ := strings.Cut(string(r.Value), `"event_id":"`)
			for _, h := range r.Headers {
				if h.Key == "dlq.cause" {
					causes[id[:1]] = string(h.Value)
				}
			}
		})
	}
	if causes["4"] != "type" || causes["5"] != "identity" || causes["6"] == "" || causes["7"] != "range" || causes["8"] != "missing" {
		t.Errorf("dead letters: %v\n%s", causes, log.String())
	}
	if !strings.Contains(log.String(), "a field cannot be read and is absent") {
		t.Errorf("nothing is logged of what was refused:\n%s", log.String())
	}
}

// withStreams are rules that declare streams.
func withStreams(t *testing.T, streams ...string) *Rules {
	t.Helper()
	text := "version: 1\nsegments:\n  - {id: seen, objective: o, owner: w, review_by: 2099-01-01, when: did(web)}\n"
	for i, s := range streams {
		text += "  - {id: " + s + "_twice, objective: o, owner: w, review_by: 2099-01-01, when: count(" + s + ") >= 2}\n"
		if i == len(streams)-1 {
			text += "streams: {" + strings.Join(streams, ": {fields: {kind: text}}, ") + ": {fields: {kind: text}}}\n"
		}
	}
	r, err := CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// docs/semantics.md, 11.8: an input whose stream the rules do not declare is not read. When
// they declare it again it goes on where it was; one that is read from now on begins when
// they declare it first.
func TestInputsThatRulesLeaveOut(t *testing.T) {
	cluster := newCluster(t, kfake.SeedTopics(1, "visits", "desk", "calls"))
	conf, err := ParseConfig([]byte(`
app: shop
rules: [r]
state: `+t.TempDir()+`
kafka: {brokers: ["`+cluster.ListenAddrs()[0]+`"]}
clock: events
http: ""
inputs:
  - {topic: visits, stream: web}
  - {topic: desk, stream: support}
  - {topic: calls, stream: call, from: now}
  - {topic: nosuch, map: nosuch}
`), env())
	if err != nil {
		t.Fatal(err)
	}
	cl := client(t, conf.Kafka.Brokers)
	n := 0
	produce := func(topics ...string) {
		t.Helper()
		for _, topic := range topics {
			n++
			value := fmt.Sprintf(`{"event_id":"%d","customer_id":"anna","occurred_at":"2026-05-01T10:%02d:00Z"}`, n, n)
			if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var got []string
	run := func(rules *Rules) (log string) {
		t.Helper()
		var b buffer
		err := RunRules(t.Context(), conf, rules, RunOptions{
			Until: engine.Millis(time.Date(2026, 5, 2, n, 0, 0, 0, time.UTC).UnixMilli()), Logger: console.NewLogger(&b, "info", true),
			Apply: true, ApplyFormer: true,
			OnEffects: func(_ int32, l []engine.Effect) {
				for i := range l {
					got = append(got, l[i].Name+" "+l[i].Action.String())
				}
			},
		})
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		return b.String()
	}
	produce("visits", "desk", "calls", "calls")
	log := run(withStreams(t, "support"))
	for _, want := range []string{"calls: not read: the rules declare no stream", "nosuch: not read by "} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	produce("visits", "desk", "calls", "calls")
	if log := run(withStreams(t)); !strings.Contains(log, "desk: not read: the rules declare no stream") {
		t.Errorf("%s", log)
	}
	got = nil
	run(withStreams(t, "support", "call"))
	if want := []string{"support_twice entered"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	produce("calls", "calls")
	if run(withStreams(t, "support", "call")); !slices.Contains(got, "call_twice entered") {
		t.Errorf("%q", got)
	}
}

// What rules leave out is a warning of a check with brokers, and no more is asked about it.
func TestCheckOnlineOfInputsLeftOut(t *testing.T) {
	conf := testConfig(t, newCluster(t).ListenAddrs()...)
	conf.Topics = TopicsConfig{Web: "visits", Changes: "c", Triggers: "t", Create: conf.Topics.Create}
	conf.Inputs = []InputConfig{{Topic: "desk", Stream: "wep"}}
	o, err := CheckOnline(t.Context(), conf, buyersRules(t), RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if got := o.Warned(); len(o.Errors) > 0 || !strings.Contains(got, "warning: not read: the rules declare no stream \"wep\"\n    ^ did you mean \"web\"?") ||
		!strings.HasPrefix(o.Summary, "1 input, ") || strings.Contains(o.Summary, "desk") {
		t.Errorf("%s\n%s\n%s", o.Summary, o.Failed(), got)
	}
}

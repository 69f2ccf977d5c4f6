package group

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// canary stands where content stands that must not get out.
const canary = "Canary7391"

// sings reports whether a text has a canary in some form.
func sings(text string) bool {
	text = strings.ToLower(text)
	for _, form := range []string{canary, hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary))[:12]} {
		if strings.Contains(text, strings.ToLower(form)) {
			return true
		}
	}
	return strings.Contains(text, "7391")
}

// ownSchemas is a registry with the schemas of the inputs, numbered by stream.
type ownSchemas struct{}

func (ownSchemas) Schema(_ context.Context, id int) (string, []string, error) {
	if id < 1 || id > int(plan.NumBuiltin) {
		return "", nil, schemas.ErrUnknownSchema
	}
	text, err := schemas.Text(schemas.InputName(plan.Stream(id - 1)))
	return text, nil, err
}

// probes returns records with canaries, most of which can't be taken, for every
// way that a record is read.
func probes(t *testing.T) []*kgo.Record {
	t.Helper()
	var all []*kgo.Record
	add := func(topic, key string, value []byte, headers ...string) {
		r := &kgo.Record{Topic: topic, Key: []byte(key), Value: value}
		for i := 0; i < len(headers); i += 2 {
			r.Headers = append(r.Headers, kgo.RecordHeader{Key: headers[i], Value: []byte(headers[i+1])})
		}
		all = append(all, r)
	}
	streams := []plan.Stream{plan.Web, plan.Purchase, plan.Profile}
	base := map[plan.Stream]string{
		plan.Web:      `"event_id":"e%d","occurred_at":"2026-01-01T00:00:00Z","name":"` + canary + `"`,
		plan.Purchase: `"event_id":"e%d","occurred_at":"2026-01-01T00:00:00Z","order_id":"` + canary + `","currency":"EUR","revenue":"1"`,
		plan.Profile:  `"event_id":"e%d","occurred_at":"2026-01-01T00:00:00Z","language":"` + canary + `"`,
	}
	n := 0
	body := func(s plan.Stream) string { n++; return fmt.Sprintf(base[s], n) }

	// Every field with every kind of wrong value, and text that is no JSON.
	for _, s := range streams {
		for _, f := range schemas.Catalog().Fields[s] {
			for _, v := range []string{
				`"` + canary + `"`, `{"` + canary + `":"` + canary + `"}`, `["` + canary + `"]`, `"12` + canary + `"`, `7391739173917391739173917391`, `"2026-01-01T00:00:00` + canary + `"`,
				`"` + strings.Repeat(canary, 7000) + `"`, `[{"product_id":["` + canary + `"]}]`, `[{"product_id":"` + canary + `","price":"` + canary + `"}]`, `{"plan":["` + canary + `"]}`,
			} {
				add(s.String(), canary, []byte(`{`+body(s)+`,"`+f.Name+`":`+v+`}`))
				rest := regexp.MustCompile(`"`+f.Name+`":"[^"]*"`).ReplaceAllString(body(s), `"x":"`+canary+`"`)
				add(s.String(), canary, []byte(`{`+rest+`,"`+f.Name+`":`+v+`}`))
			}
		}
		whole := `{` + body(s) + `,"` + canary + `":{"a":["` + canary + `"]}}`
		for i := range len(whole) {
			add(s.String(), canary, []byte(whole[:i]))
			add(s.String(), canary, []byte(whole[:i]+"\xff"+whole[i:]))
			add(s.String(), canary, []byte(whole[:i]+"\x01"+whole[i:]))
		}
		add(s.String(), canary, []byte(`{`+body(s)+`,"`+canary+`":1,"`+canary+`":2}`))
		add(s.String(), canary, []byte(canary+whole))
		add(s.String(), canary, []byte(`"`+canary+`"`))
		add(s.String(), canary, []byte(`{"event_id":"`+canary+`","occurred_at":"2999-01-01T00:00:00.739Z","name":"n","revenue":"1","currency":"EUR"}`))
	}
	// Keys and headers.
	for _, key := range []string{canary + "\x00", canary + "\xff", strings.Repeat(canary, 200), "", `{"id":"` + canary + `"}`, `"` + canary + `"`, " " + canary, "\ufeff" + canary} {
		for _, s := range streams {
			add(s.String(), key, nil, "x-"+canary, canary)
			add(s.String(), key, []byte(`{"`+canary+`":1}`), "x", canary)
			add(s.String(), key, []byte(`{`+body(s)+`,"revenue":["`+canary+`"]}`), "ce_subject", canary+"\xff", "ce_id", canary)
		}
	}
	for _, h := range []string{"ce_time", "ce_id", "ce_source", "ce_subject"} {
		for _, v := range []string{canary, canary + "\xff", strings.Repeat(canary, 200), canary + "\x00"} {
			add("web", "", []byte(`{"name":"n"}`), h, v)
			add("web", "", []byte(`{"event_id":"e","name":"n"}`), h, v, "ce_time", v)
		}
	}
	// CloudEvents in JSON, and Segment.
	for _, v := range []string{
		`{"specversion":"1.0","id":"` + canary + `","time":"` + canary + `","data":{"name":"n"}}`,
		`{"specversion":"1.0","id":"x","subject":"` + canary + `","data":"` + canary + `"}`,
		`{"specversion":"1.0","id":"x","subject":"` + canary + `","data":{"` + canary + `":1,"` + canary + `":1}}`,
		`{"specversion":"` + canary + `","id":["` + canary + `"],"data":{}}`,
		`{"specversion":"1.0","id":"x","subject":"` + canary + `","data_base64":"` + canary + `"}`,
		`{"type":"track","event":["` + canary + `"],"userId":"` + canary + `"}`,
		`{"type":"track","event":"` + strings.Repeat(canary, 7000) + `","userId":"x","messageId":"m","timestamp":"2026-01-01T00:00:00Z"}`,
		`{"type":"track","event":"Order Completed","userId":"x","messageId":"m","timestamp":"` + canary + `"}`,
		`{"type":"track","event":"Order Completed","userId":"x","messageId":"m","timestamp":"2026-01-01T00:00:00Z","properties":{"revenue":"` + canary + `","products":"` + canary + `"}}`,
		`{"type":"track","event":"Order Completed","userId":{"` + canary + `":1},"messageId":"m","timestamp":"2026-01-01T00:00:00Z","properties":{"a":1,"` + canary + `":2,"` + canary + `":3}}`,
		`{"type":"identify","userId":"x","messageId":"m","timestamp":"2026-01-01T00:00:00Z","traits":{"birthday":"` + canary + `","email":{"a":"` + canary + `"},"createdAt":"` + canary + `"}}`,
		`{"type":"` + canary + `","event":"` + canary + `"}`,
		`{"event_id":"x","customer_id":"x","occurred_at":"2026-01-01T00:00:00Z","items":[` + strings.Repeat(`"`+canary+`",`, 10_001) + `1]}`,
	} {
		for _, s := range streams {
			add(s.String(), "", []byte(v))
			add(s.String(), canary, []byte(v))
		}
	}
	// Avro: cut off, and with bits that have flipped.
	enc := schemas.NewEventEncoder(schemas.Avro, [plan.NumBuiltin]int{1, 2, 3, 4, 5})
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for s, fields := range map[plan.Stream]map[string]any{
		plan.Web:      {"event_id": canary, "customer_id": canary, "occurred_at": now, "name": canary, "url": canary},
		plan.Purchase: {"event_id": canary, "customer_id": canary, "occurred_at": now, "order_id": canary, "currency": "EUR", "revenue": "7.39"},
		plan.Profile:  {"event_id": canary, "customer_id": canary, "occurred_at": now, "country": canary, "time_zone": canary},
	} {
		b, err := enc.Append(nil, s, fields)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			add(s.String(), canary, b[:i+1])
			flipped := bytes.Clone(b)
			flipped[i] ^= 0x80
			add(s.String(), canary, flipped)
			add(s.String(), canary, append(bytes.Clone(b[:i]), append([]byte("\xff\xff"), b[i:]...)...))
		}
		add(s.String(), canary, append(bytes.Clone(b), canary...))
		add(s.String(), canary, append([]byte("\x00\x00\x00\x00\x63"), b...))
		add(s.String(), canary, append([]byte("\xc3\x01"), b...))
	}
	return all
}

// syncBuffer may be written to by several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// deadLettersOf runs an engine over records and returns its dead letters, and what
// it has logged and counted.
func deadLettersOf(t *testing.T, records []*kgo.Record, change func(*config.Config)) (dead []*kgo.Record, said string) {
	t.Helper()
	g := newFleet(t, 1)
	reg := prometheus.NewRegistry()
	var log syncBuffer
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		reader, err := schemas.NewReader(schemas.Config{
			Layouts: c.Engine.Layout, Registry: ownSchemas{}, Topics: map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile},
			Zones: func(name string) bool { _, ok := fixture.Zones(name); return ok },
		})
		if err != nil {
			t.Fatal(err)
		}
		c.Read, c.Metrics = reader.Read, metrics.New(reg)
		c.Logger = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		change(c)
	})
	in.ready()
	g.Produce(records...)
	in.caughtUp()
	in.stop()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return g.Read(rig.App + ".dlq")[0], log.b.String() + text.String()
}

// Where the content is to be kept out, nothing of a record is in its dead letter, in
// the log or in the metrics, whatever is wrong with it and wherever it stood.
func TestHashedDeadLettersSayNothing(t *testing.T) {
	place := regexp.MustCompile(`^bad input \((\w+)\)(: [a-z_.]+)?(: byte \d+)?$`)
	all := probes(t)
	causes := map[string]int{}
	dead, said := deadLettersOf(t, all, func(c *config.Config) { c.DeadLetter.Hash, c.DeadLetter.Key = true, []byte("a key") })
	for _, r := range dead {
		if r.Key != nil || r.Value != nil {
			t.Fatalf("the payload is kept: %v", r)
		}
		for _, h := range r.Headers {
			switch h.Key {
			case "dlq.error":
				m := place.FindStringSubmatch(string(h.Value))
				if m == nil {
					t.Errorf("it says more than the place: %s", h.Value)
					continue
				}
				causes[m[1]]++
				fallthrough
			case "dlq.cause", "dlq.topic":
				if sings(string(h.Value)) && !regexp.MustCompile(`byte \d*7391`).Match(h.Value) {
					t.Errorf("%s: %s", h.Key, h.Value)
				}
			case "dlq.partition", "dlq.offset", "dlq.at", "dlq.hmac_sha256":
			default:
				t.Errorf("header %s: %s", h.Key, h.Value)
			}
		}
	}
	for line := range strings.Lines(said) {
		if strings.Contains(strings.ToLower(line), strings.ToLower(canary)) {
			t.Errorf("the log or the metrics: %s", line)
		}
	}
	for _, cause := range []string{"format", "schema", "decode", "missing", "type", "range", "identity", "size", "future"} {
		if causes[cause] == 0 {
			t.Errorf("no probe is refused because of %s: %v", cause, causes)
		}
	}
	t.Logf("%d probes, %d dead letters: %v", len(all), len(dead), causes)

	// The probes are of use: as they are, many of the reasons quote them.
	plain, _ := deadLettersOf(t, all, func(*config.Config) {})
	quotes := 0
	for _, r := range plain {
		for _, h := range r.Headers {
			if h.Key == "dlq.error" && sings(string(h.Value)) {
				quotes++
			}
		}
	}
	if quotes < 100 || len(plain) != len(dead) {
		t.Errorf("%d reasons of %d dead letters quote what is in the record; %d with hashes", quotes, len(plain), len(dead))
	}
}

package containers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/modules/kafka"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	app        = "shop"
	partitions = 3
	until      = "2024-04-01T00:00:00Z"
)

// TestSameAsReplay publishes the events of some weeks, runs the engine on them,
// kills it on the way and runs it to the end. What a read_committed reader then
// sees is, customer by customer, what `segmill replay` says of the same events.
func TestSameAsReplay(t *testing.T) {
	brokers := startKafka(t)
	dir := t.TempDir()
	events := history()
	file := writeEvents(t, dir, events)
	want := outputs(t, replay(t, file))

	createTopics(t, brokers)
	publish(t, brokers, events)
	config := writeConfig(t, dir, brokers)

	first := engine(t, config)
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	seen := len(consume(t, brokers, 20))
	if err := first.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	first.Wait() // killed: the error says only that
	t.Logf("killed when %d of %d outputs were there", seen, total(want))

	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	second := exec.CommandContext(ctx, first.Path, "run", "-c", config, "--until", until)
	second.Stdout, second.Stderr = os.Stderr, os.Stderr
	if err := second.Run(); err != nil {
		t.Fatalf("segmill run --until: %v", err)
	}
	got := outputs(t, consume(t, brokers, 0))
	if total(want) == 0 || total(got) != total(want) {
		t.Errorf("%d outputs, replay has %d", total(got), total(want))
	}
	shown := 0
	for key := range want {
		if !slices.Equal(got[key], want[key]) && shown < 3 {
			shown++
			t.Errorf("%s:\n got %s\nwant %s", key, strings.Join(got[key], "\n     "), strings.Join(want[key], "\n     "))
		}
	}
}

// startKafka starts a Kafka and returns its address. SEGMILL_TEST_BROKERS names
// one that is running already, SEGMILL_KAFKA_IMAGE another image.
func startKafka(t *testing.T) string {
	if b := os.Getenv("SEGMILL_TEST_BROKERS"); b != "" {
		return b
	}
	testcontainers.SkipIfProviderIsNotHealthy(t)
	image := "confluentinc/confluent-local:7.5.0"
	if i := os.Getenv("SEGMILL_KAFKA_IMAGE"); i != "" {
		image = i
	}
	c, err := kafka.Run(t.Context(), image, kafka.WithClusterID("segmill"))
	testcontainers.CleanupContainer(t, c)
	if err != nil {
		t.Fatal(err)
	}
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return brokers[0]
}

// event is one line of the history.
type event struct {
	stream, customer string
	line             []byte
}

// history makes some hundred events of a few customers, in the order of time.
// Two events of one customer are more than the grace apart, so that every order
// in which the topics are read gives the same.
func history() []event {
	r := rand.New(rand.NewPCG(1, 2))
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	end := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	var events []event
	for n := 0; at.Before(end); n++ {
		customer := fmt.Sprintf("c%02d", r.IntN(40))
		e := map[string]any{
			"event_id": fmt.Sprintf("e%04d", n), "customer_id": customer,
			"occurred_at": at.Format(time.RFC3339), "source": "/test",
		}
		stream := "web"
		product := fmt.Sprintf("p%d", r.IntN(5))
		switch r.IntN(6) {
		case 0, 1:
			stream = "purchase"
			e["order_id"], e["currency"] = fmt.Sprintf("o%d", n), "EUR"
			e["revenue"] = fmt.Sprintf("%d.%02d", 5+r.IntN(120), r.IntN(100))
			if r.IntN(8) == 0 {
				e["kind"] = "refunded"
			}
		case 2, 3:
			e["name"], e["currency"] = "product_added", "EUR"
			e["items"] = []map[string]any{{"product_id": product, "quantity": 1 + r.IntN(2), "price": "9.90"}}
		case 4:
			e["name"], e["items"] = "product_removed", []map[string]any{{"product_id": product}}
		default:
			e["name"] = "page_viewed"
		}
		events = append(events, newEvent(stream, customer, e))
		if r.IntN(10) == 0 { // delivered twice
			events = append(events, newEvent(stream, customer, e))
		}
		at = at.Add(time.Minute * time.Duration(5+r.IntN(300)))
	}
	return events
}

func newEvent(stream, customer string, fields map[string]any) event {
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err) // of texts and numbers
	}
	return event{stream, customer, line}
}

// writeEvents writes the events as `segmill replay` reads them.
func writeEvents(t *testing.T, dir string, events []event) string {
	t.Helper()
	var b bytes.Buffer
	for _, e := range events {
		fmt.Fprintf(&b, "{\"stream\":%q,%s\n", e.stream, e.line[1:])
	}
	path := filepath.Join(dir, "events.jsonl")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// program returns the path of the built program.
func program(t *testing.T) string {
	t.Helper()
	p, err := filepath.Abs("../../bin/segmill")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return p
}

func replay(t *testing.T, file string) [][]byte {
	t.Helper()
	cmd := exec.Command(program(t), "replay", "--rules", "testdata/rules.yaml", "--events", file, "--app", app, "--until", until)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("segmill replay: %v", err)
	}
	var lines [][]byte
	for l := range bytes.Lines(out) {
		lines = append(lines, l)
	}
	return lines
}

func client(t *testing.T, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopics(t *testing.T, brokers string) {
	t.Helper()
	adm := kadm.NewClient(client(t, kgo.SeedBrokers(brokers)))
	for _, topic := range []string{"events.web", "events.purchase", "segments.changes", "triggers.fired"} {
		if _, err := adm.CreateTopic(t.Context(), partitions, 1, nil, topic); err != nil {
			t.Fatalf("create topic %s: %v", topic, err)
		}
	}
}

func publish(t *testing.T, brokers string, events []event) {
	t.Helper()
	cl := client(t, kgo.SeedBrokers(brokers))
	for _, e := range events {
		cl.Produce(t.Context(), &kgo.Record{Topic: "events." + e.stream, Key: []byte(e.customer), Value: e.line}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func writeConfig(t *testing.T, dir, brokers string) string {
	t.Helper()
	rules, err := filepath.Abs("testdata/rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "segmill.yaml")
	config := fmt.Sprintf(`app: %s
rules: [%s]
kafka: {brokers: [%q], session_timeout: 6s}
topics: {email: "", profile: "", consent: ""}
clock: events
http: ""
log: warn
`, app, rules, brokers)
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// engine returns `segmill run`, not started.
func engine(t *testing.T, config string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program(t), "run", "-c", config)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	t.Cleanup(func() {
		if cmd.Process != nil {
			cmd.Process.Kill()
		}
	})
	return cmd
}

// consume reads the committed outputs: until there are enough, or, with 0, to
// the end.
func consume(t *testing.T, brokers string, enough int) [][]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	topics := []string{"segments.changes", "triggers.fired"}
	ends, err := kadm.NewClient(client(t, kgo.SeedBrokers(brokers))).ListCommittedOffsets(ctx, topics...)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string]map[int32]bool{}
	ends.Each(func(o kadm.ListedOffset) {
		if left[o.Topic] == nil {
			left[o.Topic] = map[int32]bool{}
		}
		if o.Offset > 0 {
			left[o.Topic][o.Partition] = true
		}
	})
	cl := client(t, kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords()) // the last record of a transaction is one: without it the end is not seen
	var values [][]byte
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("consume: %v", err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				values = append(values, r.Value)
			}
			end, _ := ends.Lookup(r.Topic, r.Partition)
			if r.Offset >= end.Offset-1 {
				delete(left[r.Topic], r.Partition)
			}
		})
		if enough > 0 && len(values) >= enough || enough == 0 && len(left[topics[0]])+len(left[topics[1]]) == 0 {
			return values
		}
	}
}

// outputs sorts records by customer and by whether they are changes or triggers,
// which are on different topics, and takes out the wall clock.
func outputs(t *testing.T, values [][]byte) map[string][]string {
	t.Helper()
	m := map[string][]string{}
	for _, v := range values {
		var fields map[string]any
		if err := json.Unmarshal(v, &fields); err != nil {
			t.Fatalf("%v: %s", err, v)
		}
		delete(fields, "emitted_at")
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint("changes of ", fields["customer_id"])
		if _, ok := fields["trigger_id"]; ok {
			key = fmt.Sprint("triggers of ", fields["customer_id"])
		}
		m[key] = append(m[key], string(text))
	}
	return m
}

func total(m map[string][]string) int {
	n := 0
	for _, l := range m {
		n += len(l)
	}
	return n
}

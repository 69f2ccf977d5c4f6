//go:build hostile

package hostile

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	partitions = 4
	// soon is how long a canary may take, and what waited for a registry after its
	// first good answer.
	soon = 5 * time.Second
	// mostMemory is what a process may take with GOMEMLIMIT=256MiB, in bytes.
	mostMemory = 384 << 20
)

// site is an application of its own: topics, rules, a registry, and a process.
type site struct {
	app, dir, config string
	brokers          string
	reg              *registry
	cl               *kgo.Client // by partition
	adm              *kadm.Client
	p                *process
	out              outputs
	canaries         atomic.Int64
	expected         atomic.Int64 // dead letters
}

var names = rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)).Uint32()

// newSite writes a configuration; extra is YAML that is appended.
func newSite(t *testing.T, name, extra string) *site {
	t.Helper()
	s := &site{app: fmt.Sprintf("%s-%08x", name, names), dir: t.TempDir(), brokers: brokersOf(t)}
	s.reg = newRegistry(t, s.app+".web-value")
	s.config = filepath.Join(s.dir, "segmill.yaml")
	write(t, filepath.Join(s.dir, "rules.yaml"), rules())
	write(t, s.config, s.text()+extra)
	var err error
	s.cl, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(s.brokers, ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(8<<20), kgo.BrokerMaxWriteBytes(32<<20), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.cl.Close)
	s.adm = kadm.NewClient(s.cl)
	return s
}

func (s *site) text() string {
	return fmt.Sprintf(`app: %[1]s
rules: [rules.yaml]
state: state
kafka: {brokers: [%[2]s], session_timeout: 6s}
registry: {url: %[3]q}
topics: {web: %[1]s.web, email: %[1]s.email, purchase: %[1]s.purchase, profile: %[1]s.profile, consent: %[1]s.consent, changes: %[1]s.changes, triggers: %[1]s.triggers, create: {partitions: 4, replication: 1}}
output: {format: json}
max_merge_wait: 1s
http: 127.0.0.1:0
`, s.app, s.brokers, s.reg.url)
}

// start starts a process and waits until it is ready.
func (s *site) start(t *testing.T) {
	t.Helper()
	s.launch(t)
	eventually(t, time.Minute, "ready", func() bool { return s.p.ready() == "ok\n" })
	if s.out.cl == nil {
		s.out.follow(t, s)
	}
}

func (s *site) launch(t *testing.T) {
	t.Helper()
	s.p = launch(t, s.dir, "run", "-c", s.config)
}

// end stops the process, which must not have ended before, nor taken much memory, and
// must have emitted everything.
func (s *site) end(t *testing.T) {
	t.Helper()
	most := s.p.highWater()
	if s.p.ended() {
		t.Fatalf("it ended by itself: exit code %d\n%s", s.p.code(), s.p.text(t))
	}
	if err := s.p.stop(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if s.p.code() != 0 {
		t.Errorf("exit code %d after SIGTERM", s.p.code())
	}
	if most > mostMemory || most == 0 {
		t.Errorf("%d MiB were in use, want at most %d", most>>20, mostMemory>>20)
	}
	if strings.Contains(s.p.text(t), "panic") {
		t.Error("it has panicked")
	}
	dead := int64(s.out.letters())
	if dead != s.expected.Load() {
		t.Errorf("%d dead letters, want %d", dead, s.expected.Load())
	}
	t.Logf("%s: %d canaries, %d dead letters, %d MiB at most", s.app, s.canaries.Load(), dead, most>>20)
}

// produce writes records to the topics that they name without the application, and
// sets their offsets.
func (s *site) produce(t *testing.T, rs ...*kgo.Record) {
	t.Helper()
	for _, r := range rs {
		if !strings.HasPrefix(r.Topic, s.app) {
			r.Topic = s.app + "." + r.Topic
		}
	}
	if err := s.cl.ProduceSync(context.Background(), rs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

var customers atomic.Int64

// customer returns a new customer of a partition.
func customer(prefix string, partition int32) string {
	of := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for {
		id := fmt.Sprintf("%s%d", prefix, customers.Add(1))
		if of.Partition(&kgo.Record{Key: []byte(id)}, partitions) == int(partition) {
			return id
		}
	}
}

// event returns an event of a customer that has happened now.
func event(topic string, partition int32, customer, more string) *kgo.Record {
	if topic == "purchase" {
		more = `,"order_id":"o","currency":"EUR"` + more
	}
	return &kgo.Record{Topic: topic, Partition: partition, Key: []byte(customer), Value: fmt.Appendf(nil,
		`{"event_id":"e%d","customer_id":%q,"occurred_at":%d%s}`, customers.Add(1), customer, time.Now().UnixMilli(), more)}
}

// sing sends a canary to each partition, and returns a function that waits for them.
func (s *site) sing(t *testing.T) (heard func()) {
	t.Helper()
	var all []*kgo.Record
	for p := range int32(partitions) {
		all = append(all, event("purchase", p, customer("canary", p), `,"revenue":1`))
	}
	begin := time.Now()
	s.produce(t, all...)
	s.canaries.Add(partitions)
	return func() {
		t.Helper()
		for _, r := range all {
			at := s.entered(t, string(r.Key), "canary", 20*time.Second)
			if took := at.Sub(begin); took > soon {
				t.Errorf("the canary of partition %d took %v", r.Partition, took.Round(time.Millisecond))
			}
		}
	}
}

// entered waits until a customer has entered a segment, and returns when that was read.
func (s *site) entered(t *testing.T, customer, segment string, within time.Duration) (at time.Time) {
	t.Helper()
	defer func() {
		if at.IsZero() {
			t.Logf("/readyz: %s", s.p.ready())
		}
	}()
	eventually(t, within, customer+" enters "+segment, func() bool {
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		var ok bool
		at, ok = s.out.entered[customer+" "+segment]
		return ok
	})
	return at
}

// place names a record.
func place(r *kgo.Record) string { return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset) }

// dead waits for the dead letter of a record and wants its cause.
func (s *site) dead(t *testing.T, r *kgo.Record, cause string) {
	t.Helper()
	s.expected.Add(1)
	var h map[string]string
	eventually(t, 20*time.Second, "the dead letter of "+place(r), func() bool {
		s.out.mu.Lock()
		defer s.out.mu.Unlock()
		h = s.out.dead[place(r)]
		return h != nil
	})
	if h["dlq.cause"] != cause || h["dlq.error"] == "" {
		t.Errorf("a dead letter of cause %s (%s), want %s", h["dlq.cause"], h["dlq.error"], cause)
	}
}

// outputs is what an application has emitted, as a reader of committed records sees it.
type outputs struct {
	cl      *kgo.Client
	mu      sync.Mutex
	entered map[string]time.Time // by customer and segment: when it was read
	fired   map[string]int       // triggers by customer
	dead    map[string]map[string]string
	doubled int
}

// letters returns how many dead letters were read, those of fat customers left out:
// how many of their events fit is not for these tests to say.
func (o *outputs) letters() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.doubled
	for _, h := range o.dead {
		if h["dlq.cause"] != "customer_size" {
			n++
		}
	}
	return n
}

// follow reads the outputs until the test ends.
func (o *outputs) follow(t *testing.T, s *site) {
	t.Helper()
	o.entered, o.fired, o.dead = map[string]time.Time{}, map[string]int{}, map[string]map[string]string{}
	var err error
	o.cl, err = kgo.NewClient(kgo.SeedBrokers(strings.Split(s.brokers, ",")...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeTopics(s.app+".changes", s.app+".triggers", s.app+".dlq"), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { o.cl.Close(); <-done })
	go func() {
		defer close(done)
		for {
			fs := o.cl.PollFetches(context.Background())
			if fs.IsClientClosed() {
				return
			}
			fs.EachRecord(func(r *kgo.Record) { o.take(s, r) })
		}
	}()
}

func (o *outputs) take(s *site, r *kgo.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch strings.TrimPrefix(r.Topic, s.app+".") {
	case "dlq":
		h := map[string]string{}
		for _, kv := range r.Headers { // the last one is the engine's
			h[kv.Key] = string(kv.Value)
		}
		at := h["dlq.topic"] + "/" + h["dlq.partition"] + "/" + h["dlq.offset"]
		if o.dead[at] != nil {
			o.doubled++
		}
		if h["dlq.left_out"] == "" {
			o.dead[at] = h
			return
		}
		for part := range strings.SplitSeq(string(r.Value), ",") { // of a flood: offsets such as 3-9,11
			from, to, ok := strings.Cut(part, "-")
			first, _ := strconv.ParseInt(from, 10, 64)
			last, _ := strconv.ParseInt(to, 10, 64)
			if !ok {
				last = first
			}
			for i := first; i <= last; i++ {
				o.dead[fmt.Sprintf("%s/%s/%d", h["dlq.topic"], h["dlq.partition"], i)] = map[string]string{"dlq.cause": h["dlq.cause"], "dlq.error": "left out"}
			}
		}
	case "changes":
		c := changeOf(r.Value)
		if c.Action == "entered" {
			o.entered[c.Customer+" "+c.Segment] = time.Now()
		} else {
			o.entered[c.Customer+" "+c.Action] = time.Now()
		}
	case "triggers":
		o.fired[changeOf(r.Value).Customer]++
	}
}

func eventually(t *testing.T, within time.Duration, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// get returns the body of an answer, or the error.
func get(url string) string {
	resp, err := http.Get(url) //nolint:gosec // of this test
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

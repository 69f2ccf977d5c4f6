package consumer

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
	"github.com/segmill/segmill/triggers"
)

const app = "shop"

// rules are what most tests run: things that events change, that time changes,
// and that a silence triggers.
const rules = `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) >= 1"}
  - {id: frequent, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase, days(2)) >= 3"}
  - {id: browsing, objective: a, owner: b, review_by: 2099-01-01, when: "did(web, hours(3))"}
  - {id: big, objective: a, owner: b, review_by: 2099-01-01, when: "sum(purchase.revenue, days(5)) > 300"}
triggers:
  - {id: cart_left, kind: abandoned_cart, after: 30m}
`

// rig is a broker in the process and what tests need around it.
type rig struct {
	testing.TB
	broker *kfake.Cluster
	n      int32
	shift  atomic.Int64 // added to the wall clock
	cl     *kgo.Client  // reads committed, writes
	enc    *schemas.EventEncoder
	route  router
	seq    int
}

func newRig(t testing.TB, partitions int32) *rig {
	t.Helper()
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(partitions, "web", "purchase", "profile"),
		kfake.GroupMinSessionTimeout(100*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	g := &rig{TB: t, broker: broker, n: partitions, enc: schemas.NewEventEncoder(schemas.JSON, [plan.NumStreams]int{}), route: newRouter(partitions)}
	g.cl = g.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return g
}

func (g *rig) client(opts ...kgo.Opt) *kgo.Client {
	g.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(g.broker.ListenAddrs()...))...)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(cl.Close)
	return cl
}

// now is the wall clock of the engine under test.
func (g *rig) now() time.Time { return time.Now().Add(time.Duration(g.shift.Load())) }

func zones(name string) (*time.Location, bool) {
	l, err := time.LoadLocation(name)
	return l, err == nil
}

func newEngine(t testing.TB, text string) *engine.Engine {
	t.Helper()
	set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(text)}}, schemas.Catalog())
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Compile(set.Spec, zones)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(p, triggers.New(p), engine.Options{Zones: zones})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// config returns a Config for rules that runs fast.
func (g *rig) config(text string, store *state.Store) Config {
	g.Helper()
	cfg := DefaultConfig()
	cfg.App, cfg.Kafka = app, []kgo.Opt{kgo.SeedBrokers(g.broker.ListenAddrs()...)}
	topics := map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile}
	cfg.Inputs = slices.Collect(maps.Keys(topics))
	cfg.Changes, cfg.Triggers = "changes", "triggers"
	cfg.Engine = newEngine(g, text)
	reader, err := schemas.NewReader(schemas.Config{Layouts: cfg.Engine.Layout, Topics: topics})
	if err != nil {
		g.Fatal(err)
	}
	cfg.Read = reader.Read
	if cfg.Encoder, err = schemas.NewEncoder(schemas.JSON, app, schemas.IDs{}); err != nil {
		g.Fatal(err)
	}
	cfg.Store, cfg.Now, cfg.Logger = store, g.now, testLogger()
	cfg.Time.Grace = 100 * time.Millisecond
	cfg.Batch.Interval = 10 * time.Millisecond
	cfg.Group = GroupConfig{SessionTimeout: 2 * time.Second, RebalanceTimeout: time.Second, Heartbeat: 100 * time.Millisecond}
	return cfg
}

// testLogger writes to standard error if SEGMILL_LOG is set.
func testLogger() *slog.Logger {
	w := io.Discard
	if os.Getenv("SEGMILL_LOG") != "" {
		w = os.Stderr
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (g *rig) store(files vfs.FS) *state.Store {
	g.Helper()
	s, err := state.Open("state", state.Options{FS: files, Wake: engine.WakeOf, Logger: testLogger(), CacheBytes: 1 << 20})
	if err != nil {
		g.Fatal(err)
	}
	return s
}

// instance is an Owner that runs.
type instance struct {
	g      *rig
	o      *Owner
	store  *state.Store
	cancel context.CancelFunc
	done   chan error
}

// start runs an Owner on files.
func (g *rig) start(text string, files vfs.FS, change func(*Config)) *instance {
	g.Helper()
	in := &instance{g: g, store: g.store(files), done: make(chan error, 1)}
	cfg := g.config(text, in.store)
	if change != nil {
		change(&cfg)
	}
	var err error
	if in.o, err = New(cfg); err != nil {
		g.Fatal(err)
	}
	var ctx context.Context
	ctx, in.cancel = context.WithCancel(context.Background())
	go func() { in.done <- in.o.Run(ctx) }()
	g.Cleanup(in.cancel)
	return in
}

// stop ends an instance in good order.
func (in *instance) stop() {
	in.g.Helper()
	in.cancel()
	if err := <-in.done; err != nil {
		in.g.Errorf("run: %v", err)
	}
	if err := in.store.Close(); err != nil {
		in.g.Errorf("close: %v", err)
	}
}

// crash ends an instance as if it were killed: nothing is committed. The group
// is left, so that the next one need not wait for the session to time out.
func (in *instance) crash() {
	in.g.Helper()
	in.o.mu.Lock()
	if in.o.kill != nil {
		in.o.kill()
	}
	in.o.mu.Unlock()
	in.stop()
}

// wait waits for a run with an end.
func (in *instance) wait() error {
	err := <-in.done
	in.cancel()
	if cerr := in.store.Close(); cerr != nil {
		in.g.Errorf("close: %v", cerr)
	}
	return err
}

// eventually waits for a condition.
func (g *rig) eventually(what string, ok func() bool) {
	g.Helper()
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case <-deadline:
			g.Fatalf("not within 30 s: %s", what)
		case <-tick.C:
			if ok() {
				tick.Stop()
				return
			}
		}
	}
}

// caughtUp waits until an instance has taken everything.
func (in *instance) caughtUp() {
	in.g.Helper()
	in.g.eventually("caught up", func() bool {
		st := in.o.Status()
		if !st.Ready || len(st.Tasks) == 0 || st.Lag > 0 {
			return false
		}
		ends := in.g.ends("web", "purchase", "profile")
		for _, t := range st.Tasks {
			for topic, end := range ends {
				if t.sources[topic].Next < end[t.Partition] {
					return false
				}
			}
		}
		return true
	})
}

func (g *rig) ends(topics ...string) map[string]map[int32]int64 {
	parts := make([]int32, g.n)
	for i := range parts {
		parts[i] = int32(i)
	}
	got, err := listOffsets(context.Background(), g.cl, topics, parts, lastStable, atEnd)
	if err != nil {
		g.Fatal(err)
	}
	return got
}

// event returns a record of an event on its customer's partition, with the
// Kafka timestamp of the event.
func (g *rig) event(stream plan.Stream, customer string, at time.Time, fields map[string]any) *kgo.Record {
	g.Helper()
	g.seq++
	all := map[string]any{"event_id": "e" + strconv.Itoa(g.seq), "customer_id": customer, "occurred_at": at}
	switch stream {
	case plan.Web:
		all["name"] = "page_viewed"
	case plan.Purchase:
		all["order_id"], all["currency"], all["revenue"] = all["event_id"], "EUR", "10"
	}
	maps.Copy(all, fields)
	v, err := g.enc.Append(nil, stream, all)
	if err != nil {
		g.Fatal(err)
	}
	return &kgo.Record{
		Topic: stream.String(), Partition: g.route.partition(customer), Key: []byte(customer), Value: v,
		Timestamp: at,
	}
}

func (g *rig) produce(records ...*kgo.Record) {
	g.Helper()
	if err := g.cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		g.Fatal(err)
	}
}

// read returns all committed records of a topic, by partition.
func (g *rig) read(topic string) map[int32][]*kgo.Record {
	g.Helper()
	ends := g.ends(topic)[topic]
	from := map[int32]kgo.Offset{}
	left := 0
	for p, end := range ends {
		if end > 0 {
			from[p] = kgo.NewOffset().AtStart()
			left++
		}
	}
	got := map[int32][]*kgo.Record{}
	if left == 0 {
		return got
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(g.broker.ListenAddrs()...), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}))
	if err != nil {
		g.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			g.Fatalf("read %s: %v", topic, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if !r.Attrs.IsControl() {
				got[r.Partition] = append(got[r.Partition], r)
			}
			if r.Offset == ends[r.Partition]-1 {
				left--
			}
		})
	}
	return got
}

// effect is an output as a reader sees it.
type effect struct {
	ID       string    `json:"change_id"`
	Trigger  string    `json:"trigger_id"`
	Customer string    `json:"customer_id"`
	Segment  string    `json:"segment"`
	Name     string    `json:"trigger"`
	Action   string    `json:"action"`
	Sequence int       `json:"sequence"`
	Cause    string    `json:"cause"`
	At       time.Time `json:"effective_at"`
	Fired    time.Time `json:"fired_at"`
	Due      time.Time `json:"due_at"`
}

func (e effect) String() string {
	if e.Trigger != "" {
		return fmt.Sprintf("%s fired %s #%d at %s", e.Customer, e.Name, e.Sequence, e.Fired.Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%s %s %s #%d at %s (%s)", e.Customer, e.Action, e.Segment, e.Sequence, e.At.Format(time.RFC3339Nano), e.Cause)
}

// effects returns the outputs of a topic by partition.
func (g *rig) effects(topic string) map[int32][]effect {
	g.Helper()
	got := map[int32][]effect{}
	for p, records := range g.read(topic) {
		for _, r := range records {
			var e effect
			if err := json.Unmarshal(r.Value, &e); err != nil {
				g.Fatal(err)
			}
			if string(r.Key) != e.Customer || g.route.partition(e.Customer) != p {
				g.Errorf("%v has key %q on partition %d", e, r.Key, p)
			}
			got[p] = append(got[p], e)
		}
	}
	return got
}

// transcript returns all outputs as text, without what may differ between runs.
func (g *rig) transcript() string {
	g.Helper()
	var b strings.Builder
	for _, topic := range []string{"changes", "triggers"} {
		effects := g.effects(topic)
		for _, p := range slices.Sorted(maps.Keys(effects)) {
			for _, e := range effects[p] {
				fmt.Fprintf(&b, "%s/%d %v %s%s\n", topic, p, e, e.ID, e.Trigger)
			}
		}
	}
	return b.String()
}

// members returns who is in which segment, "customer segment", by the changes
// alone, and fails the test if a change is missing or doubled.
func (g *rig) members() []string {
	g.Helper()
	last := map[string]effect{}
	for _, effects := range g.effects("changes") {
		for _, e := range effects {
			if e.Action == "erased" {
				maps.DeleteFunc(last, func(k string, l effect) bool { return l.Customer == e.Customer })
				continue
			}
			key := e.Customer + " " + e.Segment
			before := last[key]
			if e.Sequence != before.Sequence+1 || (e.Sequence%2 == 1) != (e.Action == "entered") || e.At.Before(before.At) {
				g.Errorf("%v after %v", e, before)
			}
			last[key] = e
		}
	}
	var in []string
	for key, e := range last {
		if e.Action == "entered" {
			in = append(in, key)
		}
	}
	slices.Sort(in)
	return in
}

// positions returns the last position of every partition, and fails the test if
// their numbers have gaps.
func (g *rig) positions() map[int32]*Position {
	g.Helper()
	last := map[int32]*Position{}
	for p, records := range g.read(app + ".changelog") {
		seq := uint64(0)
		for _, r := range records {
			if string(r.Key) != positionKey {
				continue
			}
			pos, err := decodePosition(r.Value)
			if err != nil {
				g.Fatal(err)
			}
			if pos.Seq != seq+1 {
				g.Errorf("partition %d: position %d after %d", p, pos.Seq, seq)
			}
			if before := last[p]; before != nil && pos.Clock < before.Clock {
				g.Errorf("partition %d: the clock went back from %v to %v", p, before.Clock, pos.Clock)
			}
			seq, last[p] = pos.Seq, pos
		}
	}
	return last
}

// totals adds up the counts of the positions.
func (g *rig) totals() (folded, dead, forwarded uint64) {
	for _, p := range g.positions() {
		folded, dead, forwarded = folded+p.Folded, dead+p.DeadLetters, forwarded+p.Forwarded
	}
	return folded, dead, forwarded
}

// verifyFromNothing restores every partition on an empty disk and checks that the
// digest comes out right: acquiring does that.
func (g *rig) verifyFromNothing(text string, change func(*Config)) {
	g.Helper()
	in := g.start(text, vfs.NewMem(), change)
	in.ready()
	for p := range g.n {
		v, err := Verify(context.Background(), in.store, p)
		if err != nil && v.Seq > 0 {
			g.Errorf("partition %d restored from nothing: %v", p, err)
		}
	}
	in.stop()
}

func (in *instance) ready() {
	in.g.Helper()
	in.g.eventually("ready", func() bool {
		st := in.o.Status()
		return st.Ready && len(st.Tasks) == int(in.g.n)
	})
}

// topicsOf returns the partitions counts of topics that exist.
func (g *rig) partitionsOf(topics ...string) map[string]int {
	g.Helper()
	got, err := kadm.NewClient(g.cl).ListTopics(context.Background(), topics...)
	if err != nil {
		g.Fatal(err)
	}
	n := map[string]int{}
	for _, t := range got {
		n[t.Topic] = len(t.Partitions)
	}
	return n
}

// customersOf returns ids whose records belong on a partition.
func (g *rig) customersOf(partition int32, count int) []string {
	var ids []string
	for i := 0; len(ids) < count; i++ {
		if id := fmt.Sprintf("c%d", i); g.route.partition(id) == partition {
			ids = append(ids, id)
		}
	}
	return ids
}

// heard collects effects that OnEffects tells.
type heard struct {
	mu   sync.Mutex
	list []string
}

func (h *heard) add(_ int32, effects []engine.Effect) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range effects {
		e := &effects[i]
		h.list = append(h.list, fmt.Sprintf("%s %v %s #%d", e.Customer, e.Action, e.Name, e.Sequence))
	}
}

func (h *heard) sorted() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(slices.Values(h.list), cmp.Compare[string])
}

// addPartition raises the number of a topic's partitions to n.
func (g *rig) addPartition(topic string, n int) {
	g.Helper()
	got, err := kadm.NewClient(g.cl).UpdatePartitions(context.Background(), n, topic)
	if err == nil {
		err = got.Error()
	}
	if err != nil {
		g.Fatal(err)
	}
}

// setting returns a setting of a topic.
func (g *rig) setting(topic, key string) string {
	g.Helper()
	got, err := kadm.NewClient(g.cl).DescribeTopicConfigs(context.Background(), topic)
	if err != nil {
		g.Fatal(err)
	}
	for _, c := range got[0].Configs {
		if c.Key == key {
			return c.MaybeValue()
		}
	}
	return ""
}

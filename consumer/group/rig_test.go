package group

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/failpoint"
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
	kafka  []kgo.Opt // of every client
	n      int32
	shift  atomic.Int64 // added to the wall clock
	cl     *kgo.Client  // reads committed, writes
	enc    *schemas.EventEncoder
	route  broker.Router
	seq    int

	delivery config.Delivery
	repeats  int // effects that a reader saw again

	compacted bool // the changelog has gaps
}

// newRig starts a broker with the inputs. Options come after those that all share.
func newRig(t testing.TB, partitions int32, opts ...kfake.Opt) *rig {
	t.Helper()
	return newRigOn(t, partitions, opts)
}

// newRigOn is newRig with options of the broker, and of every client.
func newRigOn(t testing.TB, partitions int32, opts []kfake.Opt, clients ...kgo.Opt) *rig {
	t.Helper()
	fake, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(partitions, "web", "purchase", "profile"),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	g := &rig{TB: t, broker: fake, kafka: append(clients, kgo.SeedBrokers(fake.ListenAddrs()...)), n: partitions, enc: schemas.NewEventEncoder(schemas.JSON, [plan.NumStreams]int{}), route: broker.NewRouter(partitions)}
	g.cl = g.client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	return g
}

func (g *rig) client(opts ...kgo.Opt) *kgo.Client {
	g.Helper()
	cl, err := kgo.NewClient(append(opts, g.kafka...)...)
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
	set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(text)}}, schemas.Catalog(), triggers.Kinds(), zones)
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
func (g *rig) config(text string, store *state.Store) config.Config {
	g.Helper()
	cfg := config.Default()
	cfg.App, cfg.Kafka = app, slices.Clone(g.kafka)
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
	cfg.Delivery = g.delivery
	cfg.Store, cfg.Now, cfg.Logger = store, g.now, testLogger()
	cfg.Time.Grace = 100 * time.Millisecond
	cfg.Batch.Interval = 10 * time.Millisecond
	cfg.StoreEach = 30 // so that both happen: a crash finds the store behind, or not
	cfg.Group = config.Group{SessionTimeout: 2 * time.Second, RebalanceTimeout: time.Second, Heartbeat: 100 * time.Millisecond}
	return cfg
}

// failAt has a function called at the points of the protocol, and skips a test that
// was built without them.
func failAt(t testing.TB, c *config.Config, at func(task int32, point string) error) {
	t.Helper()
	if !failpoint.Enabled {
		t.Skip("tests that let tasks die need -tags segmill_invariants")
	}
	c.Points.Attach(at)
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
func (g *rig) start(text string, files vfs.FS, change func(*config.Config)) *instance {
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
	if !within(30*time.Second, ok) {
		g.Fatalf("not within 30 s: %s", what)
	}
}

// within reports whether a condition comes true in a time. It is for what nobody
// signals: the status of an owner, what a broker has, what a process says.
func within(d time.Duration, ok func() bool) bool {
	deadline := time.After(d)
	tick := time.NewTicker(min(d/10, 10*time.Millisecond))
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			return false
		case <-tick.C:
		}
	}
	return true
}

// caughtUp waits until an instance has taken everything.
func (in *instance) caughtUp() {
	in.g.Helper()
	var st Status
	defer func() {
		if in.g.Failed() {
			in.g.Logf("its last state: %+v", st)
		}
	}()
	in.g.eventually("caught up", func() bool {
		st = in.o.Status()
		if !st.Ready || len(st.Tasks) == 0 || st.Lag > 0 {
			return false
		}
		ends := in.g.ends("web", "purchase", "profile")
		for _, t := range st.Tasks {
			for topic, end := range ends {
				if t.Sources[topic].Next < end[t.Partition] {
					return false
				}
			}
		}
		return true
	})
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
	default: // the others need nothing here
	}
	maps.Copy(all, fields)
	v, err := g.enc.Append(nil, stream, all)
	if err != nil {
		g.Fatal(err)
	}
	return &kgo.Record{
		Topic: stream.String(), Partition: g.route.Partition(customer), Key: []byte(customer), Value: v,
		Timestamp: at,
	}
}

func (g *rig) produce(records ...*kgo.Record) {
	g.Helper()
	if err := g.cl.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		g.Fatal(err)
	}
}

func (in *instance) ready() {
	in.g.Helper()
	in.g.eventually("ready", func() bool {
		st := in.o.Status()
		return st.Ready && len(st.Tasks) == int(in.g.n)
	})
}

// customersOf returns ids whose records belong on a partition.
func (g *rig) customersOf(partition int32, count int) []string {
	var ids []string
	for i := 0; len(ids) < count; i++ {
		if id := fmt.Sprintf("c%d", i); g.route.Partition(id) == partition {
			ids = append(ids, id)
		}
	}
	return ids
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

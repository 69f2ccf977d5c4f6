// Package rig drives the Kafka edge in tests: a broker in the process, a configuration
// that runs fast, records in, outputs out, and single tasks step by step.
//
// The one rule it keeps: what it reads is judged as a reader of the outputs would judge
// it, so every helper that reads fails the test where something is missing, doubled, or
// out of order.
//
// A Rig is a broker with input topics. Produce writes to them; Members, Transcript and
// Positions read what the engine has made of it. Drive runs one task, which stops at
// every named point of the protocol until the test lets it go on, lets it fail or kills
// it. Whole instances are group.New(g.Config(...)). Points need a build with the tag
// segmill_invariants; tests that use them are skipped without it.
package rig

import (
	"context"
	"fmt"
	"maps"
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
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// App is the name of the application, and the prefix of its topics.
const App = "shop"

// Rig is a broker in the process and what tests need around it.
type Rig struct {
	testing.TB
	Broker     *kfake.Cluster
	Kafka      []kgo.Opt // of every client
	Partitions int32
	Shift      atomic.Int64 // added to the wall clock, in nanoseconds
	Client     *kgo.Client  // reads committed, writes
	Route      broker.Router
	Seq        int // how many events there are: their ids are numbers
	// Delivery is that of every Config.
	Delivery config.Delivery
	// Duplicates is how many effects were read that had been read before. It grows
	// only where the delivery is at least once: otherwise a duplicate is an error.
	Duplicates int
	// Compacted says that the changelog has gaps.
	Compacted bool

	encoder *schemas.EventEncoder
}

// New starts a broker with the inputs. Options come after those that all share.
func New(t testing.TB, partitions int32, opts ...kfake.Opt) *Rig {
	t.Helper()
	return NewOn(t, partitions, opts)
}

// NewOn is New with options of the broker, and of every client.
func NewOn(t testing.TB, partitions int32, opts []kfake.Opt, clients ...kgo.Opt) *Rig {
	t.Helper()
	fake, err := kfake.NewCluster(append([]kfake.Opt{
		kfake.NumBrokers(1), kfake.SeedTopics(partitions, "web", "purchase", "profile"),
		kfake.GroupMinSessionTimeout(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	g := &Rig{
		TB: t, Broker: fake, Kafka: append(clients, kgo.SeedBrokers(fake.ListenAddrs()...)), Partitions: partitions,
		encoder: schemas.NewEventEncoder(schemas.JSON, [plan.NumBuiltin]int{}), Route: broker.NewRouter(partitions),
	}
	g.Connect()
	return g
}

// Beside returns a rig on the same broker whose topics have another number of
// partitions. It has no client before Connect.
func (g *Rig) Beside(partitions int32) *Rig {
	return &Rig{
		TB: g.TB, Broker: g.Broker, Kafka: g.Kafka, Partitions: partitions,
		encoder: g.encoder, Route: broker.NewRouter(partitions), Seq: g.Seq + 1_000_000,
	}
}

// Connect makes the rig's client, which knows the topics that there are by now.
func (g *Rig) Connect() { g.Client = g.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner())) }

// NewClient returns a client that is closed when the test ends.
func (g *Rig) NewClient(opts ...kgo.Opt) *kgo.Client {
	g.Helper()
	cl, err := kgo.NewClient(append(opts, g.Kafka...)...)
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(cl.Close)
	return cl
}

// Now is the wall clock of the engine under test.
func (g *Rig) Now() time.Time { return time.Now().Add(time.Duration(g.Shift.Load())) }

// Config returns a Config for rules that runs fast.
func (g *Rig) Config(text string, store *state.Store) config.Config {
	g.Helper()
	cfg := config.Default()
	cfg.App, cfg.Kafka = App, slices.Clone(g.Kafka)
	cfg.Inputs = slices.Collect(maps.Keys(streams))
	cfg.Changes, cfg.Triggers = "changes", "triggers"
	cfg.Rules = g.Rules(text)
	var err error
	if cfg.Encoder, err = schemas.NewEncoder(schemas.JSON, App, schemas.IDs{}); err != nil {
		g.Fatal(err)
	}
	cfg.Delivery = g.Delivery
	cfg.Store, cfg.Now, cfg.Logger = store, g.Now, fixture.Logger()
	cfg.Time.Grace = 100 * time.Millisecond
	cfg.Batch.Interval = 10 * time.Millisecond
	cfg.Fixed.StoreEach = 30 // so that both happen: a crash finds the store behind, or not
	cfg.Group = config.Group{SessionTimeout: 2 * time.Second, RebalanceTimeout: time.Second, Heartbeat: 100 * time.Millisecond}
	return cfg
}

// streams are those of the inputs.
var streams = map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile}

// Rules returns what of a Config depends on rules.
func (g *Rig) Rules(text string) config.Rules {
	g.Helper()
	r := config.Rules{Engine: fixture.NewEngine(g, text)}
	reader, err := schemas.NewReader(schemas.Config{Catalog: r.Engine.Catalog(), Layouts: r.Engine.Layout, Topics: streams})
	if err != nil {
		g.Fatal(err)
	}
	r.Read = reader.Read
	r.LookBackOf = func(of func(int) bool) map[string]engine.Millis {
		back := map[string]engine.Millis{}
		for topic, s := range streams {
			back[topic] = r.Engine.Plan().LookBackOf(s, of)
		}
		return back
	}
	return r
}

// Store opens the store of an instance.
func (g *Rig) Store(files vfs.FS) *state.Store {
	g.Helper()
	s, err := state.Open("state", state.Options{FS: files, Wake: engine.WakeOf, Logger: fixture.Logger(), CacheBytes: 1 << 20})
	if err != nil {
		g.Fatal(err)
	}
	return s
}

// Eventually waits for a condition.
func (g *Rig) Eventually(what string, ok func() bool) {
	g.Helper()
	if !Within(30*time.Second, ok) {
		g.Fatalf("not within 30 s: %s", what)
	}
}

// Within reports whether a condition comes true in a time. It is for what nobody
// signals: the status of an owner, what a broker has, what a process says.
func Within(d time.Duration, ok func() bool) bool {
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

// Event returns a record of an event on its customer's partition, with the
// Kafka timestamp of the event.
func (g *Rig) Event(stream plan.Stream, customer string, at time.Time, fields map[string]any) *kgo.Record {
	g.Helper()
	g.Seq++
	all := map[string]any{"event_id": "e" + strconv.Itoa(g.Seq), "customer_id": customer, "occurred_at": at}
	switch stream {
	case plan.Web:
		all["name"] = "page_viewed"
	case plan.Purchase:
		all["order_id"], all["currency"], all["revenue"] = all["event_id"], "EUR", "10"
	default: // the others need nothing here
	}
	maps.Copy(all, fields)
	v, err := g.encoder.Append(nil, stream, all)
	if err != nil {
		g.Fatal(err)
	}
	return &kgo.Record{
		Topic: stream.String(), Partition: g.Route.Partition(customer), Key: []byte(customer), Value: v,
		Timestamp: at,
	}
}

// Produce writes records and waits until they are written.
func (g *Rig) Produce(records ...*kgo.Record) {
	g.Helper()
	if err := g.Client.ProduceSync(context.Background(), records...).FirstErr(); err != nil {
		g.Fatal(err)
	}
}

// CustomersOf returns ids whose records belong on a partition.
func (g *Rig) CustomersOf(partition int32, count int) []string {
	var ids []string
	for i := 0; len(ids) < count; i++ {
		if id := fmt.Sprintf("c%d", i); g.Route.Partition(id) == partition {
			ids = append(ids, id)
		}
	}
	return ids
}

// AddPartitions raises the number of a topic's partitions to n.
func (g *Rig) AddPartitions(topic string, n int) {
	g.Helper()
	got, err := kadm.NewClient(g.Client).UpdatePartitions(context.Background(), n, topic)
	if err == nil {
		err = got.Error()
	}
	if err != nil {
		g.Fatal(err)
	}
}

package group

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// registryOf is a registry of one schema, that of web events as 7, and its requests.
type registryOf struct {
	text     string
	broken   atomic.Bool  // every request is answered with 503
	also     atomic.Int64 // another id that it has
	foreign  atomic.Bool  // that one is registered for others alone
	requests atomic.Int64
}

func (r *registryOf) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.requests.Add(1)
	id, list, _ := strings.Cut(strings.TrimPrefix(req.URL.Path, "/schemas/ids/"), "/")
	switch {
	case r.broken.Load():
		http.Error(w, `{"error_code":50001,"message":"the store is not reachable"}`, http.StatusServiceUnavailable)
	case list == "subjects" && id != "7" && r.foreign.Load():
		fmt.Fprint(w, `["staging-value"]`)
	case id != "7" && id != strconv.FormatInt(r.also.Load(), 10):
		http.Error(w, `{"error_code":40403,"message":"Schema not found"}`, http.StatusNotFound)
	case list == "subjects":
		fmt.Fprint(w, `["web-value"]`)
	default:
		fmt.Fprintf(w, `{"schema":%s}`, strconv.Quote(r.text))
	}
}

// withRegistry makes an instance ask a registry.
func (g *fleet) withRegistry(reg *registryOf) func(*config.Config) {
	g.Helper()
	var err error
	if reg.text, err = schemas.Text("web_event"); err != nil {
		g.Fatal(err)
	}
	srv := httptest.NewServer(reg)
	g.Cleanup(srv.Close)
	cl, err := sr.NewClient(sr.URLs(srv.URL), sr.HTTPClient(schemas.NewHTTPClient(time.Now, nil)))
	if err != nil {
		g.Fatal(err)
	}
	return func(c *config.Config) {
		reader, err := schemas.NewReader(schemas.Config{
			Layouts: c.Engine.Layout, Registry: schemas.SchemaRegistry(cl, slog.New(slog.DiscardHandler)),
			Topics: map[string]plan.Stream{"web": plan.Web, "purchase": plan.Purchase, "profile": plan.Profile},
			Now:    g.Now, Go: func(lookup func()) { go lookup() },
		})
		if err != nil {
			g.Fatal(err)
		}
		c.Read, c.Ahead = reader.Read, reader.Ahead
		c.Time.MaxMergeWait = 200 * time.Millisecond
	}
}

// avro makes a web event an Avro record with the schema id.
func (g *fleet) avro(customer string, id int) *kgo.Record {
	g.Helper()
	r := g.Event(plan.Web, customer, g.Now(), nil)
	var err error
	r.Value, err = schemas.NewEventEncoder(schemas.Avro, [plan.NumBuiltin]int{plan.Web: id}).Append(nil, plan.Web, map[string]any{
		"event_id": "a" + strconv.Itoa(g.Seq), "customer_id": customer, "occurred_at": g.Now(), "name": "page_viewed",
	})
	if err != nil {
		g.Fatal(err)
	}
	return r
}

// A registry that fails holds the input whose schema is not known: the partition is
// shown as waiting, with the status and the id, and a stop does not wait for it. Other
// inputs go on, and once the registry answers, so does this one.
func TestRegistryFails(t *testing.T) {
	g := newFleet(t, 1)
	reg := &registryOf{}
	reg.broken.Store(true)
	with := g.withRegistry(reg)
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, with)
	in.ready()
	g.Produce(g.avro("anna", 7), g.Event(plan.Purchase, "anna", g.Now(), nil))
	waiting := func() bool {
		st := in.o.Status()
		return !st.Ready && len(st.Tasks) == 1 && st.Tasks[0].State == task.Waiting && strings.Contains(st.Tasks[0].Error, "web offset 0: schema 7: ") &&
			strings.Contains(st.Tasks[0].Error, "503") && strings.Contains(st.Tasks[0].Error, "the store is not reachable")
	}
	g.Eventually("the partition is shown as waiting", waiting)
	g.Eventually("the other input goes on", func() bool { return slices.Equal(g.Members(), []string{"anna buyer"}) })
	start := time.Now()
	in.stop()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	in = g.start(fixture.Rules, files, with)
	g.Eventually("it waits again", waiting)
	reg.broken.Store(false)
	g.Eventually("the registry is back", func() bool { return slices.Equal(g.Members(), []string{"anna browsing", "anna buyer"}) })
	in.ready()
	in.stop()
	if n := g.count(rig.App + ".dlq"); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// Records with thousands of ids that nobody knows are dead letters one by one, and what
// follows them and is beside them is emitted.
func TestFloodOfUnknownIDs(t *testing.T) {
	const n = 5_000
	g := newFleet(t, 2)
	reg := &registryOf{}
	in := g.start(fixture.Rules, vfs.NewMem(), g.withRegistry(reg))
	in.ready()
	here, other := g.CustomersOf(0, 1)[0], g.CustomersOf(1, 1)[0]
	rnd := rand.New(rand.NewSource(1))
	var records []*kgo.Record
	one := g.avro(here, 7)
	for range n {
		r := &kgo.Record{Topic: one.Topic, Partition: one.Partition, Key: one.Key, Value: slices.Clone(one.Value)}
		binary.BigEndian.PutUint32(r.Value[1:], 1000+uint32(rnd.Int31n(1<<30)))
		records = append(records, r)
	}
	start := time.Now()
	g.Produce(append(records, g.avro(here, 7))...)
	g.Produce(g.avro(other, 7))
	g.Eventually("the other partition", func() bool { return slices.Contains(g.Members(), other+" browsing") })
	beside := time.Since(start)
	g.Eventually("what stands behind them", func() bool { return slices.Contains(g.Members(), here+" browsing") })
	t.Logf("beside them %v, behind them %v, %d requests", beside, time.Since(start), reg.requests.Load())
	in.stop()
	dead := g.Read(rig.App + ".dlq")[0]
	if len(dead) != n {
		t.Errorf("%d dead letters of %d", len(dead), n)
	}
	for _, r := range dead {
		if !slices.ContainsFunc(r.Headers, func(h kgo.RecordHeader) bool { return h.Key == "dlq.cause" && string(h.Value) == "schema" }) {
			t.Fatalf("headers %s", r.Headers)
		}
	}
	if got := reg.requests.Load(); got > n+n/10 {
		t.Errorf("%d requests", got)
	}
}

// A schema that is refused, since it does not exist yet or is registered for others, is
// good for every event that is written once it is registered for the topic.
func TestSchemaRegisteredLater(t *testing.T) {
	for name, before := range map[string]func(*registryOf){
		"unknown": func(*registryOf) {},
		"foreign": func(reg *registryOf) { reg.foreign.Store(true); reg.also.Store(9) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 2)
			reg := &registryOf{}
			before(reg)
			in := g.start(fixture.Rules, vfs.NewMem(), g.withRegistry(reg))
			in.ready()
			g.Produce(g.avro("early", 9))
			g.Eventually("a dead letter", func() bool { return g.count(rig.App+".dlq") == 1 })
			reg.also.Store(9)
			reg.foreign.Store(false)
			for i := range 50 {
				g.Produce(g.avro(fmt.Sprintf("c%d", i), 9))
			}
			g.Eventually("all fifty", func() bool { return len(g.Members()) == 50 })
			in.stop()
			if n := g.count(rig.App + ".dlq"); n != 1 {
				t.Errorf("%d dead letters", n)
			}
		})
	}
}

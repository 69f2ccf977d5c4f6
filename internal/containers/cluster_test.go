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
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/checker"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

const partitions = 4

// sessionTimeout is the least that brokers take unless they are told otherwise.
const sessionTimeout = 6 * time.Second

// cluster is an app on a broker: its topics, rules and instances.
type cluster struct {
	*testing.T
	address, app, delivery, rules, clock string

	cl        *kgo.Client
	adm       *kadm.Client
	dir       string
	customers int
	events    int
	instances []*instance
}

// newCluster makes the topics of an app that nobody else uses.
func newCluster(t *testing.T, address, delivery, rules, clock string) *cluster {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.MetadataMinAge(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	c := &cluster{
		T: t, address: address, app: fmt.Sprintf("t%x", rand.Uint64()), delivery: delivery, rules: rules, clock: clock,
		cl: cl, adm: kadm.NewClient(cl), dir: t.TempDir(), customers: 40,
	}
	forever := "-1" // the history is old
	for _, topic := range []string{"web", "purchase"} {
		if _, err := c.adm.CreateTopic(t.Context(), partitions, 1, map[string]*string{"retention.ms": &forever}, c.topic(topic)); err != nil {
			t.Fatalf("create topic %s: %v", topic, err)
		}
	}
	return c
}

func (c *cluster) topic(name string) string { return c.app + "." + name }

// publish publishes a record; flush waits for all.
func (c *cluster) publish(r *kgo.Record) {
	c.cl.Produce(c.Context(), r, func(_ *kgo.Record, err error) {
		if err != nil {
			c.Error(err)
		}
	})
}

func (c *cluster) flush() {
	c.Helper()
	if err := c.cl.Flush(c.Context()); err != nil {
		c.Fatal(err)
	}
}

// randomEvent returns the record of an event; some are bad.
func (c *cluster) randomEvent(r *rand.Rand, at time.Time) *kgo.Record {
	c.events++
	customer := fmt.Sprintf("c%d", r.IntN(c.customers))
	e := map[string]any{
		"event_id": fmt.Sprintf("e%d", c.events), "customer_id": customer,
		"occurred_at": at.Format(time.RFC3339Nano), "source": "/test",
	}
	stream := "web"
	product := fmt.Sprintf("p%d", r.IntN(5))
	switch r.IntN(6) {
	case 0, 1:
		stream = "purchase"
		e["order_id"], e["currency"] = fmt.Sprintf("o%d", c.events), "EUR"
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
	value, err := json.Marshal(e)
	if err != nil {
		c.Fatal(err)
	}
	if r.IntN(100) == 0 {
		value = value[:r.IntN(len(value))]
	}
	return &kgo.Record{Topic: c.topic(stream), Key: []byte(customer), Value: value, Timestamp: at}
}

// live publishes events of now for a time.
func (c *cluster) live(r *rand.Rand, d time.Duration) {
	for end := time.Now().Add(d); time.Now().Before(end); {
		c.publish(c.randomEvent(r, time.Now()))
		c.flush() // in the order of time across topics
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
}

// instance is a configuration and a state directory.
type instance struct {
	c             *cluster
	config, state string
}

func (c *cluster) instance(name, more string) *instance {
	c.Helper()
	rules, err := filepath.Abs(c.rules)
	if err != nil {
		c.Fatal(err)
	}
	in := &instance{c: c, config: filepath.Join(c.dir, name+".yaml"), state: filepath.Join(c.dir, "state-"+name)}
	text := fmt.Sprintf(`app: %s
rules: [%s]
state: %s
kafka: {brokers: [%q], session_timeout: %s}
topics: {web: %q, purchase: %q, changes: %q, triggers: %q, email: "", profile: "", consent: ""}
clock: %s
delivery: %s
output: {format: json}
http: ""
log: error
%s
`, c.app, rules, in.state, c.address, sessionTimeout, c.topic("web"), c.topic("purchase"), c.topic("changes"), c.topic("triggers"), c.clock, c.delivery, more)
	if err := os.WriteFile(in.config, []byte(text), 0o600); err != nil {
		c.Fatal(err)
	}
	c.instances = append(c.instances, in)
	return in
}

func (in *instance) loseDisk() {
	in.c.Helper()
	if err := os.RemoveAll(in.state); err != nil {
		in.c.Fatal(err)
	}
}

// process is a running `segmill run`.
type process struct {
	c    *cluster
	cmd  *exec.Cmd
	done chan struct{}
	err  error
	out  bytes.Buffer
}

func (in *instance) start(args ...string) *process {
	in.c.Helper()
	program, err := filepath.Abs("../../bin/segmill")
	if err != nil {
		in.c.Fatal(err)
	}
	p := &process{c: in.c, cmd: exec.Command(program, append([]string{"run", "-c", in.config}, args...)...), done: make(chan struct{})}
	p.cmd.Stderr = &p.out
	if err := p.cmd.Start(); err != nil {
		in.c.Fatalf("%v: run `make build` first", err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	in.c.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.done
		if in.c.Failed() {
			in.c.Logf("%s", p.out.Bytes())
		}
	})
	return p
}

func (p *process) signal(s syscall.Signal) {
	p.c.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.c.Fatalf("%v: %v\n%s", s, err, p.out.Bytes())
	}
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// wait waits for the end of the process.
func (p *process) wait() error {
	p.c.Helper()
	select {
	case <-p.done:
	case <-time.After(3 * time.Minute):
		p.c.Fatal("a process has not ended within 3 minutes")
	}
	return p.err
}

// awaitCommit waits until something more was written to the changelog, or one of
// the processes has ended.
func (c *cluster) awaitCommit(ps ...*process) {
	c.Helper()
	written := func() (n int64) {
		ends, err := c.adm.ListEndOffsets(c.Context(), c.topic("changelog"))
		if err != nil {
			return 0
		}
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	before := written()
	r := rand.New(rand.NewPCG(uint64(before), 0))
	for end := time.Now().Add(time.Minute); written() <= before; time.Sleep(20 * time.Millisecond) {
		for _, p := range ps {
			if !p.running() {
				return
			}
		}
		if time.Now().After(end) {
			c.Fatalf("no commit within a minute")
		}
		if c.clock == "wall" {
			c.publish(c.randomEvent(r, time.Now()))
			c.flush()
		}
	}
}

// judge lets the checker say whether the promise was kept. until is that of a run
// over history.
func (c *cluster) judge(until time.Time) {
	c.Helper()
	loaded, err := app.LoadRules([]string{c.rules})
	if err != nil {
		c.Fatal(err)
	}
	zones := app.Zones()
	named := app.TopicsConfig{Web: c.topic("web"), Purchase: c.topic("purchase")}
	topics := named.Inputs()
	cfg := checker.Config{
		Kafka: []kgo.Opt{kgo.SeedBrokers(c.address)}, App: c.app, Changes: c.topic("changes"), Triggers: c.topic("triggers"),
		Spec: loaded.Set.Spec, Engine: loaded.Engine, Zones: zones, Grace: app.DefaultGrace, AtLeastOnce: c.delivery == "at_least_once",
	}
	for topic := range topics {
		cfg.Inputs = append(cfg.Inputs, topic)
	}
	reader, err := schemas.NewReader(schemas.Config{
		Layouts: loaded.Engine.Layout, Topics: topics,
		Zones: func(name string) bool { _, ok := zones(name); return ok },
	})
	if err != nil {
		c.Fatal(err)
	}
	cfg.Read = reader.Read
	if !until.IsZero() {
		cfg.Clock, cfg.Until = consumer.EventsClock, engine.Millis(until.UnixMilli())
	}
	for _, in := range c.instances {
		s, err := state.Open(in.state, state.Options{Wake: engine.WakeOf})
		if err != nil {
			c.Fatal(err)
		}
		defer s.Close() //nolint:errcheck // only read
		cfg.Stores = append(cfg.Stores, s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	report, err := checker.Check(ctx, cfg)
	if err != nil {
		c.Fatal(err)
	}
	c.Log(report)
	if report.Count() > 0 {
		c.Error("the checker found violations")
	}
	if report.Events == 0 || report.Changes == 0 || report.Triggers == 0 {
		c.Error("nothing was judged")
	}
}

package recorded

import (
	"context"
	"io"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// This file is all that knows how an engine is put together.

// Names that the engine is given.
const (
	appName = "rec"
	stateIn = "state"
)

// Topics that the engine writes.
var written = []string{"changes", "triggers", appName + ".changelog", appName + ".repartition", appName + ".dlq"}

// setup is what one recording is made with.
type setup struct {
	delivery config.Delivery
	output   schemas.Format
	avro     bool // half of the events are Avro
	clock    config.ClockMode
}

// batchRecords is small, so that most transactions end because they are full.
const batchRecords = 60

// longAgo is longer than any step of the clock: nothing is lost by standing still.
const longAgo = 500 * time.Hour

// engineRun is an engine from its start to its stop.
type engineRun struct {
	testing.TB
	owner  *group.Owner
	store  *state.Store
	cancel context.CancelFunc
	done   chan error
	ended  bool
}

// launch starts an engine with rules on files. change may be nil.
func (r *rig) launch(rules string, files vfs.FS, change func(*config.Config)) *engineRun {
	r.Helper()
	store, err := state.Open(stateIn, state.Options{FS: files, Wake: engine.WakeOf, Logger: r.log, CacheBytes: 1 << 20})
	if err != nil {
		r.Fatal(err)
	}
	cfg := r.config(rules, store)
	if change != nil {
		change(&cfg)
	}
	in := &engineRun{TB: r, store: store, done: make(chan error, 1)}
	if in.owner, err = group.New(cfg); err != nil {
		r.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	in.cancel = cancel
	go func() { in.done <- in.owner.Run(ctx) }()
	r.Cleanup(in.stop)
	return in
}

func (r *rig) config(rules string, store *state.Store) config.Config {
	r.Helper()
	text, err := os.ReadFile("testdata/" + rules)
	if err != nil {
		r.Fatal(err)
	}
	loaded, err := app.CompileRules([]rule.File{{Name: rules, Data: text}})
	if err != nil {
		r.Fatal(err)
	}
	zones := app.Zones()
	reader, err := schemas.NewReader(schemas.Config{
		Layouts: loaded.Engine.Layout, Topics: inputs, Registry: registry{},
		Zones: func(name string) bool { _, ok := zones(name); return ok },
	})
	if err != nil {
		r.Fatal(err)
	}
	cfg := config.Default()
	cfg.App, cfg.Kafka = appName, r.kafka
	for topic := range inputs {
		cfg.Inputs = append(cfg.Inputs, topic)
	}
	cfg.Changes, cfg.Triggers = "changes", "triggers"
	cfg.Engine, cfg.Read, cfg.Store = loaded.Engine, reader.Read, store
	if cfg.Encoder, err = schemas.NewEncoder(r.output, appName, schemas.IDs{Change: 101, Trigger: 102}); err != nil {
		r.Fatal(err)
	}
	cfg.Now, cfg.Logger, cfg.Metrics = r.now, r.log, r.metrics
	cfg.Delivery, cfg.Time.Clock = r.delivery, r.clock
	cfg.Time.OverdueRate = 1 << 30 // however many are due, none is held back
	cfg.Time.MaxClockJump = longAgo
	cfg.Batch.Records = batchRecords
	cfg.Group = config.Group{SessionTimeout: longAgo, RebalanceTimeout: time.Minute, Heartbeat: 3 * time.Second}
	return cfg
}

// ready fails the test if the engine has not taken everything that there is.
func (in *engineRun) ready() {
	in.Helper()
	if st := in.owner.Status(); !st.Ready || len(st.Tasks) != partitions || st.Lag != 0 {
		in.Fatalf("the engine is not done: %+v", st)
	}
}

// stop ends the engine in good order.
func (in *engineRun) stop() {
	in.Helper()
	in.cancel()
	in.wait()
}

// wait waits for the end of the engine.
func (in *engineRun) wait() {
	in.Helper()
	if in.ended {
		return
	}
	in.ended = true
	if err := <-in.done; err != nil {
		in.Error(err)
	}
	if err := in.store.Close(); err != nil {
		in.Error(err)
	}
}

// newMetrics returns the metrics of an engine, and where they are registered.
func newMetrics() (*metrics.Metrics, *prometheus.Registry) {
	reg := prometheus.NewRegistry()
	return metrics.New(reg), reg
}

// schemaID is the number of a stream's schema in the registry.
func schemaID(s plan.Stream) int { return 11 + int(s) }

// registry knows the schemas of the inputs.
type registry struct{}

// Schema returns one of our own schemas.
func (registry) Schema(_ context.Context, id int) (string, []string, error) {
	for topic, s := range inputs {
		if schemaID(s) == id {
			text, err := schemas.Text(schemas.InputName(s))
			return text, []string{schemas.Subject(topic)}, err
		}
	}
	return "", nil, schemas.ErrUnknownSchema
}

// testLogger writes to standard error if SEGMILL_LOG is set.
func testLogger() *slog.Logger {
	w := io.Discard
	if os.Getenv("SEGMILL_LOG") != "" {
		w = os.Stderr
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Package demo runs the whole product in one process: an embedded broker and
// schema registry, a synthetic shop that publishes through a real Kafka client,
// the engine, and a live view of what it finds.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

// Options are the settings of a demonstration.
type Options struct {
	// For ends it after that time; 0 runs until ctx ends.
	For time.Duration
	// Seed makes the shop: the same seed, the same customers.
	Seed uint64
	// Customers is how many the shop has.
	Customers int
	// Past is how far back the shop's history starts.
	Past time.Duration
	// CatchUp is how long the way from there to the present takes.
	CatchUp time.Duration
	// Rules are the rules to run.
	Rules *app.Rules
	// Out is where the view is drawn.
	Out io.Writer
	// Size returns the size of the terminal that Out is, where the view is redrawn
	// in place; nil if Out is none, and lines are printed.
	Size func() (width, height int)
	// Colour allows colours on a terminal.
	Colour bool
}

// Validate says which option makes no sense.
func (o *Options) Validate() error {
	switch {
	case o.Customers < 1 || o.Customers > maxCustomers:
		return fmt.Errorf("customers: %d is not between 1 and %d", o.Customers, maxCustomers)
	case o.Past <= 0 || o.Past > maxPast:
		return fmt.Errorf("past: %s is not between 1ms and %s", o.Past, maxPast)
	case o.CatchUp <= 0:
		return fmt.Errorf("catch-up: %s is not longer than 0", o.CatchUp)
	case o.For < 0:
		return fmt.Errorf("for: %s is less than 0", o.For)
	}
	return nil
}

// Beyond these a demonstration is a load test, and the embedded broker its limit.
const (
	maxCustomers = 1_000_000
	maxPast      = 10 * 365 * day
)

const (
	appName    = "demo"
	partitions = 4
)

// Run runs the demonstration. The broker's and the engine's files are in a
// temporary directory, which is gone afterwards.
func Run(ctx context.Context, opt Options) (err error) {
	if err := opt.Validate(); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	dir, err := os.MkdirTemp("", "segmill-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if opt.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, opt.For)
		defer cancel()
	}
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.DataDir(filepath.Join(dir, "kafka")))
	if err != nil {
		return fmt.Errorf("embedded broker: %w", err)
	}
	defer broker.Close()
	registry := httptest.NewServer(srfake.NewRegistry().Handler())
	defer registry.Close()

	conf := config(dir, broker.ListenAddrs(), registry.URL)
	shop, err := newShop(ctx, opt, conf, registry.URL)
	if err != nil {
		return err
	}
	defer shop.close()
	var logs tail
	err = together(ctx, opt, conf, shop, slog.New(slog.NewTextHandler(&logs, nil)))
	if err != nil && logs.String() != "" {
		err = fmt.Errorf("%w\nthe end of the log:\n%s", err, logs.String())
	}
	return err
}

// together runs the engine, the shop and the view until ctx ends or one fails.
// Whoever ends first ends the others; all have ended when it returns.
func together(ctx context.Context, opt Options, conf *app.Config, shop *shop, log *slog.Logger) error {
	view := newView(opt, shop)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func() error{
		func() error {
			return app.RunRules(ctx, conf, opt.Rules, app.RunOptions{
				FilesDecide: true, Logger: log, OnEffects: view.effects, OnStart: func(o *group.Owner) { view.owner.Store(o) },
			})
		},
		func() error { return shop.run(ctx) },
		func() error { return view.run(ctx) },
	}
	errs := make(chan error, len(parts))
	for _, f := range parts {
		go func() { errs <- f() }()
	}
	var all error
	for range parts {
		err := <-errs
		cancel()
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			all = errors.Join(all, err)
		}
	}
	return errors.Join(all, view.finish())
}

// tail keeps the end of a log, to be shown if something fails.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const tailBytes = 4 << 10

// Write adds to the log.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if n := len(t.b) - tailBytes; n > 0 {
		t.b = slices.Delete(t.b, 0, n)
	}
	return len(p), nil
}

// String returns what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}

func config(dir string, brokers []string, registry string) *app.Config {
	conf := app.DefaultConfig()
	off := ""
	conf.App, conf.State, conf.HTTP = appName, filepath.Join(dir, "state"), &off
	conf.Kafka.Brokers = brokers
	conf.Registry.URL = registry
	conf.Output.Format = "avro"
	conf.Clock = "events"
	conf.Topics.Create = &app.CreateConfig{Partitions: partitions, Replication: 1}
	return &conf
}

// newShop registers the schemas of the inputs and returns a shop that publishes
// Avro.
func newShop(ctx context.Context, opt Options, conf *app.Config, registry string) (*shop, error) {
	cl, err := sr.NewClient(sr.URLs(registry))
	if err != nil {
		return nil, err
	}
	inputs := conf.InputStreams(nil)
	subjects := map[string]string{}
	for topic, s := range inputs {
		subjects[schemas.Subject(topic)] = schemas.InputName(s)
	}
	ids, err := schemas.Register(ctx, cl, subjects)
	if err != nil {
		return nil, err
	}
	s := &shop{opt: opt}
	s.at.Store(time.Now().Add(-opt.Past).UnixMilli())
	var byStream [plan.NumBuiltin]int
	for topic, st := range inputs {
		s.topics[st], byStream[st] = topic, ids[schemas.Subject(topic)]
	}
	s.encoder = schemas.NewEventEncoder(schemas.Avro, byStream)
	s.client, err = kgo.NewClient(kgo.SeedBrokers(conf.Kafka.Brokers...), kgo.ProducerLinger(5*time.Millisecond),
		kgo.UnknownTopicRetries(-1)) // the engine creates the topics
	return s, err
}

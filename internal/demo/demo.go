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
	"time"

	"github.com/segmill/segmill/consumer"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"
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
	// Out is where the view is drawn. Terminal says whether it may be redrawn in
	// place, Width and Height how large it is; otherwise plain lines are printed.
	Out           io.Writer
	Terminal      bool
	Width, Height int
}

const (
	appName    = "demo"
	partitions = 4
)

// Run runs the demonstration. The broker's and the engine's files are in a
// temporary directory, which is gone afterwards.
func Run(ctx context.Context, opt Options) (err error) {
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

	view := newView(opt, shop)
	logs, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return err
	}
	defer logs.Close()
	return together(ctx, opt, conf, shop, view, slog.New(slog.NewTextHandler(logs, nil)))
}

// together runs the engine, the shop and the view until ctx ends or one fails.
// Whoever ends first ends the others; all have ended when it returns.
func together(ctx context.Context, opt Options, conf *app.Config, shop *shop, view *view, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	parts := []func() error{
		func() error {
			return app.RunRules(ctx, conf, opt.Rules, app.RunOptions{
				Logger: log, OnEffects: view.effects, OnStart: func(o *consumer.Owner) { view.owner.Store(o) },
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
	view.finish()
	return all
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
	inputs := conf.Topics.Inputs()
	subjects := map[string]string{}
	for topic, s := range inputs {
		subjects[schemas.Subject(topic)] = schemas.InputName(s)
	}
	ids, err := schemas.Register(ctx, cl, subjects)
	if err != nil {
		return nil, err
	}
	s := &shop{opt: opt}
	var byStream [plan.NumStreams]int
	for topic, st := range inputs {
		s.topics[st], byStream[st] = topic, ids[schemas.Subject(topic)]
	}
	s.encoder = schemas.NewEventEncoder(schemas.Avro, byStream)
	s.client, err = kgo.NewClient(kgo.SeedBrokers(conf.Kafka.Brokers...), kgo.ProducerLinger(5*time.Millisecond),
		kgo.UnknownTopicRetries(-1)) // the engine creates the topics
	return s, err
}

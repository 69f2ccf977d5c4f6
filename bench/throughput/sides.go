package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
	"github.com/segmill/segmill/bench/internal/side"
)

// sample is one side in one round.
type sample struct {
	Side    string  `json:"side"`
	Round   int     `json:"round"`
	CPU     float64 `json:"us_cpu_per_event"`
	Wall    float64 `json:"us_wall_per_event"`
	RSS     int64   `json:"rss_bytes"`
	Allocs  float64 `json:"allocs_per_event"`
	Bytes   float64 `json:"bytes_per_event"`
	Changes float64 `json:"changes_per_event"`
	// Changelog is how many records of customers were written; not reported by the engine.
	Changelog float64 `json:"changelog_per_event,omitempty"`
	Hash      string  `json:"hash,omitempty"`
	Load      float64 `json:"load_average"` // before the run
}

// start is how one side is run on a broker that is loaded.
type start func(ctx context.Context, l *lab.Lab, b *lab.Broker, r *report, label string) (lab.Usage, error)

// sides are what can be run. mixed is the engine over three topics; procs1 and procs2
// are the engine on one and on two threads; json and shop are the engine over the same
// events as texts.
var sides = map[string]start{
	"engine": engine(), "exact": limit("exact"), "buckets": limit("buckets"), "floor": floor,
	"json": engine(), "shop": shop, "mixed": mixed, "procs1": engine("GOMAXPROCS=1"), "procs2": engine("GOMAXPROCS=2"),
}

func engine(env ...string) start {
	return func(ctx context.Context, l *lab.Lab, b *lab.Broker, r *report, label string) (lab.Usage, error) {
		rules := job.Ten
		if r.Rules != len(rules) {
			rules = job.Many(r.Rules)
		}
		return l.RunHistory(ctx, label, env, lab.EngineConfig{Broker: b, Rules: rules, Inputs: lab.Inputs(r.Workload)}, nil)
	}
}

func mixed(ctx context.Context, l *lab.Lab, b *lab.Broker, r *report, label string) (lab.Usage, error) {
	w := r.Workload
	w.Mixed = true
	return l.RunHistory(ctx, label, nil, lab.EngineConfig{
		Broker: b, Rules: slices.Concat(job.Ten, job.Mixed), Inputs: lab.Inputs(w),
	}, nil)
}

// formats are those of sides that do not read Avro.
var formats = map[string]job.Format{"json": job.JSON, "shop": job.Shop}

// shop reads a shop's own records by a mapping.
func shop(ctx context.Context, l *lab.Lab, b *lab.Broker, _ *report, label string) (lab.Usage, error) {
	return l.RunHistory(ctx, label, nil, lab.EngineConfig{Broker: b, Rules: job.Ten, Mapping: job.Mapping}, nil)
}

func limit(mode string) start {
	return func(ctx context.Context, l *lab.Lab, b *lab.Broker, _ *report, label string) (lab.Usage, error) {
		state := filepath.Join(l.Dir, "limit-state")
		defer os.RemoveAll(state)
		return l.Run(ctx, label, nil, "limit", mode, "-brokers", b.Kafka, "-state", state, "-until", lab.Until)
	}
}

// floor writes as many records as the last run of buckets.
func floor(ctx context.Context, l *lab.Lab, b *lab.Broker, r *report, label string) (lab.Usage, error) {
	args := []string{"-brokers", b.Kafka}
	if s := r.samples("buckets"); len(s) > 0 {
		last := s[len(s)-1]
		args = append(args, "-changelog", fmt.Sprint(last.Changelog), "-changes", fmt.Sprint(last.Changes))
	}
	return l.Run(ctx, label, nil, "floor", args...)
}

// round runs all sides once.
func (r *report) round(ctx context.Context, l *lab.Lab, n int) error {
	for _, name := range r.Sides {
		s, err := r.one(ctx, l, name, n)
		if err != nil {
			return err
		}
		r.All = append(r.All, s)
		fmt.Fprintf(os.Stderr, "round %d %-8s %6.2f us CPU an event, load average %.1f\n", n+1, name, s.CPU, s.Load)
	}
	return nil
}

// one runs a side with a broker of its own.
func (r *report) one(ctx context.Context, l *lab.Lab, name string, n int) (s sample, err error) {
	w := r.Workload
	w.Mixed, w.Format = name == "mixed", formats[name]
	b, bytes, err := l.Loaded(ctx, w)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	if !w.Mixed && w.Format == job.Avro {
		r.EventBytes = bytes
	}
	load := lab.LoadAverage()
	label := fmt.Sprintf("%s-%s-%d", name, r.Workload.Name(), n+1)
	u, err := sides[name](ctx, l, b, r, label)
	if err != nil {
		return s, err
	}
	events := float64(r.Workload.Events)
	s = sample{
		Side: name, Round: n + 1, Load: load, RSS: u.RSS,
		CPU: float64(u.CPU.Microseconds()) / events, Wall: float64(u.Wall.Microseconds()) / events,
		Allocs: float64(u.Result.Mallocs) / events, Bytes: float64(u.Result.Bytes) / events,
		Changelog: float64(u.Result.Changelog) / events,
	}
	changes, hash, err := readChanges(ctx, b, name)
	s.Changes, s.Hash = float64(changes)/events, hash
	return s, err
}

// readChanges reads what a side has emitted. What bench/floor writes means nothing.
func readChanges(ctx context.Context, b *lab.Broker, name string) (n int, hash string, err error) {
	var h job.Hash
	switch name {
	case "buckets", "floor":
		err = b.Read(ctx, side.Bits, func(r *kgo.Record) error {
			n++
			h.Add(r.Value)
			return nil
		})
	case "exact":
		n, h, err = b.ExactChanges(ctx)
	default:
		n, h, err = b.Changes(ctx)
	}
	if name == "floor" {
		return n, "", err
	}
	return n, h.String(), err
}

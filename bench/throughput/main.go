// Command throughput measures the CPU that an event costs: the engine beside the
// yardsticks of bench/limit and bench/floor, in turn, each in a process of its own
// with a fresh broker in another. R is the engine's CPU per event divided by that of
// `limit buckets` in the same round.
//
// The engine and `limit exact` must tell the same changes; the run fails if they do
// not. It is void if `limit buckets` takes more than 5.5 times what bench/floor takes:
// then the yardstick is badly made, or the machine too busy.
//
// The broker is kfake, in memory on the same machine: figures are CPU of the one
// process, and say nothing about a real broker.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
)

type options struct {
	workload job.Workload
	matrix   bool
	sides    []string
	rounds   int
	json     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	var sides, dir string
	var l lab.Lab
	flag.IntVar(&o.workload.Events, "events", 1_000_000, "how many events")
	flag.IntVar(&o.workload.Customers, "customers", 100_000, "how many customers")
	flag.Float64Var(&o.workload.Zipf, "zipf", 0, "exponent of the law that customers follow, such as 1.05; 0 is uniform")
	flag.Float64Var(&o.workload.Late, "late", 0, "share of events that are up to two hours late, such as 0.01")
	flag.Uint64Var(&o.workload.Seed, "seed", 1, "of the events")
	flag.BoolVar(&o.matrix, "matrix", false, "uniform and Zipf 1.05, in order and 1 % late, one after the other")
	flag.StringVar(&sides, "sides", "engine,exact,buckets,floor", "what to run, in this order in each round")
	flag.IntVar(&o.rounds, "rounds", 3, "how often")
	flag.StringVar(&l.Profiles, "cpuprofile", "", "each side writes CPU profiles into this directory")
	flag.BoolVar(&l.Allocs, "memprofile", false, "with -cpuprofile: profiles of allocations, too, which cost time")
	flag.StringVar(&dir, "dir", "", "where states are written; it should be a real disk")
	flag.StringVar(&o.json, "json", "", "write the figures to this file")
	flag.Parse()
	o.sides = strings.Split(sides, ",")
	if err := run(ctx, o, dir, l); err != nil {
		fmt.Fprintln(os.Stderr, "throughput:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, dir string, want lab.Lab) (err error) {
	for _, s := range o.sides {
		if sides[s] == nil {
			return fmt.Errorf("there is no side %q", s)
		}
	}
	l, err := lab.New(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	l.Profiles, l.Allocs = want.Profiles, want.Allocs
	if l.Profiles != "" {
		if err := os.MkdirAll(l.Profiles, 0o755); err != nil {
			return err
		}
	}
	workloads := []job.Workload{o.workload}
	if o.matrix {
		workloads = nil
		for _, zipf := range []float64{0, 1.05} {
			for _, late := range []float64{0, 0.01} {
				w := o.workload
				w.Zipf, w.Late = zipf, late
				workloads = append(workloads, w)
			}
		}
	}
	var reports []*report
	var wrong error
	for _, w := range workloads {
		r := &report{Workload: w, Sides: o.sides}
		reports = append(reports, r)
		for i := range o.rounds {
			if err := r.round(ctx, l, i); err != nil {
				return err
			}
		}
		r.print(os.Stdout)
		wrong = errors.Join(wrong, r.check())
	}
	if o.json != "" {
		b, err := json.MarshalIndent(reports, "", "  ")
		if err == nil {
			err = os.WriteFile(o.json, append(b, '\n'), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return wrong
}

// has reports whether all of some sides are run.
func (r *report) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(r.Sides, n) })
}

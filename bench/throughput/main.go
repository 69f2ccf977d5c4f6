// Command throughput measures the CPU that an event costs; see about.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
)

const about = `throughput measures the CPU that an event costs: the engine beside the yardsticks
of bench/limit and bench/floor, in turn, each in a process of its own with a fresh
broker in another. R is the engine's CPU per event divided by that of
"limit buckets" in the same round.

The engine and "limit exact" must emit the same changes; the run fails if they do
not. It is void if "limit buckets" takes more than 5.5 times what bench/floor takes:
then the yardstick is badly made, or the machine too busy.

The broker is kfake, in memory on the same machine: figures are CPU of the one
process, and say nothing about a real broker.`

type options struct {
	workload job.Workload
	matrix   bool
	rules    int
	sides    []string
	rounds   int
}

func main() {
	var o options
	var names string
	var mixed, texts, procs bool
	flag.IntVar(&o.workload.Events, "events", 1_000_000, "how many events")
	flag.IntVar(&o.workload.Customers, "customers", 100_000, "how many customers")
	flag.Float64Var(&o.workload.Zipf, "zipf", 0, "exponent of the law that customers follow, such as 1.05; 0 is uniform")
	flag.Float64Var(&o.workload.Late, "late", 0, "share of events that are up to two hours late, such as 0.01")
	flag.Uint64Var(&o.workload.Seed, "seed", 1, "of the events")
	flag.BoolVar(&o.matrix, "matrix", false, "uniform and Zipf 1.05, in order and 1 % late, one after the other")
	flag.StringVar(&names, "sides", "engine,exact,buckets,floor", "what to run, in this order in each round")
	flag.BoolVar(&mixed, "mixed", false, "also the engine over purchases, web and email events, a topic and a schema each, and four rules more")
	flag.BoolVar(&texts, "texts", false, "also the engine over the same events in JSON, and as a shop's own records that a mapping reads")
	flag.BoolVar(&procs, "procs", false, "also the engine with GOMAXPROCS 1 and 2")
	flag.IntVar(&o.rules, "rules", len(job.Ten), "how many rules the engine has; with others than ten its changes are its own")
	flag.IntVar(&o.rounds, "rounds", 3, "how often")
	lab.Main("throughput", about, func(ctx context.Context, l *lab.Lab) (any, error) {
		o.sides = strings.Split(names, ",")
		if mixed {
			o.sides = append(o.sides, "mixed")
		}
		if texts {
			o.sides = append(o.sides, "json", "shop")
		}
		if procs {
			o.sides = append(o.sides, "procs1", "procs2")
		}
		return run(ctx, l, o)
	})
}

func run(ctx context.Context, l *lab.Lab, o options) ([]*report, error) {
	for _, s := range o.sides {
		if sides[s] == nil {
			return nil, fmt.Errorf("there is no side %q", s)
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
		r := &report{Workload: w, Rules: o.rules, Sides: o.sides}
		reports = append(reports, r)
		for i := range o.rounds {
			if err := r.round(ctx, l, i); err != nil {
				return reports, err
			}
		}
		r.print(os.Stdout)
		wrong = errors.Join(wrong, r.check())
	}
	return reports, wrong
}

// has reports whether all of some sides are run.
func (r *report) has(names ...string) bool {
	return !slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(r.Sides, n) })
}

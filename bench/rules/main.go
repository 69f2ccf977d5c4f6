// Command rules measures what an event costs with more and more rules; see about.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
)

const about = `rules measures what an event costs with 10, 100, 1,000 and 10,000 rules, at about the
same number of changes an event: ten rules change, the others have thresholds of
their own that few customers reach, half of them beside a condition that many share
and that changes often. CPU is that of the engine's process without what it takes to
read the rules, which is given beside it.`

// sample is one number of rules in one round.
type sample struct {
	Rules   int     `json:"rules"`
	Round   int     `json:"round"`
	CPU     float64 `json:"us_cpu_per_event"` // without the setup
	Setup   float64 `json:"setup_cpu_s"`
	Allocs  float64 `json:"allocs_per_event"` // with it
	RSS     int64   `json:"rss_bytes"`
	Changes float64 `json:"changes_per_event"`
	Load    float64 `json:"load_average"`
}

type report struct {
	Workload job.Workload `json:"workload"`
	Samples  []sample     `json:"samples"`
	counts   []int
}

func main() {
	var w job.Workload
	var list string
	var rounds int
	flag.IntVar(&w.Events, "events", 400_000, "how many events")
	flag.IntVar(&w.Customers, "customers", 50_000, "how many customers")
	flag.Float64Var(&w.Zipf, "zipf", 0, "exponent of the law that customers follow; 0 is uniform")
	flag.Uint64Var(&w.Seed, "seed", 1, "of the events")
	flag.StringVar(&list, "rules", "10,100,1000,10000", "how many rules")
	flag.IntVar(&rounds, "rounds", 3, "how often")
	lab.Main("rules", about, func(ctx context.Context, l *lab.Lab) (any, error) {
		r := &report{Workload: w}
		for s := range strings.SplitSeq(list, ",") {
			n, err := strconv.Atoi(s)
			if err != nil || n < 1 {
				return nil, fmt.Errorf("-rules: %q is no number of rules", s)
			}
			r.counts = append(r.counts, n)
		}
		for i := range rounds {
			for _, n := range r.counts {
				s, err := one(ctx, l, w, n, i+1)
				if err != nil {
					return r, err
				}
				fmt.Fprintf(os.Stderr, "round %d, %d rules: %.2f us CPU an event, load average %.1f\n", i+1, n, s.CPU, s.Load)
				r.Samples = append(r.Samples, s)
			}
		}
		r.print(os.Stdout)
		return r, nil
	})
}

func one(ctx context.Context, l *lab.Lab, w job.Workload, n, round int) (s sample, err error) {
	b, _, err := l.Loaded(ctx, w)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	load := lab.LoadAverage()
	u, err := l.RunHistory(ctx, fmt.Sprintf("rules%d-%d", n, round), nil,
		lab.EngineConfig{Broker: b, Rules: job.Many(n), Inputs: lab.Inputs(w)}, nil)
	if err != nil {
		return s, err
	}
	changes, _, err := b.Changes(ctx)
	events := float64(w.Events)
	return sample{
		Rules: n, Round: round, Load: load, RSS: u.RSS, Setup: u.Result.SetupCPU / 1e6,
		CPU: (float64(u.CPU.Microseconds()) - u.Result.SetupCPU) / events, Allocs: float64(u.Result.Mallocs) / events,
		Changes: float64(changes) / events,
	}, err
}

func (r *report) print(w io.Writer) {
	of := func(n int, f func(*sample) float64) (l lab.Series) {
		for i := range r.Samples {
			if r.Samples[i].Rules == n {
				l = append(l, f(&r.Samples[i]))
			}
		}
		return l
	}
	cpu := func(s *sample) float64 { return s.CPU }
	fmt.Fprintf(w, "\n%s: %d events, %d customers, seed %d\n", r.Workload.Name(), r.Workload.Events, r.Workload.Customers, r.Workload.Seed)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "rules\tus CPU/event\tover %d rules\tchanges/event\tsetup, CPU s\tRSS MiB\tload average\n", r.counts[0])
	for _, n := range r.counts {
		var ratios lab.Series
		first := of(r.counts[0], cpu)
		for i, c := range of(n, cpu) {
			ratios = append(ratios, c/first[i])
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%.3f\t%s\t%.0f\t%s\n", n, of(n, cpu).Spread(2), ratios.Spread(2),
			of(n, func(s *sample) float64 { return s.Changes }).Median(), of(n, func(s *sample) float64 { return s.Setup }).Spread(2),
			of(n, func(s *sample) float64 { return float64(s.RSS) }).Median()/(1<<20), of(n, func(s *sample) float64 { return s.Load }).Spread(1))
	}
	t.Flush()
}

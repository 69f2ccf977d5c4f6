// Command latency measures how long it takes from an event to its committed change;
// see about.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/segmill/segmill/bench/internal/lab"
)

const about = `latency publishes events at fixed rates and measures how long it takes from the instant
at which an event is due to the instant at which a read-committed reader has its
change. An engine or a producer that stalls delays all events that were due in the
meantime, and they count (no coordinated omission). With "join", a second instance
starts in the middle and restores the partitions that it takes.

The broker is kfake, one process, in memory, on the same cores: it answers at once, and
replicates nothing. A real one adds what it takes to commit.`

// sample is one rate with one commit interval.
type sample struct {
	Commit   string  `json:"commit_interval"`
	Rate     float64 `json:"events_per_s"`
	Scenario string  `json:"scenario"`
	Events   int     `json:"events"`
	P50      float64 `json:"p50_ms"`
	P99      float64 `json:"p99_ms"`
	P999     float64 `json:"p999_ms"`
	Max      float64 `json:"max_ms"`
	Load     float64 `json:"load_average"`
}

type options struct {
	history, customers int
	seed               uint64
	length             time.Duration
}

// warmup is not measured.
const warmup = 2 * time.Second

func main() {
	var o options
	var rates, commits, joins string
	flag.StringVar(&rates, "rates", "1000,5000,20000", "events a second")
	flag.StringVar(&commits, "commit", "20ms,100ms", "values of commit_interval")
	flag.StringVar(&joins, "join", "5000", "rates at which it is also measured while a second instance joins; empty for none")
	flag.DurationVar(&o.length, "for", 15*time.Second, "how long each is measured")
	flag.IntVar(&o.customers, "customers", 100_000, "how many customers there are")
	flag.IntVar(&o.history, "history", 300_000, "events before, which the engine has read")
	flag.Uint64Var(&o.seed, "seed", 1, "of the events")
	lab.Main("latency", about, func(ctx context.Context, l *lab.Lab) (any, error) {
		var all []sample
		for commit := range strings.SplitSeq(commits, ",") {
			for _, list := range []struct{ scenario, rates string }{{"quiet", rates}, {"join", joins}} {
				for text := range strings.SplitSeq(list.rates, ",") {
					if text == "" {
						continue
					}
					rate, err := strconv.ParseFloat(text, 64)
					if err != nil {
						return all, err
					}
					s, err := one(ctx, l, o, sample{Commit: commit, Rate: rate, Scenario: list.scenario})
					if err != nil {
						return all, fmt.Errorf("commit %s, %s events a second, %s: %w", commit, text, list.scenario, err)
					}
					fmt.Fprintf(os.Stderr, "commit %s, %.0f/s, %s: p50 %.0f ms, p99 %.0f ms\n", commit, rate, s.Scenario, s.P50, s.P99)
					all = append(all, s)
				}
			}
		}
		show(os.Stdout, all)
		return all, nil
	})
}

func one(ctx context.Context, l *lab.Lab, o options, s sample) (_ sample, err error) {
	label := fmt.Sprintf("latency-%s-%.0f-%s", s.Commit, s.Rate, s.Scenario)
	more := "commit_interval: " + s.Commit
	b, engine, config, err := l.Online(ctx, label, lab.Recent(o.history, o.customers, o.seed), more)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, engine.Stop(), b.Stop(), os.RemoveAll(filepath.Dir(config))) }()
	f := lab.Flow{Rate: s.Rate, Customers: o.customers, Seed: o.seed}
	if err := b.StartFlow(ctx, &f); err != nil {
		return s, err
	}
	time.Sleep(time.Second + warmup)
	from := time.Now()
	if s.Scenario == "join" {
		time.Sleep(o.length / 4)
		other, err := l.WriteEngine(b.OnlineConfig(more))
		if err != nil {
			return s, err
		}
		second, err := l.StartEngine(ctx, label+"-second", other)
		if err != nil {
			return s, err
		}
		defer func() { err = errors.Join(err, second.Stop(), os.RemoveAll(filepath.Dir(other))) }()
		time.Sleep(o.length * 3 / 4)
	} else {
		time.Sleep(o.length)
	}
	to := time.Now()
	s.Load = lab.LoadAverage()
	if err := f.Stop(ctx); err != nil {
		return s, err
	}
	ms := f.Latencies(from, to)
	s.Events, s.P50, s.P99, s.P999, s.Max = len(ms), ms.Percentile(50), ms.Percentile(99), ms.Percentile(99.9), ms.Percentile(100)
	return s, nil
}

func show(w io.Writer, all []sample) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "commit_interval\tevents/s\tscenario\tevents\tp50 ms\tp99 ms\tp99.9 ms\tmax ms\tload average")
	for _, s := range all {
		fmt.Fprintf(t, "%s\t%.0f\t%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\n", s.Commit, s.Rate, s.Scenario, s.Events, s.P50, s.P99, s.P999, s.Max, s.Load)
	}
	t.Flush()
}

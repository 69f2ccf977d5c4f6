// Command change measures what a change of rules costs live events; see about.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
)

const about = `change publishes a history of 100 days, lets the engine read it under ten rules over 30
days, and then publishes events at a fixed rate. After some time under these rules it
gives the running engine one more segment, over 90 days, which has to be folded from the
history. It prints how long it takes from the instant at which an event is due to its
change, before and during the change of rules; how long that takes; and the peak of
resident memory. No event is left out when the engine stalls (no coordinated omission).

In the end the members of all segments are compared with what the events in the topic
say, and no change of the ten rules may have been emitted because of the new one.

The figures that the project aims at are of a million customers:
-customers 1000000 -events 10000000 -rate 2000.`

// sample is one change of rules.
type sample struct {
	Customers int     `json:"customers"`
	Events    int     `json:"events"`
	Rate      float64 `json:"events_per_s"`
	Before    figures `json:"before"`
	During    figures `json:"during"`
	After     figures `json:"after"`
	Ready     float64 `json:"ready_s"` // from the request until the new segment is complete
	RSSBefore int64   `json:"rss_before_bytes"`
	RSS       int64   `json:"rss_bytes"` // at most
	Load      float64 `json:"load_average"`
	members
}

// figures are latencies of a stretch of time, in ms.
type figures struct {
	Events int     `json:"events"`
	P50    float64 `json:"p50_ms"`
	P99    float64 `json:"p99_ms"`
	Max    float64 `json:"max_ms"`
}

func figuresOf(ms lab.Series) figures {
	return figures{len(ms), ms.Percentile(50), ms.Percentile(99), ms.Percentile(100)}
}

type options struct {
	customers, events int
	seed              uint64
	rate              float64
	before, after     time.Duration
	commit            string
}

const (
	historyDays = 100
	// warmup is not measured.
	warmup = 3 * time.Second
	// settle is how long exits by time may take: grace and something.
	settle = 4 * time.Second
)

func main() {
	var o options
	flag.IntVar(&o.customers, "customers", 100_000, "how many customers there are")
	flag.IntVar(&o.events, "events", 1_000_000, "events of the history")
	flag.Float64Var(&o.rate, "rate", 2000, "live events a second")
	flag.DurationVar(&o.before, "before", time.Minute, "how long is measured before the change")
	flag.DurationVar(&o.after, "after", 15*time.Second, "how long is measured after it")
	flag.StringVar(&o.commit, "commit", "100ms", "commit_interval")
	flag.Uint64Var(&o.seed, "seed", 1, "of the events")
	lab.Main("change", about, func(ctx context.Context, l *lab.Lab) (any, error) {
		s, err := one(ctx, l, o)
		if err == nil {
			show(os.Stdout, s)
			err = s.check()
		}
		return s, err
	})
}

func one(ctx context.Context, l *lab.Lab, o options) (s sample, err error) {
	s = sample{Customers: o.customers, Events: o.events, Rate: o.rate}
	w := job.Workload{Events: o.events, Customers: o.customers, Seed: o.seed, Length: historyDays * job.Day}
	w.From = time.Now().UnixMilli() - w.Length - time.Minute.Milliseconds()
	b, engine, config, err := l.Online(ctx, "change", w, "commit_interval: "+o.commit)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, engine.Stop(), b.Stop(), os.RemoveAll(filepath.Dir(config))) }()
	if s.RSSBefore, err = engine.RSS(); err != nil {
		return s, err
	}
	f := lab.Flow{Rate: o.rate, Customers: o.customers, Seed: o.seed}
	if err := b.StartFlow(ctx, &f); err != nil {
		return s, err
	}
	time.Sleep(time.Second + warmup)
	from := time.Now()
	time.Sleep(o.before)
	begin := time.Now()
	if err := engine.Change(ctx, config, added); err != nil {
		return s, err
	}
	ready := time.Now()
	time.Sleep(o.after)
	end := time.Now()
	s.Load, s.Ready = lab.LoadAverage(), ready.Sub(begin).Seconds()
	if err := f.Stop(ctx); err != nil {
		return s, err
	}
	s.Before, s.During, s.After = figuresOf(f.Latencies(from, begin)), figuresOf(f.Latencies(begin, ready)), figuresOf(f.Latencies(ready, end))
	if s.RSS, err = engine.RSS(); err != nil {
		return s, err
	}
	at := time.Now().UnixMilli()
	time.Sleep(settle)
	s.members, err = count(ctx, b, o.customers, at)
	return s, err
}

func show(w io.Writer, s sample) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tevents\tp50 ms\tp99 ms\tmax ms")
	for _, f := range []struct {
		name string
		figures
	}{{"before", s.Before}, {"during", s.During}, {"after", s.After}} {
		fmt.Fprintf(t, "%s\t%d\t%.1f\t%.1f\t%.1f\n", f.name, f.Events, f.P50, f.P99, f.Max)
	}
	t.Flush()
	fmt.Fprintf(w, "\n%d customers, %d events, %.0f/s: ready after %.1f s, p99 during %.2f times that before, RSS %d MiB before and %d MiB at most, load average %.1f\n",
		s.Customers, s.Events, s.Rate, s.Ready, s.During.P99/s.Before.P99, s.RSSBefore>>20, s.RSS>>20, s.Load)
	fmt.Fprintf(w, "%d members of the new segment, %d by the events; of all segments %d memberships are wrong; %d changes of other rules because of the new one\n",
		s.New, s.Want, s.Wrong, s.Strange)
}

// check returns an error if what was emitted is wrong.
func (s *sample) check() error {
	if s.New != s.Want || s.Wrong+s.Strange > 0 {
		return errors.New("what was emitted is not what the events say")
	}
	return nil
}

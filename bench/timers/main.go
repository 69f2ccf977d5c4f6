// Command timers measures how late timers are when very many are due at once; see
// about.
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

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
	"github.com/segmill/segmill/bench/internal/side"
)

const about = `timers lets very many timers be due within a short time: each customer has one event,
dated so that the window of an hour over it ends in that time. It measures how long
after its due instant (effective_at) each exit is with a read-committed reader. No
timer may fire before the clock has passed it by grace, which is 2 s.

The broker is kfake, one process, in memory, on the same cores.`

// report is one run. Delays count from the due instants.
type report struct {
	Customers int     `json:"customers"`
	Spread    float64 `json:"spread_s"`
	Grace     float64 `json:"grace_ms"`
	P50       float64 `json:"p50_ms"`
	P99       float64 `json:"p99_ms"`
	P999      float64 `json:"p999_ms"`
	Max       float64 `json:"max_ms"`
	Early     int     `json:"early"` // emitted before they were due
	Load      float64 `json:"load_average"`
}

const hour = 3_600_000

var rule = job.Rule{ID: "hour", When: "count(purchase, hours(1)) >= 1"}

func main() {
	var customers int
	var spread, lead time.Duration
	flag.IntVar(&customers, "customers", 1_000_000, "how many customers, each with one timer")
	flag.DurationVar(&spread, "within", time.Minute, "the time in which all are due")
	flag.DurationVar(&lead, "lead", 90*time.Second, "from now to the first one: until then all events must have been read")
	lab.Main("timers", about, func(ctx context.Context, l *lab.Lab) (any, error) {
		r := &report{Customers: customers, Spread: spread.Seconds(), Grace: job.Grace}
		if err := r.run(ctx, l, lead); err != nil {
			return nil, err
		}
		r.print(os.Stdout)
		return r, nil
	})
}

func (r *report) run(ctx context.Context, l *lab.Lab, lead time.Duration) (err error) {
	first := time.Now().Add(lead)
	w := job.Workload{
		Events: r.Customers, Customers: r.Customers, EachOnce: true, Seed: 1,
		From: first.UnixMilli() - hour, Length: int64(r.Spread * 1000),
	}
	b, _, err := l.Loaded(ctx, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	config, err := l.WriteEngine(lab.EngineConfig{
		Broker: b, Rules: []job.Rule{rule}, Inputs: lab.Inputs(w),
		More: []string{fmt.Sprintf("grace: %dms", job.Grace)},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(filepath.Dir(config))) }()
	engine, err := l.StartEngine(ctx, "timers", config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop()) }()
	delays, entered, err := r.follow(ctx, b, engine, first)
	if err != nil {
		return err
	}
	if entered.After(first) {
		return fmt.Errorf("the run is void: the last event was read %.1f s after the first timer was due; give it more -lead",
			entered.Sub(first).Seconds())
	}
	r.P50, r.P99, r.P999, r.Max = delays.Percentile(50), delays.Percentile(99), delays.Percentile(99.9), delays.Percentile(100)
	return nil
}

// follow reads entries and exits until all have come. entered is when the last entry
// came.
func (r *report) follow(ctx context.Context, b *lab.Broker, engine *lab.Process, first time.Time) (delays lab.Series, entered time.Time, err error) {
	cl, err := b.Client(kgo.ConsumeTopics(side.Changes), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, entered, err
	}
	defer cl.Close()
	limit := first.Add(time.Duration(r.Spread*float64(time.Second)) + 2*time.Minute)
	ctx, cancel := context.WithDeadline(ctx, limit)
	defer cancel()
	in := 0
	for len(delays) < r.Customers {
		fs := cl.PollFetches(ctx)
		now := time.Now()
		if err := errors.Join(fs.Err(), engine.Ended()); err != nil {
			return nil, entered, fmt.Errorf("%d entries and %d exits of %d customers: %w", in, len(delays), r.Customers, err)
		}
		var c job.Change
		fs.EachRecord(func(rec *kgo.Record) {
			if e := job.ReadChange(rec.Value, &c); e != nil {
				err = e
			}
			if c.Entered {
				in, entered = in+1, now
				return
			}
			delay := float64(now.UnixMicro())/1000 - float64(c.At)
			if delay < 0 {
				r.Early++
			}
			delays = append(delays, delay)
		})
		if err != nil {
			return nil, entered, err
		}
		if r.Load == 0 && len(delays) > r.Customers/2 {
			r.Load = lab.LoadAverage()
		}
	}
	return delays, entered, nil
}

func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "timers\twithin s\tp50 ms\tp99 ms\tp99.9 ms\tmax ms\tp99 over grace ms\tearly\tload average")
	fmt.Fprintf(t, "%d\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%d\t%.1f\n", r.Customers, r.Spread, r.P50, r.P99, r.P999, r.Max, r.P99-r.Grace, r.Early, r.Load)
	t.Flush()
}

// Command restore measures how long it takes to be back: after a lost disk, after a
// kill, and when an instance joins or leaves; see about.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
	"github.com/segmill/segmill/bench/internal/side"
)

const about = `restore measures how long it takes to be back:

  disk lost  the state directory is gone: changelog records a second and seconds per
             million customers, from the start of the process to its end when all is
             restored and nothing is left to do. Beside it the same with the disk kept.
  kill -9    in the midst of events, disk kept: from the start of the next process to
             the first change that it commits. Nothing may be lost or emitted twice.
  join       a second instance starts, and stops again: the longest gap between two
  leave      changes of a partition, of those that kept their owner and of those that
             changed it. Moved partitions are restored first.

The broker is kfake, one process, in memory, on the same cores, and compacts nothing:
the changelog has every record that was written.`

type report struct {
	Customers int `json:"customers"`

	Records   int64     `json:"changelog_records"`
	Lost      []float64 `json:"disk_lost_s"`
	LostCPU   []float64 `json:"disk_lost_cpu_s"`
	Kept      []float64 `json:"disk_kept_s"`
	Killed    []float64 `json:"killed_first_change_s"`
	Load      []float64 `json:"load_average"`
	JoinKept  []float64 `json:"join_kept_ms"`
	JoinMove  []float64 `json:"join_moved_ms"`
	LeaveKept []float64 `json:"leave_kept_ms"`
	LeaveMove []float64 `json:"leave_moved_ms"`
}

type options struct {
	customers, events, rounds int
	rate                      float64
	seed                      uint64
}

func main() {
	var o options
	var parts string
	flag.IntVar(&o.customers, "customers", 1_000_000, "how many customers")
	flag.IntVar(&o.events, "events", 3_000_000, "events in the history")
	flag.Float64Var(&o.rate, "rate", 2000, "events a second while an instance is killed, joins or leaves")
	flag.IntVar(&o.rounds, "rounds", 3, "how often")
	flag.Uint64Var(&o.seed, "seed", 1, "of the events")
	flag.StringVar(&parts, "parts", "lost,kill,join", "what to measure")
	lab.Main("restore", about, func(ctx context.Context, l *lab.Lab) (any, error) {
		r := &report{Customers: o.customers}
		for part := range strings.SplitSeq(parts, ",") {
			var err error
			switch part {
			case "lost":
				err = r.diskLost(ctx, l, o)
			case "kill", "join":
				err = r.online(ctx, l, o, part)
			default:
				err = errors.New("there is no such part")
			}
			if err != nil {
				return r, fmt.Errorf("%s: %w", part, err)
			}
		}
		r.print(os.Stdout)
		return r, nil
	})
}

// diskLost runs a history, and then again and again with nothing left to do: with the
// state, and without it.
func (r *report) diskLost(ctx context.Context, l *lab.Lab, o options) (err error) {
	w := job.Workload{Events: o.events, Customers: o.customers, Seed: o.seed}
	b, _, err := l.Loaded(ctx, w)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	_, err = l.RunHistory(ctx, "history", nil, lab.EngineConfig{Broker: b, Rules: job.Ten, Inputs: lab.Inputs(w)},
		func(config string) error {
			if r.Records, err = b.Ends(ctx, side.App+".changelog"); err != nil {
				return err
			}
			for i := range o.rounds {
				again := func(label string) (lab.Usage, error) {
					return l.Run(ctx, fmt.Sprintf("%s-%d", label, i+1), nil, "engine", "-c", config, "-until", lab.Until)
				}
				kept, err := again("kept")
				if err == nil {
					err = os.RemoveAll(filepath.Join(filepath.Dir(config), "state"))
				}
				if err != nil {
					return err
				}
				r.Load = append(r.Load, lab.LoadAverage())
				lost, err := again("lost")
				if err != nil {
					return err
				}
				r.Kept, r.Lost = append(r.Kept, kept.Wall.Seconds()), append(r.Lost, lost.Wall.Seconds())
				r.LostCPU = append(r.LostCPU, lost.CPU.Seconds())
				fmt.Fprintf(os.Stderr, "round %d: disk kept %.1f s, disk lost %.1f s\n", i+1, kept.Wall.Seconds(), lost.Wall.Seconds())
			}
			return nil
		})
	return err
}

// online is what is measured in the midst of events.
func (r *report) online(ctx context.Context, l *lab.Lab, o options, part string) (err error) {
	b, engine, config, err := l.Online(ctx, part, lab.Recent(o.events, o.customers, o.seed))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Stop(), b.Stop(), os.RemoveAll(filepath.Dir(config))) }()
	f := lab.Flow{Rate: o.rate, Customers: o.customers, Seed: o.seed}
	if err := b.StartFlow(ctx, &f); err != nil {
		return err
	}
	time.Sleep(4 * time.Second)
	if part == "join" {
		return r.join(ctx, l, o, b, &f)
	}
	var starts []time.Time
	for range o.rounds {
		if err := engine.Kill(); err != nil {
			return err
		}
		starts = append(starts, time.Now())
		if engine, err = l.StartEngine(ctx, part, config); err != nil {
			return err
		}
		time.Sleep(10 * time.Second)
	}
	if err := f.Stop(ctx); err != nil {
		return err
	}
	for _, s := range starts {
		first := f.FirstAfter(s)
		if first.IsZero() {
			return errors.New("no change after the kill")
		}
		r.Killed = append(r.Killed, first.Sub(s).Seconds())
	}
	return nil
}

// join starts a second instance and stops it, and looks for the gaps.
func (r *report) join(ctx context.Context, l *lab.Lab, o options, b *lab.Broker, f *lab.Flow) error {
	const settle = 15 * time.Second
	var cuts []time.Time // a join begins, a leave begins, …, the end
	var owners [][side.Partitions]string
	cut := func() error {
		cuts = append(cuts, time.Now())
		o, err := b.Owners(ctx)
		owners = append(owners, o)
		return err
	}
	for range o.rounds {
		config, err := l.WriteEngine(b.OnlineConfig())
		if err != nil {
			return err
		}
		if err := cut(); err != nil {
			return err
		}
		second, err := l.StartEngine(ctx, "second", config)
		if err != nil {
			return err
		}
		time.Sleep(settle)
		if err := errors.Join(cut(), second.Stop(), os.RemoveAll(filepath.Dir(config))); err != nil {
			return err
		}
		time.Sleep(settle)
	}
	if err := errors.Join(cut(), f.Stop(ctx)); err != nil {
		return err
	}
	for i := range len(cuts) - 1 {
		kept, moved := &r.JoinKept, &r.JoinMove
		if i%2 == 1 {
			kept, moved = &r.LeaveKept, &r.LeaveMove
		}
		for p, ms := range f.Gaps(cuts[i], cuts[i+1]) {
			if owners[i][p] == owners[i+1][p] {
				*kept = append(*kept, ms)
			} else {
				*moved = append(*moved, ms)
			}
		}
	}
	return nil
}

func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "what, %d customers\tmedian (range)\t\n", r.Customers)
	if len(r.Lost) > 0 {
		var rate, per lab.Series
		for _, s := range r.Lost {
			rate, per = append(rate, float64(r.Records)/s/1000), append(per, s*1e6/float64(r.Customers))
		}
		fmt.Fprintf(t, "disk lost, %d changelog records\t%s s\tCPU %s s, load average %s\n", r.Records,
			lab.Series(r.Lost).Spread(1), lab.Series(r.LostCPU).Spread(1), lab.Series(r.Load).Spread(1))
		fmt.Fprintf(t, "  changelog records a second\t%s thousand\t\n", rate.Spread(0))
		fmt.Fprintf(t, "  per million customers\t%s s\t\n", per.Spread(1))
		fmt.Fprintf(t, "disk kept, stopped properly\t%s s\t\n", lab.Series(r.Kept).Spread(1))
	}
	for _, l := range []struct {
		what, unit string
		s          lab.Series
	}{
		{"kill -9, disk kept: first change after", "s", r.Killed},
		{"join: gap of partitions kept", "ms", r.JoinKept},
		{"join: gap of partitions moved", "ms", r.JoinMove},
		{"leave: gap of partitions kept", "ms", r.LeaveKept},
		{"leave: gap of partitions moved", "ms", r.LeaveMove},
	} {
		if len(l.s) > 0 {
			digits := 0
			if l.unit == "s" {
				digits = 2
			}
			fmt.Fprintf(t, "%s\t%s %s\t%d\n", l.what, l.s.Spread(digits), l.unit, len(l.s))
		}
	}
	t.Flush()
}

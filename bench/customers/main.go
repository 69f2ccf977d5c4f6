// Command customers measures what a customer takes, and what an event costs with more
// and more customers; see about.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/zeebo/xxh3"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
	"github.com/segmill/segmill/bench/internal/side"
)

const about = `customers measures what a customer takes on disk, in the changelog and in memory, and
what an event costs with 100,000, 1,000,000 and (-customers 10000000, with some 20 GiB
of memory for the broker) 10,000,000 customers, with as many events a customer each
time: seven in 40 days leave about five in the window of 30.

In the changelog the newest record of each customer counts: what compaction leaves.
On disk it is the sorted files after another start, which writes what was only in the
log.`

// sample is one run.
type sample struct {
	Workload  string  `json:"workload"`
	Customers int     `json:"customers"` // that there are
	Seen      int     `json:"seen"`      // that have had an event
	Round     int     `json:"round"`
	CPU       float64 `json:"us_cpu_per_event"`
	Tables    float64 `json:"disk_bytes_per_customer"`
	Log       int64   `json:"log_bytes"` // what is left of it
	Key       float64 `json:"changelog_key_bytes_per_customer"`
	Value     float64 `json:"changelog_value_bytes_per_customer"`
	RSS       int64   `json:"rss_bytes"`
	Load      float64 `json:"load_average"`
}

func main() {
	var list, zipf string
	var per, rounds int
	var seed uint64
	flag.StringVar(&list, "customers", "100000,1000000", "how many customers")
	flag.StringVar(&zipf, "zipf", "0,1.05", "exponents of the law that they follow; 0 is uniform")
	flag.IntVar(&per, "per", 7, "events a customer, on average")
	flag.IntVar(&rounds, "rounds", 1, "how often")
	flag.Uint64Var(&seed, "seed", 1, "of the events")
	lab.Main("customers", about, func(ctx context.Context, l *lab.Lab) (any, error) {
		var all []sample
		for i := range rounds {
			for z := range strings.SplitSeq(zipf, ",") {
				for c := range strings.SplitSeq(list, ",") {
					w := job.Workload{Seed: seed}
					var err, err2 error
					w.Customers, err = strconv.Atoi(c)
					w.Zipf, err2 = strconv.ParseFloat(z, 64)
					if err := errors.Join(err, err2); err != nil {
						return all, err
					}
					w.Events = per * w.Customers
					s, err := one(ctx, l, w, i+1)
					if err != nil {
						return all, err
					}
					all = append(all, s)
					fmt.Fprintf(os.Stderr, "round %d, %s, %d customers: %.2f us CPU an event\n", i+1, w.Name(), w.Customers, s.CPU)
				}
			}
		}
		show(os.Stdout, all)
		return all, nil
	})
}

func one(ctx context.Context, l *lab.Lab, w job.Workload, round int) (s sample, err error) {
	b, _, err := l.Loaded(ctx, w)
	if err != nil {
		return s, err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	s = sample{Workload: w.Name(), Customers: w.Customers, Round: round, Load: lab.LoadAverage()}
	var tables int64
	u, err := l.RunHistory(ctx, fmt.Sprintf("customers%d-%s-%d", w.Customers, w.Name(), round), nil,
		lab.EngineConfig{Broker: b, Rules: job.Ten, Inputs: lab.Inputs(w)},
		func(config string) (err error) {
			// What was only in memory and in the log is in files after the next start.
			if _, err := l.Run(ctx, "again", nil, "engine", "-c", config, "-until", lab.Until); err != nil {
				return err
			}
			tables, s.Log, err = diskUse(filepath.Join(filepath.Dir(config), "state"))
			return err
		})
	if err != nil {
		return s, err
	}
	s.CPU, s.RSS = float64(u.CPU.Microseconds())/float64(w.Events), u.RSS
	newest := map[uint64][2]int{} // bytes of key and value, by hash of the key
	err = b.Read(ctx, side.App+".changelog", func(r *kgo.Record) error {
		if bytes.HasPrefix(r.Key, []byte("c/")) {
			newest[xxh3.Hash(r.Key)] = [2]int{len(r.Key), len(r.Value)}
		}
		return nil
	})
	for _, n := range newest {
		s.Key += float64(n[0])
		s.Value += float64(n[1])
	}
	s.Seen = len(newest)
	n := float64(max(1, s.Seen))
	s.Key, s.Value, s.Tables = s.Key/n, s.Value/n, float64(tables)/n
	return s, err
}

// diskUse returns how much Pebble's sorted files and its log take below a directory.
func diskUse(dir string) (tables, log int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch filepath.Ext(path) {
		case ".sst":
			tables += info.Size()
		case ".log":
			log += info.Size()
		}
		return nil
	})
	return tables, log, err
}

func show(w io.Writer, all []sample) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "workload\tcustomers\tseen\tus CPU/event\tover the first\tdisk B\tchangelog B (key + value)\tlog MiB\tRSS MiB\tRSS B a customer\tload average")
	for _, s := range all {
		first := s
		for _, f := range all {
			if f.Workload == s.Workload && f.Round == s.Round {
				first = f
				break
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t%.2f\t%.0f\t%.0f + %.0f\t%.0f\t%.0f\t%.0f\t%.1f\n", s.Workload, s.Customers, s.Seen, s.CPU, s.CPU/first.CPU,
			s.Tables, s.Key, s.Value, float64(s.Log)/(1<<20), float64(s.RSS)/(1<<20), float64(s.RSS)/float64(max(1, s.Seen)), s.Load)
	}
	t.Flush()
}

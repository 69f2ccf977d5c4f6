package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/lab"
)

// maxOverFloor is how much more than bench/floor `limit buckets` may take.
const maxOverFloor = 5.5

// report is what was measured of one workload.
type report struct {
	Workload   job.Workload `json:"workload"`
	Rules      int          `json:"rules"`
	EventBytes float64      `json:"event_bytes"`
	Sides      []string     `json:"sides"`
	All        []sample     `json:"samples"`
}

// samples returns those of one side, by round.
func (r *report) samples(name string) []sample {
	var l []sample
	for _, s := range r.All {
		if s.Side == name {
			l = append(l, s)
		}
	}
	return l
}

func (r *report) series(name string, of func(*sample) float64) lab.Series {
	var l lab.Series
	for _, s := range r.samples(name) {
		l = append(l, of(&s))
	}
	return l
}

func cpu(s *sample) float64 { return s.CPU }

// ratios returns a figure of one side over that of another, by round.
func (r *report) ratios(a, b string, of func(*sample) float64) lab.Series {
	var l lab.Series
	x, y := r.series(a, of), r.series(b, of)
	for i := range min(len(x), len(y)) {
		l = append(l, x[i]/y[i])
	}
	return l
}

func (r *report) print(w io.Writer) {
	load := lab.Series{}
	for _, s := range r.All {
		load = append(load, s.Load)
	}
	fmt.Fprintf(w, "\n%s: %d events of %.0f bytes, %d customers, seed %d; load average %s\n",
		r.Workload.Name(), r.Workload.Events, r.EventBytes, r.Workload.Customers, r.Workload.Seed, load.Spread(1))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "side\tus CPU/event\tevents/CPU-s\twall events/s\tRSS MiB\tallocs/event\tB/event\tchanges/event\thash")
	for _, name := range r.Sides {
		of := func(f func(*sample) float64) float64 { return r.series(name, f).Median() }
		c := r.series(name, cpu)
		last := r.samples(name)[len(c)-1]
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.1f\t%.0f\t%.3f\t%s\n", name, c.Spread(2), 1e6/c.Median(),
			1e6/of(func(s *sample) float64 { return s.Wall }), of(func(s *sample) float64 { return float64(s.RSS) })/(1<<20),
			of(func(s *sample) float64 { return s.Allocs }), of(func(s *sample) float64 { return s.Bytes }),
			last.Changes, last.Hash)
	}
	t.Flush()
	for _, p := range [][2]string{{"engine", "buckets"}, {"engine", "exact"}, {"exact", "buckets"}, {"buckets", "floor"}, {"mixed", "engine"}, {"json", "engine"}, {"shop", "json"}} {
		if q := r.ratios(p[0], p[1], cpu); len(q) > 0 {
			name := p[0] + "/" + p[1]
			if name == "engine/buckets" {
				name = "R = " + name
			}
			fmt.Fprintf(w, "%s: %s, by round %.2f\n", name, q.Spread(2), q)
		}
	}
	if q := r.ratios("procs1", "procs2", func(s *sample) float64 { return s.Wall }); len(q) > 0 {
		fmt.Fprintf(w, "wall time of one thread over two: %s, by round %.2f; the broker is on the same cores\n", q.Spread(2), q)
	}
}

// check returns what makes the run wrong or void.
func (r *report) check() error {
	var errs []error
	for _, name := range r.Sides {
		all := r.samples(name)
		errs = append(errs, r.asRecorded(&all[0]))
		for _, s := range all[1:] {
			if s.Hash != all[0].Hash {
				errs = append(errs, fmt.Errorf("%s: %s emitted other changes in round %d (%s) than in the first (%s)",
					r.Workload.Name(), name, s.Round, s.Hash, all[0].Hash))
			}
		}
	}
	if r.has("engine", "exact") && r.Rules == len(job.Ten) {
		if a, b := r.samples("engine")[0], r.samples("exact")[0]; a.Hash != b.Hash {
			errs = append(errs, fmt.Errorf("%s: the engine's changes (%s, %.4f an event) are not those of exact (%s, %.4f)",
				r.Workload.Name(), a.Hash, a.Changes, b.Hash, b.Changes))
		}
	}
	for name := range formats {
		if !r.has("engine", name) || r.Rules != len(job.Ten) {
			continue
		}
		if a, b := r.samples("engine")[0], r.samples(name)[0]; a.Hash != b.Hash {
			errs = append(errs, fmt.Errorf("%s: the engine's changes over %s (%s, %.4f an event) are not those over Avro (%s, %.4f)",
				r.Workload.Name(), name, b.Hash, b.Changes, a.Hash, a.Changes))
		}
	}
	if q := r.ratios("buckets", "floor", cpu); len(q) > 0 && q.Median() > maxOverFloor {
		errs = append(errs, fmt.Errorf("%s: the run is void: buckets over floor is %.2f, more than %.1f",
			r.Workload.Name(), q.Median(), maxOverFloor))
	}
	return errors.Join(errs...)
}

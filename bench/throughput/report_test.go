package main

import (
	"strings"
	"testing"

	"github.com/segmill/segmill/bench/internal/job"
)

// What makes a run wrong or void is said, and nothing else is.
func TestCheck(t *testing.T) {
	good := func() *report {
		r := &report{Workload: job.Workload{Events: 1000, Customers: 10}, Rules: len(job.Ten), Sides: []string{"engine", "exact", "buckets", "floor"}}
		for round := 1; round <= 3; round++ {
			r.All = append(r.All, sample{Side: "engine", Round: round, CPU: 20, Hash: "a"}, sample{Side: "exact", Round: round, CPU: 8, Hash: "a"},
				sample{Side: "buckets", Round: round, CPU: 10, Hash: "b"}, sample{Side: "floor", Round: round, CPU: 2})
		}
		return r
	}
	for _, c := range []struct {
		name, want string
		change     func(*report)
	}{
		{"good", "", func(*report) {}},
		{"a busy round", "", func(r *report) { r.All[2].CPU = 30 }},
		{"other changes than exact", "are not those of exact", func(r *report) {
			for i := range r.All {
				if r.All[i].Side == "engine" {
					r.All[i].Hash = "x"
				}
			}
		}},
		{"many rules", "", func(r *report) {
			r.Rules = 100
			for i := range r.All {
				if r.All[i].Side == "engine" {
					r.All[i].Hash = "x"
				}
			}
		}},
		{"other changes in a round", "in round 2", func(r *report) { r.All[6].Hash = "x" }},
		{"a yardstick that is too slow", "void", func(r *report) { r.All[2].CPU, r.All[6].CPU = 11.1, 11.1 }},
		{"not as recorded", "are recorded", func(r *report) {
			r.Workload = job.Workload{Events: 50_000, Customers: 5_000, Seed: 1}
		}},
	} {
		r := good()
		c.change(r)
		err := r.check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestRatios(t *testing.T) {
	r := &report{All: []sample{{Side: "a", CPU: 2}, {Side: "b", CPU: 4}, {Side: "a", CPU: 9}, {Side: "b", CPU: 3}}}
	if q := r.ratios("a", "b", cpu); len(q) != 2 || q[0] != 0.5 || q[1] != 3 {
		t.Error(q)
	}
}

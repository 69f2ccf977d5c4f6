package main

import (
	"fmt"

	"github.com/segmill/segmill/bench/internal/job"
)

// recorded are the changes of `limit exact` and `limit buckets`, as a run emitted them when
// the workload was made. Figures of runs with other changes can't be compared. There
// are none of Zipf's law: its logarithms differ between kinds of processors.
var recorded = map[job.Workload]map[string]string{
	{Events: 50_000, Customers: 5_000, Seed: 1}: {
		"exact": "2f87706f583b74da0c7446ffe330f2b0", "buckets": "81f75b98d4a5ce66006dba668d64cab9",
	},
	{Events: 50_000, Customers: 5_000, Late: 0.01, Seed: 1}: {
		"exact": "bd44caec0ba07558177203f5aff3b9dc", "buckets": "97829e8e5323e26ec0e0c9d3b105d5fc",
	},
	{Events: 1_000_000, Customers: 100_000, Seed: 1}: {
		"exact": "93949a2a70dd75ff9dc2bd30fbe42791", "buckets": "718f21d5047dc576f5a1b54ffe7b3eef",
	},
	{Events: 1_000_000, Customers: 100_000, Late: 0.01, Seed: 1}: {
		"exact": "d7f646f73cbc73c01795831f4341f1d6", "buckets": "4ead62eb3ef9bf859bd69bbe0d9ad1e4",
	},
}

// asRecorded returns an error if a side has emitted other changes than are recorded.
func (r *report) asRecorded(s *sample) error {
	if want := recorded[r.Workload][s.Side]; want != "" && s.Hash != want {
		return fmt.Errorf("%s: %s emitted changes %s, but %s are recorded: if the job was changed, record them again",
			r.Workload.Name(), s.Side, s.Hash, want)
	}
	return nil
}

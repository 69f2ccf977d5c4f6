package lab

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
)

// An event counts from when it was due, a repeat is counted, and what is of no flow is
// left out.
func TestFlow(t *testing.T) {
	start := time.Unix(1_800_000_000, 0)
	f := Flow{Rate: 10, start: start, arrived: make([]time.Time, 4)}
	ms := func(n int) time.Time { return start.Add(time.Duration(n) * time.Millisecond) }
	for _, a := range []struct {
		n, ms, partition int
	}{{flowFirst, 20, 0}, {flowFirst + 2, 250, 0}, {flowFirst + 1, 300, 1}, {flowFirst + 2, 310, 0}, {flowFirst + 9, 320, 0}, {7, 330, 0}} {
		c := job.Change{Cause: []byte("e" + strconv.Itoa(a.n))}
		f.arrive(&c, &kgo.Record{Partition: int32(a.partition)}, ms(a.ms))
	}
	f.arrive(&job.Change{}, &kgo.Record{}, ms(340)) // of a timer
	if got, want := f.Latencies(start, ms(1000)), (Series{20, 200, 50}); !slices.Equal(got, want) {
		t.Errorf("latencies %v, not %v", got, want)
	}
	if got := f.Latencies(ms(100), ms(200)); !slices.Equal(got, Series{200}) {
		t.Errorf("latencies of the second event: %v", got)
	}
	if f.doubled != 1 {
		t.Errorf("%d doubled", f.doubled)
	}
	if got := f.FirstAfter(ms(20)); !got.Equal(ms(250)) {
		t.Errorf("first after 20 ms: %v", got)
	}
	if got := f.FirstAfter(ms(300)); !got.IsZero() {
		t.Errorf("first after all: %v", got)
	}
	// A gap begins where the stretch does, and ends where it ends.
	if got := f.Gaps(ms(10), ms(290)); got[0] != 230 || got[1] != 280 {
		t.Errorf("gaps %v", got)
	}
}

package main

import (
	"math/rand/v2"
	"testing"

	"github.com/segmill/segmill/bench/internal/job"
)

// Between two neighbouring thresholds no rule changes: CountCuts and SumCuts have all.
func TestComparisonsAreAll(t *testing.T) {
	const seed = 5
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200_000 {
		f := job.Facts{Count: rnd.Int64N(16), Sum: rnd.Int64N(1000) * 10_000, Channel: uint16(rnd.IntN(4)), Currency: uint16(rnd.IntN(4))}
		g := f
		g.Count, g.Sum = rnd.Int64N(16), rnd.Int64N(1000)*10_000
		if compare(&f) == compare(&g) && evaluate(&f) != evaluate(&g) {
			t.Fatalf("%+v and %+v: no threshold between them (seed %d)", f, g, seed)
		}
		changed := compare(&f) ^ compare(&g)
		var rules uint32
		for i := range comparisons {
			if changed&(1<<i) != 0 {
				rules |= comparisons[i].rules
			}
		}
		if missed := (evaluate(&f) ^ evaluate(&g)) &^ rules; missed != 0 {
			t.Fatalf("%+v and %+v: rules %b are not judged (seed %d)", f, g, missed, seed)
		}
	}
}

// The wake-up is the first instant at which a comparison changes by time alone.
func TestSchedule(t *testing.T) {
	const seed = 6
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 2_000 {
		c := &exactCustomer{}
		at := int64(job.Start)
		for range rnd.IntN(20) {
			at += rnd.Int64N(3 * job.Day)
			c.entries = append(c.entries, entry{at, rnd.Int64N(100) * 10_000})
		}
		for _, e := range c.entries {
			c.facts.Count++
			c.facts.Sum += e.amount
		}
		c.leave(at)
		c.schedule()
		before := compare(&c.facts)
		want := int64(never)
		for i := 0; i < len(c.entries) && want == never; i++ {
			left := exactCustomer{facts: c.facts, entries: c.entries}
			if left.leave(c.entries[i].at + job.WindowMillis); compare(&left.facts) != before {
				want = c.entries[i].at + job.WindowMillis
			}
		}
		if c.wake != want {
			t.Fatalf("wake-up %d, not %d (seed %d)", c.wake, want, seed)
		}
	}
}

func TestBucketsRoundTrip(t *testing.T) {
	c := &bucketed{last: 5, day: 20_000, channel: 1, currency: 2, bits: 0x3ff}
	for i := range window {
		c.count[i], c.sum[i] = uint32(i), int64(i)*1_000_000
	}
	b := c.encode(nil)
	if len(b) != 380 {
		t.Fatalf("%d bytes", len(b))
	}
	d := &bucketed{}
	if err := d.decode(b); err != nil || d.last != c.last || d.day != c.day || d.channel != c.channel ||
		d.currency != c.currency || d.bits != c.bits || d.count != c.count || d.sum != c.sum {
		t.Errorf("%+v, %v", d, err)
	}
	if d.decode(b[1:]) == nil {
		t.Error("a short state is taken")
	}
}

// A day that begins empties the bucket of thirty days ago, however many are skipped.
func TestTurn(t *testing.T) {
	for _, skip := range []int32{1, 7, 29, 30, 31, 100} {
		c := &bucketed{day: 1000}
		for i := range c.count {
			c.count[i] = 1
		}
		c.turn(1000 + skip)
		left := 0
		for day := 1000 + skip - window + 1; day <= 1000+skip; day++ {
			left += int(c.count[day%window])
		}
		if want := max(0, window-int(skip)); left != want {
			t.Errorf("after %d days: %d, not %d", skip, left, want)
		}
	}
}

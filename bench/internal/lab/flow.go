package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// FlowRule changes with every event of a Flow.
var FlowRule = job.Rule{ID: "flow", When: `last(purchase.channel) == "flow"`}

// flowFirst is the number of a flow's first event: beyond those of any workload.
const flowFirst = 1_000_000_000

// Flow publishes events at a fixed rate, whatever becomes of them, and reads the one
// change that follows from each. The time of an event is when it was due, so that a
// stall counts for all events that it delays (no coordinated omission).
type Flow struct {
	Rate      float64 // events a second
	Customers int
	Seed      uint64

	start  time.Time
	cancel context.CancelFunc
	wg     sync.WaitGroup
	stop   chan struct{} // closed when no more is to be published

	mu      sync.Mutex
	err     error
	sent    int
	arrived []time.Time // of the changes, by number of the event; zero if it has not
	doubled int
	read    [side.Partitions][]time.Time // when changes came
}

// StartFlow starts to publish.
func (b *Broker) StartFlow(ctx context.Context, f *Flow) error {
	id, err := b.schema(ctx, side.Input, job.Schemas[job.Purchase])
	if err != nil {
		return err
	}
	out, err := b.Client(kgo.ProducerLinger(0))
	if err != nil {
		return err
	}
	in, err := b.Client(kgo.ConsumeTopics(side.Changes), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	if err != nil {
		return err
	}
	ctx, f.cancel = context.WithCancel(ctx)
	f.stop = make(chan struct{})
	f.wg.Add(2)
	go func() {
		defer f.wg.Done()
		defer in.Close()
		f.fail(f.follow(ctx, in))
	}()
	f.start = time.Now().Add(time.Second) // the reader has found the end by then
	go func() {
		defer f.wg.Done()
		defer out.Close()
		f.fail(f.publish(ctx, out, id))
	}()
	return nil
}

func (f *Flow) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil && !errors.Is(err, context.Canceled) && f.err == nil {
		f.err = err
	}
}

// due is when event i is.
func (f *Flow) due(i int) time.Time {
	return f.start.Add(time.Duration(float64(i) / f.Rate * float64(time.Second)))
}

func (f *Flow) publish(ctx context.Context, cl *kgo.Client, id int) error {
	rnd := rand.New(rand.NewPCG(f.Seed, 0xf10e))
	in := make([]bool, f.Customers) // whether the customer is in the segment
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; ; {
		select {
		case <-f.stop:
			return cl.Flush(ctx)
		case <-tick.C:
		}
		for now := time.Now(); !f.due(i).After(now); i++ {
			c := rnd.IntN(f.Customers)
			e := job.Event{N: flowFirst + i, Customer: c, At: f.due(i).UnixMilli(), Revenue: 100_000}
			if in[c] = !in[c]; in[c] {
				e.Channel = job.Flow
			}
			f.mu.Lock()
			f.sent, f.arrived = i+1, append(f.arrived, time.Time{})
			f.mu.Unlock()
			r := &kgo.Record{Topic: side.Input, Key: job.AppendCustomer(nil, c), Value: e.Append(make([]byte, 0, 160), id)}
			cl.Produce(ctx, r, func(_ *kgo.Record, err error) { f.fail(err) })
		}
	}
}

func (f *Flow) follow(ctx context.Context, cl *kgo.Client) error {
	for {
		fs := cl.PollFetches(ctx)
		now := time.Now()
		if err := fs.Err(); err != nil {
			return err
		}
		var err error
		var c job.Change
		f.mu.Lock()
		fs.EachRecord(func(r *kgo.Record) {
			if e := job.ReadChange(r.Value, &c); e != nil {
				err = e
			}
			if string(c.Segment) == FlowRule.ID {
				f.arrive(&c, r, now)
			}
		})
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (f *Flow) arrive(c *job.Change, r *kgo.Record, now time.Time) {
	n, err := strconv.Atoi(string(c.Cause[min(1, len(c.Cause)):]))
	if n -= flowFirst; err != nil || n < 0 || n >= len(f.arrived) {
		return // of something before the flow
	}
	if !f.arrived[n].IsZero() {
		f.doubled++
		return
	}
	f.arrived[n] = now
	f.read[r.Partition] = append(f.read[r.Partition], now)
}

// Stop ends the publishing, waits until all changes have come or nothing comes any
// more, and returns an error if one is missing or came twice.
func (f *Flow) Stop(ctx context.Context) error {
	close(f.stop)
	last, since := -1, time.Now()
	for ctx.Err() == nil && time.Since(since) < 20*time.Second {
		f.mu.Lock()
		missing := 0
		for _, t := range f.arrived {
			if t.IsZero() {
				missing++
			}
		}
		f.mu.Unlock()
		if missing == 0 {
			break
		}
		if missing != last {
			last, since = missing, time.Now()
		}
		time.Sleep(20 * time.Millisecond)
	}
	f.cancel()
	f.wg.Wait()
	missing := 0
	for _, t := range f.arrived {
		if t.IsZero() {
			missing++
		}
	}
	if missing+f.doubled > 0 {
		return errors.Join(f.err, fmt.Errorf("of %d events, %d were lost and %d emitted twice", f.sent, missing, f.doubled))
	}
	return errors.Join(f.err, ctx.Err())
}

// Latencies returns how long the events that were due in a stretch of time took, in
// ms. It is for after Stop.
func (f *Flow) Latencies(from, to time.Time) (s Series) {
	for i, t := range f.arrived {
		if due := f.due(i); !t.IsZero() && !due.Before(from) && due.Before(to) {
			s = append(s, float64(t.Sub(due).Microseconds())/1000)
		}
	}
	return s
}

// FirstAfter returns when the first change came after an instant; zero if none did.
func (f *Flow) FirstAfter(at time.Time) (first time.Time) {
	for _, t := range f.arrived {
		if t.After(at) && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}

// Gaps returns the longest time without a change of each partition in a stretch of
// time, in ms. It is for after Stop.
func (f *Flow) Gaps(from, to time.Time) (gaps [side.Partitions]float64) {
	for p, arrivals := range f.read {
		last := from
		for _, at := range arrivals {
			if at.After(last) && !at.After(to) {
				gaps[p] = max(gaps[p], float64(at.Sub(last).Microseconds())/1000)
				last = at
			}
		}
		gaps[p] = max(gaps[p], float64(to.Sub(last).Microseconds())/1000)
	}
	return gaps
}

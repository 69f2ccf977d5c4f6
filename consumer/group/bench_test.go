package group

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// BenchmarkCatchUp reads a history of JSON purchases of 10,000 customers from a
// broker in the same process: everything from fetch to commit, and the broker.
func BenchmarkCatchUp(b *testing.B) {
	const n = 50_000
	g := newFleet(b, 4)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rng := rand.New(rand.NewPCG(1, 1))
	var records []*kgo.Record
	for i := range n {
		at = at.Add(time.Second)
		records = append(records, g.Event(plan.Purchase, fmt.Sprintf("c%d", rng.IntN(10_000)), at, nil))
		if i%1000 == 999 {
			g.Produce(records...)
			records = records[:0]
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
			c.App = fmt.Sprintf("bench%d", i)
			c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(at.UnixMilli())
			c.Batch = config.Default().Batch
		})
		if err := in.wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkLatency measures the time from the instant at which an event is due to
// be produced to the commit of what follows from it, at 500 events a second.
func BenchmarkLatency(b *testing.B) {
	for _, interval := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond} {
		b.Run(interval.String(), func(b *testing.B) {
			g := newFleet(b, 1)
			var mu sync.Mutex
			due := map[string]time.Time{}
			var took []time.Duration
			in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
				c.Batch.Interval = interval
				c.OnEffects = func(_ int32, effects []engine.Effect) {
					now := time.Now()
					mu.Lock()
					defer mu.Unlock()
					for i := range effects {
						if effects[i].Name == "buyer" {
							took = append(took, now.Sub(due[effects[i].Customer]))
						}
					}
				}
			})
			in.ready()
			tick := time.NewTicker(2 * time.Millisecond)
			n := 0
			for b.Loop() {
				at := <-tick.C
				n++
				customer := fmt.Sprintf("c%d", n)
				mu.Lock()
				due[customer] = at
				mu.Unlock()
				g.Client.Produce(b.Context(), g.Event(plan.Purchase, customer, at, nil), nil)
			}
			tick.Stop()
			g.Eventually("all are emitted", func() bool { mu.Lock(); defer mu.Unlock(); return len(took) == n })
			in.stop()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/1e6, "p50-ms")
			b.ReportMetric(float64(took[len(took)*99/100])/1e6, "p99-ms")
		})
	}
}

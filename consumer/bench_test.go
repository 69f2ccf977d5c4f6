package consumer

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
)

// BenchmarkCatchUp reads a history of JSON purchases of 10,000 customers from a
// broker in the same process: everything from fetch to commit, and the broker.
func BenchmarkCatchUp(b *testing.B) {
	const n = 50_000
	g := newRig(b, 4)
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rng := rand.New(rand.NewPCG(1, 1))
	var records []*kgo.Record
	for i := range n {
		at = at.Add(time.Second)
		records = append(records, g.event(plan.Purchase, fmt.Sprintf("c%d", rng.IntN(10_000)), at, nil))
		if i%1000 == 999 {
			g.produce(records...)
			records = records[:0]
		}
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		in := g.start(rules, vfs.NewMem(), func(c *Config) {
			c.App = fmt.Sprintf("bench%d", i)
			c.Time.Clock, c.Time.Until = EventsClock, engine.Millis(at.UnixMilli())
			c.Batch = DefaultConfig().Batch
		})
		if err := in.wait(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "events/s")
}

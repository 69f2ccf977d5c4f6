package group

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// over makes a Config reach its brokers through a wire.
func (w *wire) over(c *config.Config) { c.Kafka = append(c.Kafka, kgo.Dialer(w.dial)) }

func TestSlowNetwork(t *testing.T) {
	for _, c := range []struct {
		name string
		w    *wire
	}{
		{"latency", &wire{latency: 3 * time.Millisecond}},
		{"bandwidth", &wire{rate: 300_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			disturbance{config: c.w.over}.changesNothing(t)
		})
	}
}

// A connection is cut at some byte, of a request or of an answer, and at others
// later, and so on.
func TestCutConnections(t *testing.T) {
	const runs, cuts = 6, 8
	w := &wire{}
	disturbance{config: w.over}.changesNothing(t)
	bytes := w.bytes.Load()
	for i, seed := range fixture.Seeds(t, runs) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(seed, 4))
			w := &wire{}
			for j := range int64(cuts) {
				// Spread over the run, and all different.
				step := bytes / (runs * cuts)
				w.cutAt = append(w.cutAt, (j*runs+int64(i))*step+rng.Int64N(step))
			}
			disturbance{config: w.over, happened: func() bool { return w.cuts.Load() >= cuts/2 }}.changesNothing(t)
			if t.Failed() {
				t.Logf("cut at %v of %d", w.cutAt, w.bytes.Load())
			}
		})
	}
}

// All connections become half open, or are cut while no name can be resolved, a
// few times in a run.
func TestNetworkGone(t *testing.T) {
	for _, name := range []string{"half open", "no names"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := &wire{}
			times := 0
			disturbance{
				config: func(c *config.Config) {
					w.over(c)
					c.Kafka = append(c.Kafka, kgo.RequestTimeoutOverhead(300*time.Millisecond))
					c.Fixed.CommitTimeout = 300 * time.Millisecond
					n := int64(0)
					rig.FailAt(t, c, func(task int32, point string) error {
						if task != 0 || point != "begun" && point != "produced" && point != "ended" {
							return nil
						}
						if n++; n%6 != 0 || times == 3 {
							return nil
						}
						times++
						if name == "half open" {
							w.freeze()
							return nil
						}
						w.noDNS.Store(true)
						w.cut()
						time.AfterFunc(500*time.Millisecond, func() { w.noDNS.Store(false) })
						return nil
					})
				},
				happened: func() bool { return times == 3 && (name == "half open" || w.refused.Load() > 0) },
			}.changesNothing(t)
		})
	}
}

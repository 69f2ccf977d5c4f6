package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// A backlog is read without sleeping, whether it stands in one topic or in two of
// which one is far ahead of the other: records that compress well come by the ten
// thousand, and a topic that has enough in hand is not left out of a request, which the
// broker may then hold back for half a second. What is counted is how often one is left
// out, and not how long anything takes.
func TestCatchUpDoesNotSleep(t *testing.T) {
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name   string
		topics []plan.Stream
		apart  time.Duration // of events in the second topic
	}{
		{"one topic", []plan.Stream{plan.Web}, 0},
		{"two topics", []plan.Stream{plan.Web, plan.Purchase}, time.Second},
		{"one topic far ahead", []plan.Stream{plan.Web, plan.Purchase}, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newFleet(t, 1)
			many := g.NewClient(kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.GzipCompression()), kgo.ProducerLinger(50*time.Millisecond))
			const n = 120_000
			for i := range n {
				for k, stream := range c.topics {
					at := day.Add(time.Duration(i) * time.Second)
					if k > 0 {
						if at = day.Add(time.Duration(i) * c.apart); i*int(c.apart/time.Second) > n {
							continue
						}
					}
					many.Produce(t.Context(), g.Event(stream, fmt.Sprint("c", i%100), at, nil), nil)
				}
			}
			if err := many.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			fetches := 0
			g.Broker.ControlKey(int16(kmsg.Fetch), func(kmsg.Request) (kmsg.Response, error, bool) {
				g.Broker.KeepControl()
				fetches++
				return nil, nil, false
			})
			reg := prometheus.NewRegistry()
			metrics := metrics.New(reg)
			in := g.start(fixture.Rules, vfs.NewMem(), func(cfg *config.Config) {
				cfg.Metrics, cfg.Time.Clock, cfg.Time.Until = metrics, config.EventsClock, engine.Millis(day.Add(n*time.Second).UnixMilli())
				cfg.Batch.Interval = 100 * time.Millisecond
			})
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}
			got := fixture.Gather(t, reg)
			pauses := got["segmill_fetch_pauses_total{}"]
			t.Logf("%v pauses, %v idle polls, %d requests", pauses, got["segmill_fetch_idle_polls_total{}"], fetches)
			if len(c.topics) == 1 && pauses > 0 || pauses > 3 {
				t.Errorf("%v pauses in %d requests", pauses, fetches)
			}
		})
	}
}

package group

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// A partition that makes no progress although there is something to do is named, with
// what it waits for; when that is over, it is not.
func TestWaitsAreShown(t *testing.T) {
	for _, c := range []struct {
		name, topic, reason string
		fault               kfake.Fault
	}{
		{"records do not come", "purchase", "its next record does not come", kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "purchase", Err: kerr.NotLeaderForPartition, Count: -1}},
		{"ends are not reported", "purchase", "no broker says where the partition ends", kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "purchase", Err: kerr.NotLeaderForPartition, Count: -1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 1)
			reg := prometheus.NewRegistry()
			in := g.start(fixture.Rules, vfs.NewMem(), func(cfg *config.Config) { cfg.Metrics = metrics.New(reg) })
			in.ready()
			hold := g.Broker.Fault(c.fault)
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
			waits := func() []feed.Wait { return in.o.Status().Tasks[0].Waits }
			g.Eventually("it is waited for", func() bool {
				return slices.ContainsFunc(waits(), func(w feed.Wait) bool {
					return w.Input.Topic == c.topic && strings.Contains(w.Reason, c.reason)
				})
			})
			if st := in.o.Status(); st.Ready {
				t.Error("ready all the same")
			}
			gauge := "segmill_waiting_seconds{0," + c.topic + "}"
			g.Eventually("the metric says so", func() bool { return fixture.Gather(t, reg)[gauge] >= feed.StallAfter.Seconds() })
			hold.Remove()
			in.caughtUp()
			g.Eventually("the metric says that it is over", func() bool { return fixture.Gather(t, reg)[gauge] == 0 })
			in.stop()
		})
	}
}

// A transaction whose end is not answered keeps the task from going round.
func TestUnansweredIsShown(t *testing.T) {
	t.Parallel()
	var silent atomic.Bool
	answer := make(chan struct{})
	g := newFleet(t, 1)
	g.Broker.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		g.Broker.KeepControl()
		if silent.Load() {
			g.Broker.SleepControl(func() { <-answer })
		}
		return nil, nil, false
	})
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	silent.Store(true)
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("it is shown", func() bool {
		st := in.o.Status()
		return !st.Ready && slices.ContainsFunc(st.Tasks[0].Waits, func(w feed.Wait) bool { return w.Input.Topic == "" && strings.Contains(w.Reason, "does not answer") })
	})
	silent.Store(false)
	close(answer)
	in.caughtUp()
	in.stop()
}

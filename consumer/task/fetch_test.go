package task_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// While a rebuild runs, the records that come after it are not fetched: they would
// wait in memory until it ends.
func TestNothingIsFetchedDuringRebuild(t *testing.T) {
	g := rig.New(t, 1)
	// A request that waits for records is seen again when they come, even if whoever sent
	// it has gone. It counts once.
	seen := map[kmsg.Request]bool{}
	asked := g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
		again := seen[r]
		seen[r] = true
		return !again
	}})
	files := vfs.NewMem()
	d := g.Drive(fixture.Rules, files, 0, nil)
	d.Until("acquired")
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	d.Until("applied")
	d.Stop()

	d = g.Drive(fixture.OtherRules, files, 0, func(c *config.Config) { c.Rebuild = true })
	d.Until("refolded")
	// The client that has read the past is closed, but what it had sent last can still
	// be on its way: another fetch, and the one that ends its session.
	before := -1
	for before != asked.Hits() {
		before = asked.Hits()
		rig.Within(200*time.Millisecond, func() bool { return asked.Hits() > before })
	}
	g.Produce(g.Event(plan.Purchase, "berta", g.Now(), nil)) // would be the answer, and be followed by a request
	d.Until("acquired")
	if rig.Within(300*time.Millisecond, func() bool { return asked.Hits() > before }) {
		t.Errorf("%d requests for records before the task runs", asked.Hits()-before)
	}
	d.Free()
	g.Eventually("berta is a buyer", func() bool { return slices.Contains(g.Members(), "berta buyer") })
	d.Stop()
}

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
	files := vfs.NewMem()
	d := g.Drive(fixture.Rules, files, 0, nil)
	d.Until("acquired")
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	d.Until("applied")
	d.Stop()

	d = g.Drive(fixture.OtherRules, files, 0, func(c *config.Config) { c.Rebuild = true })
	d.Until("refolded")
	asked := g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Observe: true, Count: -1, When: func(r kmsg.Request) bool {
		return r.(*kmsg.FetchRequest).SessionEpoch != -1 // which ends the session of the client that has read the past
	}})
	g.Produce(g.Event(plan.Purchase, "berta", g.Now(), nil)) // would be the answer, and be followed by a request
	d.Until("acquired")
	if rig.Within(300*time.Millisecond, func() bool { return asked.Hits() > 0 }) {
		t.Errorf("%d requests for records before the task runs", asked.Hits())
	}
	d.Free()
	g.Eventually("berta is a buyer", func() bool { return slices.Contains(g.Members(), "berta buyer") })
	d.Stop()
}

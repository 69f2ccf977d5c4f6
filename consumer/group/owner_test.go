package group

import (
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// The whole road once: events in, memberships and a trigger out, time passes, a
// membership ends with no event.
func TestLive(t *testing.T) {
	g := newFleet(t, 2)
	var h heard
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.OnEffects = h.add })
	in.ready()
	now := g.Now()
	g.Produce(
		g.Event(plan.Web, "anna", now, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p", "quantity": 2}}}),
		g.Event(plan.Purchase, "berta", now, nil),
		g.Event(plan.Purchase, "carla", now, map[string]any{"revenue": "400"}))
	in.caughtUp()
	want := []string{"anna browsing", "berta buyer", "carla big", "carla buyer"}
	if diff := gocmp.Diff(want, g.Members()); diff != "" {
		t.Error(diff)
	}
	if n := len(g.Read("triggers")); n != 0 {
		t.Errorf("%d partitions with triggers before their time", n)
	}
	g.Shift.Store(int64(4 * time.Hour))
	g.Eventually("anna stops browsing", func() bool { return slices.Equal(g.Members(), want[1:]) })
	g.Eventually("cart_left", func() bool { return len(g.Read("triggers")) == 1 })
	for _, effects := range g.Effects("triggers") {
		if e := effects[0]; len(effects) != 1 || e.Customer != "anna" || !e.Fired.Equal(now.Add(30*time.Minute).Truncate(time.Millisecond)) {
			t.Errorf("%v", effects)
		}
	}
	in.stop()
	g.verifyFromNothing(fixture.Rules, nil)
	if folded, dead, forwarded := g.Totals(); folded != 3 || dead+forwarded != 0 {
		t.Errorf("folded %d, dead letters %d, forwarded %d", folded, dead, forwarded)
	}
	emitted := []string{
		"anna entered browsing #1", "anna exited browsing #2", "anna fired cart_left #1", "berta entered buyer #1",
		"carla entered big #1", "carla entered buyer #1",
	}
	if diff := gocmp.Diff(emitted, h.sorted()); diff != "" {
		t.Errorf("emitted: %s", diff)
	}
}

package task_test

import (
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// While a task that forwards does not run, the timers of another one wait for it, and its
// status says so; events do not wait.
func TestSilenceWaitsForTask(t *testing.T) {
	g := rig.New(t, 1) // of purchase, which task 0 reads
	g.AddPartitions("web", 2)
	g.AddPartitions("profile", 2)
	g.Partitions, g.Route = 2, g.Beside(2).Route
	g.Connect()
	d := g.Drive(fixture.Rules, vfs.NewMem(), 1, func(c *config.Config) { c.Create.Partitions = 2 })
	d.Until("acquired")
	d.Free()
	who := g.CustomersOf(1, 1)[0]
	cart := g.Event(plan.Web, who, g.Now().Add(-time.Hour), map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}})
	g.Produce(cart)
	g.Eventually("the event is taken", func() bool { return d.Task.Status().Folded == 1 })
	g.Eventually("who is waited for is shown", func() bool {
		for _, w := range d.Task.Status().Waits {
			if strings.Contains(w.Reason, "timers wait for task 0") {
				return true
			}
		}
		return false
	})
	fired := func() bool { return len(g.Effects("triggers")[1]) > 0 }
	if fired() {
		t.Fatal("a cart was left although the task that reads purchases has not spoken")
	}
	marks := &d.Task.Instance.Ends.Marks
	marks.Say(0, engine.Millis(g.Now().Add(-45*time.Minute).UnixMilli()))
	if rig.Within(300*time.Millisecond, fired) {
		t.Fatal("a cart was left although purchases are known up to an earlier instant only")
	}
	g.Eventually("the cart is left", func() bool {
		marks.Say(0, engine.Millis(g.Now().UnixMilli()))
		return fired()
	})
	g.Eventually("nothing is waited for", func() bool {
		marks.Say(0, engine.Millis(g.Now().UnixMilli()))
		return len(d.Task.Status().Waits) == 0
	})
	d.Stop()
}

// A task speaks to the others of what it has committed: while it has a batch in hand, its
// mark stays where it was.
func TestMarkIsCommitted(t *testing.T) {
	g := rig.New(t, 1)
	d := g.Drive(fixture.Rules, vfs.NewMem(), 0, func(c *config.Config) { c.Batch.Interval = 4 * time.Second })
	d.Until("acquired")
	d.Free()
	mark := func() engine.Millis {
		at, _ := d.Task.Instance.Ends.Marks.Of(0)
		return at
	}
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("the event is taken", func() bool { return d.Task.Status().Folded == 1 })
	was := mark()
	g.Eventually("the mark moves in silence", func() bool { return mark() > was })
	g.Produce(g.Event(plan.Purchase, "berta", g.Now(), nil))
	g.Eventually("the mark stays", func() bool {
		was := mark()
		return !rig.Within(500*time.Millisecond, func() bool { return mark() != was }) && d.Task.Status().Folded == 1
	})
	g.Eventually("the other event is committed", func() bool { return d.Task.Status().Folded == 2 })
	was = mark()
	g.Eventually("the mark moves again", func() bool { return mark() > was })
	d.Stop()
}

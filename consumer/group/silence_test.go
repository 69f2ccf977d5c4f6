package group

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// With silence_grace: auto, a cart is not taken for left while a partition of an input
// has lost its leader, nor for a minute after: the purchase that would clear it is on
// its way. Events are taken all the while.
func TestSilenceWaitsForProducers(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 1, kfake.NumBrokers(2))
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.Time.HoldSilence = true })
	in.ready()
	pass := func(d time.Duration) { // while brokers answer
		for range d / time.Second {
			g.Shift.Add(int64(time.Second))
			asked := in.o.Ends.Answered(0)[broker.Partition{Topic: "web"}]
			g.Eventually("an answer", func() bool { return in.o.Ends.Answered(0)[broker.Partition{Topic: "web"}].After(asked) })
		}
	}
	left := func(customer string) *kgo.Record { // a cart that is left in ten seconds
		return g.Event(plan.Web, customer, g.Now().Add(-30*time.Minute+10*time.Second),
			map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}})
	}
	fired := func() (n int) {
		for _, l := range g.Effects("triggers") {
			n += len(l)
		}
		return n
	}
	pass(61 * time.Second) // nothing was known of what was before the start
	g.Produce(left("anna"), left("berta"))
	in.caughtUp()
	pass(20 * time.Second)
	g.Eventually("without a fault, carts are left", func() bool { return fired() == 2 })

	g.Produce(left("carla"), left("dora"))
	in.caughtUp()
	other := 1 - g.Broker.LeaderFor("purchase", 0)
	if err := g.Broker.MoveTopicPartition("purchase", 0, other); err != nil {
		t.Fatal(err)
	}
	pass(20 * time.Second)
	g.Produce(g.Event(plan.Purchase, "carla", g.Now().Add(-15*time.Second), nil)) // acknowledged only now
	in.caughtUp()
	if n := fired(); n != 2 {
		t.Fatalf("%d triggers while producers may still be sending", n)
	}
	pass(62 * time.Second)
	g.Eventually("dora's cart is left", func() bool { return fired() >= 3 })
	in.stop()
	if n := fired(); n != 3 {
		t.Errorf("%d triggers, and carla had bought", n)
	}
}

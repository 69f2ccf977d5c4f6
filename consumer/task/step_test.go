package task_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// A task dies at each point of its second transaction, by an error or with its process. A
// reader sees nothing of the transaction before its end; whoever acquires the partition
// next takes what had not been committed, and only that.
func TestDeathWithinTransaction(t *testing.T) {
	for _, point := range []string{"begun", "produced", "ended", "applied", "stored"} {
		for i := range 4 {
			delivery, killed := config.Delivery(i/2), i%2 == 1
			t.Run(fmt.Sprintf("%s, delivery %d, killed %v", point, delivery, killed), func(t *testing.T) {
				t.Parallel()
				testDeathAt(t, point, delivery, killed)
			})
		}
	}
}

func testDeathAt(t *testing.T, point string, delivery config.Delivery, killed bool) {
	g := rig.New(t, 1)
	g.Delivery = delivery
	files := vfs.NewMem()
	storeEach := func(c *config.Config) { c.Fixed.StoreEach = 1 } // after every commit
	d := g.Drive(fixture.Rules, files, 0, storeEach)
	d.Until("acquired")
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	d.Until("stored")
	first, both := []string{"anna buyer"}, []string{"anna buyer", "berta buyer"}
	if got := g.Members(); !slices.Equal(got, first) {
		t.Fatalf("after the first transaction: %q", got)
	}
	g.Produce(g.Event(plan.Purchase, "berta", g.Now(), nil))
	d.Until(point)
	committed := point != "begun" && point != "produced"
	want, folded := first, uint64(1)
	if committed {
		folded = 2
	}
	if committed || delivery == config.AtLeastOnce && point == "produced" {
		want = both
	}
	if got := g.Members(); !slices.Equal(got, want) {
		t.Errorf("held at %s: %q, want %q", point, got, want)
	}

	if killed {
		d.Kill()
		d = g.Drive(fixture.Rules, files, 0, storeEach)
	} else {
		d.Fail()
	}
	d.Until("acquired")
	if got, _, _ := g.Totals(); got != folded {
		t.Errorf("%d events are folded when the partition is acquired again, want %d", got, folded)
	}
	d.Free()
	g.Eventually("both are buyers", func() bool { return slices.Equal(g.Members(), both) })
	g.Eventually("both are folded", func() bool { got, _, _ := g.Totals(); return got == 2 })
	d.Stop()
	if n := len(g.Effects("changes")[0]); n != 2 {
		t.Errorf("%d changes of two customers", n)
	}
}

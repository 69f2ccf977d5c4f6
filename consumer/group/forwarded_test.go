package group

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// carts lets n customers fill a cart as long ago as is given, all but every tenth of whom
// bought it ten minutes later, and returns who did not.
func (g *uneven) carts(n int, ago time.Duration) (left []string) {
	g.Helper()
	for i := range n {
		who, at := fmt.Sprintf("c%03d", i), g.Now().Add(-ago)
		w := g.Event(plan.Web, who, at, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p", "quantity": 1}}})
		w.Partition, w.Timestamp = g.event(plan.Web, who, at).Partition, at
		if i%10 == 0 {
			g.Produce(w)
			left = append(left, who+" cart_left 1")
			continue
		}
		p := g.event(plan.Purchase, who, at.Add(10*time.Minute))
		p.Timestamp = at.Add(10 * time.Minute)
		g.Produce(w, p)
	}
	return left
}

// leaves returns what has fired.
func (g *uneven) leaves() (l []string) {
	for _, effects := range g.Effects("triggers") {
		for _, e := range effects {
			l = append(l, fmt.Sprintf("%s %s %d", e.Customer, e.Name, e.Sequence))
		}
	}
	slices.Sort(l)
	return l
}

// A cart that was bought is not left, however long the purchase takes from the one task
// that reads it to the customer's, on one instance and on two.
func TestSilenceWaitsForForwarded(t *testing.T) {
	for _, n := range []int{1, 2} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			g := newUneven(t, 4, map[string]int32{"web": 4, "purchase": 1, "profile": 4})
			want := g.carts(200, 2*time.Hour)
			for range n {
				in := g.start(fixture.Rules, vfs.NewMem(), g.settings)
				defer in.stop()
			}
			var got []string
			g.Eventually("all that were left have fired", func() bool { got = g.leaves(); return len(got) >= len(want) })
			if !slices.Equal(got, want) {
				t.Errorf("%d carts are left, want %d", len(got), len(want))
			}
		})
	}
}

// Nor is it when the rules are changed while the purchase waits: the instant of a change does
// not pass what another task has yet to forward.
func TestChangeWaitsForForwarded(t *testing.T) {
	g := newUneven(t, 4, map[string]int32{"web": 4, "purchase": 1, "profile": 4})
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, g.settings)
	in.ready()
	at := g.Now()
	carts, purchases := []*kgo.Record{}, []*kgo.Record{}
	for i := range 40 {
		who := fmt.Sprintf("c%03d", i)
		w := g.Event(plan.Web, who, at, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p", "quantity": 1}}})
		w.Partition = g.event(plan.Web, who, at).Partition
		p := g.event(plan.Purchase, who, at.Add(10*time.Minute))
		p.Timestamp = at.Add(10 * time.Minute)
		carts, purchases = append(carts, w), append(purchases, p)
	}
	g.Produce(carts...)
	g.taken(in)
	in.stop()
	g.Shift.Add(int64(2 * time.Hour))
	g.Produce(purchases...)
	changed := strings.Replace(fixture.Rules, ">= 3", ">= 2", 1)
	in = g.start(changed, files, both(g.settings, func(c *config.Config) { c.Apply = true }))
	in.ready()
	g.taken(in)
	g.Eventually("all have bought", func() bool { return len(g.Members()) >= 40 })
	after := in.o.Status().Clock
	g.Eventually("the clocks go on", func() bool {
		return in.o.Status().Clock > after && in.o.Status().Clock > engine.Millis(at.Add(time.Hour).UnixMilli())
	})
	in.stop()
	if got := g.leaves(); len(got) > 0 {
		t.Errorf("%d carts are left that were bought", len(got))
	}
}

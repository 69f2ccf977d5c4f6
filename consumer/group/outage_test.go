package group

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// byCustomer returns the effects of each customer, in order. Between customers the
// order may differ.
func (g *fleet) byCustomer() map[string]string {
	g.Helper()
	emitted := map[string][]string{}
	for _, topic := range []string{"changes", "triggers"} {
		for _, effects := range g.Effects(topic) {
			for _, e := range effects {
				emitted[e.Customer] = append(emitted[e.Customer], e.String()+" "+e.ID+e.Trigger)
			}
		}
	}
	got := map[string]string{}
	for c, l := range emitted {
		got[c] = strings.Join(l, "\n")
	}
	return got
}

// day returns events of some customers over a day, in order of time.
func (g *fleet) day(rng *rand.Rand, start time.Time, n int) []*kgo.Record {
	var records []*kgo.Record
	at := start
	for range n {
		at = at.Add(time.Minute + time.Duration(rng.Int64N(int64(50*time.Minute)))).Truncate(time.Millisecond)
		customer := fmt.Sprintf("c%d", rng.IntN(4))
		switch rng.IntN(3) {
		case 0:
			records = append(records, g.Event(plan.Web, customer, at, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}}))
		case 1:
			records = append(records, g.Event(plan.Purchase, customer, at, map[string]any{"revenue": "150"}))
		default:
			records = append(records, g.Event(plan.Web, customer, at, nil))
		}
	}
	return records
}

// An outage changes nothing: what is emitted is the same whether events are read as
// they happen, after they all have happened, or some this and some that way.
func TestOutageChangesNothing(t *testing.T) {
	const n = 24
	for _, seed := range fixture.Seeds(t, 1) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			start := time.Now().Add(-48 * time.Hour)
			run := func(downFrom, downTo int) map[string]string {
				g := newFleet(t, 1)
				records := g.day(rand.New(rand.NewPCG(seed, 3)), start, n)
				end := records[n-1].Timestamp.Add(10 * time.Hour)
				set := func(now time.Time) { g.Shift.Store(int64(time.Until(now))) }
				set(start)
				files := vfs.NewMem()
				// The clock jumps by up to an hour here, also within a batch, whose
				// records are judged by the clock at its beginning.
				config := func(c *config.Config) { c.Time.MaxFutureSkew = 2 * time.Hour }
				in := g.start(fixture.Rules, files, config)
				in.ready()
				for i, r := range records {
					if i == downFrom {
						in.stop()
					}
					if i == downTo {
						in = g.start(fixture.Rules, files, config)
						in.ready()
					}
					// A busy machine may write for longer than the grace. What is then
					// late is dated by the clock, so the clock stays behind till it is
					// written.
					set(r.Timestamp.Add(-30 * time.Second))
					g.Produce(r)
					set(r.Timestamp)
					if i < downFrom || i >= downTo {
						in.follows(r.Timestamp)
					}
				}
				set(end)
				if downFrom < n && downTo >= n {
					in = g.start(fixture.Rules, files, config)
				}
				in.follows(end)
				in.stop()
				g.Members()
				if folded, dead, _ := g.Totals(); folded != n || dead > 0 {
					t.Errorf("folded %d, dead letters %d", folded, dead)
				}
				return g.byCustomer()
			}
			live := run(n, n+1)
			for _, down := range [][2]int{{0, n}, {8, 16}} {
				if diff := gocmp.Diff(live, run(down[0], down[1])); diff != "" {
					t.Errorf("down from event %d to %d: %s", down[0], down[1], diff)
				}
			}
			if len(live) != 4 {
				t.Errorf("%v", slices.Sorted(maps.Keys(live)))
			}
		})
	}
}

// follows waits until everything is read and the clock has come to an instant,
// which the wall clock has reached.
func (in *instance) follows(at time.Time) {
	in.g.Helper()
	in.caughtUp()
	in.g.Eventually("the clock follows", func() bool {
		st := in.o.Status()
		return st.Ready && st.Clock >= engine.Millis(at.UnixMilli())
	})
}

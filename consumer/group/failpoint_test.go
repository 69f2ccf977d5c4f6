package group

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// A task that dies at any point of the protocol, once or every few times, with
// its disk or without, gives the outputs of one that lives.
func TestDeathAtEveryPoint(t *testing.T) {
	const seed, events = 5, 300
	run := func(t *testing.T, delivery config.Delivery, change func(*config.Config)) (transcript string, folded, dead, forwarded uint64) {
		g := newFleet(t, 2)
		g.Delivery = delivery
		g.History(rand.New(rand.NewPCG(seed, 0)), events)
		in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
			rig.OverHistory(c)
			change(c)
		})
		if err := in.wait(); err != nil {
			t.Fatal(err)
		}
		g.Members()
		folded, dead, forwarded = g.Totals()
		folded -= uint64(g.forwardedAgain())
		return g.Transcript(), folded, dead, forwarded
	}
	want, folded, dead, forwarded := run(t, config.ExactlyOnce, func(*config.Config) {})
	for _, point := range rig.Points {
		for i := range 4 {
			delivery, noDisk := config.Delivery(i/2), i%2 == 1
			name := fmt.Sprintf("%s, delivery %d", point, delivery)
			if noDisk {
				name += ", disk lost"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				var n, crashes atomic.Int32
				got, f, d, w := run(t, delivery, func(c *config.Config) {
					rig.FailAt(t, c, func(task int32, p string) error {
						if p != point || n.Add(1)%3 != 0 || crashes.Add(1) > 6 {
							return nil
						}
						if noDisk {
							if err := c.Store.Task(task).Drop(); err != nil {
								t.Error(err)
							}
						}
						return rig.ErrCrash
					})
				})
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if f != folded || d != dead || w != forwarded {
					t.Errorf("folded %d, dead letters %d, forwarded %d; want %d, %d, %d", f, d, w, folded, dead, forwarded)
				}
				if n.Load() == 0 {
					t.Error("the point was never passed")
				}
			})
		}
	}
}

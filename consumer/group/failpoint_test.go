package group

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/consumer/config"
)

// points are where a task can die, in the order of acquire, one step, the end of
// a run, and a rebuild.
var points = []string{
	"fenced", "replayed", "restored", "acquired",
	"begun", "produced", "ended", "applied", "stored",
	"inputs read", "forwarded read",
}

var errCrash = errors.New("crash of a test")

// A task that dies at any point of the protocol, once or every few times, with
// its disk or without, gives the outputs of one that lives.
func TestDeathAtEveryPoint(t *testing.T) {
	const seed, events = 5, 300
	run := func(t *testing.T, delivery config.Delivery, change func(*config.Config)) (transcript string, folded, dead, forwarded uint64) {
		g := newRig(t, 2)
		g.delivery = delivery
		g.history(rand.New(rand.NewPCG(seed, 0)), events)
		in := g.start(rules, vfs.NewMem(), func(c *config.Config) {
			overHistory(c)
			change(c)
		})
		if err := in.wait(); err != nil {
			t.Fatal(err)
		}
		g.members()
		folded, dead, forwarded = g.totals()
		folded -= uint64(g.forwardedAgain())
		return g.transcript(), folded, dead, forwarded
	}
	want, folded, dead, forwarded := run(t, config.ExactlyOnce, func(*config.Config) {})
	for _, point := range points {
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
					failAt(t, c, func(task int32, p string) error {
						if p != point || n.Add(1)%3 != 0 || crashes.Add(1) > 6 {
							return nil
						}
						if noDisk {
							if err := c.Store.Task(task).Drop(); err != nil {
								t.Error(err)
							}
						}
						return errCrash
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

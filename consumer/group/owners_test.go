package group

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// Two owners are made to run one partition at the same time. One of them wins, the
// other one is fenced when it next writes, and leaves it at that: the outputs are
// those of one owner, and nobody takes the partition back and forth.
func TestTwoOwners(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 1)
	g.createTopics()
	inits := g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, TxnID: rig.App + "-0", Observe: true, Count: -1})
	var owners [2]*Owner
	var both sync.WaitGroup // have fenced, and go on together
	both.Add(len(owners))
	for i := range owners {
		meet := sync.OnceFunc(func() { both.Done(); both.Wait() })
		o, end := g.byHand(func(c *config.Config) {
			c.Group.SessionTimeout = time.Hour // what the loser waits
			rig.FailAt(g, c, func(_ int32, point string) error {
				if point == "fenced" {
					meet()
				}
				return nil
			})
		})
		defer end()
		owners[i] = o
	}
	for _, o := range owners {
		o.startByHand(0)
	}
	states := func() (all []task.State) {
		for _, o := range owners {
			all = append(all, o.Status().Tasks[0].State)
		}
		slices.Sort(all)
		return all
	}
	var want []string
	for _, customer := range g.CustomersOf(0, 50) {
		g.Produce(g.Event(plan.Purchase, customer, g.Now(), nil), g.Event(plan.Web, customer, g.Now(), nil))
		want = append(want, customer+" browsing", customer+" buyer")
	}
	slices.Sort(want)
	g.Eventually("one runs, one was fenced", func() bool { return slices.Equal(states(), []task.State{task.Running, task.Waiting}) })
	g.Eventually("everything is emitted", func() bool { return slices.Equal(g.Members(), want) })
	g.Shift.Store(int64(4 * time.Hour)) // both could fire the ends of browsing
	want = slices.DeleteFunc(want, func(m string) bool { return m[len(m)-8:] == "browsing" })
	g.Eventually("every end is emitted", func() bool { return slices.Equal(g.Members(), want) })
	if n := inits.Hits(); n != 2 {
		t.Errorf("the partition was taken %d times, want 2", n)
	}
	g.Positions()
	if folded, _, _ := g.Totals(); folded != 100 {
		t.Errorf("folded %d, want 100", folded)
	}
}

// Members come and go every 200 ms, the coordinator moves, heartbeats are refused.
// Nothing is lost meanwhile, and when it is quiet the partitions run.
func TestRebalanceStorm(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 3)
	a := g.start(fixture.Rules, vfs.NewMem(), nil)
	a.ready()
	disk := vfs.NewMem()
	n := 0
	for round := range 6 {
		if round%3 == 0 {
			g.Broker.RehashCoordinators()
		}
		b := g.start(fixture.Rules, disk, nil)
		until := time.Now().Add(200 * time.Millisecond)
		for time.Now().Before(until) {
			g.Produce(g.Event(plan.Purchase, g.CustomersOf(int32(n%3), 10)[n%10], g.Now(), nil))
			n++
		}
		if round%2 == 0 {
			g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Heartbeat}, Group: rig.App, Count: 3})
		}
		if round%4 == 3 {
			b.crash()
		} else {
			b.stop()
		}
	}
	a.ready()
	a.caughtUp()
	a.stop()
	g.Members()
	if folded, dead, forwarded := g.Totals(); int(folded) != n || dead+forwarded != 0 {
		t.Errorf("folded %d of %d, dead letters %d, forwarded %d", folded, n, dead, forwarded)
	}
	g.verifyFromNothing(fixture.Rules, nil)
}

// The group is one of the classic protocol, whatever the broker offers.
func TestGroupProtocol(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 1)
	classic, other := g.asks(kmsg.JoinGroup), g.asks(kmsg.ConsumerGroupHeartbeat)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	in.stop()
	if classic.Hits() == 0 || other.Hits() > 0 {
		t.Errorf("%d classic joins, %d requests of the other protocol", classic.Hits(), other.Hits())
	}
}

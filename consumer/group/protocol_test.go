package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

// byHand returns an Owner that is in no group: its tasks are started by the test,
// which calls end.
func (g *fleet) byHand(change func(*config.Config)) (o *Owner, end func()) {
	g.Helper()
	store := g.Store(vfs.NewMem())
	cfg := g.Config(fixture.Rules, store)
	if change != nil {
		change(&cfg)
	}
	o, err := New(cfg)
	if err != nil {
		g.Fatal(err)
	}
	if err := o.prepare(context.Background()); err != nil {
		g.Fatal(err)
	}
	ctx, cancel := context.WithCancel(o.hard)
	done := make(chan struct{})
	go func() { defer close(done); o.Ends.Run(ctx) }()
	return o, func() {
		o.stop(o.owned(), handOver)
		cancel()
		<-done
		o.kill()
		o.Cluster.Admin.Close()
		if err := store.Close(); err != nil {
			g.Error(err)
		}
	}
}

func (o *Owner) startByHand(p int32) *task.Task {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start(p)
	return o.tasks[p].t
}

// A task that is taken over while it is paused can neither write nor fire timers
// when it wakes up, and does not fight for the partition.
func TestZombie(t *testing.T) {
	for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
		for _, point := range []string{"read", "begun"} {
			t.Run(fmt.Sprintf("delivery %d, %s", delivery, point), func(t *testing.T) { testZombie(t, delivery, point) })
		}
	}
}

func testZombie(t *testing.T, delivery config.Delivery, point string) {
	g := newFleet(t, 1)
	g.Delivery = delivery
	release := make(chan struct{})
	paused := make(chan struct{}, 1)
	first, endFirst := g.byHand(func(c *config.Config) {
		c.Group.SessionTimeout, c.Time.Grace = time.Hour, 3*time.Second
		read := c.Read
		armed := false // both are called by the one task
		at := func(p string) {
			if armed && p == point {
				armed = false
				paused <- struct{}{}
				<-release
			}
		}
		c.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			armed = armed || string(r.Key) == "stop"
			at("read")
			return read(r, ev)
		}
		rig.FailAt(g, c, func(_ int32, p string) error { at(p); return nil })
	})
	defer endFirst()
	zombie := first.startByHand(0)
	now := g.Now()
	g.Produce(g.Event(plan.Web, "anna", now, nil))
	g.Eventually("anna", func() bool { return slices.Equal(g.Members(), []string{"anna browsing"}) })
	now = g.Now() // late events would have the instant at which each owner sees them
	g.Produce(g.Event(plan.Purchase, "stop", now, nil), g.Event(plan.Purchase, "anna", now, nil))
	<-paused
	before := zombie.Status().Seq

	second, endSecond := g.byHand(func(c *config.Config) { c.Group.SessionTimeout, c.Time.Grace = 10*time.Hour, 3*time.Second })
	defer endSecond()
	second.startByHand(0)
	want := []string{"anna browsing", "anna buyer", "stop buyer"}
	g.Eventually("the second owner", func() bool { return slices.Equal(g.Members(), want) })
	g.Shift.Store(int64(4 * time.Hour)) // both owners would now fire the end of anna's browsing
	close(release)
	g.Eventually("the zombie is fenced", func() bool { return zombie.Status().State == task.Waiting })
	if seq := zombie.Status().Seq; seq != before {
		t.Errorf("the zombie believes that position %d was written, after %d", seq, before)
	}
	g.Eventually("one end of browsing", func() bool { return slices.Equal(g.Members(), want[1:]) })
	g.Positions()
	if got := len(g.Effects("changes")[0]); got != 4 {
		t.Errorf("%d changes, want 4", got)
	}
	if delivery == config.AtLeastOnce {
		claims := 0
		for _, r := range g.Read(rig.App + ".changelog")[0] {
			if changelog.IsClaim(string(r.Key)) {
				claims++
			}
		}
		if claims != 2 {
			t.Errorf("%d claims of two owners", claims)
		}
	}
	if delivery == config.AtLeastOnce && point == "begun" {
		g.Eventually("what the zombie has written is void, and written again", func() bool { return g.newestCounts(rig.App + ".changelog") })
	}
}

// Two instances share the partitions, hand them over, and lose nothing while
// events keep coming.
func TestHandOver(t *testing.T) {
	g := newFleet(t, 4)
	produced := make(chan int, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%d", n%50), g.Now(), nil))
		}
		produced <- n
	}()
	disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	a := g.start(fixture.Rules, disks[0], nil)
	a.ready()
	for round := range 3 {
		b := g.start(fixture.Rules, disks[1], nil)
		g.Eventually("two instances share", func() bool {
			x, y := a.o.Status(), b.o.Status()
			return x.Ready && y.Ready && len(x.Tasks) == 2 && len(y.Tasks) == 2
		})
		if round == 1 {
			a.crash()
		} else {
			a.stop()
		}
		b.ready()
		a, disks[0], disks[1] = b, disks[1], disks[0]
	}
	stop()
	n := <-produced
	a.caughtUp()
	a.stop()
	if folded, dead, forwarded := g.Totals(); int(folded) != n || dead+forwarded != 0 {
		t.Errorf("folded %d of %d, dead letters %d, forwarded %d", folded, n, dead, forwarded)
	}
	want := min(n, 50)
	if got := len(slices.DeleteFunc(g.Members(), func(m string) bool { return !strings.HasSuffix(m, " buyer") })); got != want {
		t.Errorf("%d buyers, want %d", got, want)
	}
	g.verifyFromNothing(fixture.Rules, nil)
}

func TestPartitionCounts(t *testing.T) {
	g := newFleet(t, 2)
	if err := g.Broker.CreateTopic("more", 3, nil); err != nil {
		t.Fatal(err)
	}
	store := g.Store(vfs.NewMem())
	defer store.Close() // nothing was written
	run := func(change func(*config.Config)) error {
		cfg := g.Config(fixture.Rules, store)
		change(&cfg)
		o, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return o.Run(t.Context())
	}
	for by, change := range map[string]func(*config.Config){
		"2 tasks, as the largest input says: each task writes to the partition of its own number: set topics.create.partitions":        func(*config.Config) {},
		"4 tasks, as topics.create.partitions says: each task writes to the partition of its own number: set topics.create.partitions": func(c *config.Config) { c.Create.Partitions = 4 },
	} {
		err := run(both(change, func(c *config.Config) { c.Changes = "more" }))
		if err == nil || !strings.Contains(err.Error(), "more has 3 partitions and there are "+by) {
			t.Errorf("%v", err)
		}
	}
	if n := g.PartitionsOf(rig.App + ".changelog")[rig.App+".changelog"]; n != 0 {
		t.Errorf("a changelog of %d partitions decides how many tasks there are", n)
	}
	err := run(func(c *config.Config) { c.Inputs = append(c.Inputs, "none") })
	if !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
	if err = run(func(c *config.Config) { c.Create.Topics = false }); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("%v", err)
	}
}

// Offsets go to a group of their own, for tools.
func TestProgressGroup(t *testing.T) {
	g := newFleet(t, 1)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("progress", func() bool {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = rig.App + "-progress"
		resp, err := req.RequestWith(context.Background(), g.Client)
		if err != nil {
			t.Fatal(err)
		}
		for _, group := range resp.Groups {
			for _, topic := range group.Topics {
				if topic.Topic == "purchase" && topic.Partitions[0].Offset == 1 {
					return true
				}
			}
		}
		for _, topic := range resp.Topics {
			if topic.Topic == "purchase" && topic.Partitions[0].Offset == 1 {
				return true
			}
		}
		return false
	})
	in.stop()
}

// A transaction whose end was refused is not taken for committed: the batch is
// made again.
func TestEndRefused(t *testing.T) {
	g := newFleet(t, 1)
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	for i := range 6 {
		refused := g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}, Err: kerr.UnknownServerError, Count: 1})
		g.Produce(g.Event(plan.Purchase, fmt.Sprintf("c%d", i), g.Now(), nil))
		g.Eventually("refused", func() bool { return refused.Hits() == 1 })
		g.Eventually("emitted", func() bool { return len(g.Members()) == i+1 })
	}
	in.stop()
	g.Positions()
	g.verifyFromNothing(fixture.Rules, nil)
}

package group

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// Whatever owners without transactions leave behind, the next one restores what
// counts, from nothing or from a copy, and the newest record of every key is then
// one that counts.
func TestClaims(t *testing.T) {
	for _, seed := range fixture.Seeds(t, 25) {
		for _, fromCopy := range []bool{false, true} {
			t.Run(fmt.Sprintf("SEED=%d from a copy %v", seed, fromCopy), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(seed, 0))
				c := rig.NewClaims(t, rng)
				c.Random(5 + rng.IntN(40))
				testRestoreOf(t, c, fromCopy)
			})
		}
	}
}

func testRestoreOf(t *testing.T, c *rig.Claims, fromCopy bool) {
	g := newFleet(t, 1)
	g.Delivery = config.AtLeastOnce
	o, end := g.byHand(func(c *config.Config) { c.Time.Clock = config.EventsClock }) // no timers
	defer end()
	g.Produce(c.Log...)
	store := o.Config.Store.Task(0)
	if fromCopy && len(c.Copies) > 0 {
		from := c.Copies[c.Rand.IntN(len(c.Copies))]
		id, err := o.topicID(context.Background(), rig.App+".changelog")
		if err != nil {
			t.Fatal(err)
		}
		var changes []state.Change
		for id, value := range from.State {
			wake, err := engine.WakeOf(value)
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, state.Change{Customer: id, Value: value, Old: engine.Never, New: wake})
		}
		versions := changelog.Versions{Hashes: c.Engine.Versions()}
		meta := state.Meta{Position: from.Position.Append(nil), Versions: versions.Append(nil), TopicID: id, Next: int64(from.Next), AppliedAt: o.Config.NowMillis()}
		if err := store.Apply(changes, &meta); err != nil {
			t.Fatal(err)
		}
	}
	running := o.startByHand(0)
	g.Eventually("the task runs", func() bool {
		st := running.Status()
		if st.State == task.Stopped || st.State == task.Waiting {
			t.Fatalf("%s: %s", st.State, st.Error)
		}
		return st.State == task.Running
	})
	g.Eventually("what is void is written again", func() bool {
		newest := map[string][]byte{}
		for _, r := range g.Read(rig.App + ".changelog")[0] {
			if id, ok := strings.CutPrefix(string(r.Key), changelog.CustomerPrefix); ok {
				if newest[id] = r.Value; r.Value == nil {
					delete(newest, id)
				}
			}
		}
		return gocmp.Equal(newest, c.State)
	})
	got := map[string][]byte{}
	if err := store.Scan("", func(id string, value []byte) error {
		got[id] = slices.Clone(value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(c.State, got); diff != "" {
		t.Error(diff)
	}
}

// The instances of an engine can be stopped and started with another delivery,
// back and forth; what the last owner left void stays void.
func TestChangeOfDelivery(t *testing.T) {
	g := newFleet(t, 1)
	files := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	for i := range 6 {
		g.Delivery = config.Delivery(i % 2)
		in := g.start(fixture.Rules, files[i%3%2], nil)
		in.ready()
		g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil), g.Event(plan.Purchase, "berta", g.Now(), nil))
		in.caughtUp()
		if g.Delivery == config.AtLeastOnce { // dies in the middle of a batch
			by := changelog.Stamp{Claim: changelog.Claim{1}, Seq: 7}
			g.Produce(
				&kgo.Record{Topic: rig.App + ".changelog", Key: []byte("c/anna"), Value: []byte("void"), Headers: []kgo.RecordHeader{by.Header()}})
		}
		in.stop()
	}
	if diff := gocmp.Diff([]string{"anna buyer", "anna frequent", "berta buyer", "berta frequent"}, slices.DeleteFunc(g.Members(), func(m string) bool {
		return strings.HasSuffix(m, "browsing")
	})); diff != "" {
		t.Error(diff)
	}
	g.Delivery = config.ExactlyOnce
	g.verifyFromNothing(fixture.Rules, nil)
}

// newestCounts reports whether the newest record of every customer is stamped with
// the newest claim that writes, and there was a void one.
func (g *fleet) newestCounts(topic string) bool {
	g.Helper()
	void := 0
	for _, records := range g.Read(topic) {
		var owner changelog.Claim
		good := map[string]bool{}
		for _, r := range records {
			if changelog.IsClaim(string(r.Key)) {
				owner = changelog.Claim(r.Value)
				continue
			}
			by, err := changelog.StampOf(r)
			if err != nil {
				g.Fatal(err)
			}
			if by.Claim != owner {
				void++
			}
			if strings.HasPrefix(string(r.Key), changelog.CustomerPrefix) {
				good[string(r.Key)] = by.Claim == owner
			}
		}
		for _, ok := range good {
			if !ok {
				return false
			}
		}
	}
	return void > 0
}

// A cluster without transactions is refused with a word on what to do, and served
// without them.
func TestNoTransactions(t *testing.T) {
	old, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.MaxVersions(kversion.V0_10_2()))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	g := newFleet(t, 1)
	cfg := g.Config(fixture.Rules, g.Store(vfs.NewMem()))
	cfg.Kafka = []kgo.Opt{kgo.SeedBrokers(old.ListenAddrs()...)}
	o, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.prepare(t.Context()); err == nil || !fault.IsFatal(err) || !strings.Contains(err.Error(), "delivery: at_least_once") {
		t.Errorf("a cluster without transactions: %v", err)
	}

	g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.EndTxn}, Err: kerr.UnsupportedVersion})
	g.Delivery = config.AtLeastOnce
	in := g.start(fixture.Rules, vfs.NewMem(), nil)
	in.ready()
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	in.caughtUp()
	in.stop()
	if diff := gocmp.Diff([]string{"anna buyer"}, g.Members()); diff != "" {
		t.Error(diff)
	}
}

// A cluster whose topics have no ids still lets an instance go on from its copy.
func TestNoTopicIDs(t *testing.T) {
	for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
		t.Run(fmt.Sprint("delivery ", delivery), func(t *testing.T) {
			g := newFleet(t, 1, kfake.MaxVersions(kversion.V2_7_0()))
			g.Delivery = delivery
			files := vfs.NewMem()
			in := g.start(fixture.Rules, files, nil)
			in.ready()
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
			in.caughtUp()
			in.stop()
			o, end := g.byHand(func(c *config.Config) { c.Store = g.Store(files) })
			defer end()
			id, err := o.topicID(t.Context(), rig.App+".changelog")
			if err != nil || id != [16]byte{} {
				t.Fatalf("the changelog has the id %v: %v", id, err)
			}
			r, err := replica.Open(t.Context(), o.CopyOptions(0, o.Config.Store.Task(0), o.Config.Logger), broker.HighWatermark, 0)
			if err != nil {
				t.Fatal(err)
			}
			if !r.State().Tail {
				t.Error("the copy is not used")
			}
			if err := o.Config.Store.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A registry that hangs, for each topic in turn, does not look as if the owner had
// stood still for longer than the session timeout.
func TestRegistryHangs(t *testing.T) {
	g := newFleet(t, 1)
	g.Delivery = config.AtLeastOnce
	g.Produce(g.Event(plan.Web, "anna", g.Now(), nil), g.Event(plan.Purchase, "anna", g.Now(), nil), g.Event(plan.Profile, "anna", g.Now(), nil))
	var asked atomic.Int32
	o, end := g.byHand(func(c *config.Config) {
		read := c.Read
		c.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			if asked.Add(1) > 9 {
				return read(r, ev)
			}
			g.Shift.Add(int64(c.Group.SessionTimeout * 2 / 3))
			return 0, context.DeadlineExceeded
		}
	})
	defer end()
	o.startByHand(0)
	g.Eventually("anna", func() bool { return slices.Contains(g.Members(), "anna buyer") })
	claims := 0
	for _, r := range g.Read(rig.App + ".changelog")[0] {
		if changelog.IsClaim(string(r.Key)) {
			claims++
		}
	}
	if claims != 1 {
		t.Errorf("%d claims of one owner", claims)
	}
}

// An owner that dies after it has learned of a void record, and before it has
// written the customer again, does not take that knowledge along.
func TestVoidIsNotForgotten(t *testing.T) {
	g := newFleet(t, 1)
	g.Delivery = config.AtLeastOnce
	var batches atomic.Int32
	o, end := g.byHand(func(c *config.Config) {
		rig.FailAt(g, c, func(_ int32, point string) error {
			switch {
			case point == "produced" && batches.Load() == 1:
				by := changelog.Stamp{Claim: changelog.Claim{1}, Seq: 9}
				g.Produce(&kgo.Record{Topic: rig.App + ".changelog", Key: []byte("c/anna"), Value: []byte("void"), Headers: []kgo.RecordHeader{by.Header()}})
			case point == "begun" && batches.Add(1) == 2:
				return rig.ErrCrash
			}
			return nil
		})
	})
	defer end()
	o.startByHand(0)
	g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
	g.Eventually("anna's record is the newest", func() bool { return batches.Load() > 2 && g.newestCounts(rig.App+".changelog") })
}

// A changelog that was compacted too soon has lost its good position to a void one.
// That is no new changelog.
func TestShadowedPosition(t *testing.T) {
	g := newFleet(t, 1)
	g.Delivery = config.AtLeastOnce
	o, end := g.byHand(nil)
	defer end()
	c := rig.NewClaims(t, rand.New(rand.NewPCG(1, 0)))
	c.Acquire()
	wrong := changelog.Position{App: rig.App, Partitions: 1, Seq: 5, Claim: changelog.Claim{1}, Sources: map[changelog.Input]changelog.Source{}}
	c.Write(changelog.Stamp{Claim: changelog.Claim{1}, Seq: 5}, changelog.PositionKey, wrong.Append(nil))
	g.Produce(c.Log...)
	running := o.startByHand(0)
	g.Eventually("it is stopped", func() bool { return running.Status().State == task.Stopped })
	if e := running.Status().Error; !strings.Contains(e, "min.compaction.lag.ms") {
		t.Error(e)
	}
}

package group

import (
	"context"
	"fmt"
	"maps"
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
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// claims writes a changelog as owners without transactions would who die in the
// middle of batches, stand still and wake up too late, and knows what counts.
type claims struct {
	rng    *rand.Rand
	eng    *engine.Engine
	values [][]byte // of customers

	log  []*kgo.Record
	void map[string]int // keys that are to be written again: where their first void record stands

	state  map[string][]byte   // what counts
	pos    *changelog.Position // nil before the first one
	owner  changelog.Claim
	former []changelog.Claim
	dead   bool // the owner

	// copies are states at positions: where one ends and what it was.
	copies []aCopy
}

type aCopy struct {
	next  int
	pos   *changelog.Position
	state map[string][]byte
}

func newClaims(t *testing.T, rng *rand.Rand) *claims {
	c := &claims{rng: rng, eng: newEngine(t, rules), void: map[string]int{}, state: map[string][]byte{}, dead: true}
	customer := c.eng.NewCustomer("x")
	var out engine.Output
	for i := range 20 {
		at := engine.Millis(1_767_225_600_000 + i*1000)
		ev := engine.Event{Stream: plan.Web, Customer: "x", ID: fmt.Sprint(i), At: at, Fields: make([]expr.Value, len(c.eng.Layout(plan.Web).Paths))}
		c.eng.Evaluator().Apply(customer, &ev, at, &out)
		c.values = append(c.values, c.eng.Append(nil, customer))
	}
	return c
}

func (c *claims) write(by changelog.Stamp, key string, value []byte) {
	c.log = append(c.log, &kgo.Record{Topic: app + ".changelog", Key: []byte(key), Value: value, Headers: []kgo.RecordHeader{by.Header()}})
}

func (c *claims) lost(key string) {
	if _, ok := c.void[key]; !ok {
		c.void[key] = len(c.log) - 1
	}
}

func (c *claims) acquire() {
	if !c.dead {
		c.former = append(c.former, c.owner)
	}
	c.owner, c.dead = changelog.NewClaim(), false
	c.log = append(c.log, &kgo.Record{Topic: app + ".changelog", Key: changelog.ClaimKey(), Value: slices.Clone(c.owner[:])})
}

// change returns a customer's new value.
func (c *claims) change() (id string, value []byte) {
	if c.rng.IntN(4) > 0 {
		value = c.values[c.rng.IntN(len(c.values))]
	}
	return fmt.Sprintf("c%d", c.rng.IntN(12)), value
}

// batch is one of the owner; torn ones have no position, and their owner is dead.
func (c *claims) batch(torn bool) {
	by := changelog.Stamp{Claim: c.owner, Seq: 1}
	if c.pos != nil {
		by.Seq = c.pos.Seq + 1
	}
	next := maps.Clone(c.state)
	var keys []string
	put := func(key string, value []byte) {
		c.write(by, key, value)
		keys = append(keys, key)
		if torn {
			c.lost(key)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(c.void)) {
		id, ok := strings.CutPrefix(key, changelog.CustomerPrefix)
		if ok {
			put(key, next[id])
		}
	}
	versions := changelog.Versions{Hashes: c.eng.Versions()}
	if _, lost := c.void[changelog.VersionsKey]; c.pos == nil || lost {
		put(changelog.VersionsKey, versions.Append(nil))
	}
	for range c.rng.IntN(4) {
		id, value := c.change()
		put(changelog.CustomerPrefix+id, value)
		if next[id] = value; value == nil {
			delete(next, id)
		}
	}
	if torn {
		c.dead = true
		return
	}
	pos := &changelog.Position{
		App: app, Partitions: 1, Seq: by.Seq, Claim: c.owner, Clock: 1_767_225_600_000, Latest: changelog.Never,
		Rules: changelog.HashVersions(c.eng.Versions()), Sources: map[string]changelog.Source{},
	}
	for id, value := range next {
		h, _ := state.DigestOf(id, value, nil)
		pos.Digest = pos.Digest.Add(h)
	}
	c.write(by, changelog.PositionKey, pos.Append(nil))
	for _, key := range append(keys, changelog.PositionKey) {
		delete(c.void, key)
	}
	c.state, c.pos = next, pos
	c.copies = append(c.copies, aCopy{len(c.log), pos, next})
}

// zombie is a batch of a former owner.
func (c *claims) zombie() {
	if len(c.former) == 0 {
		return
	}
	by := changelog.Stamp{Claim: c.former[c.rng.IntN(len(c.former))], Seq: 1}
	if c.pos != nil {
		by.Seq = 1 + c.rng.Uint64N(c.pos.Seq)
	}
	for range 1 + c.rng.IntN(3) {
		id, value := c.change()
		c.write(by, changelog.CustomerPrefix+id, value)
		c.lost(changelog.CustomerPrefix + id)
	}
	if c.rng.IntN(2) == 0 {
		wrong := changelog.Position{App: app, Partitions: 1, Seq: by.Seq, Claim: by.Claim, Digest: state.Digest{Lo: 1}, Sources: map[string]changelog.Source{}}
		c.write(by, changelog.PositionKey, wrong.Append(nil))
		c.lost(changelog.PositionKey)
	}
}

// compact removes what newer records of the same key make garbage, as far as
// min.compaction.lag.ms lets it: not where records are still to be written again.
func (c *claims) compact() {
	end := len(c.log)
	for _, at := range c.void {
		end = min(end, at)
	}
	end = c.rng.IntN(end + 1)
	last := map[string]int{}
	for i, r := range c.log[:end] {
		last[string(r.Key)] = i
	}
	var kept []*kgo.Record
	moved := make([]int, len(c.log)+1) // where what stood at i stands now
	for i, r := range c.log {
		moved[i] = len(kept)
		if i >= end || last[string(r.Key)] == i {
			kept = append(kept, r)
		}
	}
	moved[len(c.log)] = len(kept)
	for key, at := range c.void {
		c.void[key] = moved[at]
	}
	for i := range c.copies {
		c.copies[i].next = moved[c.copies[i].next]
	}
	c.log = kept
}

// Whatever owners without transactions leave behind, the next one restores what
// counts, from nothing or from a copy, and the newest record of every key is then
// one that counts.
func TestClaims(t *testing.T) {
	for _, seed := range seeds(t, 25) {
		for _, fromCopy := range []bool{false, true} {
			t.Run(fmt.Sprintf("SEED=%d from a copy %v", seed, fromCopy), func(t *testing.T) {
				t.Parallel()
				rng := rand.New(rand.NewPCG(seed, 0))
				c := newClaims(t, rng)
				for range 5 + rng.IntN(40) {
					switch n := rng.IntN(10); {
					case c.dead || n == 0:
						c.acquire()
					case n == 1:
						c.batch(true)
					case n <= 3:
						c.zombie()
					case n == 4:
						c.compact()
					default:
						c.batch(false)
					}
				}
				testRestoreOf(t, c, fromCopy)
			})
		}
	}
}

func testRestoreOf(t *testing.T, c *claims, fromCopy bool) {
	g := newRig(t, 1)
	g.delivery = config.AtLeastOnce
	o, end := g.byHand(func(c *config.Config) { c.Time.Clock = config.EventsClock }) // no timers
	defer end()
	g.produce(c.log...)
	store := o.Config.Store.Task(0)
	if fromCopy && len(c.copies) > 0 {
		from := c.copies[c.rng.IntN(len(c.copies))]
		id, err := o.topicID(context.Background(), app+".changelog")
		if err != nil {
			t.Fatal(err)
		}
		var changes []state.Change
		for id, value := range from.state {
			wake, err := engine.WakeOf(value)
			if err != nil {
				t.Fatal(err)
			}
			changes = append(changes, state.Change{Customer: id, Value: value, Old: engine.Never, New: wake})
		}
		versions := changelog.Versions{Hashes: c.eng.Versions()}
		meta := state.Meta{Position: from.pos.Append(nil), Versions: versions.Append(nil), TopicID: id, Next: int64(from.next), AppliedAt: o.Config.NowMillis()}
		if err := store.Apply(changes, &meta); err != nil {
			t.Fatal(err)
		}
	}
	running := o.startByHand(0)
	g.eventually("the task runs", func() bool {
		st := running.Status()
		if st.State == task.Stopped || st.State == task.Waiting {
			t.Fatalf("%s: %s", st.State, st.Error)
		}
		return st.State == task.Running
	})
	g.eventually("what is void is written again", func() bool {
		newest := map[string][]byte{}
		for _, r := range g.read(app + ".changelog")[0] {
			if id, ok := strings.CutPrefix(string(r.Key), changelog.CustomerPrefix); ok {
				if newest[id] = r.Value; r.Value == nil {
					delete(newest, id)
				}
			}
		}
		return gocmp.Equal(newest, c.state)
	})
	got := map[string][]byte{}
	if err := store.Scan("", func(id string, value []byte) error {
		got[id] = slices.Clone(value)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(c.state, got); diff != "" {
		t.Error(diff)
	}
}

// The instances of an engine can be stopped and started with another delivery,
// back and forth; what the last owner left void stays void.
func TestChangeOfDelivery(t *testing.T) {
	g := newRig(t, 1)
	files := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	for i := range 6 {
		g.delivery = config.Delivery(i % 2)
		in := g.start(rules, files[i%3%2], nil)
		in.ready()
		g.produce(g.event(plan.Purchase, "anna", g.now(), nil), g.event(plan.Purchase, "berta", g.now(), nil))
		in.caughtUp()
		if g.delivery == config.AtLeastOnce { // dies in the middle of a batch
			by := changelog.Stamp{Claim: changelog.Claim{1}, Seq: 7}
			g.produce(
				&kgo.Record{Topic: app + ".changelog", Key: []byte("c/anna"), Value: []byte("void"), Headers: []kgo.RecordHeader{by.Header()}})
		}
		in.stop()
	}
	if diff := gocmp.Diff([]string{"anna buyer", "anna frequent", "berta buyer", "berta frequent"}, slices.DeleteFunc(g.members(), func(m string) bool {
		return strings.HasSuffix(m, "browsing")
	})); diff != "" {
		t.Error(diff)
	}
	g.delivery = config.ExactlyOnce
	g.verifyFromNothing(rules, nil)
}

// newestCounts reports whether the newest record of every customer is stamped with
// the newest claim that writes, and there was a void one.
func (g *rig) newestCounts(topic string) bool {
	g.Helper()
	void := 0
	for _, records := range g.read(topic) {
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
	g := newRig(t, 1)
	cfg := g.config(rules, g.store(vfs.NewMem()))
	cfg.Kafka = []kgo.Opt{kgo.SeedBrokers(old.ListenAddrs()...)}
	o, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.prepare(t.Context()); err == nil || !fault.IsFatal(err) || !strings.Contains(err.Error(), "delivery: at_least_once") {
		t.Errorf("a cluster without transactions: %v", err)
	}

	g.broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.AddPartitionsToTxn, kmsg.EndTxn}, Err: kerr.UnsupportedVersion})
	g.delivery = config.AtLeastOnce
	in := g.start(rules, vfs.NewMem(), nil)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	in.caughtUp()
	in.stop()
	if diff := gocmp.Diff([]string{"anna buyer"}, g.members()); diff != "" {
		t.Error(diff)
	}
}

// A cluster whose topics have no ids still lets an instance go on from its copy.
func TestNoTopicIDs(t *testing.T) {
	for _, delivery := range []config.Delivery{config.ExactlyOnce, config.AtLeastOnce} {
		t.Run(fmt.Sprint("delivery ", delivery), func(t *testing.T) {
			g := newRig(t, 1, kfake.MaxVersions(kversion.V2_7_0()))
			g.delivery = delivery
			files := vfs.NewMem()
			in := g.start(rules, files, nil)
			in.ready()
			g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
			in.caughtUp()
			in.stop()
			o, end := g.byHand(func(c *config.Config) { c.Store = g.store(files) })
			defer end()
			id, err := o.topicID(t.Context(), app+".changelog")
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
	g := newRig(t, 1)
	g.delivery = config.AtLeastOnce
	g.produce(g.event(plan.Web, "anna", g.now(), nil), g.event(plan.Purchase, "anna", g.now(), nil), g.event(plan.Profile, "anna", g.now(), nil))
	var asked atomic.Int32
	o, end := g.byHand(func(c *config.Config) {
		read := c.Read
		c.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			if asked.Add(1) > 9 {
				return read(r, ev)
			}
			g.shift.Add(int64(c.Group.SessionTimeout * 2 / 3))
			return 0, context.DeadlineExceeded
		}
	})
	defer end()
	o.startByHand(0)
	g.eventually("anna", func() bool { return slices.Contains(g.members(), "anna buyer") })
	claims := 0
	for _, r := range g.read(app + ".changelog")[0] {
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
	g := newRig(t, 1)
	g.delivery = config.AtLeastOnce
	var batches atomic.Int32
	o, end := g.byHand(func(c *config.Config) {
		failAt(g, c, func(_ int32, point string) error {
			switch {
			case point == "produced" && batches.Load() == 1:
				by := changelog.Stamp{Claim: changelog.Claim{1}, Seq: 9}
				g.produce(&kgo.Record{Topic: app + ".changelog", Key: []byte("c/anna"), Value: []byte("void"), Headers: []kgo.RecordHeader{by.Header()}})
			case point == "begun" && batches.Add(1) == 2:
				return errCrash
			}
			return nil
		})
	})
	defer end()
	o.startByHand(0)
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	g.eventually("anna's record is the newest", func() bool { return batches.Load() > 2 && g.newestCounts(app+".changelog") })
}

// A changelog that was compacted too soon has lost its good position to a void one.
// That is no new changelog.
func TestShadowedPosition(t *testing.T) {
	g := newRig(t, 1)
	g.delivery = config.AtLeastOnce
	o, end := g.byHand(nil)
	defer end()
	c := newClaims(t, rand.New(rand.NewPCG(1, 0)))
	c.acquire()
	wrong := changelog.Position{App: app, Partitions: 1, Seq: 5, Claim: changelog.Claim{1}, Sources: map[string]changelog.Source{}}
	c.write(changelog.Stamp{Claim: changelog.Claim{1}, Seq: 5}, changelog.PositionKey, wrong.Append(nil))
	g.produce(c.log...)
	running := o.startByHand(0)
	g.eventually("it is stopped", func() bool { return running.Status().State == task.Stopped })
	if e := running.Status().Error; !strings.Contains(e, "min.compaction.lag.ms") {
		t.Error(e)
	}
}

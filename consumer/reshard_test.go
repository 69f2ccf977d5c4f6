package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// counting are rules that tell how much of a customer's history is known.
var counting = func() string {
	text := "version: 1\ndefaults: {timezone: UTC}\nsegments:\n"
	for _, stream := range []string{"purchase", "web"} {
		for n := 1; n <= 24; n++ {
			text += fmt.Sprintf("  - {id: %s%d, objective: a, owner: b, review_by: 2099-01-01, when: \"count(%s) >= %d\"}\n", stream, n, stream, n)
		}
	}
	return text
}()

// moved is where a test moves an application to.
type moved struct {
	*rig
	inPlace bool // the inputs have grown; else they are others, whose names end in 2
}

// grow makes the inputs that an application moves to.
func (g *rig) grow(n int32, inPlace bool) *moved {
	g.Helper()
	to := &moved{&rig{TB: g.TB, broker: g.broker, kafka: g.kafka, n: n, enc: g.enc, route: newRouter(n), seq: 1_000_000}, inPlace}
	for _, topic := range []string{"web", "purchase", "profile"} {
		if inPlace {
			g.addPartition(topic, int(n))
		} else if err := g.broker.CreateTopic(topic+"2", n, nil); err != nil {
			g.Fatal(err)
		}
	}
	to.cl = g.client(kgo.RecordPartitioner(kgo.ManualPartitioner())) // the other one may not know the partitions yet
	return to
}

// name returns the new topic of a stream.
func (m *moved) name(topic string) string {
	if m.inPlace {
		return topic
	}
	return topic + "2"
}

// to changes a Config to that of the new application.
func (m *moved) to(c *Config) {
	m.Helper()
	topics := map[string]plan.Stream{m.name("web"): plan.Web, m.name("purchase"): plan.Purchase, m.name("profile"): plan.Profile}
	reader, err := schemas.NewReader(schemas.Config{Layouts: c.Engine.Layout, Topics: topics})
	if err != nil {
		m.Fatal(err)
	}
	c.App, c.Changes, c.Triggers = app+"2", "changes2", "triggers2"
	c.Inputs, c.Read = slices.Collect(maps.Keys(topics)), reader.Read
}

// reshard returns the move from the application on files.
func (m *moved) reshard(g *rig, store *state.Store) *Reshard {
	r := &Reshard{From: g.config(rules, store), To: m.config(rules, store), Streams: map[string]string{}}
	m.to(&r.To)
	for _, topic := range []string{"web", "purchase", "profile"} {
		r.Streams[topic] = m.name(topic)
	}
	return r
}

// run moves the state, with changes to the move.
func (m *moved) run(g *rig, files vfs.FS, change func(*Reshard)) (Resharded, error) {
	m.Helper()
	store := g.store(files)
	r := m.reshard(g, store)
	if change != nil {
		change(r)
	}
	done, err := r.Run(context.Background())
	if cerr := store.Close(); cerr != nil {
		m.Error(cerr)
	}
	return done, err
}

// both returns a change of a Config that makes two.
func both(a, b func(*Config)) func(*Config) { return func(c *Config) { a(c); b(c) } }

// upTo makes a Config read history up to an instant.
func upTo(at time.Time) func(*Config) {
	return func(c *Config) {
		overHistory(c)
		c.Time.Until = engine.Millis(at.UnixMilli())
	}
}

// timeline returns events of some customers in order of time, and an instant
// behind each of them.
func (g *rig) timeline(rng *rand.Rand, n int) []*kgo.Record {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var records []*kgo.Record
	for range n {
		at = at.Add(time.Second + time.Duration(rng.Int64N(int64(20*time.Minute)))).Truncate(time.Millisecond)
		customer := fmt.Sprintf("c%d", rng.IntN(40))
		switch rng.IntN(6) {
		case 0, 1:
			records = append(records, g.event(plan.Purchase, customer, at, map[string]any{"revenue": strconv.Itoa(rng.IntN(200))}))
		case 2:
			records = append(records, g.event(plan.Web, customer, at, map[string]any{"name": "product_added", "items": []map[string]any{{"product_id": "p"}}}))
		case 3:
			records = append(records, g.event(plan.Profile, customer, at, nil))
		default:
			records = append(records, g.event(plan.Web, customer, at, nil))
		}
	}
	return records
}

// put produces records of the streams on topics of n partitions.
func (g *rig) put(name func(string) string, records []*kgo.Record) {
	g.Helper()
	var all []*kgo.Record
	for _, r := range records {
		c := *r
		c.Topic, c.Partition = name(r.Topic), g.route.partition(string(r.Key))
		all = append(all, &c)
	}
	g.produce(all...)
}

// told returns what each customer was told, in order, without ids: they are made
// with the name of the application.
func told(t testing.TB, views ...map[int32][]*kgo.Record) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	for _, view := range views {
		for _, records := range view {
			for _, r := range records {
				var e effect
				if err := json.Unmarshal(r.Value, &e); err != nil {
					t.Fatal(err)
				}
				kind := "change"
				if e.Trigger != "" {
					kind = "trigger"
				}
				got[e.Customer+" "+kind] = append(got[e.Customer+" "+kind], e.String())
			}
		}
	}
	return got
}

// stored returns every customer's bytes in a local copy.
func (g *rig) stored(files vfs.FS) map[string]string {
	g.Helper()
	s := g.store(files)
	got := map[string]string{}
	for p := range g.n {
		if err := s.Task(p).Scan("", func(id string, b []byte) error { got[id] = string(b); return nil }); err != nil {
			g.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		g.Fatal(err)
	}
	return got
}

// An application that was moved to another number of partitions in the middle of
// its history tells every customer what one tells that was never moved, record for
// record, and its customers have the same bytes. A rebuild then finds all history.
func TestReshard(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to int32
		inPlace  bool
	}{{"more, new topics", 4, 7, false}, {"more, in place", 4, 7, true}, {"fewer", 7, 3, false}} {
		for _, seed := range seeds(t, 1) {
			t.Run(fmt.Sprintf("%s/SEED=%d", c.name, seed), func(t *testing.T) {
				clean := newRig(t, c.from)
				records := clean.timeline(rand.New(rand.NewPCG(seed, 0)), 900)
				erased := &kgo.Record{Topic: "profile", Key: []byte("c7"), Timestamp: records[300].Timestamp.Add(time.Millisecond)}
				records = slices.Insert(records, 301, erased)
				half := len(records) / 2
				mid := records[half].Timestamp.Add(-time.Millisecond)
				clean.put(strings.Clone, records)
				cleanFiles := vfs.NewMem()
				if err := clean.start(rules, cleanFiles, overHistory).wait(); err != nil {
					t.Fatal(err)
				}

				g := newRig(t, c.from)
				g.put(strings.Clone, records[:half])
				files := vfs.NewMem()
				if err := g.start(rules, files, upTo(mid)).wait(); err != nil {
					t.Fatal(err)
				}
				m := g.grow(c.to, c.inPlace)
				done, err := m.run(g, files, nil)
				if err != nil {
					t.Fatal(err)
				}
				copied := half
				if c.inPlace {
					stay := func(r *kgo.Record) bool { return g.route.partition(string(r.Key)) == m.route.partition(string(r.Key)) }
					copied = len(slices.DeleteFunc(slices.Clone(records[:half]), stay))
				}
				if done.From != c.from || done.To != c.to || done.Customers == 0 || done.TooLarge != 0 || done.Records != copied {
					t.Errorf("%+v, want %d records", done, copied)
				}
				m.put(m.name, records[half:])
				newFiles := vfs.NewMem()
				if err := m.start(rules, newFiles, both(m.to, overHistory)).wait(); err != nil {
					t.Fatal(err)
				}
				want := told(t, clean.read("changes"), clean.read("triggers"))
				got := told(t, g.read("changes"), g.read("triggers"), m.read("changes2"), m.read("triggers2"))
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
				if diff := gocmp.Diff(clean.stored(cleanFiles), m.stored(newFiles)); diff != "" {
					t.Error("customers differ", len(diff))
				}
				folded := uint64(0)
				for p, records := range m.read(app + "2.changelog") {
					pos, err := decodePosition(records[len(records)-1].Value)
					if err != nil || pos.Partitions != c.to || pos.App != app+"2" {
						t.Errorf("partition %d: %+v, %v", p, pos, err)
					}
					folded += pos.Folded
				}
				if int(folded) != len(records) {
					t.Errorf("folded %d of %d", folded, len(records))
				}
				m.verifyFromNothing(rules, m.to)

				// The old application does not start, wherever it does.
				for _, disk := range []vfs.FS{files, vfs.NewMem()} {
					if c.inPlace {
						break // its inputs do not fit any more
					}
					if err := g.start(rules, disk, nil).wait(); !isFatal(err) || !strings.Contains(err.Error(), "was moved to shop2 with "+strconv.Itoa(int(c.to))+" partitions") {
						t.Errorf("the old application: %v", err)
					}
				}

				// New rules are as if they had been there from the beginning.
				fresh := newRig(t, c.from)
				fresh.put(strings.Clone, records)
				if err := fresh.start(counting, vfs.NewMem(), overHistory).wait(); err != nil {
					t.Fatal(err)
				}
				in := m.start(counting, newFiles, both(m.to, func(c *Config) { c.Time.Clock, c.Rebuild = EventsClock, true }))
				in.ready()
				in.stop()
				// (With the clock of events, an erasure takes effect when its turn comes in a
				// partition, and that is not the same with another number of them.)
				stays := func(l []string) []string {
					return slices.DeleteFunc(l, func(m string) bool { return strings.HasPrefix(m, string(erased.Key)+" ") })
				}
				if diff := gocmp.Diff(stays(fresh.memberships("changes")), stays(m.memberships("changes", "changes2"))); diff != "" {
					t.Errorf("after a rebuild: %s", diff)
				}
			})
		}
	}
}

// memberships returns who is in which segment by the records of some topics, the
// older topic first.
func (g *rig) memberships(topics ...string) []string {
	g.Helper()
	n := g.n
	defer func() { g.n = n }()
	in := map[string]bool{}
	for _, topic := range topics {
		g.n = int32(g.partitionsOf(topic)[topic])
		for _, records := range g.read(topic) {
			for _, r := range records {
				var e effect
				if err := json.Unmarshal(r.Value, &e); err != nil {
					g.Fatal(err)
				}
				switch key := e.Customer + " " + e.Segment; e.Action {
				case "entered":
					in[key] = true
				case "exited":
					delete(in, key)
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(in))
}

// Whatever came late, was bad, or stood on a wrong partition before the move: in the
// end everybody is where they would be without it.
func TestReshardAnyHistory(t *testing.T) {
	for _, seed := range seeds(t, 1) {
		t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) {
			g := newRig(t, 3)
			good, bad, wrong := g.history(rand.New(rand.NewPCG(seed, 0)), 1_000)
			files := vfs.NewMem()
			if err := g.start(rules, files, overHistory).wait(); err != nil {
				t.Fatal(err)
			}
			want := g.members()
			m := g.grow(5, seed%2 == 0)
			if _, err := m.run(g, files, nil); err != nil {
				t.Fatal(err)
			}
			newFiles := vfs.NewMem()
			in := m.start(rules, newFiles, both(m.to, overHistory))
			if err := in.wait(); err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(want, m.memberships("changes", "changes2")); diff != "" {
				t.Error(diff)
			}
			if n := len(m.read("changes2")); n > 0 {
				t.Errorf("the move told something on %d partitions", n)
			}
			if diff := gocmp.Diff(g.stored(files), m.stored(newFiles)); diff != "" {
				t.Error("customers differ", len(diff))
			}
			var folded, dead, forwarded uint64
			for _, records := range m.read(app + "2.changelog") {
				pos, err := decodePosition(records[len(records)-1].Value)
				if err != nil {
					t.Fatal(err)
				}
				folded, dead, forwarded = folded+pos.Folded, dead+pos.DeadLetters, forwarded+pos.Forwarded
			}
			if int(folded) != good || int(dead) != bad || int(forwarded) != wrong {
				t.Errorf("%d, %d, %d, want %d, %d, %d", folded, dead, forwarded, good, bad, wrong)
			}
			fresh := newRig(t, 3)
			fresh.history(rand.New(rand.NewPCG(seed, 0)), 1_000)
			if err := fresh.start(counting, vfs.NewMem(), overHistory).wait(); err != nil {
				t.Fatal(err)
			}
			in = m.start(counting, newFiles, both(m.to, func(c *Config) { c.Time.Clock, c.Rebuild = EventsClock, true }))
			in.ready()
			in.stop()
			if diff := gocmp.Diff(fresh.members(), m.memberships("changes", "changes2")); diff != "" {
				t.Errorf("after a rebuild: %s", diff)
			}
		})
	}
}

// A resharding that dies anywhere can be begun again or taken back, and until it is
// complete neither application runs.
func TestReshardDies(t *testing.T) {
	dead := errors.New("dead")
	for _, c := range []struct {
		point        string
		count        int
		open, closed bool // the new application has move records; the old one has
	}{
		{"produced", 1, false, false}, {"opened", 1, true, false}, {"produced", 2, true, false},
		{"closed", 1, true, true}, {"produced", 3, true, true}, {"closed", 2, true, true},
		{"copied", 1, true, true}, {"switching", 1, true, true}, {"produced", 6, true, true},
	} {
		t.Run(fmt.Sprint(c.point, c.count), func(t *testing.T) {
			g := newRig(t, 2)
			files := vfs.NewMem()
			in := g.start(rules, files, nil)
			in.ready()
			for i := range 20 {
				g.produce(g.event(plan.Web, fmt.Sprintf("c%d", i), g.now(), nil))
			}
			in.caughtUp()
			in.stop()
			want := g.members()
			m := g.grow(3, false)
			countdown := c.count
			die := func(_ int32, at string) error {
				if at == c.point {
					if countdown--; countdown == 0 {
						return dead
					}
				}
				return nil
			}
			_, err := m.run(g, files, func(r *Reshard) { r.From.failAt, r.To.failAt = die, die })
			if !errors.Is(err, dead) {
				t.Fatal(err)
			}
			// Closed in one partition or in all, no instance runs, also on a disk that has
			// seen the move before.
			for range 2 {
				if !c.closed {
					break
				}
				store := g.store(files)
				if _, err := m.reshard(g, store).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "delete the topics") {
					t.Errorf("again: %v", err)
				}
				if err := store.Close(); err != nil {
					t.Fatal(err)
				}
				if err := g.start(rules, files, nil).wait(); !isFatal(err) || !strings.Contains(err.Error(), "--undo") {
					t.Errorf("the old one: %v", err)
				}
			}
			if c.open {
				if err := m.start(rules, vfs.NewMem(), m.to).wait(); !isFatal(err) || !strings.Contains(err.Error(), "is not complete") {
					t.Errorf("the new one: %v", err)
				}
				if _, err := m.run(g, files, nil); err == nil || !strings.Contains(err.Error(), "delete the topics shop2.changelog and shop2.repartition") {
					t.Fatalf("%v", err)
				}
				for _, topic := range []string{"shop2.changelog", "shop2.repartition"} {
					if err := g.broker.DeleteTopic(topic); err != nil {
						t.Fatal(err)
					}
				}
			}
			// Taken back, it runs on; begun again, it comes to its end.
			store := g.store(files)
			if err := m.reshard(g, store).Undo(t.Context()); (err == nil) != c.closed {
				t.Fatal(err)
			}
			if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			in = g.start(rules, files, nil)
			in.ready()
			g.produce(g.event(plan.Purchase, "c3", g.now(), nil))
			in.caughtUp()
			in.stop()
			if _, err := m.run(g, files, nil); err != nil {
				t.Fatal(err)
			}
			g.shift.Store(int64(4 * time.Hour))
			m.shift.Store(int64(4 * time.Hour))
			in = m.start(rules, vfs.NewMem(), m.to)
			in.ready()
			g.eventually("browsing ends", func() bool { return slices.Equal(m.memberships("changes", "changes2"), []string{"c3 buyer"}) })
			in.stop()
			if got := len(want); got != 20 {
				t.Errorf("%d browsed", got)
			}
		})
	}
}

// What stands in the way of a resharding is told before anything is written.
func TestReshardRefused(t *testing.T) {
	g := newRig(t, 2)
	files := vfs.NewMem()
	m := g.grow(3, false)
	refused := func(want string, change func(*Reshard)) {
		t.Helper()
		if _, err := m.run(g, files, change); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	refused("topic shop.changelog", nil)
	in := g.start(rules, files, nil)
	in.ready()
	if _, err := m.reshard(g, in.store).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "1 instances of shop are running") {
		t.Errorf("%v", err)
	}
	in.stop()
	refused("shop has no state", nil)
	in = g.start(rules, files, nil)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	in.caughtUp()
	in.stop()
	refused("both configurations have the app shop", func(r *Reshard) { r.To.App = app })
	refused("web2 has 3 partitions and profile has 2", func(r *Reshard) { r.To.Inputs = []string{"web2", "profile"} })
	refused("changes has 2 partitions and the new inputs have 3: add partitions to it", func(r *Reshard) { r.To.Changes = "changes" })
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	refused("1 records of purchase have not been taken yet", nil)
	refused("1 records of purchase have not been taken yet", func(r *Reshard) { r.Unread = true })
	retold := make(chan struct{}, 100)
	in = g.start(other, files, func(c *Config) {
		c.Rebuild, c.failAt = true, func(_ int32, at string) error {
			if at == "retold" {
				retold <- struct{}{}
				return errors.New("dead")
			}
			return nil
		}
	})
	<-retold
	in.crash()
	refused("a rebuild of shop was not completed", nil)
	refused("needs transactions", func(r *Reshard) { r.From.Delivery = AtLeastOnce })
	in = g.start(rules, files, func(c *Config) { c.Rebuild = true })
	in.ready()
	in.caughtUp()
	in.stop()

	alo := func(c *Config) { c.Delivery = AtLeastOnce }
	in = g.start(rules, files, alo)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	in.caughtUp()
	in.stop()
	refused("needs transactions", nil)
	in = g.start(rules, files, nil)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	in.caughtUp()
	in.stop()

	if done, err := m.run(g, files, func(r *Reshard) { r.DryRun = true }); err != nil || done.From != 2 || done.To != 3 {
		t.Errorf("%+v, %v", done, err)
	}
	if n := g.partitionsOf(app + "2.changelog")[app+"2.changelog"]; n > 0 {
		t.Errorf("a dry run has created topics")
	}
	// A copy on disk that is not what it should be.
	s := g.store(files)
	for p := range g.n {
		if b, ok, err := s.Task(p).Customer(nil, "anna"); err != nil {
			t.Fatal(err)
		} else if ok {
			if err := s.Task(p).Apply([]state.Change{{Customer: "anna", Value: append(b, 0), Old: engine.Never, New: engine.Never}}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	refused("delete the state directory", nil)
	if err := m.reshardOn(g, vfs.NewMem()).Undo(t.Context()); err == nil || !strings.Contains(err.Error(), "no resharding of shop is on its way") {
		t.Errorf("%v", err)
	}
	files = vfs.NewMem()
	if _, err := m.run(g, files, nil); err != nil {
		t.Fatal(err)
	}
	refused("shop2 has state already", nil)
	refused("was moved, to shop2 with 3 partitions", func(r *Reshard) { r.To.App = "shop3" })
	if err := m.reshardOn(g, vfs.NewMem()).Undo(t.Context()); err == nil || !strings.Contains(err.Error(), "can't be given back") {
		t.Errorf("%v", err)
	}
}

// reshardOn is reshard on a store that stays open until the test ends.
func (m *moved) reshardOn(g *rig, files vfs.FS) *Reshard {
	store := g.store(files)
	m.Cleanup(func() { _ = store.Close() })
	return m.reshard(g, store)
}

// Records that were not taken when the inputs grew under the engine are taken after
// the move, if that is allowed: nothing is lost.
func TestReshardUnread(t *testing.T) {
	g := newRig(t, 2)
	files := vfs.NewMem()
	in := g.start(rules, files, func(c *Config) { c.watch = endsInterval })
	in.ready()
	for i := range 10 {
		g.produce(g.event(plan.Purchase, fmt.Sprintf("c%d", i), g.now(), nil))
	}
	in.caughtUp()
	m := g.grow(3, true)
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "segmill state reshard") {
		t.Errorf("%v", err)
	}
	for i := range 10 {
		g.produce(g.event(plan.Purchase, fmt.Sprintf("c%d", i), g.now(), nil)) // by a producer that has not noticed
		m.produce(m.event(plan.Purchase, fmt.Sprintf("c%d", i), g.now(), nil)) // by one that has
	}
	if _, err := m.run(g, files, nil); err == nil || !strings.Contains(err.Error(), "--unread") {
		t.Fatalf("%v", err)
	}
	done, err := m.run(g, files, func(r *Reshard) { r.Unread = true })
	if err != nil || done.Unread["purchase"] == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	in = m.start(rules, vfs.NewMem(), m.to)
	m.eventually("everybody bought three times", func() bool {
		return strings.Count(strings.Join(m.memberships("changes", "changes2"), ","), "frequent") == 10
	})
	in.stop()
}

// An instance of the old application that the group has forgotten is fenced by the
// move, and does not come back.
func TestReshardFences(t *testing.T) {
	g := newRig(t, 1)
	o, end := g.byHand(func(c *Config) { c.Group.SessionTimeout = 1100 * time.Millisecond })
	defer end()
	zombie := o.startByHand(0)
	g.produce(g.event(plan.Web, "anna", g.now(), nil))
	g.eventually("anna", func() bool { return slices.Equal(g.members(), []string{"anna browsing"}) })
	m := g.grow(2, false)
	if _, err := m.run(g, vfs.NewMem(), nil); err != nil {
		t.Fatal(err)
	}
	before := len(g.read(app + ".changelog")[0])
	m.shift.Store(int64(4 * time.Hour))
	g.shift.Store(int64(4 * time.Hour)) // anna's visit is long ago, to both
	g.eventually("the zombie has given up", func() bool {
		st := zombie.Status()
		return st.State == Stopped && strings.Contains(st.Error, "was moved to shop2")
	})
	in := m.start(rules, vfs.NewMem(), m.to)
	m.eventually("told by the new application", func() bool { return len(m.memberships("changes", "changes2")) == 0 })
	in.stop()
	if after := len(g.read(app + ".changelog")[0]); after != before {
		t.Errorf("%d records more in the old changelog", after-before)
	}
	if n := len(g.effects("changes")[0]); n != 1 {
		t.Errorf("the old application has told %d changes", n)
	}
}

package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	gocmp "github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// byHand returns an Owner that is in no group: its tasks are started by the test,
// which calls end.
func (g *rig) byHand(change func(*Config)) (o *Owner, end func()) {
	g.Helper()
	store := g.store(vfs.NewMem())
	cfg := g.config(rules, store)
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
	go func() { defer close(done); o.ends.run(ctx) }()
	return o, func() {
		o.stop(o.owned(), handOver)
		cancel()
		<-done
		o.kill()
		o.admin.Close()
		if err := store.Close(); err != nil {
			g.Error(err)
		}
	}
}

func (o *Owner) startByHand(p int32) *Task {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.start(p)
	return o.tasks[p].t
}

// A task that is taken over while it is paused can neither write nor fire timers
// when it wakes up, and does not fight for the partition.
func TestZombie(t *testing.T) {
	g := newRig(t, 1)
	release := make(chan struct{})
	paused := make(chan struct{}, 1)
	first, endFirst := g.byHand(func(c *Config) {
		c.Group.SessionTimeout = time.Hour
		read := c.Read
		c.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			if string(r.Key) == "stop" {
				paused <- struct{}{}
				<-release
			}
			return read(r, ev)
		}
	})
	defer endFirst()
	zombie := first.startByHand(0)
	now := g.now()
	g.produce(g.event(plan.Web, "anna", now, nil))
	g.eventually("anna", func() bool { return slices.Equal(g.members(), []string{"anna browsing"}) })
	g.produce(g.event(plan.Purchase, "stop", now, nil), g.event(plan.Purchase, "anna", now, nil))
	<-paused

	second, endSecond := g.byHand(nil)
	defer endSecond()
	second.startByHand(0)
	want := []string{"anna browsing", "anna buyer", "stop buyer"}
	g.eventually("the second owner", func() bool { return slices.Equal(g.members(), want) })
	g.shift.Store(int64(4 * time.Hour)) // both owners would now fire the end of anna's browsing
	close(release)
	g.eventually("the zombie is fenced", func() bool { return zombie.Status().State == Waiting })
	g.eventually("one end of browsing", func() bool { return slices.Equal(g.members(), want[1:]) })
	g.positions()
	if got := len(g.effects("changes")[0]); got != 4 {
		t.Errorf("%d changes, want 4", got)
	}
}

// Two instances share the partitions, hand them over, and lose nothing while
// events keep coming.
func TestHandOver(t *testing.T) {
	g := newRig(t, 4)
	produced := make(chan int, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			g.produce(g.event(plan.Purchase, fmt.Sprintf("c%d", n%50), g.now(), nil))
		}
		produced <- n
	}()
	disks := []*vfs.MemFS{vfs.NewMem(), vfs.NewMem()}
	a := g.start(rules, disks[0], nil)
	a.ready()
	for round := range 3 {
		b := g.start(rules, disks[1], nil)
		g.eventually("two instances share", func() bool {
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
	if folded, dead, forwarded := g.totals(); int(folded) != n || dead+forwarded != 0 {
		t.Errorf("folded %d of %d, dead letters %d, forwarded %d", folded, n, dead, forwarded)
	}
	want := min(n, 50)
	if got := len(slices.DeleteFunc(g.members(), func(m string) bool { return !strings.HasSuffix(m, " buyer") })); got != want {
		t.Errorf("%d buyers, want %d", got, want)
	}
	g.verifyFromNothing(rules, nil)
}

// A record whose customer belongs on another partition is forwarded once, keeps
// its stream and time, and is never forwarded again.
func TestForwarding(t *testing.T) {
	g := newRig(t, 2)
	customer := g.customersOf(1, 1)[0]
	at := g.now().Add(-time.Minute).Truncate(time.Millisecond)
	r := g.event(plan.Purchase, customer, at, nil)
	r.Partition, r.Key = 0, []byte("another key")
	erased := &kgo.Record{Topic: "profile", Partition: 0, Key: []byte(customer)}
	misrouted := g.event(plan.Purchase, customer, at, nil)
	in := g.start(rules, vfs.NewMem(), nil)
	in.ready()
	g.produce(r)
	g.eventually("forwarded", func() bool { return slices.Equal(g.members(), []string{customer + " buyer"}) })
	for _, l := range g.read(app + ".repartition") {
		from, err := originOf(l[0], []string{"purchase"})
		if want := (origin{"purchase", 0, 0, engine.Millis(at.UnixMilli())}); err != nil || from != want {
			t.Errorf("origin %+v, %v, want %+v", from, err, want)
		}
		if l[0].Partition != 1 || string(l[0].Value) != string(r.Value) || string(l[0].Key) != "another key" {
			t.Errorf("forwarded %v", l[0])
		}
	}
	// A record on the repartition topic that is on the wrong partition again.
	misrouted.Headers = g.read(app + ".repartition")[1][0].Headers
	misrouted.Topic, misrouted.Partition = app+".repartition", 0
	// And one that says nothing of where it comes from.
	g.produce(misrouted, &kgo.Record{Topic: app + ".repartition", Value: []byte("x")})
	g.eventually("dead letters", func() bool { return len(g.read(app + ".dlq")[0]) == 2 })
	g.produce(erased)
	g.eventually("erased", func() bool { return len(g.members()) == 0 })
	in.stop()
	if folded, dead, forwarded := g.totals(); folded != 2 || dead != 2 || forwarded != 2 {
		t.Errorf("folded %d, dead letters %d, forwarded %d", folded, dead, forwarded)
	}
}

func TestDeadLetters(t *testing.T) {
	for _, hashed := range []bool{false, true} {
		g := newRig(t, 1)
		in := g.start(rules, vfs.NewMem(), func(c *Config) { c.HashDeadLetters = hashed })
		in.ready()
		now := g.now()
		records := []*kgo.Record{
			{Topic: "web", Key: []byte("k"), Value: []byte("{"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("v")}}},
			{Topic: "web", Key: []byte("k"), Value: nil},
			g.event(plan.Web, "anna", now.Add(time.Hour), nil),
			g.event(plan.Web, "anna", now, nil),
		}
		g.produce(records...)
		in.caughtUp()
		in.stop()
		got := g.read(app + ".dlq")[0]
		if len(got) != 3 {
			t.Fatalf("%d dead letters, want 3", len(got))
		}
		for i, cause := range []string{"format", "format", "future"} {
			h := map[string]string{}
			for _, kv := range got[i].Headers {
				h[kv.Key] = string(kv.Value)
			}
			want := map[string]string{"dlq.cause": cause, "dlq.topic": "web", "dlq.partition": "0", "dlq.offset": fmt.Sprint(i), "dlq.error": h["dlq.error"], "dlq.at": h["dlq.at"]}
			switch {
			case hashed:
				want["dlq.sha256"] = h["dlq.sha256"]
				if len(h["dlq.sha256"]) != 64 || got[i].Value != nil || got[i].Key != nil {
					t.Errorf("the payload is kept: %v", got[i])
				}
			default:
				if i == 0 {
					want["h"] = "v"
				}
				if string(got[i].Value) != string(records[i].Value) || string(got[i].Key) != string(records[i].Key) {
					t.Errorf("not as it was: %v", got[i])
				}
			}
			if diff := gocmp.Diff(want, h); diff != "" || h["dlq.error"] == "" || h["dlq.at"] == "" {
				t.Errorf("headers: %s", diff)
			}
		}
		if got := g.members(); !slices.Equal(got, []string{"anna browsing"}) {
			t.Errorf("%v", got)
		}
	}
}

// A tombstone on the profile topic erases: exits, a receipt, no state; and the
// customer begins anew.
func TestErasure(t *testing.T) {
	g := newRig(t, 1)
	in := g.start(rules, vfs.NewMem(), nil)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	g.eventually("anna", func() bool { return len(g.members()) == 1 })
	g.produce(&kgo.Record{Topic: "profile", Key: []byte("anna")})
	g.eventually("erased", func() bool { return len(g.members()) == 0 })
	if v, ok, err := in.store.Task(0).Customer(nil, "anna"); ok || err != nil {
		t.Errorf("still there: %q %v", v, err)
	}
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	g.eventually("anna again", func() bool { return len(g.members()) == 1 })
	in.stop()
	var got []string
	for _, e := range g.effects("changes")[0] {
		got = append(got, fmt.Sprint(e.Action, " ", e.Segment, " ", e.Sequence, " ", e.Cause))
	}
	want := []string{"entered buyer 1 event", "exited buyer 2 erasure", "erased  0 erasure", "entered buyer 1 event"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	last := map[string][]byte{}
	for _, r := range g.read(app + ".changelog")[0] {
		last[string(r.Key)] = r.Value
	}
	if len(last) != 3 { // anna, position, versions
		t.Errorf("%d keys in the changelog", len(last))
	}
	g.verifyFromNothing(rules, nil)
}

// What can't be produced ends as one dead letter; what stands around it is folded.
func TestUnproducible(t *testing.T) {
	g := newRig(t, 1)
	var records []*kgo.Record
	for i := range 60 {
		records = append(records, g.event(plan.Purchase, fmt.Sprintf("c%d", i), g.now(), nil))
	}
	g.produce(records...)
	if err := g.broker.CreateTopic("changes", 1, nil); err != nil {
		t.Fatal(err)
	}
	id := g.broker.TopicInfo("changes").TopicID
	// Every transaction that holds a change of c37 is refused.
	g.broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.Produce}, Topic: "changes", Err: kerr.InvalidRecord, Count: -1,
		When: func(r kmsg.Request) bool {
			for _, t := range r.(*kmsg.ProduceRequest).Topics {
				for _, p := range t.Partitions {
					if t.TopicID == id && strings.Contains(string(p.Records), `"c37"`) {
						return true
					}
				}
			}
			return false
		},
	})
	in := g.start(rules, vfs.NewMem(), func(c *Config) {
		c.Kafka = append(c.Kafka, kgo.ProducerBatchCompression(kgo.NoCompression()))
	})
	in.caughtUp()
	in.stop()
	if got := len(g.members()); got != 59 {
		t.Errorf("%d buyers, want 59", got)
	}
	if l := g.read(app + ".dlq")[0]; len(l) != 1 || string(l[0].Key) != "c37" {
		t.Errorf("dead letters: %v", l)
	}
	g.positions()
}

// A registry that does not answer holds its topic, and nothing becomes a dead
// letter.
func TestRegistryDown(t *testing.T) {
	g := newRig(t, 1)
	answers := make(chan struct{})
	in := g.start(rules, vfs.NewMem(), func(c *Config) {
		read := c.Read
		c.Read = func(r *schemas.Record, ev *engine.Event) (schemas.Result, error) {
			select {
			case <-answers:
			default:
				if r.Topic == "web" {
					return 0, fmt.Errorf("id 7: %w", schemas.ErrRegistry)
				}
			}
			return read(r, ev)
		}
		c.Time.MaxMergeWait = 200 * time.Millisecond
	})
	in.ready()
	now := g.now()
	g.produce(g.event(plan.Web, "anna", now, nil), g.event(plan.Purchase, "anna", now.Add(time.Millisecond), nil))
	g.eventually("the other topic goes on", func() bool { return slices.Equal(g.members(), []string{"anna buyer"}) })
	close(answers)
	g.eventually("the registry is back", func() bool { return slices.Equal(g.members(), []string{"anna browsing", "anna buyer"}) })
	in.stop()
	if n := len(g.read(app + ".dlq")); n != 0 {
		t.Errorf("%d partitions with dead letters", n)
	}
}

// A local copy that is wrong is found, dropped, and restored from the changelog.
func TestWrongLocalState(t *testing.T) {
	wake := func(b []byte) (state.Millis, error) { return engine.WakeOf(b) }
	for name, spoil := range map[string]func(*testing.T, *state.Task){
		"a customer is missing": func(t *testing.T, task *state.Task) {
			b, ok, err := task.Customer(nil, "anna")
			if !ok || err != nil {
				t.Fatal(ok, err)
			}
			w, err := wake(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := task.Apply([]state.Change{{Customer: "anna", Old: w, New: engine.Never}}, nil); err != nil {
				t.Fatal(err)
			}
		},
		"a position of nobody": func(t *testing.T, task *state.Task) {
			m, _, err := task.Meta()
			if err != nil {
				t.Fatal(err)
			}
			m.Position = []byte{positionFormat, 1}
			if err := task.Apply(nil, &m); err != nil {
				t.Fatal(err)
			}
		},
		"of another topic": func(t *testing.T, task *state.Task) {
			m, _, err := task.Meta()
			if err != nil {
				t.Fatal(err)
			}
			m.TopicID[3]++
			if err := task.Apply(nil, &m); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1)
			files := vfs.NewMem()
			in := g.start(rules, files, nil)
			in.ready()
			g.produce(g.event(plan.Purchase, "anna", g.now(), nil), g.event(plan.Purchase, "berta", g.now(), nil))
			in.caughtUp()
			in.stop()
			s := g.store(files)
			spoil(t, s.Task(0))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			in = g.start(rules, files, nil)
			g.eventually("the copy is right again", func() bool {
				v, err := Verify(context.Background(), in.store, 0)
				return err == nil && v.Customers == 2 && in.o.Status().Ready
			})
			g.produce(g.event(plan.Purchase, "anna", g.now(), nil), g.event(plan.Purchase, "anna", g.now(), nil))
			g.eventually("anna is frequent", func() bool { return slices.Contains(g.members(), "anna frequent") })
			in.stop()
		})
	}
}

// A changelog that is wrong stops the partition, and says so.
func TestWrongChangelog(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*rig)
		want  string
	}{
		"a customer that no position knows": {func(g *rig) {
			g.produce(&kgo.Record{Topic: app + ".changelog", Key: []byte("c/nobody"), Value: nil},
				&kgo.Record{Topic: app + ".changelog", Key: []byte("c/anna"), Value: nil})
		}, "digest"},
		"a key that nobody writes": {func(g *rig) {
			g.produce(&kgo.Record{Topic: app + ".changelog", Key: []byte("hello")})
		}, "somebody else writes"},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, 1)
			files := vfs.NewMem()
			in := g.start(rules, files, nil)
			in.ready()
			g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
			in.caughtUp()
			in.stop()
			c.spoil(g)
			in = g.start(rules, files, nil)
			g.eventually("stopped", func() bool {
				st := in.o.Status()
				return len(st.Tasks) == 1 && st.Tasks[0].State == Stopped && strings.Contains(st.Tasks[0].Error, c.want)
			})
			in.stop()
		})
	}
}

// Records that retention has deleted before they were read are not passed over in
// silence.
func TestDeletedRecords(t *testing.T) {
	g := newRig(t, 1)
	files := vfs.NewMem()
	in := g.start(rules, files, nil)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	in.caughtUp()
	in.stop()
	g.produce(g.event(plan.Purchase, "berta", g.now(), nil), g.event(plan.Purchase, "carla", g.now(), nil))
	if err := g.broker.DeleteRecords("purchase", 0, 2); err != nil {
		t.Fatal(err)
	}
	in = g.start(rules, files, nil)
	g.eventually("stopped", func() bool {
		st := in.o.Status()
		return len(st.Tasks) == 1 && st.Tasks[0].State == Stopped && strings.Contains(st.Tasks[0].Error, "records 1 to 1 of purchase were deleted")
	})
	in.stop()
	in = g.start(rules, files, func(c *Config) { c.SkipDeleted = true })
	in.caughtUp()
	in.stop()
	if got := g.members(); !slices.Equal(got, []string{"anna buyer", "carla buyer"}) {
		t.Errorf("%v", got)
	}
}

// The end of the changelog is asked for including what is not committed
// (KAFKA-10167); this broker ends transactions at once, so the result can't tell.
func TestChangelogEndIsReadUncommitted(t *testing.T) {
	g := newRig(t, 1)
	asked := g.broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: app + ".changelog", Observe: true, Count: -1,
		When: func(r kmsg.Request) bool { return r.(*kmsg.ListOffsetsRequest).IsolationLevel == 0 },
	})
	wrong := g.broker.Fault(kfake.Fault{
		Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: app + ".changelog", Observe: true, Count: -1,
		When: func(r kmsg.Request) bool { return r.(*kmsg.ListOffsetsRequest).IsolationLevel != 0 },
	})
	in := g.start(rules, vfs.NewMem(), nil)
	in.ready()
	in.stop()
	if asked.Hits() == 0 || wrong.Hits() > 0 {
		t.Errorf("asked %d times uncommitted, %d times committed", asked.Hits(), wrong.Hits())
	}
}

func TestPartitionCounts(t *testing.T) {
	g := newRig(t, 2)
	if err := g.broker.CreateTopic("more", 3, nil); err != nil {
		t.Fatal(err)
	}
	store := g.store(vfs.NewMem())
	defer store.Close() //nolint:errcheck // nothing was written
	run := func(change func(*Config)) error {
		cfg := g.config(rules, store)
		change(&cfg)
		o, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return o.Run(t.Context())
	}
	err := run(func(c *Config) { c.Inputs = append(c.Inputs, "more") })
	if err == nil || !strings.Contains(err.Error(), "has 2 partitions and more has 3") {
		t.Errorf("%v", err)
	}
	if err = run(func(c *Config) { c.Inputs = append(c.Inputs, "none") }); !errors.Is(err, kerr.UnknownTopicOrPartition) || !strings.Contains(err.Error(), "none") {
		t.Errorf("%v", err)
	}
	if err = run(func(c *Config) { c.Create.Topics = false }); !errors.Is(err, kerr.UnknownTopicOrPartition) {
		t.Errorf("%v", err)
	}
}

// Offsets go to a group of their own, for tools.
func TestProgressGroup(t *testing.T) {
	g := newRig(t, 1)
	in := g.start(rules, vfs.NewMem(), nil)
	in.ready()
	g.produce(g.event(plan.Purchase, "anna", g.now(), nil))
	g.eventually("progress", func() bool {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Group = app + "-progress"
		resp, err := req.RequestWith(context.Background(), g.cl)
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

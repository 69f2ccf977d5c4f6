package group

import (
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/inspect"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/internal/rig"
)

// uneven is a fleet whose inputs have numbers of partitions of their own.
type uneven struct {
	*fleet
	counts map[string]int32
}

func newUneven(t *testing.T, tasks int32, counts map[string]int32) *uneven {
	g := &uneven{newFleet(t, 1), counts}
	for topic, n := range counts {
		if n > 1 {
			g.AddPartitions(topic, int(n))
		}
	}
	g.Partitions, g.Route = tasks, broker.NewRouter(tasks)
	g.Connect()
	return g
}

// settings are those of an instance.
func (g *uneven) settings(c *config.Config) {
	c.Create.Partitions = g.Partitions
	c.Fixed.Watch = 300 * time.Millisecond
}

// event returns an event where the producer of a topic with so many partitions puts it.
func (g *uneven) event(stream plan.Stream, customer string, at time.Time) *kgo.Record {
	r := g.Event(stream, customer, at, nil)
	r.Partition = broker.NewRouter(g.counts[r.Topic]).Partition(customer)
	return r
}

// grow gives an input more partitions, which producers then use.
func (g *uneven) grow(topic string, n int32) {
	g.Helper()
	g.AddPartitions(topic, int(n))
	g.counts[topic] = n
	g.Connect()
}

// buyers lets customers buy, and returns what they are then.
func (g *uneven) buyers(prefix string, n int) (members []string) {
	g.Helper()
	for i := range n {
		who := fmt.Sprintf("%s%02d", prefix, i)
		g.Produce(g.event(plan.Purchase, who, g.Now()))
		members = append(members, who+" buyer")
	}
	return members
}

// areMembers waits for exactly these members.
func (g *uneven) areMembers(want []string) {
	g.Helper()
	slices.Sort(want)
	g.Eventually(fmt.Sprintf("%d members", len(want)), func() bool { return slices.Equal(g.Members(), want) })
}

// taken waits until everything has been taken.
func (g *uneven) taken(in *instance) {
	g.Helper()
	g.Eventually("caught up", func() bool {
		st := in.o.Status()
		if !st.Ready || len(st.Tasks) != int(g.Partitions) || st.Lag > 0 {
			return false
		}
		for topic, ends := range g.Ends(slices.Collect(maps.Keys(g.counts))...) {
			for p, end := range ends {
				for _, t := range st.Tasks {
					if t.Partition == p%g.Partitions && t.Sources[changelog.InputOf(topic, p, t.Partition)].Next < end {
						return false
					}
				}
			}
		}
		return true
	})
}

// unevenCounts are fewer, about as many, and more partitions than the tests' four tasks.
func unevenCounts() map[string]int32 { return map[string]int32{"web": 3, "purchase": 7, "profile": 1} }

// Every customer gets what is theirs, on whatever partitions their records are: over
// history the outcome is that of inputs with a partition for
// each task.
func TestUnevenPartitions(t *testing.T) {
	day := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	write := func(g *uneven) {
		rng := rand.New(rand.NewPCG(4, 4))
		var records []*kgo.Record
		for i := range 400 {
			stream := []plan.Stream{plan.Web, plan.Purchase}[rng.IntN(2)]
			records = append(records, g.event(stream, fmt.Sprintf("c%d", rng.IntN(30)), day.Add(time.Duration(i)*time.Minute)))
		}
		g.Produce(records...)
	}
	run := func(g *uneven) []string {
		files := vfs.NewMem()
		upTo := upTo(day.Add(24 * time.Hour))
		in := g.start(fixture.Rules, files, both(upTo, g.settings))
		if err := in.wait(); err != nil {
			t.Fatal(err)
		}
		return g.Members()
	}
	want := newUneven(t, 4, map[string]int32{"web": 4, "purchase": 4, "profile": 4})
	write(want)
	g := newUneven(t, 4, unevenCounts())
	write(g)
	a, b := run(want), run(g)
	if len(a) == 0 || !slices.Equal(a, b) {
		t.Errorf("members %q, want %q", b, a)
	}
}

// Partitions that an input gets while the engine runs are read from their beginning,
// also what was written before anybody saw them; a restart and a rebuild go on with them.
func TestInputsGrow(t *testing.T) {
	g := newUneven(t, 4, unevenCounts())
	files := vfs.NewMem()
	in := g.start(fixture.Rules, files, g.settings)
	in.ready()
	g.Produce(g.event(plan.Purchase, "anna", g.Now()))
	g.taken(in)
	g.grow("purchase", 10)
	want := append(g.buyers("n", 40), "anna buyer")
	g.areMembers(want)
	in.stop()
	in = g.start(fixture.Rules, vfs.NewMem(), g.settings)
	in.ready()
	want = append(want, g.buyers("late", 1)...)
	g.areMembers(want)
	in.stop()
	read := int64(0)
	for p, pos := range g.Positions() {
		for of, at := range pos.Sources {
			if of.Topic == "purchase" {
				if of.Partition(p)%4 != p {
					t.Errorf("task %d reads purchase/%d", p, of.Partition(p))
				}
				read += at.Next
			}
		}
	}
	if read != 42 {
		t.Errorf("%d records of purchase are read by the positions, want 42", read)
	}
	// Under other rules everything is folded again, the added partitions too.
	in = g.start(strings.ReplaceAll(fixture.Rules, "buyer", "customer"), files, both(g.settings, func(c *config.Config) { c.Rebuild = true }))
	for i := range want {
		want[i] = strings.Replace(want[i], "buyer", "customer", 1)
	}
	g.areMembers(want)
	in.stop()
}

// An input that grows to a multiple of the number of tasks keeps each customer at their
// own task: nothing is forwarded. One that does not is a weakness, by name.
func TestGrowthToMultiple(t *testing.T) {
	g := newUneven(t, 4, map[string]int32{"web": 4, "purchase": 4, "profile": 3})
	reg := prometheus.NewRegistry()
	in := g.start(fixture.Rules, vfs.NewMem(), both(g.settings, func(c *config.Config) { c.Metrics = metrics.New(reg) }))
	in.ready()
	want := g.buyers("a", 20)
	g.areMembers(want)
	g.grow("purchase", 8)
	g.areMembers(append(want, g.buyers("b", 40)...))
	g.taken(in)
	in.stop()
	if folded, _, forwarded := g.Totals(); folded != 60 || forwarded != 0 {
		t.Errorf("%d records are folded and %d forwarded, want 60 and none", folded, forwarded)
	}
	got := fixture.Gather(t, reg)
	for topic, want := range map[string]float64{"web": 0, "purchase": 0, "profile": 1} {
		if weak := got["segmill_topic_weaknesses{"+topic+",partitions}"]; weak != want {
			t.Errorf("%s: a weakness is %v, want %v", topic, weak, want)
		}
	}
	if added := got["segmill_input_partitions_added_total{purchase}"]; added != 4 {
		t.Errorf("%v partitions were added, want 4", added)
	}
	cfg := g.Config(fixture.Rules, nil)
	g.settings(&cfg)
	seen, err := inspect.Inspect(t.Context(), cfg, 0)
	if err != nil || !slices.ContainsFunc(seen.Findings, func(f inspect.Finding) bool {
		return f.Topic == "profile" && strings.Contains(f.Message, "nor a multiple")
	}) {
		t.Errorf("%v: %+v", err, seen)
	}
}

// A task that dies when it has taken up a partition, and has committed nothing of it,
// takes it up again at its beginning.
func TestDeathAtGrowth(t *testing.T) {
	rig.NeedPoints(t)
	g := newUneven(t, 4, unevenCounts())
	files := vfs.NewMem()
	died := make(chan int32, 4)
	in := g.start(fixture.Rules, files, both(g.settings, func(c *config.Config) {
		rig.FailAt(t, c, func(task int32, point string) error {
			if point != "grown" {
				return nil
			}
			select {
			case died <- task:
			default:
			}
			return rig.ErrCrash
		})
	}))
	in.ready()
	want := g.buyers("a", 10)
	g.areMembers(want)
	g.grow("purchase", 9) // 8 is read by task 0, and 7 by task 3
	want = append(want, g.buyers("b", 30)...)
	<-died
	in.crash()
	in = g.start(fixture.Rules, files, g.settings)
	g.areMembers(want)
	g.taken(in)
	in.stop()
	if folded, _, _ := g.Totals(); folded != 40 {
		t.Errorf("%d records are folded, want 40", folded)
	}
}

// A partition that does not answer yet is taken up later. Meanwhile, the tasks that are to
// read it go on with what they have.
func TestGrowthIsWaitedFor(t *testing.T) {
	g := newUneven(t, 4, unevenCounts())
	in := g.start(fixture.Rules, vfs.NewMem(), g.settings)
	in.ready()
	noLeader := g.Broker.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}, Topic: "purchase", Partitions: []int32{7, 8, 9}, Err: kerr.LeaderNotAvailable, Count: -1})
	g.AddPartitions("purchase", 10)
	want := g.buyers("a", 30) // on the partitions that were there
	g.areMembers(want)
	in.o.Grow("purchase", 12) // as if another instance had seen two more, of which no broker knows here
	g.counts["purchase"] = 10
	g.Connect()
	later := g.buyers("b", 30)
	asked := noLeader.Hits()
	g.Eventually("they are asked for", func() bool { return noLeader.Hits() > asked })
	for _, task := range in.o.Status().Tasks {
		if task.State != "running" {
			t.Errorf("task %d: %s %s", task.Partition, task.State, task.Error)
		}
	}
	noLeader.Remove()
	g.AddPartitions("purchase", 12)
	g.areMembers(append(want, later...))
	in.stop()
}

// What is waited for is shown by the partition of the input, and no longer when the task
// has gone.
func TestWaitsOfPartitions(t *testing.T) {
	reg := prometheus.NewRegistry()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var o Owner
	o.Config = config.Config{Metrics: metrics.New(reg), Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}
	wait := func(topic string, partition int32, since time.Duration) feed.Wait {
		return feed.Wait{Input: broker.Partition{Topic: topic, Number: partition}, Task: 1, Since: now.Add(-since), Reason: "of a test"}
	}
	show := func(waits ...feed.Wait) map[string]float64 {
		tasks := []task.Status{{Partition: 1, Waits: waits}}
		o.forget(tasks)
		if o.gauged[1] == nil {
			o.gauged[1] = map[broker.Partition]bool{}
		}
		o.showWaits(tasks[0])
		return fixture.Gather(t, reg)
	}
	got := show(wait("web", 1, 7*time.Second), wait("web", 5, 9*time.Second), wait("", 0, 6*time.Second))
	if got["segmill_waiting_seconds{1,web}"] != 7 || got["segmill_waiting_seconds{5,web}"] != 9 || got["segmill_waiting_seconds{1,}"] != 6 {
		t.Errorf("%v", got)
	}
	if got = show(wait("web", 5, 9*time.Second)); got["segmill_waiting_seconds{1,web}"] != 0 || got["segmill_waiting_seconds{5,web}"] != 9 {
		t.Errorf("%v", got)
	}
	if text := wait("web", 5, 0).String(); !strings.HasPrefix(text, "web/5 since ") {
		t.Error(text)
	}
	if text := wait("web", 1, 0).String(); !strings.HasPrefix(text, "web since ") {
		t.Error(text)
	}
	o.forget(nil)
	for name := range fixture.Gather(t, reg) {
		if strings.HasPrefix(name, "segmill_waiting_seconds") {
			t.Errorf("%s is still there", name)
		}
	}
}

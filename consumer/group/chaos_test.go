package group_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/checker"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/schemas"
)

const (
	chaosApp        = "shop"
	chaosPartitions = 4
	chaosEvents     = 4_000
	chaosGrace      = 500 * time.Millisecond
	chaosSkew       = 200 * time.Millisecond // clocks of instances differ by less
	chaosSession    = 1500 * time.Millisecond
	// chaosBound is how long catching up may take when nothing goes wrong any more.
	chaosBound = 2 * time.Minute
	chaosSlow  = 5 * time.Second // worth a look
)

var chaosInputs = []string{chaosLog, "profile", "purchase", "web"}

// chaosRules have windows and delays of seconds.
const chaosRules = `
version: 1
defaults: {timezone: UTC}
segments:
  - {id: buyer, objective: a, owner: b, review_by: 2099-01-01, when: "count(purchase) >= 1"}
  - {id: busy, objective: a, owner: b, review_by: 2099-01-01, when: 'count(web, duration("3s")) >= 2'}
  - {id: quiet, objective: a, owner: b, review_by: 2099-01-01, when: 'since_last(activity) >= duration("2500ms")'}
  - {id: big, objective: a, owner: b, review_by: 2099-01-01, when: 'sum(purchase.revenue, duration("4s")) > 200'}
  - {id: french, objective: a, owner: b, review_by: 2099-01-01, when: "profile.country == 'FR'"}
  - {id: engaged, objective: a, owner: b, review_by: 2099-01-01, when: 'in_segment("busy") && in_segment("buyer")'}
triggers:
  - {id: cart, kind: abandoned_cart, after: 2s}
  - {id: silence, kind: inactivity, after: 3s}
`

// chaos is one seed: a broker, some instances, a load, and what goes wrong.
type chaos struct {
	seed int64
	rng  *rand.Rand // of the plan
	// What the seed decides.
	events    bool // the clock of events over a history, not the wall clock live
	forwards  bool // some records are on wrong partitions
	static    bool // instances keep their names
	compacted bool
	uneven    bool // inputs have numbers of partitions of their own, and get more
	// atLeastOnce: without transactions.
	atLeastOnce bool
	standby     int  // copies of each partition
	rules       bool // rules change
	imported    bool // a part of the history comes from the topic of history

	broker  *kfake.Cluster
	admin   *kgo.Client
	sets    ruleSets
	encoder *schemas.Encoder
	nodes   []*node
	load    *load
	shift   atomic.Int64 // added to the wall clock
	slow    atomic.Int64 // how long to read a record takes
	hold    gate

	pending sync.WaitGroup // faults that are not over
	handles []*kfake.FaultHandle
	faults  map[string]int

	sizes     map[string]*atomic.Int32 // how many partitions the load uses of each input
	committed [chaosPartitions]bool    // which partitions have had a position; of compact

	log     *slog.Logger
	mu      sync.Mutex
	text    bytes.Buffer
	notes   []string
	dead    map[string]time.Time // client ids of incarnations that are over
	ghosts  int
	wrong   []string
	begin   time.Time
	catchUp time.Duration
	report  *checker.Report
}

// now is the wall clock of the load and, but for the skew, of the instances.
func (x *chaos) now() time.Time { return time.Now().Add(time.Duration(x.shift.Load())) }

// note writes into the log of faults.
func (x *chaos) note(format string, args ...any) {
	text := fmt.Sprintf("%8v ", time.Since(x.begin).Round(time.Millisecond)) + fmt.Sprintf(format, args...)
	x.log.Warn("FAULT", "what", text)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.notes = append(x.notes, text)
}

// fail notes what must not be.
func (x *chaos) fail(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	x.log.Error("WRONG", "what", text)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.wrong = append(x.wrong, text)
}

func (x *chaos) died(clientID string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.dead[clientID] = time.Now()
}

// Write keeps the log.
func (x *chaos) Write(b []byte) (int, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.text.Write(b)
}

// TestChaos runs seeds, each of which decides a load and what goes wrong while it
// is worked on. CHAOS_SEEDS says how many, SEED repeats one, CHAOS_VERBOSE keeps the
// logs of seeds that pass.
func TestChaos(t *testing.T) {
	rig.NeedPoints(t)
	n, first := 2, rand.Int64N(1<<40)
	if s := os.Getenv("CHAOS_SEEDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("SEED"); s != "" {
		var err error
		if first, err = strconv.ParseInt(s, 10, 64); err != nil {
			t.Fatal(err)
		}
		n = 1
	}
	runs := make([]*chaos, n)
	t.Run("seeds", func(t *testing.T) {
		for i := range runs {
			t.Run(fmt.Sprintf("SEED=%d", first+int64(i)), func(t *testing.T) {
				t.Parallel()
				runs[i] = runChaos(t, first+int64(i))
			})
		}
	})
	t.Log(summary(runs))
}

// runChaos runs one seed.
func runChaos(t *testing.T, seed int64) *chaos {
	x := &chaos{
		seed: seed, rng: rand.New(rand.NewPCG(uint64(seed), 1)), begin: time.Now(),
		events: seed%2 == 1, forwards: seed%4 != 1, static: seed/2%2 == 1, compacted: seed%3 == 0,
		atLeastOnce: seed%3 == 1, // not compacted: the broker would not wait min.compaction.lag.ms
		uneven:      seed%5 >= 3,
		rules:       seed%3 != 1, // without transactions, a reader can have seen what was emitted under rules that were given up
		imported:    seed%2 == 1 && seed/8%2 == 1,

		faults: map[string]int{}, dead: map[string]time.Time{},
	}
	if x.static && seed%5 < 3 {
		x.standby = 1
	}
	x.sizes = map[string]*atomic.Int32{}
	for _, topic := range chaosInputs {
		x.sizes[topic] = new(atomic.Int32)
		x.sizes[topic].Store(chaosPartitions)
	}
	if x.uneven {
		// Few records are where their customers are; erasures would be forwarded after
		// events that were written later.
		x.forwards = true
		x.sizes["profile"].Store(1)
		x.sizes["web"].Store(3)
		x.sizes["purchase"].Store(7)
	}
	x.log = slog.New(slog.NewTextHandler(x, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if err := x.prepare(); err != nil {
		t.Fatal(err)
	}
	defer x.broker.Close()
	defer x.admin.Close()
	defer x.load.cl.Close()
	watching, stop := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { x.evict(watching) })
	x.run()
	stop()
	watch.Wait()
	if len(x.wrong) > 0 || x.report == nil || x.report.Count() > 0 {
		t.Errorf("%v\n%s\n%s\n%v\n%s", x, strings.Join(x.wrong, "\n"), strings.Join(x.notes, "\n"), x.report, x.tail())
	} else if t.Log(x); x.catchUp > chaosSlow || os.Getenv("CHAOS_VERBOSE") != "" {
		t.Logf("worth a look\n%s\n%s", strings.Join(x.notes, "\n"), x.tail())
	}
	return x
}

// tail writes the log to a file and returns its end.
func (x *chaos) tail() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	lines := strings.Split(x.text.String(), "\n")
	end := strings.Join(lines[max(0, len(lines)-40):], "\n")
	f, err := os.CreateTemp("", fmt.Sprintf("chaos-%d-*.log", x.seed))
	if err != nil {
		return end
	}
	defer f.Close() // only a log
	_, _ = f.Write(x.text.Bytes())
	return end + "\nthe whole log is in " + f.Name()
}

// prepare makes everything that a seed needs.
func (x *chaos) prepare() (err error) {
	opts := []kfake.Opt{kfake.NumBrokers(3), kfake.GroupMinSessionTimeout(100 * time.Millisecond)}
	for topic, n := range x.sizes {
		opts = append(opts, kfake.SeedTopics(n.Load(), topic))
	}
	if x.broker, err = kfake.NewCluster(opts...); err != nil {
		return err
	}
	brokers := kgo.SeedBrokers(x.broker.ListenAddrs()...)
	if x.admin, err = kgo.NewClient(brokers); err != nil {
		return err
	}
	x.sets.changing = map[string]string{}
	if x.rules {
		x.draw("var_busy")
		x.draw("var_big")
	}
	if err := x.sets.add(); err != nil {
		return err
	}
	if x.encoder, err = schemas.NewEncoder(schemas.JSON, chaosApp, schemas.IDs{}); err != nil {
		return err
	}
	x.load = &load{
		x: x, rng: rand.New(rand.NewPCG(uint64(x.seed), 2)), enc: schemas.NewEventEncoder(schemas.JSON, [plan.NumBuiltin]int{}),
		kinds: map[string]int{}, busy: map[string]bool{}, known: map[string]bool{}, last: map[string]engine.Millis{}, tainted: map[string]bool{},
	}
	router := kgo.StickyKeyPartitioner(nil).ForTopic("")
	x.load.route = func(topic, customer string) int32 {
		return int32(router.Partition(&kgo.Record{Key: []byte(customer)}, int(x.sizes[topic].Load())))
	}
	if x.load.cl, err = kgo.NewClient(brokers, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerLinger(2*time.Millisecond)); err != nil {
		return err
	}
	if x.load.bad, err = badRecords(x.sets.newest().reader.Read); err != nil {
		return err
	}
	for i := range 5 {
		x.nodes = append(x.nodes, &node{x: x, id: i, disk: vfs.NewCrashableMem()})
	}
	return nil
}

// faultGap is how long it is between two faults, about.
const faultGap = 220 * time.Millisecond

// run runs the load under faults, lets everything heal, waits, and judges.
func (x *chaos) run() {
	todo := x.plan()
	over := time.Duration(len(todo)) * faultGap
	if x.events {
		if x.imported {
			x.load.history(chaosEvents / 3)
		}
		x.load.preload(chaosEvents)
		x.slow.Store(int64(over) * chaosPartitions / chaosEvents)
	}
	for _, n := range x.nodes[:3+x.rng.IntN(2)] {
		if err := n.start(); err != nil {
			x.fail("%v", err)
			return
		}
	}
	var loading sync.WaitGroup
	if !x.events {
		loading.Go(func() { x.load.live(chaosEvents, over) })
	}
	x.inject(todo, faultGap)
	loading.Wait()
	x.heal()
	healed := time.Now()
	if !x.await("caught up", x.caughtUp) {
		return
	}
	x.catchUp = time.Since(healed)
	var settled engine.Millis
	if !x.events {
		// Nothing is on its way: clocks may run ahead, so that everything is due.
		x.shift.Add(int64(30 * time.Second))
		settled = engine.Millis(x.now().Add(-chaosSkew - chaosGrace).UnixMilli())
	}
	if !x.await("everything due has fired", func() bool { return x.settled(settled) }) {
		return
	}
	x.judge(settled)
}

// heal ends all faults.
func (x *chaos) heal() {
	x.pending.Wait()
	for _, h := range x.handles {
		h.Remove()
	}
	x.slow.Store(0)
	running := 0
	for _, n := range x.nodes {
		n.mu.Lock()
		l := n.live
		n.mu.Unlock()
		if l == nil {
			continue
		}
		l.points.Clear()
		l.wire.liar.Calm()
		select {
		case <-l.done:
			// The process has ended; somebody starts it again.
			x.note("%s had ended: %v", l.clientID, l.err)
			if err := cmp.Or(l.store.Close(), n.start()); err != nil {
				x.fail("%v", err)
			}
		default:
		}
		running++
	}
	if running == 0 {
		if err := x.nodes[0].start(); err != nil {
			x.fail("%v", err)
		}
	}
	x.note("healed, %d instances run", max(1, running))
}

package group_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"regexp"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/checker"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// tasks returns the status of every partition's one running task; false if some
// partition has none or two.
func (x *chaos) tasks() (map[int32]task.Status, bool) {
	got := map[int32]task.Status{}
	for _, n := range x.nodes {
		n.mu.Lock()
		l := n.live
		n.mu.Unlock()
		if l == nil {
			continue
		}
		for _, t := range l.owner.Status().Tasks {
			if _, ok := got[t.Partition]; ok || t.State != task.Running {
				return nil, false
			}
			got[t.Partition] = t
		}
	}
	return got, len(got) == chaosPartitions
}

// ends returns where topics end, nil if that is not known.
func (x *chaos) ends(topics ...string) kadm.ListedOffsets {
	ends, err := kadm.NewClient(x.admin).ListEndOffsets(context.Background(), topics...)
	if err != nil || ends.Error() != nil {
		return nil
	}
	return ends
}

func (x *chaos) caughtUp() bool {
	ends := x.ends(chaosInputs...)
	tasks, ok := x.tasks()
	if !ok || ends == nil || x.rules && !x.underNewest(tasks) {
		return false
	}
	left := int64(0)
	ends.Each(func(o kadm.ListedOffset) {
		left += max(0, o.Offset-tasks[o.Partition%chaosPartitions].Sources[changelog.InputOf(o.Topic, o.Partition, o.Partition%chaosPartitions)].Next)
	})
	for _, t := range tasks {
		left += t.Lag
	}
	return left == 0
}

// settled reports whether all clocks have come to an instant and nothing more is
// written.
func (x *chaos) settled(at engine.Millis) bool {
	tasks, ok := x.tasks()
	for _, t := range tasks {
		ok = ok && (x.events || t.Clock >= at)
	}
	if !ok {
		return false
	}
	total := func() (n int64) {
		x.ends(chaosApp + ".changelog").Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	before := total()
	return !rig.Within(200*time.Millisecond, func() bool { return total() != before }) && x.caughtUp()
}

// await waits for a condition, and writes down what everybody is doing if it does
// not come.
func (x *chaos) await(what string, ok func() bool) bool {
	if rig.Within(chaosBound, ok) {
		return true
	}
	x.fail("not within %v: %s", chaosBound, what)
	for _, n := range x.nodes {
		n.mu.Lock()
		if n.live != nil {
			x.fail("%s: %+v", n.live.clientID, n.live.owner.Status())
		}
		n.mu.Unlock()
	}
	x.fail("group: %+v", x.broker.GroupInfo(chaosApp))
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 1)
	x.log.Error("goroutines", "profile", b.String())
	return false
}

// evict takes members out of the group whose process is dead: the broker now and
// then never expires one.
func (x *chaos) evict(ctx context.Context) {
	for tick := time.Tick(300 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick:
		}
		g := x.broker.GroupInfo(chaosApp)
		if g == nil {
			continue
		}
		for _, m := range g.Members {
			x.mu.Lock()
			died, ok := x.dead[m.ClientID]
			x.mu.Unlock()
			if !ok || time.Since(died) < 2*chaosSession+time.Second {
				continue
			}
			req := kmsg.NewPtrLeaveGroupRequest()
			req.Group = chaosApp
			member := kmsg.NewLeaveGroupRequestMember()
			member.MemberID, member.InstanceID = m.MemberID, m.InstanceID
			req.Members = append(req.Members, member)
			_, err := req.RequestWith(ctx, x.admin)
			x.note("a ghost: %s, dead for %v, is taken out of the group: %v", m.ClientID, time.Since(died).Round(time.Millisecond), err)
			x.mu.Lock()
			x.ghosts++
			x.mu.Unlock()
		}
	}
}

// judge stops everybody, and asks the checker. Then everything is restored on an
// empty disk.
func (x *chaos) judge(settled engine.Millis) {
	var stores []*state.Store
	for _, n := range x.nodes {
		n.mu.Lock()
		l := n.live
		n.mu.Unlock()
		if l == nil {
			continue
		}
		if err := l.stop(true); err != nil {
			x.fail("%s: %v", l.clientID, err)
		}
		stores = append(stores, l.store)
	}
	last := x.sets.newest()
	cfg := checker.Config{
		Kafka: []kgo.Opt{kgo.SeedBrokers(x.broker.ListenAddrs()...)},
		App:   chaosApp, Inputs: chaosInputs, Changes: "changes", Triggers: "triggers",
		Spec: last.rules.Set.Spec, Engine: last.rules.Engine, Read: last.reader.Read, Zones: app.Zones(),
		Clock: config.WallClock, Grace: engine.Millis(chaosGrace.Milliseconds()), Settled: settled,
		Horizon: engine.Millis(x.now().Add(12 * time.Hour).UnixMilli()), Compacted: x.compacted, AtLeastOnce: x.atLeastOnce,
		Skew: engine.Millis(chaosSkew.Milliseconds()),
		// What an input gets on a partition before anybody sees it is late.
		Imported: x.imported,
		Exact:    func(customer string) bool { return !x.uneven && !x.load.tainted[customer] },
		Stores:   stores,
	}
	if x.events {
		cfg.Clock = config.EventsClock
	}
	if x.sets.changed() {
		cfg.Changing = isChanging
	}
	var err error
	if x.report, err = checker.Check(context.Background(), cfg); err != nil {
		x.fail("%v", err)
	}
	x.showOutputs(cfg)
	for _, s := range stores {
		if err := s.Close(); err != nil {
			x.fail("%v", err)
		}
	}
	if x.load.failed != nil {
		x.fail("the load: %v", x.load.failed)
	}
	x.restoreFromNothing()
}

var customerPattern = regexp.MustCompile(`\b[cv]\d+\b`)

// showOutputs writes down everything that the customers of violations sent and were
// told.
func (x *chaos) showOutputs(cfg checker.Config) {
	if x.report == nil || x.report.Count() == 0 {
		return
	}
	h, err := checker.Load(context.Background(), cfg)
	if err != nil {
		x.fail("%v", err)
		return
	}
	shown := map[string]bool{}
	for _, v := range x.report.Violations {
		shown[customerPattern.FindString(v.Text)] = len(shown) < 3
	}
	for _, topic := range append(slices.Clone(chaosInputs), cfg.Changes, cfg.Triggers) {
		for _, l := range h.Topics[topic] {
			for _, r := range l {
				if shown[string(r.Key)] {
					x.note("%s/%d@%d producer %d epoch %d at %v: %s", topic, r.Partition, r.Offset, r.ProducerID, r.ProducerEpoch, r.Timestamp.Format("15:04:05.000"), r.Value)
				}
			}
		}
	}
}

// restoreFromNothing starts one instance on an empty disk: it verifies what it
// restores.
func (x *chaos) restoreFromNothing() {
	n := &node{x: x, id: len(x.nodes), disk: vfs.NewCrashableMem()}
	x.nodes = []*node{n}
	if err := n.start(); err != nil {
		x.fail("%v", err)
		return
	}
	l := n.live
	if x.await("restored from nothing", func() bool { _, ok := x.tasks(); return ok }) {
		for p := range int32(chaosPartitions) {
			if _, err := replica.Verify(context.Background(), l.store, p); err != nil {
				x.fail("restored from nothing: %v", err)
			}
		}
	}
	if err := l.stop(false); err != nil {
		x.fail("%v", err)
	}
}

// String is one line about a seed.
func (x *chaos) String() string {
	clock, more := "wall", ""
	if x.events {
		clock = "events"
	}
	for _, b := range []struct {
		is   bool
		name string
	}{{x.static, " static"}, {x.compacted, " compacted"}, {x.forwards, " misplaced"}, {x.atLeastOnce, " at least once"}, {x.uneven, " uneven"}, {x.standby > 0, " standby"}, {x.rules, " rules"}, {x.imported, " imported"}} {
		if b.is {
			more += b.name
		}
	}
	n := 0
	for _, k := range x.faults {
		n += k
	}
	r := x.report
	if r == nil {
		r = &checker.Report{}
	}
	return fmt.Sprintf("SEED=%d %s%s: %d events (%d late), %d bad, %d erasures, %d forwarded; %d changes, %d triggers in %d transactions; %d customers compared, %d left; %d faults, %d ghosts; caught up in %v; %d violations, %d failures; took %v",
		x.seed, clock, more, r.Events, r.Late, r.Bad, r.Erasures, r.Forwarded, r.Changes, r.Triggers, r.Transactions, r.Compared, r.Left,
		n, x.ghosts, x.catchUp.Round(time.Millisecond), r.Count(), len(x.wrong), time.Since(x.begin).Round(100*time.Millisecond))
}

// summary is a table over all seeds.
func summary(runs []*chaos) string {
	var b strings.Builder
	faults := map[string]int{}
	var took []time.Duration
	var events, changes, triggers, violations, failures, ghosts, compared, left, all int
	for _, x := range runs {
		if x == nil || x.report == nil {
			failures++
			continue
		}
		for kind, n := range x.faults {
			faults[kind] += n
			all += n
		}
		took = append(took, x.catchUp)
		events, changes, triggers = events+x.report.Events, changes+x.report.Changes, triggers+x.report.Triggers
		violations, failures, ghosts = violations+x.report.Count(), failures+len(x.wrong), ghosts+x.ghosts
		compared, left = compared+x.report.Compared, left+x.report.Left
	}
	fmt.Fprintf(&b, "%d seeds: %d events, %d changes, %d triggers, %d customers compared (%d left); %d violations, %d failures, %d ghosts\n",
		len(runs), events, changes, triggers, compared, left, violations, failures, ghosts)
	fmt.Fprintf(&b, "%d faults:\n", all)
	for _, kind := range slices.Sorted(maps.Keys(faults)) {
		fmt.Fprintf(&b, "  %5d %s\n", faults[kind], kind)
	}
	if len(took) > 0 {
		slices.Sort(took)
		at := func(q float64) time.Duration {
			return took[min(len(took)-1, int(q*float64(len(took))))].Round(time.Millisecond)
		}
		fmt.Fprintf(&b, "caught up after the last fault: p50 %v, p99 %v, max %v", at(0.5), at(0.99), took[len(took)-1].Round(time.Millisecond))
	}
	return b.String()
}

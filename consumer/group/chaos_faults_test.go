package group_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/internal/rig"
)

// faultKinds are what can go wrong, with how to make it. A kind returns false if
// it can't be made now.
var faultKinds = map[string]func(*chaos) (string, bool){
	"crash":                       func(x *chaos) (string, bool) { return x.crash(false) },
	"crash, disk lost":            func(x *chaos) (string, bool) { return x.crash(true) },
	"frozen, then thawed":         (*chaos).freeze,
	"end: answer lost":            func(x *chaos) (string, bool) { return x.lie(0, 1+x.rng.IntN(2)) },
	"end: applied, error":         func(x *chaos) (string, bool) { return x.lie(1+x.rng.IntN(2), 0) },
	"end: refused":                (*chaos).refuseEnd,
	"produce error":               (*chaos).refuseProduce,
	"fetch error":                 (*chaos).refuseFetch,
	"init producer error":         (*chaos).refuseInit,
	"list offsets error":          (*chaos).refuseList,
	"leaders shuffled":            func(x *chaos) (string, bool) { x.broker.ShufflePartitionLeaders(); return "", true },
	"coordinators moved":          func(x *chaos) (string, bool) { x.broker.RehashCoordinators(); return "", true },
	"connections cut":             (*chaos).cut,
	"scale in":                    (*chaos).scaleIn,
	"scale out":                   (*chaos).scaleOut,
	"death at a point":            func(x *chaos) (string, bool) { return x.dieAt(false) },
	"death at a point, disk lost": func(x *chaos) (string, bool) { return x.dieAt(true) },
	"compaction":                  (*chaos).compact,
	"clock ahead":                 (*chaos).jump,
	"input grown":                 (*chaos).grow,
	"rules changed":               (*chaos).changeRules,
	"rules changed twice":         (*chaos).changeRulesTwice,
	"rules changed in rebalance":  (*chaos).changeRulesInRebalance,
	"death in a change of rules":  (*chaos).dieInChange,
}

// plan is the order of faults: every kind that the seed has once or more, and
// some more.
func (x *chaos) plan() []string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(faultKinds)) {
		switch kind {
		case "end: answer lost", "end: applied, error", "end: refused", "init producer error":
			if !x.atLeastOnce {
				all = append(all, kind)
			}
		case "compaction":
			if x.compacted {
				all = append(all, kind, kind, kind)
			}
		case "input grown":
			if x.uneven {
				all = append(all, kind, kind)
			}
		case "rules changed", "rules changed twice", "rules changed in rebalance", "death in a change of rules":
			if x.rules {
				all = append(all, kind, kind)
			}
		case "clock ahead":
			if !x.events {
				all = append(all, kind, kind)
			}
		default:
			all = append(all, kind)
		}
	}
	for range 8 {
		all = append(all, all[x.rng.IntN(len(all))])
	}
	x.rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// inject makes the faults of the plan, one after the other. One that can't be
// made now is tried again later.
func (x *chaos) inject(plan []string, gap time.Duration) {
	for again := 0; len(plan) > 0 && again < 3*len(plan); {
		lasts(gap/2 + time.Duration(x.rng.Int64N(int64(gap))))
		kind := plan[0]
		plan = plan[1:]
		what, ok := faultKinds[kind](x)
		if !ok {
			plan = append(plan, kind)
			again++
			continue
		}
		x.faults[kind]++
		x.note("%s %s", kind, what)
	}
	for _, kind := range plan {
		x.note("not made: %s", kind)
	}
}

// lasts waits for as long as a fault takes, or the time between two.
func lasts(d time.Duration) { <-time.After(d) }

// pick takes a running incarnation at random, such that at least others remain
// that are not busy.
func (x *chaos) pick(others int) *life {
	var l []*life
	for _, n := range x.nodes {
		if v := n.take(); v != nil {
			l = append(l, v)
		}
	}
	x.rng.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
	if len(l) <= others {
		for _, v := range l {
			v.n.free()
		}
		return nil
	}
	for _, v := range l[1:] {
		v.n.free()
	}
	return l[0]
}

// later does the rest of a fault in the background; heal waits for it.
func (x *chaos) later(l *node, do func() error) {
	x.pending.Go(func() {
		defer l.free()
		if err := do(); err != nil {
			x.fail("%v", err)
		}
	})
}

func (x *chaos) crash(diskLost bool) (string, bool) {
	l := x.pick(0)
	if l == nil {
		return "", false
	}
	disk, what := vfs.NewCrashableMem(), "all"
	if !diskLost {
		percent := []int{0, 50, 100}[x.rng.IntN(3)]
		disk = l.n.disk.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(x.rng.Uint64(), 0))})
		what = fmt.Sprintf("%d %% of what was not synced is left", percent)
	}
	down := time.Duration(x.rng.Int64N(int64(time.Second)))
	x.later(l.n, func() error {
		l.crash(disk)
		lasts(down)
		return l.n.start()
	})
	return fmt.Sprintf("%s, %s, down for %v", l.clientID, what, down), true
}

// freeze stops an instance until others have its partitions, and lets it go on
// with what it believes.
func (x *chaos) freeze() (string, bool) {
	l := x.pick(1)
	if l == nil {
		return "", false
	}
	l.stuck.Store(x.rng.IntN(2) == 0)
	more := time.Duration(x.rng.Int64N(int64(300 * time.Millisecond)))
	deaf := 20*time.Millisecond + time.Duration(x.rng.Int64N(int64(400*time.Millisecond)))
	if x.rng.IntN(4) == 0 {
		deaf = 0
	}
	l.wire.freeze()
	x.later(l.n, func() error {
		start := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 3*chaosSession)
		defer cancel()
		_, err := x.broker.WaitGroupInfo(ctx, chaosApp, func(g *kfake.GroupInfo) bool {
			return g != nil && !slices.ContainsFunc(g.Members, func(m kfake.GroupMember) bool { return m.ClientID == l.clientID })
		})
		lasts(more)
		x.note("thawed after %v %s %v", time.Since(start).Round(time.Millisecond), l.clientID, err)
		l.wire.thaw()
		l.stuck.Store(false)
		lasts(deaf)
		l.wire.hear()
		return nil
	})
	return fmt.Sprintf("%s, its tasks too: %v, then deaf for %v", l.clientID, l.stuck.Load(), deaf), true
}

func (x *chaos) lie(asError, cut int) (string, bool) {
	l := x.pick(0)
	if l == nil {
		return "", false
	}
	defer l.n.free()
	l.wire.liar.Lie(asError, cut)
	return l.clientID, true
}

func (x *chaos) fault(f kfake.Fault, errs ...*kerr.Error) (string, bool) {
	f.Err, f.Count = errs[x.rng.IntN(len(errs))], 1+x.rng.IntN(2)
	x.handles = append(x.handles, x.broker.Fault(f))
	return fmt.Sprint(f.Topic, " ", f.Err.Message, " x", f.Count), true
}

func (x *chaos) refuseEnd() (string, bool) {
	return x.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.EndTxn}},
		kerr.UnknownServerError, kerr.NotCoordinator, kerr.CoordinatorLoadInProgress, kerr.ConcurrentTransactions, kerr.InvalidProducerEpoch)
}

// refuseProduce leaves the load's own producer alone.
func (x *chaos) refuseProduce() (string, bool) {
	topic := []string{chaosApp + ".changelog", "changes", "triggers"}[x.rng.IntN(3)]
	return x.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: topic}, kerr.UnknownServerError, kerr.NotEnoughReplicas, kerr.NotEnoughReplicasAfterAppend, kerr.NotLeaderForPartition,
		kerr.RequestTimedOut, kerr.PolicyViolation, kerr.InvalidProducerEpoch, kerr.KafkaStorageError)
}

func (x *chaos) refuseFetch() (string, bool) {
	return x.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}},
		kerr.UnknownServerError, kerr.NotLeaderForPartition, kerr.OffsetOutOfRange, kerr.FencedLeaderEpoch, kerr.UnknownLeaderEpoch, kerr.KafkaStorageError)
}

// refuseInit also makes somebody need a producer id.
func (x *chaos) refuseInit() (string, bool) {
	who, ok := x.lie(1, 0)
	if !ok {
		return "", false
	}
	what, _ := x.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.InitProducerID}, When: func(r kmsg.Request) bool {
		return r.(*kmsg.InitProducerIDRequest).TransactionalID != nil
	}}, kerr.CoordinatorNotAvailable, kerr.NotCoordinator, kerr.ConcurrentTransactions, kerr.UnknownServerError)
	return who + " " + what, true
}

func (x *chaos) refuseList() (string, bool) {
	return x.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.ListOffsets}}, kerr.UnknownServerError, kerr.NotLeaderForPartition, kerr.LeaderNotAvailable)
}

func (x *chaos) cut() (string, bool) {
	l := x.pick(0)
	if l == nil {
		return "", false
	}
	defer l.n.free()
	l.wire.cut(func() int64 { return x.rng.Int64N(3000) })
	return l.clientID, true
}

func (x *chaos) scaleIn() (string, bool) {
	l := x.pick(1)
	if l == nil {
		return "", false
	}
	x.later(l.n, func() error { return l.stop(false) })
	return l.clientID, true
}

func (x *chaos) scaleOut() (string, bool) {
	for _, n := range x.nodes {
		if n.takeOff() {
			x.later(n, n.start)
			return fmt.Sprintf("n%d", n.id), true
		}
	}
	return "", false
}

// dieAt lets tasks of an instance die at one of the points. The points of
// acquiring are passed because something else fails first.
func (x *chaos) dieAt(diskLost bool) (string, bool) {
	l := x.pick(0)
	if l == nil {
		return "", false
	}
	defer l.n.free()
	points := rig.Points[:8] // the others are of runs with an end
	if x.uneven {
		points = append(slices.Clone(points), "grown")
	}
	point := points[x.rng.IntN(len(points))]
	times := new(atomic.Int32)
	times.Store(1 + x.rng.Int32N(3))
	l.dropsDisk.Store(diskLost)
	l.points.Store(point, times)
	if slices.Index(points, point) < 4 {
		x.stumble(l)
	}
	return l.clientID + " " + point, true
}

// grow gives an input more partitions, to which the load writes from then on. Profiles are
// left alone: an erasure on another partition than the events before it overtakes them.
func (x *chaos) grow() (string, bool) {
	topic := []string{"purchase", "web"}[x.rng.IntN(2)]
	n := x.sizes[topic].Load() + 1 + x.rng.Int32N(4)
	got, err := kadm.NewClient(x.admin).UpdatePartitions(context.Background(), int(n), topic)
	if err = cmp.Or(err, got.Error()); err != nil {
		x.note("%s is not grown: %v", topic, err)
		return "", false
	}
	known := func() bool {
		x.load.cl.ForceMetadataRefresh()
		leader, _, err := x.load.cl.PartitionLeader(topic, n-1)
		return err == nil && leader >= 0
	}
	if !rig.Within(chaosBound, known) {
		x.fail("the load does not hear that %s has grown", topic)
	}
	x.sizes[topic].Store(n)
	if x.events {
		x.load.preload(200)
	}
	return fmt.Sprintf("%s to %d partitions", topic, n), true
}

// stumble makes an instance acquire a partition again.
func (x *chaos) stumble(l *life) {
	if x.atLeastOnce {
		x.fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: chaosApp + ".changelog"}, kerr.UnknownServerError)
	} else {
		l.wire.liar.Lie(1, 0)
	}
}

// compact compacts when kfake does what a broker does. It takes a record that is not
// committed for the last value of its key, so no transaction may be open. And it
// moves the start of the log past what it removed, which on a broker only retention
// does: a partition that began with an aborted batch would look like one that has
// lost its state, so each must have a committed position.
func (x *chaos) compact() (string, bool) {
	open := x.hold.Close()
	defer open()
	if !rig.Within(time.Second, func() bool { return x.openTransactions() == 0 && x.allCommitted() }) {
		return "", false
	}
	x.broker.Compact()
	return "", true
}

// allCommitted reports whether each partition has had a committed position. A running
// task says so of the position that it restored or committed last.
func (x *chaos) allCommitted() bool {
	for _, n := range x.nodes {
		n.mu.Lock()
		l := n.live
		n.mu.Unlock()
		if l == nil {
			continue
		}
		for _, t := range l.owner.Status().Tasks {
			x.committed[t.Partition] = x.committed[t.Partition] || t.Seq > 0
		}
	}
	return !slices.Contains(x.committed[:], false)
}

// openTransactions returns how many transactions the broker knows of that are
// neither committed nor aborted.
func (x *chaos) openTransactions() int {
	req := kmsg.NewPtrListTransactionsRequest()
	req.StateFilters = []string{"Ongoing", "PrepareCommit", "PrepareAbort"}
	n := 0
	for _, shard := range x.admin.RequestSharded(context.Background(), req) {
		if shard.Err != nil {
			return -1
		}
		n += len(shard.Resp.(*kmsg.ListTransactionsResponse).TransactionStates)
	}
	return n
}

// jump sets every clock ahead, by less than the guard allows.
func (x *chaos) jump() (string, bool) {
	d := time.Second + time.Duration(x.rng.Int64N(int64(40*time.Second)))
	x.shift.Add(int64(d))
	return d.String(), true
}

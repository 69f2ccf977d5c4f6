package group_test

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/rig"
	"github.com/segmill/segmill/state"
)

// node is a place where an instance runs: a disk, and one incarnation after
// another.
type node struct {
	x  *chaos
	id int

	mu    sync.Mutex
	disk  *vfs.MemFS
	lives int
	live  *life // nil if none runs
	busy  bool  // a fault is on its way
}

// life is one incarnation.
type life struct {
	n        *node
	clientID string
	wire     *wire
	owner    *group.Owner
	store    *state.Store
	cancel   context.CancelFunc
	done     chan struct{}
	err      error // of Run, once done

	skew      time.Duration
	stuck     atomic.Bool // tasks stop at points while the wire is frozen
	points    sync.Map    // point: *atomic.Int32, how often a task is still to die there
	dropsDisk atomic.Bool
}

// start begins an incarnation.
func (n *node) start() error {
	x := n.x
	x.sets.mu.Lock()
	defer x.sets.mu.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lives++
	l := &life{n: n, clientID: fmt.Sprintf("n%d.%d", n.id, n.lives), wire: newWire(), done: make(chan struct{})}
	l.skew = -time.Duration(rand.N(int64(chaosSkew)))
	log := x.log.With("instance", l.clientID)
	var err error
	l.store, err = state.Open("state", state.Options{FS: n.disk, Wake: engine.WakeOf, Logger: log, CacheBytes: 1 << 20})
	if err != nil {
		return fmt.Errorf("%s: %w", l.clientID, err)
	}
	if l.owner, err = group.New(l.config(log)); err != nil {
		return fmt.Errorf("%s: %w", l.clientID, err)
	}
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(context.Background())
	n.live = l
	go func() {
		defer close(l.done)
		l.err = l.owner.Run(ctx)
	}()
	return nil
}

// config makes the configuration of an incarnation.
func (l *life) config(log *slog.Logger) config.Config {
	x := l.n.x
	cfg := config.Default()
	cfg.App, cfg.Inputs, cfg.Changes, cfg.Triggers = chaosApp, slices.Clone(chaosInputs), "changes", "triggers"
	cfg.Kafka = []kgo.Opt{
		kgo.SeedBrokers(x.broker.ListenAddrs()...), kgo.Dialer(l.wire.dial), kgo.ClientID(l.clientID),
		// kfake drops a member whose session ends while it waits to join, and never
		// answers it: how long catching up can take is this and no merit of ours.
		kgo.RequestTimeoutOverhead(4 * time.Second),
		// Leaders move more often here than a client asks for them by default.
		kgo.MetadataMinAge(200 * time.Millisecond),
	}
	cfg.Rules, cfg.Encoder, cfg.Store, cfg.Logger = x.sets.newest().config(x), x.encoder, l.store, log
	if x.rules {
		cfg.Known = x.known
	}
	cfg.Now = func() time.Time { return x.now().Add(l.skew) }
	// Clocks that are set ahead count towards MaxMergeWait here: they have no
	// monotonic reading of their own.
	cfg.Time.Grace, cfg.Time.MaxMergeWait = chaosGrace, 24*time.Hour
	cfg.Batch.Records, cfg.Batch.Interval = 50, 20*time.Millisecond
	if x.events {
		cfg.Time.Clock, cfg.Batch.Records = config.EventsClock, 8
	}
	if x.uneven {
		cfg.Create.Partitions, cfg.Fixed.Watch = chaosPartitions, 150*time.Millisecond
	}
	cfg.Fixed.StoreEach = []int{1, 30, 300, 50_000}[x.seed%4]
	cfg.Group = config.Group{SessionTimeout: chaosSession, RebalanceTimeout: time.Second, Heartbeat: 150 * time.Millisecond}
	if x.static {
		cfg.Group.Instance = fmt.Sprintf("n%d", l.n.id)
	}
	if cfg.Standby = x.standby; x.atLeastOnce {
		cfg.Delivery = config.AtLeastOnce
	}
	cfg.Points.Attach(l.at)
	return cfg
}

// at is called at the named points of the protocol.
func (l *life) at(task int32, point string) error {
	if point == "begun" {
		l.n.x.hold.Wait() // while the broker compacts
	}
	if l.stuck.Load() {
		if err := l.wire.wait(nil, false); err != nil {
			return err
		}
	}
	v, ok := l.points.Load(point)
	if !ok || v.(*atomic.Int32).Add(-1) < 0 {
		return nil
	}
	l.n.x.log.Info("a task dies", "instance", l.clientID, "partition", task, "point", point)
	if l.dropsDisk.Load() && point != "aside" { // there the session goes on, with its disk
		if err := cmp.Or(l.store.Task(task).Drop(), l.store.Scratch(task).Drop()); err != nil {
			return err
		}
	}
	return rig.ErrCrash
}

// crash ends an incarnation as kill -9 does: it can do nothing more, not even
// leave the group. disk is what it leaves.
func (l *life) crash(disk *vfs.MemFS) {
	n := l.n
	n.mu.Lock()
	n.disk, n.live = disk, nil
	n.mu.Unlock()
	l.wire.die()
	l.owner.Kill()
	l.cancel()
	<-l.done
	_ = l.store.Close() // of a disk that nobody sees again
	n.x.died(l.clientID)
}

// stop ends an incarnation in good order. The store stays open if keep is set.
func (l *life) stop(keep bool) error {
	n := l.n
	n.mu.Lock()
	n.live = nil
	n.mu.Unlock()
	l.cancel()
	<-l.done
	n.x.died(l.clientID)
	if keep {
		return l.err
	}
	if err := l.store.Close(); err != nil {
		return err
	}
	return l.err
}

// take returns the running incarnation for a fault, which must call free, or nil.
func (n *node) take() *life {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy || n.live == nil {
		return nil
	}
	select {
	case <-n.live.done:
		return nil
	default:
	}
	n.busy = true
	return n.live
}

// takeOff is take for a node where nothing runs.
func (n *node) takeOff() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.busy || n.live != nil {
		return false
	}
	n.busy = true
	return true
}

func (n *node) free() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy = false
}

// gate holds those that wait while it is closed.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // nil if the gate is open
}

// Wait waits until the gate is open.
func (g *gate) Wait() {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	if open != nil {
		<-open
	}
}

// Close closes the gate; the caller must call what it returns.
func (g *gate) Close() (open func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := make(chan struct{})
	g.open = c
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.open = nil
		close(c)
	}
}

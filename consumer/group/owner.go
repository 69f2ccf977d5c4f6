package group

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// Owner runs the tasks of one instance. Which ones is decided by an ordinary
// consumer group on the changelog topic, of which nothing is fetched: one
// partition is one task, so all inputs and the state of a partition land
// on the same instance without a balancer of our own.
type Owner struct {
	task.Instance
	verifier *verifier
	standbys *standbys
	gauged   map[int32]map[broker.Partition]bool // inputs that have gauges, by task; of progress
	waiting  map[int32][]feed.Wait               // what was shown last; of progress

	// hard is what tasks run under; kill ends it, and with it everything at once.
	hard   context.Context //nolint:containedctx // outlives the callbacks that start tasks
	kill   context.CancelFunc
	failed chan error

	mu      sync.Mutex
	tasks   map[int32]*running
	joined  bool   // the group has assigned us something, or nothing
	refused string // why it has not, "" if nothing is known
	fence   fence
	rate    rate
}

// running is a task with its goroutine.
type running struct {
	t       *task.Task
	release context.CancelFunc // commit the current batch and end
	kill    context.CancelFunc // drop everything and end
	done    chan struct{}
}

// New returns an Owner. It starts nothing.
func New(cfg config.Config) (*Owner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if reason := cfg.Store.WasReset(); reason != nil {
		cause := metrics.DamagedStart
		if errors.Is(reason, state.ErrInUse) {
			cause = metrics.DamagedRunning
		}
		cfg.Metrics.Damaged.WithLabelValues(cause).Inc()
	}
	return &Owner{Instance: task.NewInstance(cfg), failed: make(chan error, 1), fence: fence{again: make(chan struct{}, 1)}, tasks: map[int32]*running{}}, nil
}

// Name changes the name of this instance in the group, until Run is called.
func (o *Owner) Name(instance string) { o.Config.Group.Instance = instance }

// handOver is how long a task that is released may take to commit what it has
// taken. Then it is dropped, which costs the next owner a second reading.
const handOver = time.Second

// Run runs the tasks that the group assigns until ctx ends, then commits what has been
// taken, leaves the group, and returns nil. It returns an error if no partition
// could ever run: topics that do not fit together, rules that have changed, a
// store that has failed. Brokers that do not answer are waited for.
//
// Errors that wrap state.ErrDamaged mean that the store should be closed, opened
// again, and Run again with it.
func (o *Owner) Run(ctx context.Context) error {
	if err := o.prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("consumer: %w", err)
	}
	defer o.Cluster.Close()
	defer o.kill()
	var helpers sync.WaitGroup
	helping, stopHelpers := context.WithCancel(o.hard)
	for _, help := range []func(context.Context){o.Ends.Run, o.progress, o.verifier.run, o.watchTopics, o.standbys.run} {
		helpers.Go(func() { defer o.caught(); help(helping) })
	}
	err := o.member(ctx)
	stopHelpers()
	helpers.Wait()
	return err
}

// prepare makes everything that tasks need.
func (o *Owner) prepare(ctx context.Context) (err error) {
	if o.Cluster, err = o.Config.Connect(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			o.Cluster.Close()
		}
	}()
	var f topics.Found
	if err := o.Cluster.Await(ctx, func() (err error) { f, err = o.prepareCluster(ctx); return err }); err != nil {
		return err
	}
	o.mu.Lock()
	o.Found(f)
	o.standbys = newStandbys(o)
	o.hard, o.kill = context.WithCancel(context.WithoutCancel(ctx))
	o.mu.Unlock()
	o.Ends = feed.NewEnds(o.Cluster, o.Config.Now, o.stamp, o.Senders)
	o.verifier = newVerifier(o)
	o.Verify, o.Running = o.verifier.later, o.count
	return o.Cluster.Await(ctx, func() error { return o.prepareUntil(ctx) })
}

// prepareCluster makes sure that the cluster can do what is needed of it, and returns
// what its topics are like.
func (o *Owner) prepareCluster(ctx context.Context) (topics.Found, error) {
	t := o.Topics()
	if err := t.CheckDelivery(ctx); err != nil {
		return topics.Found{}, err
	}
	f, err := t.Prepare(ctx)
	if err == nil && o.Config.Delivery == config.AtLeastOnce {
		t.WarnOfCompaction(ctx)
	}
	return f, err
}

// prepareUntil asks where the inputs end, if the run has an end.
func (o *Owner) prepareUntil(ctx context.Context) error {
	if o.Config.Time.Until == 0 {
		return nil
	}
	var all []broker.Partition
	for p := range o.Partitions {
		all = append(all, o.Inputs(p)...)
	}
	slices.SortFunc(all, broker.Partition.Compare)
	// Transactions that are open at the start are waited for: their records are there.
	ends, err := o.Cluster.ListAll(ctx, broker.HighWatermark, all)
	o.Until = task.NewUntil(o.Config.Time.Until, ends, int(o.Partitions))
	return err
}

// member is in the group until ctx ends or a task says that nothing can go on.
func (o *Owner) member(ctx context.Context) error {
	select {
	case <-o.standbys.warm:
	case <-ctx.Done():
		return nil
	case err := <-o.failed:
		return err
	}
	for {
		again, err := o.inGroup(ctx)
		if !again {
			return err
		}
	}
}

// inGroup joins the group and leaves it; again says that it has to be joined again.
func (o *Owner) inGroup(ctx context.Context) (again bool, err error) {
	group, err := o.join()
	if err != nil {
		return false, fmt.Errorf("consumer: %w", err)
	}
	polling, stop := context.WithCancel(ctx)
	var poller sync.WaitGroup
	poller.Go(func() { defer o.caught(); o.poll(polling, group) })
	select {
	case <-ctx.Done():
	case err = <-o.failed:
	case <-o.Until.Over():
	case <-o.fence.again:
		again = true
	}
	stop()
	poller.Wait()
	// Leaving revokes every partition, which ends the tasks.
	leaving, cancel := context.WithTimeout(o.hard, handOver+broker.RequestTimeout)
	defer cancel()
	if lerr := group.LeaveGroupContext(leaving); lerr != nil {
		o.Config.Logger.Warn("group not left; the partitions move after the session timeout", "error", lerr)
	}
	group.Close()
	o.stop(o.owned(), handOver)
	if !again && !errors.Is(err, kerr.FencedInstanceID) { // the place is the other one's
		o.leave(leaving)
	}
	select {
	case late := <-o.failed:
		again, err = false, errors.Join(err, late)
	default:
	}
	return again && ctx.Err() == nil, err
}

// leave takes a static member out of the group, which its client does not do: to
// Kafka, a static member that goes away will be back. So a clean stop hands over
// at once, and only a killed process keeps its partitions until it is back or its
// session ends.
func (o *Owner) leave(ctx context.Context) {
	if o.Config.Group.Instance == "" {
		return
	}
	b := kadm.LeaveGroup(o.Config.App).Reason("clean stop").InstanceIDs(o.Config.Group.Instance)
	if _, err := kadm.NewClient(o.Cluster.Admin).LeaveGroup(ctx, b); err != nil {
		o.Config.Logger.Warn("group not left; the partitions move after the session timeout", "error", err)
	}
}

func (o *Owner) join() (*kgo.Client, error) {
	g := o.Config.Group
	opts := o.Cluster.Options()
	if g.Instance != "" {
		opts = append(opts, kgo.InstanceID(g.Instance))
	}
	cl, err := kgo.NewClient(append(opts,
		kgo.WithHooks(groupErrors{o}),
		kgo.ConsumerGroup(o.Config.App),
		kgo.ConsumeTopics(o.Config.Changelog()),
		kgo.Balancers(o.standbys.balancer()),
		kgo.SessionTimeout(g.SessionTimeout),
		kgo.RebalanceTimeout(g.RebalanceTimeout),
		kgo.HeartbeatInterval(g.Heartbeat),
		kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		// Nothing is fetched, so any offset will do.
		kgo.AdjustFetchOffsetsFn(func(_ context.Context, at map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
			for _, parts := range at {
				for p := range parts {
					parts[p] = kgo.NewOffset().At(0)
				}
			}
			return at, nil
		}),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			defer o.caught()
			o.assigned(m[o.Config.Changelog()])
		}),
		kgo.OnPartitionsRevoked(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			defer o.caught()
			o.stop(m[o.Config.Changelog()], handOver)
		}),
		// Somebody else may have the partitions already. Nothing depends on how
		// soon we stop: the other one fences us.
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			defer o.caught()
			o.stop(m[o.Config.Changelog()], 0)
		}),
	)...)
	if err != nil {
		return nil, err
	}
	cl.PauseFetchTopics(o.Config.Changelog())
	return cl, nil
}

// poll logs the errors of the group, as slowly as one a second; outside hears of them
// at once. There are no records.
func (o *Owner) poll(ctx context.Context, group *kgo.Client) {
	for ctx.Err() == nil {
		for _, e := range group.PollFetches(ctx).Errors() {
			if ctx.Err() == nil {
				o.Config.Logger.Warn("group", "group", o.Config.App, "error", e.Err)
				select {
				case <-ctx.Done():
				case <-time.After(time.Second): // no spinning on an error that stays
				}
			}
		}
	}
}

func (o *Owner) assigned(parts []int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.refused = ""
	o.joined = true
	for _, p := range parts {
		if p >= o.Partitions {
			o.fail(fault.Fatal("%s now has partition %d and had %d partitions at the start: nobody may add partitions to the changelog; segmill state reshard moves the state to a new one",
				o.Config.Changelog(), p, o.Partitions))
			return
		}
		o.start(p)
	}
	if o.Until != nil && len(o.tasks) < int(o.Partitions) {
		o.Config.Logger.Warn("a run with an end waits until this instance has every partition", "has", len(o.tasks), "of", o.Partitions)
	}
}

// start runs a task. A task of the same partition that is still on its way out is
// waited for: two of them would fence each other. So is a standby, which writes to
// the same copy.
func (o *Owner) start(p int32) {
	before := o.tasks[p]
	r := &running{t: task.New(&o.Instance, p), done: make(chan struct{})}
	var live, hard context.Context
	hard, r.kill = context.WithCancel(o.hard)
	live, r.release = context.WithCancel(hard)
	o.tasks[p] = r
	copied := o.standbys.end(p)
	go func() {
		defer close(r.done)
		defer o.caught()
		if before != nil {
			<-before.done
		}
		<-copied
		if err := r.t.Run(live, hard); err != nil {
			o.fail(err)
		}
	}()
}

// caught, deferred, hands a panic to OnPanic.
func (o *Owner) caught() {
	if o.Config.OnPanic == nil {
		return
	}
	if r := recover(); r != nil {
		o.Config.OnPanic(r)
	}
}

// stop ends tasks and waits for them: those that take longer than wait are
// killed. If wait is 0 they are killed at once and not waited for; start does.
func (o *Owner) stop(parts []int32, wait time.Duration) {
	stopping := map[int32]*running{}
	o.mu.Lock()
	for _, p := range parts {
		if r := o.tasks[p]; r != nil {
			stopping[p] = r
		}
	}
	o.mu.Unlock()
	for _, r := range stopping {
		r.release()
		if wait == 0 {
			r.kill()
		}
	}
	if wait == 0 {
		return
	}
	late := time.AfterFunc(wait, func() {
		for _, r := range stopping {
			r.kill()
		}
	})
	defer late.Stop()
	for p, r := range stopping {
		<-r.done
		r.kill()
		o.mu.Lock()
		if o.tasks[p] == r {
			delete(o.tasks, p)
		}
		o.mu.Unlock()
	}
}

// owned returns the partitions that have a task.
func (o *Owner) owned() []int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	var parts []int32
	for p := range o.tasks {
		parts = append(parts, p)
	}
	return parts
}

// acquireAgain makes every task drop its batch, because of something that was
// seen beside it.
func (o *Owner) acquireAgain(why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, r := range o.tasks {
		r.t.AcquireAgain(why)
	}
}

// fail ends Run with an error. The first one counts.
func (o *Owner) fail(err error) {
	select {
	case o.failed <- err:
	default:
	}
}

// stamp is the wall clock for reports of ends.
func (o *Owner) stamp() (engine.Millis, bool) {
	now := o.Config.Now()
	ok, first := o.Guard.Observe(now)
	if first {
		o.Config.Metrics.ClockStopped.Set(1)
		o.Config.Logger.Error("the wall clock has jumped ahead: timers are stopped until this process is started again with a clock that is right",
			"now", now, "more_than", o.Config.Time.MaxClockJump)
	}
	return engine.Millis(now.UnixMilli()), ok
}

// count returns how many tasks there are.
func (o *Owner) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.tasks)
}

// topicID returns the id of a topic.
func (o *Owner) topicID(ctx context.Context, topic string) ([16]byte, error) {
	topics, err := o.Cluster.Describe(ctx, topic)
	if err != nil {
		return [16]byte{}, err
	}
	return topics[topic].ID, topics[topic].Err
}

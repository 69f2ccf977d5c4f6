package feed

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/engine"
)

// Interval is how often the ends of the inputs are requested. Silence is
// noticed no earlier than that. hurryInterval is how often when somebody waits.
const (
	Interval      = 50 * time.Millisecond
	hurryInterval = 10 * time.Millisecond
)

// Ends asks the brokers where the inputs of this instance's tasks end, for all
// tasks together.
type Ends struct {
	cluster *broker.Cluster
	// stamp reads the wall clock for a report. It returns false while the clock is
	// not to be trusted; reports then leave the time as it was.
	stamp func() (engine.Millis, bool)
	now   func() time.Time
	// Marks are up to which instants tasks have spoken. senders returns the tasks whose
	// marks the clock of a task waits for.
	Marks   Marks
	senders func(task int32) []int32

	soon chan struct{} // holds one if somebody waits for an answer

	mu      sync.Mutex
	reports map[int32]map[broker.Partition]report // by task and input
	leads   map[int32]map[broker.Partition]*lead
	held    engine.Millis // the last time that was trusted
}

// lead is what is known of the leader of an input partition.
type lead struct {
	epoch    int32     // unknown before the first answer
	answered time.Time // when it last said where the partition ends; before it did, when it was first asked
	// lacked is when there last was no leader as far as is known: nobody answered, or
	// another one does now. Before the first answer nothing is known.
	lacked time.Time
}

// answer takes in that the leader of an epoch has answered.
func (l *lead) answer(epoch int32, now time.Time) {
	if epoch != l.epoch || now.Sub(l.answered) > leaderPatience {
		l.lacked = now
	}
	l.epoch, l.answered = epoch, now
}

// leaderPatience is after how long without an answer a partition counts as without a
// leader.
const leaderPatience = 2 * time.Second

// NewEnds returns Ends that ask nothing yet. stamp reads the wall clock for a report; it
// returns false while the clock is not to be trusted. senders returns the tasks that forward
// records to a task and for which its clock waits; the result is not changed.
func NewEnds(cluster *broker.Cluster, now func() time.Time, stamp func() (engine.Millis, bool), senders func(task int32) []int32) *Ends {
	return &Ends{
		cluster: cluster, stamp: stamp, now: now, senders: senders, soon: make(chan struct{}, 1),
		reports: map[int32]map[broker.Partition]report{}, leads: map[int32]map[broker.Partition]*lead{}, held: changelog.Never,
	}
}

// Watch begins to ask for inputs of a task, of those that it does not ask for yet.
func (e *Ends) Watch(task int32, inputs []broker.Partition) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.reports[task] == nil {
		e.reports[task] = map[broker.Partition]report{}
		e.leads[task] = map[broker.Partition]*lead{}
	}
	for _, in := range inputs {
		if e.leads[task][in] != nil {
			continue
		}
		e.leads[task][in] = &lead{epoch: unknown, answered: e.now(), lacked: e.now()}
	}
}

// Unwatch ends that, and forgets the reports.
func (e *Ends) Unwatch(task int32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.reports, task)
	delete(e.leads, task)
}

// Answered returns when the end of each input of a task was last reported, or first
// requested.
func (e *Ends) Answered(task int32) map[broker.Partition]time.Time {
	e.mu.Lock()
	defer e.mu.Unlock()
	at := make(map[broker.Partition]time.Time, len(e.leads[task]))
	for in, l := range e.leads[task] {
		at[in] = l.answered
	}
	return at
}

// Led reports whether every input of a task has a leader, and has had one for as long
// as is given.
func (e *Ends) Led(task int32, since time.Duration) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.now()
	for _, l := range e.leads[task] {
		if now.Sub(l.answered) > leaderPatience || now.Sub(l.lacked) < since {
			return false
		}
	}
	return true
}

// of returns the reports for a task; an input without one is missing.
func (e *Ends) of(task int32) map[broker.Partition]report {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.reports[task])
}

// Trusted returns the last time that was trusted.
func (e *Ends) Trusted() engine.Millis {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.held
}

// Hurry makes the next round come soon.
func (e *Ends) Hurry() {
	select {
	case e.soon <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends.
func (e *Ends) Run(ctx context.Context) {
	for {
		e.ask(ctx)
		earliest, latest := time.After(hurryInterval), time.After(Interval)
		select {
		case <-ctx.Done():
			return
		case <-earliest:
		}
		select {
		case <-ctx.Done():
			return
		case <-e.soon:
		case <-latest:
		}
	}
}

// roundTime is how long a round may take. The client would try a leader that is down
// for half a minute, while the clocks of all tasks waited for the answer of one.
const roundTime = time.Second

// ask makes one round. What is not answered leaves its report as it was: the
// clocks of those tasks wait.
func (e *Ends) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	e.mu.Lock()
	tasks := map[broker.Partition]int32{}
	bounds := map[int32]bound{}
	for task, inputs := range e.leads {
		bounds[task] = e.Marks.bound(e.senders(task))
		for in := range inputs {
			tasks[in] = task
		}
	}
	inputs := slices.SortedFunc(maps.Keys(tasks), broker.Partition.Compare)
	if at, ok := e.stamp(); ok {
		e.held = at
	}
	asked := e.held
	e.mu.Unlock()
	if len(inputs) == 0 {
		return
	}
	var stable map[broker.Partition]broker.Listed
	var asking sync.WaitGroup
	asking.Go(func() { stable, _ = e.cluster.ListAll(ctx, broker.LastStable, inputs) })
	got, _ := e.cluster.ListAll(ctx, broker.HighWatermark, inputs)
	asking.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	for in, end := range got {
		s, both := stable[in]
		if l := e.leads[tasks[in]][in]; l != nil && both {
			e.reports[tasks[in]][in] = report{end: end.Offset, stable: s.Offset, asked: asked, bound: bounds[tasks[in]]}
			l.answer(end.Epoch, e.now())
		}
	}
}

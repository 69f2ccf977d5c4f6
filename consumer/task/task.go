package task

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// Task owns one partition from its assignment to its revocation. It is one
// goroutine, which runs one session after another.
type Task struct {
	Instance  *Instance
	Partition int32
	log       *slog.Logger
	Store     *state.Task

	// What outlives a session:

	// limit is how many steps a batch may have. It is halved when a transaction
	// can't be produced, down to the one record that is at fault.
	limit  int
	poison map[place]bool // records that can't be produced from: dead letters
	// scratch says that the local copy has been dropped because it was wrong; if
	// what the changelog gives is wrong too, the partition stops.
	scratch bool
	commits int    // of the session before
	under   *ruled // the rules of the session before, nil before the first
	// preparing is a change to other rules, which a session begins and the next one completes.
	preparing *preparation
	refused   *ruled // rules that the task can't go over to
	// historyEnd is up to where what was imported is read as an input.
	historyEnd atomic.Int64
	// wrong is set if the task must acquire again: by the verifier, if the local
	// copy is not what it should be, and if a topic was recreated.
	wrong atomic.Pointer[error]

	mu     sync.Mutex
	status Status
}

// place is where a record is.
type place struct {
	topic     string
	partition int32
	offset    int64
}

// New returns the task of a partition, which does not run yet.
func New(in *Instance, n int32) *Task {
	return &Task{
		Instance: in, Partition: n, log: in.Config.Logger.With("partition", n), Store: in.Config.Store.Task(n),
		limit: in.Config.Batch.Records, poison: map[place]bool{}, status: Status{Partition: n, State: Acquiring},
	}
}

// Run runs the task until live ends: then the current batch is committed first.
// When hard ends, everything is dropped. It returns an error if the Owner must
// end, or nil.
func (t *Task) Run(live, hard context.Context) error {
	t.Instance.Ends.Watch(t.Partition, t.Instance.Inputs(t.Partition))
	defer t.Instance.Ends.Unwatch(t.Partition)
	defer t.drop()
	backoff := replica.MinBackoff
	reason, said := "assigned", ""
	for {
		t.Instance.Config.Metrics.Acquisitions.WithLabelValues(reason).Inc()
		err := t.session(live, hard)
		switch {
		case errors.Is(err, errNewRules) && live.Err() == nil:
			reason = "rules"
			continue
		case live.Err() != nil || err == nil:
			t.set(func(s *Status) {
				if s.State != Finished {
					s.State = Released
				}
			})
			if fault.IsFatal(err) {
				return err
			}
			return nil
		case fault.IsFatal(err) || fault.IsStopped(err) && t.Instance.Until != nil:
			t.report(Stopped, err)
			return err
		case fault.IsStopped(err):
			t.report(Stopped, err)
			t.log.Error("partition stopped; the others go on", "error", err)
			<-live.Done()
			return nil
		}
		if t.commits > 0 {
			backoff = replica.MinBackoff
		}
		wait := backoff
		unfinished := new(unfinishedError)
		switch reason = "error"; {
		case errors.As(err, &unfinished):
			reason, wait = "import", unfinishedEach
		case ledger.IsFenced(err):
			// The new owner has fenced us. If the group still says that we own the
			// partition after a session timeout, it is for us to fence; sooner, and
			// two owners would fence each other for ever.
			reason, wait = "fenced", t.Instance.Config.Group.SessionTimeout
		}
		t.report(Waiting, err)
		switch {
		case reason != "import":
			backoff = min(2*backoff, replica.MaxBackoff)
			t.log.Warn("batch dropped; the partition will be acquired again", "error", err, "wait", wait)
		case said != err.Error():
			said = err.Error()
			t.log.Warn("the partition waits for the end of an import", "error", err)
		}
		select {
		case <-live.Done():
		case <-time.After(wait):
		}
	}
}

// session acquires the task and runs it until an error or the end of live.
func (t *Task) session(live, hard context.Context) error {
	t.commits = 0
	t.set(func(s *Status) { s.State = Acquiring })
	s, err := t.acquire(live)
	if s != nil {
		defer s.close()
	}
	if err != nil {
		return t.judge(err)
	}
	t.under = &ruled{s.cfg, s.pos.Rules}
	t.set(func(st *Status) { st.State, st.Error, st.Waits, st.looped = Running, "", nil, s.cfg.Now() })
	err = s.run(live, hard)
	t.commits = s.commits
	return t.judge(err)
}

// judge drops the local copy if an error blames it, and stops the partition if
// that was tried before.
func (t *Task) judge(err error) error {
	if !errors.Is(err, fault.ErrLocal) || fault.IsStopped(err) {
		return err
	}
	if t.scratch {
		return fault.Stopped(t.Partition, "what the changelog gives is wrong too: %w", err)
	}
	t.scratch = true
	t.Instance.Config.Metrics.Damaged.WithLabelValues(metrics.DamagedDigest).Inc()
	t.log.Error("local state is wrong; it is restored from the changelog", "error", err)
	if derr := t.Store.Drop(); derr != nil {
		return derr
	}
	return err
}

// grow lets batches become larger again after a commit.
func (t *Task) grow() {
	t.limit = min(2*t.limit, t.Instance.Config.Batch.Records)
	t.scratch = false
}

// shrink makes the next batch smaller after a transaction of n steps that can't
// be produced. If it was one step, the record at fault becomes a dead letter.
func (t *Task) shrink(n int, only place, err error) error {
	if n > 1 {
		t.limit = max(1, n/2)
		return err
	}
	t.limit = 1
	if only == (place{}) {
		return fault.Stopped(t.Partition, "the outputs of a timer can't be produced: %w", err)
	}
	if t.poison[only] {
		return fault.Stopped(t.Partition, "the dead letter of %s offset %d can't be produced: %w", only.topic, only.offset, err)
	}
	t.poison[only] = true
	return err
}

// AcquireAgain makes the task drop its batch and acquire its partition again, because of
// something that was seen beside it.
func (t *Task) AcquireAgain(why error) { t.wrong.Store(&why) }

func (t *Task) set(change func(*Status)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.status)
}

func (t *Task) report(s State, err error) {
	t.set(func(st *Status) { st.State, st.Error = s, err.Error() })
}

// Status returns what the task is doing.
func (t *Task) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.status
}

// State is a state of a task.
type State string

// The states.
const (
	Acquiring  State = "acquiring"  // fencing, restoring
	Rebuilding State = "rebuilding" // building the state again under changed rules
	Applying   State = "applying"   // bringing changed rules in
	Running    State = "running"
	Waiting    State = "waiting" // before it is acquired again, or for a schema of a record
	Stopped    State = "stopped" // and will not run by itself
	Finished   State = "finished"
	Released   State = "released"
)

// Status is a snapshot of a task.
type Status struct {
	Partition int32
	State     State
	Error     string // the last one, "" while running
	// Clock is the task clock.
	Clock engine.Millis
	// Lag is how many records of all inputs are not yet taken, as last reported.
	Lag int64
	// Position is that of the last commit.
	Seq                            uint64
	Folded, DeadLetters, Forwarded uint64
	Customers                      int // in the cache
	// Rules names the rules that the partition is under. Change says how far a change to
	// others has come, "" if there is none, and Refused why the newest are not those.
	Rules, Change, Refused string
	// Restore is how far a restore has come, nil if there is none.
	Restore *replica.Status
	// Waits is what a running task has waited for, for some seconds at least.
	Waits []feed.Wait

	looped time.Time // when the loop of a session last went round, or began
	// Maps, slices, and what Restore points to, are never changed once they are here.
	Sources map[changelog.Input]changelog.Source
	Behind  map[broker.Partition]engine.Millis // wall clock minus time of the last event, by input
}

// Overdue adds to the waits that a task has published what it could not: answers that
// it is still waiting for, since when its loop last went round, and ends of inputs
// that no broker reports.
func (t *Status) Overdue(now time.Time, unanswered map[broker.Partition]time.Time) {
	if t.State != Running {
		return
	}
	if now.Sub(t.looped) > feed.StallAfter {
		t.Waits = append(slices.Clip(t.Waits), feed.Wait{Task: t.Partition, Since: t.looped, Reason: "its loop has not gone round: Kafka does not answer a request"})
	}
	for _, in := range slices.SortedFunc(maps.Keys(unanswered), broker.Partition.Compare) {
		shown := slices.ContainsFunc(t.Waits, func(w feed.Wait) bool { return w.Input == in })
		if since := unanswered[in]; now.Sub(since) > feed.StallAfter && !shown {
			t.Waits = append(slices.Clip(t.Waits), feed.Wait{Input: in, Task: t.Partition, Since: since, Reason: "no broker says where the partition ends: is its leader down?"})
		}
	}
}

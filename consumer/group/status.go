package group

import (
	"maps"
	"slices"
	"strconv"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
)

// Status is a snapshot of an Owner.
type Status struct {
	// Ready: the group has assigned partitions, or said that none is ours, and
	// every one of ours is running and has waited for nothing for long.
	Ready bool
	// Refused is why this instance is not in its group, "" if nothing is known.
	Refused string
	// Joining is what this instance does before it takes any partition, "" if
	// nothing.
	Joining string
	// Clock is the least of the task clocks.
	Clock engine.Millis
	// ClockStopped: the wall clock has jumped ahead, and timers do not fire in this process.
	ClockStopped bool
	// Lag is how many records are known to exist and not yet taken.
	Lag int64
	// EventsPerSecond is the rate of the last seconds.
	EventsPerSecond float64
	// Partitions is how many there are, on all instances.
	Partitions int32
	Tasks      []task.Status // of this instance, by partition
	// NotRead are inputs that the rules leave out. They do not keep an instance from being
	// ready.
	NotRead []config.NotRead
}

// Status returns a snapshot.
func (o *Owner) Status() Status {
	now := o.Config.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	st := Status{
		Ready: o.joined && o.refused == "", Refused: o.refused, Clock: engine.Never, ClockStopped: !o.Guard.OK(),
		EventsPerSecond: o.rate.perSecond, Partitions: o.Partitions, NotRead: o.NotRead(),
	}
	if !o.joined && o.standbys != nil {
		st.Joining = o.standbys.joining()
	}
	for _, p := range slices.Sorted(maps.Keys(o.tasks)) {
		t := o.tasks[p].t.Status()
		if t.State == task.Released {
			continue
		}
		t.Overdue(now, o.Ends.Answered(p))
		st.Tasks = append(st.Tasks, t)
		st.Lag += t.Lag
		st.Clock = min(st.Clock, t.Clock)
		st.Ready = st.Ready && (t.State == task.Running || t.State == task.Finished) && len(t.Waits) == 0
	}
	return st
}

// rate is a rate of events, smoothed over some seconds.
type rate struct {
	last      map[int32]uint64
	perSecond float64
}

// smoothing is the weight of the newest second.
const smoothing = 0.3

// update takes in the counts of the tasks, once a second.
func (r *rate) update(tasks []task.Status) {
	n := uint64(0)
	next := make(map[int32]uint64, len(tasks))
	for _, t := range tasks {
		total := t.Folded + t.DeadLetters + t.Forwarded
		next[t.Partition] = total
		if before, ok := r.last[t.Partition]; ok && total > before {
			n += total - before
		}
	}
	r.last = next
	r.perSecond += smoothing * (float64(n) - r.perSecond)
}

// forget deletes the gauges of partitions that are no longer here: what they said
// last is not true any more.
func (o *Owner) forget(tasks []task.Status) {
	gone := o.gauged
	o.gauged = make(map[int32]map[broker.Partition]bool, len(tasks))
	for _, t := range tasks {
		o.gauged[t.Partition] = gone[t.Partition]
		delete(gone, t.Partition)
	}
	for p, inputs := range gone {
		for in := range inputs {
			o.Config.Metrics.Lag.DeleteLabelValues(in.Topic, strconv.Itoa(int(in.Number)))
			o.Config.Metrics.Waiting.DeleteLabelValues(waitLabels(feed.Wait{Input: in, Task: p})...)
		}
		delete(o.waiting, p)
	}
}

func (o *Owner) gauges(tasks []task.Status) {
	size := o.Config.Store.Stats()
	for kind, n := range map[string]int64{"disk": size.DiskBytes, "block_cache": size.CacheBytes, "memtable": size.MemTableBytes} {
		o.Config.Metrics.StateBytes.WithLabelValues(kind).Set(float64(n))
	}
	states := map[task.State]int{}
	o.forget(tasks)
	for _, t := range tasks {
		states[t.State]++
		if o.gauged[t.Partition] == nil {
			o.gauged[t.Partition] = map[broker.Partition]bool{}
		}
		o.showWaits(t)
		for in, behind := range t.Behind {
			o.gauged[t.Partition][in] = true
			o.Config.Metrics.Lag.WithLabelValues(in.Topic, strconv.Itoa(int(in.Number))).Set(float64(behind) / 1000)
		}
	}
	for _, s := range []task.State{task.Acquiring, task.Rebuilding, task.Applying, task.Running, task.Waiting, task.Stopped} {
		o.Config.Metrics.State.WithLabelValues(string(s)).Set(float64(states[s]))
	}
}

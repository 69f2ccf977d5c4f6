package group

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kadm"

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
}

// Status returns a snapshot.
func (o *Owner) Status() Status {
	now := o.Config.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	st := Status{
		Ready: o.joined && o.refused == "", Refused: o.refused, Clock: engine.Never, ClockStopped: !o.Guard.OK(),
		EventsPerSecond: o.rate.perSecond, Partitions: o.Partitions,
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

// progressInterval is how often offsets are committed to the progress group.
const progressInterval = time.Second

// progress commits the positions' offsets to a group of their own, and keeps the
// gauges. Nothing ever reads these offsets back: they are for tools that show lag.
func (o *Owner) progress(ctx context.Context) {
	adm := kadm.NewClient(o.Cluster.Admin)
	committed := map[int32]uint64{} // seq by task
	failing := false                // that it does not work
	// Another Owner of this process would not know whose gauges these were.
	defer o.Config.Metrics.Lag.Reset()
	defer o.Config.Metrics.Waiting.Reset()
	tick := time.NewTicker(progressInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		tasks := o.Status().Tasks
		o.mu.Lock()
		o.rate.update(tasks)
		o.mu.Unlock()
		o.gauges(tasks)
		offsets := kadm.Offsets{}
		for _, t := range tasks {
			if committed[t.Partition] == t.Seq {
				continue
			}
			for topic, at := range t.Sources {
				offsets.AddOffset(topic, t.Partition, at.Next, -1)
			}
		}
		if len(offsets) == 0 {
			continue
		}
		if err := adm.CommitAllOffsets(ctx, o.Config.ProgressGroup(), offsets); err != nil {
			if !failing {
				failing = true
				o.Config.Logger.Warn("progress not committed: tools do not see the lag", "group", o.Config.ProgressGroup(), "error", err)
			}
			continue
		}
		failing = false
		for _, t := range tasks {
			committed[t.Partition] = t.Seq
		}
	}
}

// forget deletes the gauges of partitions that are no longer here: what they said
// last is not true any more.
func (o *Owner) forget(tasks []task.Status) {
	gone := o.gauged
	o.gauged = make(map[int32]bool, len(tasks))
	for _, t := range tasks {
		o.gauged[t.Partition] = true
		delete(gone, t.Partition)
	}
	for p := range gone {
		here := prometheus.Labels{"partition": strconv.Itoa(int(p))}
		o.Config.Metrics.Lag.DeletePartialMatch(here)
		o.Config.Metrics.Waiting.DeletePartialMatch(here)
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
		o.showWaits(t)
		for topic, behind := range t.Behind {
			o.Config.Metrics.Lag.WithLabelValues(topic, strconv.Itoa(int(t.Partition))).Set(float64(behind) / 1000)
		}
	}
	for _, s := range []task.State{task.Acquiring, task.Rebuilding, task.Running, task.Waiting, task.Stopped} {
		o.Config.Metrics.State.WithLabelValues(string(s)).Set(float64(states[s]))
	}
}

package group

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/engine"
)

// The offsets of the positions are committed to a group of their own, so that any tool
// shows the lag. Nothing continues from them. With the offset of a task's partition of the
// repartition topic comes the mark that the task has said, by which instances know of
// each other's tasks.

// progressInterval is how often offsets are committed to the progress group, and
// marksInterval how often if clocks wait for the marks in it.
const (
	progressInterval = time.Second
	marksInterval    = progressInterval / 2
)

// progress is what has been committed to the progress group.
type progress struct {
	o       *Owner
	adm     *kadm.Client
	seqs    map[int32]uint64        // by task
	marks   map[int32]engine.Millis // by task
	failing bool
}

// progress commits the positions' offsets and the marks, and keeps the gauges.
func (o *Owner) progress(ctx context.Context) {
	p := progress{o: o, adm: kadm.NewClient(o.Cluster.Admin), seqs: map[int32]uint64{}, marks: map[int32]engine.Millis{}}
	// Another Owner of this process would not know whose gauges these were.
	defer o.Config.Metrics.Lag.Reset()
	defer o.Config.Metrics.Waiting.Reset()
	tick := time.NewTicker(marksInterval)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		second, waited := n%int(progressInterval/marksInterval) == 0, o.waitsForMarks()
		if !second && !waited {
			continue
		}
		tasks := o.Status().Tasks
		if second {
			o.mu.Lock()
			o.rate.update(tasks)
			o.mu.Unlock()
			o.gauges(tasks)
		}
		err := p.commit(ctx, tasks, waited)
		if err == nil && waited {
			err = p.fetch(ctx)
		}
		if err != nil && !p.failing && ctx.Err() == nil {
			o.Config.Logger.Warn("progress not committed: tools do not see the lag, and timers wait for tasks of other instances, if inputs are uneven", "group", o.Config.ProgressGroup(), "error", err)
		}
		p.failing = err != nil
	}
}

// waitsForMarks reports whether a task waits for what another one says.
func (o *Owner) waitsForMarks() bool {
	for t := range o.Partitions {
		if len(o.Senders(t)) > 0 {
			return true
		}
	}
	return false
}

// commit commits what is new of the tasks that are here.
func (p *progress) commit(ctx context.Context, tasks []task.Status, marks bool) error {
	offsets := kadm.Offsets{}
	said := map[int32]engine.Millis{}
	for _, t := range tasks {
		mark, known := p.o.Ends.Marks.Of(t.Partition)
		if p.seqs[t.Partition] == t.Seq && !(marks && known && p.marks[t.Partition] != mark) {
			continue
		}
		said[t.Partition] = mark
		for in, at := range t.Sources {
			if in.Topic == p.o.Config.History() {
				continue // it leaves the position when it has been read, and would count as lag then
			}
			n := in.Partition(t.Partition)
			if slices.Contains(p.o.Config.Inputs, in.Topic) && n >= p.o.Parts(in.Topic) {
				continue // a partition that is not there yet
			}
			at := kadm.Offset{Topic: in.Topic, Partition: n, At: at.Next, LeaderEpoch: -1}
			if known && in.Topic == p.o.Config.Repartition() {
				at.Metadata = p.o.markText(mark)
			}
			offsets.Add(at)
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	if err := p.adm.CommitAllOffsets(ctx, p.o.Config.ProgressGroup(), offsets); err != nil {
		return err
	}
	for _, t := range tasks {
		p.seqs[t.Partition] = t.Seq
	}
	maps.Copy(p.marks, said)
	return nil
}

// fetch takes in the marks of tasks that are elsewhere.
func (p *progress) fetch(ctx context.Context) error {
	offsets, err := p.adm.FetchOffsets(ctx, p.o.Config.ProgressGroup())
	if err != nil {
		return err
	}
	for n, at := range offsets[p.o.Config.Repartition()] {
		if mark, ok := p.o.markOf(at.Metadata); ok && at.Err == nil {
			p.o.Ends.Marks.Say(n, mark)
		}
	}
	return nil
}

// markFormat is what the metadata of an offset say: the mark in milliseconds, and the
// changelog of which it is. Of another one, which had been there before or is for another
// number of tasks, it says nothing.
const markFormat = "mark %d of changelog %x"

func (o *Owner) markText(mark engine.Millis) string {
	id := o.IDs[o.Config.Changelog()]
	return fmt.Sprintf(markFormat, int64(mark), id[:])
}

// markOf reads the metadata of an offset. It returns false if they hold no mark of this
// changelog.
func (o *Owner) markOf(metadata string) (engine.Millis, bool) {
	var mark int64
	var id []byte
	own := o.IDs[o.Config.Changelog()]
	_, err := fmt.Sscanf(metadata, markFormat, &mark, &id)
	return engine.Millis(mark), err == nil && slices.Equal(id, own[:])
}

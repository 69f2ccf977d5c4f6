package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/imports"
	"github.com/segmill/segmill/engine"
)

// Partition p of the topic of history (see consumer/imports) belongs to task p. A task that
// has no position yet reads it as one more input:
//
//  1. It waits until nothing in the topic follows the last mark.
//  2. Its first position names the partition among the sources, with those that follow: after
//     a crash it is read on from there.
//  3. When it has been read up to the mark, the next position does not name it any more.
//
// So a position that does not name the partition says that it was read, or that it is never
// to be read as an input. What has been imported by the time that facts are made is part of
// the past, whoever has read it (see past).

// unfinishedEach is how often a task looks whether an import has been completed.
const unfinishedEach = time.Second

// unfinishedError says that a new task waits for the end of an import.
type unfinishedError struct{ what string }

func (e *unfinishedError) Error() string {
	return e.what + ", and a new application begins when its history is complete: let segmill import finish it; or delete the topic, to begin without history"
}

// imported is what the tasks of an instance know of the topic of history. A partition of
// which more is to be known has grown.
type imported struct {
	mu    sync.Mutex
	known map[int32]importedPart
}

// importedPart is a partition of it.
type importedPart struct {
	end   int64 // of what was committed when last was asked for
	last  *imports.Last
	marks []imports.Marked // as far as they were asked for
}

// misfitError says that the topic of history has not as many partitions as there are tasks.
type misfitError struct {
	topic              string
	partitions, wanted int32
}

func (e *misfitError) Error() string {
	return fmt.Sprintf("%s has %d partitions and there are %d tasks, each of which reads the partition of its own number: delete the topic, and import the files again",
		e.topic, e.partitions, e.wanted)
}

// historyTopic returns what the topic of history is like, false if there is none.
func (t *Task) historyTopic(ctx context.Context) (broker.Topic, bool, error) {
	name := t.Instance.Config.History()
	infos, err := t.Instance.Cluster.Describe(ctx, name)
	if err != nil {
		return broker.Topic{}, false, err
	}
	switch topic := infos[name]; {
	case errors.Is(topic.Err, kerr.UnknownTopicOrPartition):
		return topic, false, nil
	case errors.Is(topic.Err, kerr.TopicAuthorizationFailed):
		return topic, false, fmt.Errorf("topic %s: %w: grant the right to read it, whether or not there is one", name, topic.Err)
	case topic.Err != nil:
		return topic, false, fmt.Errorf("topic %s: %w", name, topic.Err)
	case topic.Partitions != t.Instance.Partitions:
		return topic, false, &misfitError{name, topic.Partitions, t.Instance.Partitions}
	default:
		return topic, true, nil
	}
}

// lastImport returns what is complete in the task's partition of the topic of history, nil if
// nothing is.
func (t *Task) lastImport(ctx context.Context) (*imports.Last, error) {
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	if _, ok, err := t.historyTopic(ctx); err != nil || !ok {
		return nil, err
	}
	last, err := imports.LastOf(ctx, t.Instance.Cluster, t.Instance.Config.History(), t.Partition)
	if err != nil || last.Mark == nil {
		return nil, err
	}
	return last, nil
}

// checkComplete returns an unfinishedError if anything in the topic of history follows a last
// mark, or if a transaction is open there. All partitions are looked at, since the records of
// an import come to them one after the other.
func (t *Task) checkComplete(ctx context.Context) error {
	in, topic := t.Instance, t.Instance.Config.History()
	var places []broker.Partition
	for p := range in.Partitions {
		places = append(places, broker.Partition{Topic: topic, Number: p})
	}
	stable, err := in.Cluster.Offsets(ctx, broker.LastStable, places)
	if err != nil {
		return err
	}
	end, err := in.Cluster.Offsets(ctx, broker.HighWatermark, places)
	if err != nil {
		return err
	}
	for _, place := range places {
		if end[place] > stable[place] {
			return &unfinishedError{fmt.Sprintf("%v: a transaction is open at offset %d", place, stable[place])}
		}
		last, err := in.lastOf(ctx, place, stable[place])
		if err != nil {
			return err
		}
		if last.Open != nil {
			return &unfinishedError{fmt.Sprintf("%v: import %s is not finished", place, imports.IDOf(last.Open))}
		}
	}
	return nil
}

// lastOf is imports.LastOf of a partition whose committed records end at end, which is asked
// for once.
func (in *Instance) lastOf(ctx context.Context, of broker.Partition, end int64) (*imports.Last, error) {
	in.imported.mu.Lock()
	defer in.imported.mu.Unlock()
	if known := in.imported.known[of.Number]; known.last != nil && known.end == end {
		return known.last, nil
	}
	last, err := imports.LastOf(ctx, in.Cluster, of.Topic, of.Number)
	if err == nil {
		known := in.imported.known[of.Number]
		known.end, known.last = end, last
		in.imported.learn(of.Number, known)
	}
	return last, err
}

func (i *imported) learn(p int32, part importedPart) {
	if i.known == nil {
		i.known = map[int32]importedPart{}
	}
	i.known[p] = part
}

// ranges returns what imports have of each input that are complete in the partition of a task
// below an offset. It is that of all partitions together: that the customers of one have none
// of an input's records does not say that a file had none. Marks are looked for in everything
// that was imported, once in the life of an instance.
func (in *Instance) ranges(ctx context.Context, task int32, below int64) (map[string][]imports.Range, error) {
	in.imported.mu.Lock()
	defer in.imported.mu.Unlock()
	for p := range in.Partitions {
		if err := in.learnMarks(ctx, p); err != nil {
			return nil, err
		}
	}
	ranges := map[string][]imports.Range{}
	for _, own := range in.imported.known[task].marks {
		if own.Offset >= below {
			continue
		}
		all := map[string]imports.Range{} // of this import
		for _, part := range in.imported.known {
			for _, m := range part.marks {
				if m.Import == own.Import {
					imports.Join(all, m.Topics)
				}
			}
		}
		for topic, r := range all {
			ranges[topic] = append(ranges[topic], r)
		}
	}
	return ranges, nil
}

// learnMarks finds the marks of a partition, if there are others than those that are known.
func (in *Instance) learnMarks(ctx context.Context, p int32) error {
	topic, known := in.Config.History(), in.imported.known[p]
	last, err := imports.LastOf(ctx, in.Cluster, topic, p)
	if err != nil {
		return err
	}
	if n := len(known.marks); n > 0 && known.marks[n-1].Offset == last.End-1 {
		return nil
	}
	known.marks, err = imports.MarksOf(ctx, in.Cluster, topic, p, last)
	in.imported.learn(p, known)
	return err
}

// historyPlace returns the task's partition of the topic of history, and what it is called in
// a position.
func (t *Task) historyPlace() (broker.Partition, changelog.Input) {
	topic := t.Instance.Config.History()
	return broker.Partition{Topic: topic, Number: t.Partition}, changelog.InputOf(topic, t.Partition, t.Partition)
}

// placeHistory returns the task's partition of the topic of history if it is to be read as an
// input, nil if not.
func (s *session) placeHistory(ctx context.Context) (*feed.Input, error) {
	t := s.t
	place, own := t.historyPlace()
	at, begun := s.pos.Sources[own]
	if !begun && s.pos.Seq > 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	topic, ok, err := t.historyTopic(ctx)
	misfit := new(misfitError)
	switch {
	case errors.As(err, &misfit):
		return nil, fault.Stopped(t.Partition, "%w", err)
	case err != nil:
		return nil, err
	case begun && (!ok || at.ID != topic.ID):
		return nil, fault.Stopped(t.Partition, "%s was read up to offset %d and has been deleted since, or recreated: begin with another app name", place.Topic, at.Next)
	case !ok:
		return nil, nil
	case !begun:
		at.Seen = changelog.Never
		if err := t.checkComplete(ctx); err != nil {
			return nil, err
		}
	}
	last, err := t.lastImport(ctx)
	switch {
	case err != nil:
		return nil, err
	case begun && (last == nil || at.Next > last.End):
		return nil, fault.Stopped(t.Partition, "%s was read up to offset %d, and no import ends behind that: it has lost records; restore it, or begin with another app name", place.Topic, at.Next)
	case last == nil:
		return nil, nil
	case !begun && last.Open != nil:
		return nil, &unfinishedError{fmt.Sprintf("%v: import %s is not finished", place, imports.IDOf(last.Open))}
	case begun && at.Next < last.Start:
		return nil, fault.Stopped(t.Partition, "records %d to %d of %s were deleted before they were read: restore them, or begin with another app name", at.Next, last.Start-1, place.Topic)
	case !begun:
		at.Next = last.Start
		t.log.Info("history is read with the inputs", "topic", place.Topic, "from", last.Start, "to", last.End, "records", last.Mark.Records)
	}
	in := feed.NewImported(place, at.Next, last.End)
	in.Seen, in.ID = at.Seen, topic.ID
	t.historyEnd.Store(last.End)
	return in, nil
}

// withHistory adds the history to inputs, if it is to be read as one.
func (s *session) withHistory(ctx context.Context, inputs []*feed.Input) ([]*feed.Input, error) {
	in, err := s.placeHistory(ctx)
	if err != nil || in == nil {
		return inputs, err
	}
	i, _ := slices.BinarySearchFunc(inputs, in.Place(), func(a *feed.Input, b broker.Partition) int { return a.Place().Compare(b) })
	return slices.Insert(inputs, i, in), nil
}

// leaveHistory commits that the history has been read, when it has: what is imported later is
// not read as an input. It is called between two batches.
func (s *session) leaveHistory(ctx context.Context) error {
	for _, in := range s.feed.Inputs() {
		if !in.Over() {
			continue
		}
		_, own := s.t.historyPlace()
		_, named := s.pos.Sources[own]
		s.feed.Drop(in)
		if named || s.pos.Seq == 0 {
			s.begin()
			s.batch.moved = true
			if err := s.commit(ctx); err != nil {
				return err
			}
		}
		s.t.log.Info("history has been read", "topic", in.Topic, "to", in.Next)
		return s.at("history read")
	}
	return nil
}

// importedRanges returns what the history of a past has of each input: what is read again, and
// what the task has yet to read of it as an input.
func (t *Task) importedRanges(ctx context.Context, p *past) (map[string][]imports.Range, error) {
	place, _ := t.historyPlace()
	below, ok := p.next[place]
	if !ok {
		return nil, nil
	}
	if p.readsHistory {
		below = t.historyEnd.Load()
	}
	return t.Instance.ranges(ctx, t.Partition, below)
}

// addHistory adds to what there is to read again what was imported: all of it, or, while the
// task reads it as an input, what it has read of it. A topic that does not fit, or may not be
// read, is an error, unless losses are accepted.
func (p *past) addHistory(ctx context.Context, t *Task, cfg *config.Config, sources map[changelog.Input]changelog.Source) error {
	place, own := t.historyPlace()
	last, err := t.lastImport(ctx)
	misfit := new(misfitError)
	switch useless := errors.As(err, &misfit) || errors.Is(err, kerr.TopicAuthorizationFailed); {
	case useless && cfg.AcceptLoss:
		t.log.Warn("facts are made without what was imported", "error", err)
		return nil
	case useless:
		return fault.Fatal("%w", err) // it does not go away by itself
	case err != nil || last == nil:
		return err
	}
	p.first[place], p.next[place] = last.Start, last.End
	source, reading := sources[own]
	if p.readsHistory = reading; reading {
		p.next[place] = max(last.Start, source.Next)
	}
	return nil
}

// goOnHistory adds what the task has read since of the history that it was reading before.
// What is imported meanwhile is left for the next change.
func (p *past) goOnHistory(ctx context.Context, t *Task, cfg *config.Config, before *past, sources map[changelog.Input]changelog.Source) error {
	if !before.readsHistory {
		return nil
	}
	if err := p.addHistory(ctx, t, cfg, sources); err != nil {
		return err
	}
	place, _ := t.historyPlace()
	if next, ok := p.next[place]; ok {
		p.from[place] = before.next[place]
		p.next[place] = max(next, before.next[place])
	}
	return nil
}

// earliest adds the earliest times of what was imported to those of the inputs.
func (p *Preview) earliest(ctx context.Context, back map[string]engine.Millis, oldest map[string]engine.Millis) error {
	last, err := p.s.t.lastImport(ctx)
	if err != nil || last == nil {
		return err
	}
	for topic, r := range last.Mark.Topics {
		if at, ok := oldest[topic]; back[topic] > 0 && (!ok || r.First < at) {
			oldest[topic] = r.First
		}
	}
	return nil
}

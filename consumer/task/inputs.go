package task

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/feed"
)

// Partition p of an input is read by task p modulo the number of tasks. An input that has
// fewer partitions than there are tasks is not read by all of them; of one that has more,
// some tasks read several. Records of customers whose task is another one are forwarded.

// inputs is how many partitions the inputs have. It can grow while tasks run.
type inputs struct {
	mu         sync.Mutex
	partitions map[string]int32
	grown      int // how often one has grown
}

// Grow takes in that an input has n partitions, if it had fewer, and returns how many it
// had.
func (in *Instance) Grow(topic string, n int32) (before int32) {
	in.inputs.mu.Lock()
	defer in.inputs.mu.Unlock()
	if before = in.inputs.partitions[topic]; n > before {
		in.inputs.partitions[topic] = n
		in.inputs.grown++
	}
	return before
}

// Learn takes in the partitions that a position knows: another instance may have heard of
// one, and read it, before this one did.
func (in *Instance) Learn(task int32, pos *changelog.Position) {
	for of, at := range pos.Sources {
		if at.Next > 0 && in.Config.IsInput(of.Topic) {
			in.Grow(of.Topic, of.Partition(task)+1)
		}
	}
}

// meetInputs asks how many partitions inputs have of which that is not known: those that the
// rules at the start leave out. One that does not exist yet is taken up when it does.
func (in *Instance) meetInputs(ctx context.Context, cfg *config.Config) error {
	unknown := slices.DeleteFunc(slices.Clone(cfg.Inputs), func(topic string) bool { return in.Parts(topic) > 0 })
	if len(unknown) == 0 || in.Until != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, broker.RequestTimeout)
	defer cancel()
	topics, err := in.Cluster.Describe(ctx, unknown...)
	if err != nil {
		return err
	}
	for name, t := range topics {
		if t.Err == nil {
			in.Grow(name, t.Partitions)
		}
	}
	return nil
}

// Parts returns how many partitions an input has, as far as tasks know.
func (in *Instance) Parts(topic string) int32 {
	in.inputs.mu.Lock()
	defer in.inputs.mu.Unlock()
	return in.inputs.partitions[topic]
}

// growth returns how often an input has grown.
func (in *Instance) growth() int {
	in.inputs.mu.Lock()
	defer in.inputs.mu.Unlock()
	return in.inputs.grown
}

// Inputs is InputsOf under the rules at the start.
func (in *Instance) Inputs(task int32) []broker.Partition { return in.InputsOf(task, &in.Config) }

// InputsOf returns what a task reads under the rules of a configuration, sorted: its share of
// every input, and its partition of the repartition topic.
func (in *Instance) InputsOf(task int32, cfg *config.Config) []broker.Partition {
	in.inputs.mu.Lock()
	defer in.inputs.mu.Unlock()
	l := []broker.Partition{{Topic: cfg.Repartition(), Number: task}}
	for _, topic := range cfg.Inputs {
		for p := task; p < in.inputs.partitions[topic]; p += in.Partitions {
			l = append(l, broker.Partition{Topic: topic, Number: p})
		}
	}
	slices.SortFunc(l, broker.Partition.Compare)
	return l
}

// Uneven reports whether inputs have numbers of partitions that are neither that of the
// tasks nor a multiple of it. Most records of such an input are forwarded.
func (in *Instance) Uneven() bool {
	in.inputs.mu.Lock()
	defer in.inputs.mu.Unlock()
	for _, n := range in.inputs.partitions {
		if n%in.Partitions != 0 {
			return true
		}
	}
	return false
}

// Senders returns the tasks for which the clock of a task waits because they forward records
// to it: all others that read an input, if inputs are uneven. Of a run that has an end there
// are none, since forwarded records are read when all tasks have read the inputs. It is
// asked often.
func (in *Instance) Senders(task int32) (l []int32) {
	if in.Until != nil || in.Config.Time.Clock != config.WallClock || !in.Uneven() {
		return nil
	}
	for t := range min(in.Partitions, in.mostParts()) { // whose number is that of a partition
		if t != task {
			l = append(l, t)
		}
	}
	return l
}

// mostParts returns how many partitions the largest input has.
func (in *Instance) mostParts() (most int32) {
	in.inputs.mu.Lock()
	defer in.inputs.mu.Unlock()
	for _, n := range in.inputs.partitions {
		most = max(most, n)
	}
	return most
}

// growing is how far a session has followed the growth of the inputs.
type growing struct {
	growth int       // as far as the feed has it
	retry  time.Time // not before this, after a failure
}

// takeUpAgain is how long a task waits when a partition could not be taken up. The others
// go on meanwhile.
const takeUpAgain = time.Second

// takeUp begins to read partitions that inputs have got since the task looked last: from
// their beginning, since nobody has read them.
func (s *session) takeUp(ctx context.Context) error {
	growth := s.t.Instance.growth()
	if growth == s.growth || s.cfg.Now().Before(s.retry) {
		return nil
	}
	var added []broker.Partition
	for _, place := range s.t.Instance.InputsOf(s.t.Partition, s.cfg) {
		if !slices.ContainsFunc(s.feed.Inputs(), func(in *feed.Input) bool { return in.Place() == place }) {
			added = append(added, place)
		}
	}
	inputs, err := s.placeInputs(ctx, added)
	switch {
	case fault.IsStopped(err) || fault.IsFatal(err):
		return err
	case err != nil:
		s.retry = s.cfg.Now().Add(takeUpAgain)
		s.t.log.Warn("partitions that an input has got can't be read yet; the others go on", "error", err)
		return nil
	}
	s.t.Instance.Ends.Watch(s.t.Partition, added)
	for _, in := range inputs {
		s.feed.Add(in)
		s.t.log.Info("an input has another partition, which is read from its beginning", "topic", in.Topic, "of_partition", in.Partition, "from", in.Next)
		s.cfg.Metrics.Grown.WithLabelValues(in.Topic).Inc()
	}
	s.growth = growth
	if len(added) == 0 {
		return nil
	}
	return s.at("grown")
}

// meet notes which inputs are read from now on because the task meets them now. One of
// which the position knows a partition is not: then the others were added to it.
func (s *session) meet() {
	known := map[string]bool{}
	for in := range s.pos.Sources {
		known[in.Topic] = true
	}
	s.met = map[string]bool{}
	for _, topic := range s.cfg.FromNow {
		if !slices.Contains(s.cfg.Inputs, topic) {
			continue // it is met when rules have it
		}
		if !known[topic] {
			s.met[topic] = true
		}
	}
}

// decide commits from where inputs are read that the task has met, before anything is read
// of them: whoever continues must not decide it again.
func (s *session) decide(ctx context.Context) error {
	if len(s.met) == 0 {
		return nil
	}
	s.begin()
	s.batch.moved = true
	if err := s.commit(ctx); err != nil {
		return err
	}
	clear(s.met)
	return nil
}

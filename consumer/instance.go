package consumer

import (
	"log/slog"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/state"
)

// Instance is what the tasks of one instance share. It is complete before the first
// task starts, and does not change then.
type Instance struct {
	cfg        config.Config
	cluster    *broker.Cluster
	partitions int32
	ids        map[string]changelog.TopicID // of all topics, at the start
	// messageBytes is max.message.bytes of topics whose settings may be read.
	messageBytes map[string]int
	ends         *feed.Ends
	guard        guard
	until        *untilRun // nil unless the run has an end
	// verify has a task's copy scanned in the background.
	verify func(*Task)
	// running returns how many tasks run.
	running func() int
}

// newInstance returns an Instance that no task uses yet.
func newInstance(cfg config.Config) Instance {
	return Instance{
		cfg: cfg, guard: guard{limit: cfg.Time.MaxClockJump},
		verify: func(*Task) {}, running: func() int { return 0 },
	}
}

// topics returns the topics of the application.
func (in *Instance) topics() *topics.Set { return &topics.Set{Config: &in.cfg, Cluster: in.cluster} }

// found takes in what the topics are like.
func (in *Instance) found(f topics.Found) {
	in.partitions, in.ids, in.messageBytes = f.Partitions, f.IDs, f.MessageBytes
}

// present is the wall clock as reports of ends have it: while it is not trusted,
// the last one that was. A record that comes then would otherwise be taken for
// later than every report, and wait for MaxMergeWait.
func (in *Instance) present() engine.Millis {
	if in.guard.ok() {
		return in.cfg.NowMillis()
	}
	return in.ends.Trusted()
}

// cacheShare returns how many bytes of decoded customers a task may keep.
func (in *Instance) cacheShare() int64 { return in.shareOf(in.cfg.CacheBytes) }

// queueShare returns how many bytes of records a task may have in hand.
func (in *Instance) queueShare() int64 { return in.shareOf(in.cfg.QueueBytes) }

func (in *Instance) shareOf(bytes int64) int64 {
	return bytes / int64(max(1, in.running()))
}

// Sizes of batches, in bytes. copyMargin is what a batch of one record has beside it.
const (
	defaultBytes = 1_048_588 // of brokers
	copyMargin   = 4 << 10
)

// maxCopied returns the size of the largest record that can be copied to a topic, as
// that was at the start.
func (in *Instance) maxCopied(topic string) int { return in.batchBytes(topic) - copyMargin }

// batchBytes returns the size of the largest batch that a topic of copies takes, about.
func (in *Instance) batchBytes(topic string) int {
	if n, ok := in.messageBytes[topic]; ok {
		return min(n, topics.CopiedBytes)
	}
	return defaultBytes
}

// copyOptions are where the copy of a partition is.
func (in *Instance) copyOptions(n int32, store *state.Task, log *slog.Logger) replica.Options {
	topic := in.cfg.Changelog()
	return replica.Options{
		Cluster: in.cluster, Topic: topic, Partition: n, Store: store, Log: log, Known: in.ids[topic],
		Damaged: func() { in.cfg.Metrics.Damaged.WithLabelValues(metrics.DamagedDigest).Inc() },
	}
}

package task

import (
	"log/slog"
	"runtime"
	"sync/atomic"

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
// task starts, and does not change then, but for the rules.
type Instance struct {
	Config     config.Config
	Cluster    *broker.Cluster
	Partitions int32
	IDs        map[string]changelog.TopicID // of all topics, at the start
	// messageBytes is max.message.bytes of topics whose settings may be read.
	messageBytes map[string]int
	inputs       *inputs
	imported     *imported
	newest       *newest
	aside        aside
	Ends         *feed.Ends
	Guard        Guard
	Until        *Until // nil unless the run has an end
	// refused: a task has found that a rebuild would lose facts, and will end the instance.
	refused atomic.Bool
	// verify has a task's copy scanned in the background.
	Verify func(*Task)
	// running returns how many tasks run.
	Running func() int
}

// NewInstance returns an Instance that no task uses yet.
func NewInstance(cfg config.Config) Instance {
	return Instance{
		Config: cfg, inputs: &inputs{}, imported: &imported{}, newest: &newest{}, aside: make(aside, max(1, runtime.GOMAXPROCS(0)/2)), Guard: Guard{limit: cfg.Time.MaxClockJump},
		Verify: func(*Task) {}, Running: func() int { return 0 },
	}
}

// Topics returns the topics of the application.
func (in *Instance) Topics() *topics.Set {
	return &topics.Set{Config: &in.Config, Cluster: in.Cluster}
}

// Found takes in what the topics are like.
func (in *Instance) Found(f topics.Found) {
	in.Partitions, in.IDs, in.messageBytes = f.Partitions, f.IDs, f.MessageBytes
	in.inputs.partitions = f.Inputs
}

// Present is the wall clock as reports of ends have it: while it is not trusted,
// the last one that was. A record that comes then would otherwise be taken for
// later than every report, and wait for MaxMergeWait.
func (in *Instance) Present() engine.Millis {
	if in.Guard.OK() {
		return in.Config.NowMillis()
	}
	return in.Ends.Trusted()
}

// cacheShare returns how many bytes of decoded customers a task may keep.
func (in *Instance) cacheShare() int64 { return in.shareOf(in.Config.Memory.Cache) }

// queueShare returns how many bytes of records a task may have in hand.
func (in *Instance) queueShare() int64 { return in.shareOf(in.Config.Memory.Queue) }

func (in *Instance) shareOf(bytes int64) int64 {
	return bytes / int64(max(1, in.Running()))
}

// Sizes of batches, in bytes. CopyMargin is what a batch of one record has beside it.
const (
	defaultBytes = 1_048_588 // of brokers
	CopyMargin   = 4 << 10
)

// MaxCopied returns the size of the largest record that can be copied to a topic, as
// that was at the start.
func (in *Instance) MaxCopied(topic string) int { return in.batchBytes(topic) - CopyMargin }

// batchBytes returns the size of the largest batch that a topic of copies takes, about.
func (in *Instance) batchBytes(topic string) int {
	if n, ok := in.messageBytes[topic]; ok {
		return min(n, topics.CopiedBytes)
	}
	return defaultBytes
}

// CopyOptions are where the copy of a partition is.
func (in *Instance) CopyOptions(n int32, store *state.Task, log *slog.Logger) replica.Options {
	topic := in.Config.Changelog()
	return replica.Options{
		Cluster: in.Cluster, Topic: topic, Partition: n, Store: store, Log: log, Known: in.IDs[topic],
		Damaged: func() { in.Config.Metrics.Damaged.WithLabelValues(metrics.DamagedDigest).Inc() },
	}
}

// NewTool returns what tools need of an Instance: they run no tasks of a group. It is an
// error if the settings of the client do not fit together.
func NewTool(cfg config.Config) (*Instance, error) {
	cfg.Fill()
	in := NewInstance(cfg)
	var err error
	in.Cluster, err = cfg.Connect()
	return &in, err
}

// Package config is what an instance runs with: every setting, its default, and which
// settings fit together.
//
// The one rule it keeps: a Config that Validate accepts needs no further check where it
// is used.
package config

import (
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/failpoint"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// NotRead is an input that is configured and not read, since the rules do not have what its
// records are. Message says so without the topic.
type NotRead struct{ Topic, Message, Remedy string }

// String names the topic and says why it is not read.
func (n NotRead) String() string { return n.Topic + ": " + n.Message }

// ClockMode is what moves the task clock.
type ClockMode uint8

// The clocks.
const (
	// WallClock follows the inputs while a task is behind and the wall clock once
	// it has read them to their end.
	WallClock ClockMode = iota
	// EventsClock follows event times only: for demonstrations, replays and runs
	// over history.
	EventsClock
)

// Delivery is what a reader of the outputs can rely on.
type Delivery uint8

// The deliveries.
const (
	// ExactlyOnce writes every batch in a Kafka transaction: a reader of committed
	// records sees every effect once. It needs Kafka 2.5 or later.
	ExactlyOnce Delivery = iota
	// AtLeastOnce needs no transactions. The state is the same; after a failure a
	// reader can see an effect again, with the same sequence. The instances of an engine
	// must agree, so all are stopped to change it.
	AtLeastOnce
)

// Config says what an Owner runs. Start from Default.
type Config struct {
	// App is the prefix of every name that the engine makes for itself: topics,
	// groups and transactional ids. Two engines with the same App fence each other.
	App string
	// Kafka is how brokers are reached: seeds, TLS, SASL, hooks, logger.
	Kafka []kgo.Opt
	// Inputs are the topics to read, each of any number of partitions.
	Inputs []string
	// FromNow are inputs that are read from their end when a task meets them
	// first. Positions keep where that was; partitions that are added later are read
	// from their beginning.
	FromNow []string
	// Changes and Triggers are the topics to write.
	Changes, Triggers string

	// Rules are the rules at the start, and what follows from them. Tasks go over to others
	// while they run.
	Rules
	// Known returns the rules that a partition is under, by the hash of their versions
	// (changelog.HashVersions), if they are not those that the instance has: they may be
	// earlier or later ones. A task runs with them until it has what it needs for the newest.
	// Nil and no error: they can't be had, and are replaced by the newest at once. An error
	// keeps the task from running: they must not be replaced by those that the instance has.
	// It is called by the goroutines of tasks, and may ask brokers. A nil func knows none.
	Known func(ctx context.Context, versions [16]byte) (*Rules, error)
	// Encoder makes the records of effects.
	Encoder *schemas.Encoder
	// Headers are those of the outputs.
	Headers schemas.HeaderSet
	// Compression is how the outputs are compressed, not at all by default; every reader
	// of them must know it. The engine's own topics are compressed with Snappy.
	Compression kgo.CompressionCodec
	Store       *state.Store

	// Now is the wall clock. It should carry Go's monotonic reading, from which a
	// jump of the wall clock is detected.
	Now     func() time.Time
	Logger  *slog.Logger     // nil means slog.Default
	Metrics *metrics.Metrics // nil means metrics that nobody reads
	// OnEffects is called with the effects of a batch once it has committed, in
	// order, by the goroutine of the task, which waits. Nothing in the slice may be
	// kept. Nil means nobody is called.
	OnEffects func(task int32, effects []engine.Effect)

	Time       Time
	Batch      Batch
	Group      Group
	Create     Create
	Memory     Memory
	DeadLetter DeadLetter
	Fixed      Fixed

	Delivery Delivery
	// OnPanic is called when a goroutine of the Owner panics, on that goroutine, and
	// should end the process. Nil lets the runtime end it.
	OnPanic func(recovered any)
	// Apply brings changed rules in, and keeps the facts that they share with those before.
	// ApplyFormer does so even if the rules were in force before and have been replaced.
	// Rebuild makes the state again from the inputs. Without any of them changed rules are an
	// error.
	Apply, ApplyFormer, Rebuild bool
	// Points are where tests let a task die. A release has none.
	Points failpoint.Points
	// Standby is how many instances keep a copy of each partition beside its
	// owner, up to MaxStandby. They take over without restoring everything. 0: a
	// partition that moves is restored first. It needs Group.Instance, and does
	// nothing in a run until an instant.
	Standby int
	// SkipDeleted lets a task go on at the earliest record that is left when
	// retention has deleted records that it had not read. Without it the partition
	// stops.
	SkipDeleted bool
}

// Rules are what of a Config depends on the files of rules.
type Rules struct {
	// Name says to people which rules these are.
	Name   string
	Engine *engine.Engine
	// Read makes an event of a record: (*schemas.Reader).Read.
	Read func(*schemas.Record, *engine.Event) (schemas.Result, error)
	// Ahead is called with values of records that are still to be read, while one before
	// them can't be, and with when they came: (*schemas.Reader).Ahead. nil: nobody is
	// called.
	Ahead func(value []byte, came time.Time)
	// AcceptLoss lets a change to these rules go on although retention has deleted records that
	// they look back to. Without it such a change is refused.
	AcceptLoss bool
	// Reads are the topics that are read under these rules, in place of Config.Inputs; nil:
	// those.
	Reads []string
	// NotRead are inputs that these rules leave out. Their positions stay as they are.
	NotRead []NotRead
	// Mapped are those of Config.Inputs whose records are read by mappings.
	Mapped []string
	// LookBack is how far back rules look in each input (plan.Plan.LookBack). Inputs are
	// created with such a retention, and warned of if theirs is shorter.
	LookBack map[string]engine.Millis
	// LookBackOf is LookBack of some summaries of the plan alone, by their numbers. Fill
	// makes it LookBack of all.
	LookBackOf func(of func(summary int) bool) map[string]engine.Millis
}

// MaxStandby is the greatest Config.Standby. Each copy costs as much disk as the
// original and reads the changelog once more.
const MaxStandby = 3

// Time is about the task clock.
type Time struct {
	Clock ClockMode
	// Grace is how long silence waits for events that are on their way, and how late
	// one may be and still have its place among those of other topics.
	Grace time.Duration
	// SilenceGrace is Grace for silence alone: timers, and the instant at which late
	// events are evaluated. 0 means Grace; it is never less.
	SilenceGrace time.Duration
	// HoldSilence keeps silence waiting also while the partition of an input has no
	// leader or has had none within the last minute, since what was sent to it is yet
	// to come.
	HoldSilence bool
	// MaxMergeWait is how long records wait for the next record of another topic
	// that is known to exist but does not arrive.
	MaxMergeWait time.Duration
	// MaxOpenTransaction is for how long timers wait for a transaction that somebody
	// has open on an input.
	MaxOpenTransaction time.Duration
	// MaxClockJump is how far the wall clock may run ahead of the monotonic clock
	// in one process before timers stop until it is started again.
	MaxClockJump time.Duration
	// MaxFutureSkew is how far ahead of the wall clock an event may be dated; one
	// beyond is a dead letter.
	MaxFutureSkew time.Duration
	// FixedNow replaces the wall clock in MaxFutureSkew. 0 means Now.
	FixedNow engine.Millis
	// Until ends the run: the inputs are read to the end they had at the start,
	// clocks turned to this instant, and Run returns. It needs EventsClock and
	// one instance that owns every partition. 0 means to run on.
	Until engine.Millis
	// OverdueRate is how many timers a second a task fires that are more than a
	// minute overdue, as after an outage. It applies to WallClock.
	OverdueRate int
}

// Silence returns how far the task clock stays behind.
func (t *Time) Silence() time.Duration { return max(t.Grace, t.SilenceGrace) }

// Batch says when a transaction ends.
type Batch struct {
	Records  int           // records and timers in one transaction, at most
	Bytes    int           // bytes of records read and written in one transaction, about; of customers it may hold eight times as many
	Interval time.Duration // time from one transaction to the next, and so from a record to its commit, at most
}

// Group is about ownership of partitions.
type Group struct {
	// Instance names this instance in the group, and must be unique in it: a
	// static member (KIP-345). A process that was killed and is started again under
	// its name has its partitions back at once, instead of after SessionTimeout. ""
	// makes it a member like any other.
	Instance string
	// SessionTimeout is after how long a dead instance loses its partitions.
	SessionTimeout time.Duration
	// RebalanceTimeout is how long the members of a rebalance may take. It must be
	// shorter than SessionTimeout: a member that waits in a rebalance for longer
	// than its session is dropped.
	RebalanceTimeout time.Duration
	Heartbeat        time.Duration
}

// Create is about topics that do not exist yet.
type Create struct {
	// Topics allows the engine to create its own topics and the outputs. Inputs
	// are created only if Partitions is given.
	Topics      bool
	Partitions  int32
	Replication int16 // 0 means the broker's default
}

// Memory is about how many bytes all tasks together may take.
type Memory struct {
	Cache int64 // of decoded customers
	Queue int64 // of records that are fetched and not yet taken
}

// DeadLetter is about what dead letters show of a record.
type DeadLetter struct {
	// Hash keeps personal data out of the dead letters: key, value and headers are left
	// out, and of the reason what quotes them.
	Hash bool
	// Key is the key of the HMAC that then replaces the value. Without one nothing does.
	Key []byte
}

// Fixed are settings that have one value, but for tests: 0 means that value.
type Fixed struct {
	Watch         time.Duration // how often topics are looked at: watchInterval
	StandbyEach   time.Duration // how often standbys are brought up to date: standbyInterval
	StoreEach     int           // records that the store may lack: StoreRecords
	BrokerTimeout time.Duration // of a transaction, to the broker: ledger.Timeout
	CommitTimeout time.Duration // of a transaction, to the engine: ledger.Timeout
}

// Defaults of settings that decide results.
const (
	// DefaultGrace is Time.Grace: silence is judged only when no event may be
	// this late any more.
	DefaultGrace = 2 * time.Second
	// DefaultFutureSkew is Time.MaxFutureSkew.
	DefaultFutureSkew = 5 * time.Minute
)

// GroupOf returns the settings of members whose session lasts so long: what is
// shorter than a session is a fixed part of it.
func GroupOf(session time.Duration) Group {
	return Group{SessionTimeout: session, RebalanceTimeout: session * 2 / 3, Heartbeat: session / 10}
}

// Default returns a Config with the default of every setting that has one.
// There is no other place for them: the configuration of the program takes its own
// from here.
func Default() Config {
	return Config{
		Time: Time{
			Grace: DefaultGrace, MaxMergeWait: 10 * time.Second, MaxOpenTransaction: 15 * time.Minute,
			MaxClockJump: time.Hour, MaxFutureSkew: DefaultFutureSkew, OverdueRate: 5_000,
		},
		Batch:  Batch{Records: 50_000, Bytes: 16 << 20, Interval: 100 * time.Millisecond},
		Group:  GroupOf(10 * time.Second),
		Create: Create{Topics: true},
		Memory: Memory{Cache: 256 << 20, Queue: 256 << 20},
	}
}

// FastGzip is gzip at its fastest level, with which an event costs some 7 % more CPU
// than with Snappy; at the default level it costs a quarter more.
func FastGzip() kgo.CompressionCodec { return kgo.GzipCompression().WithLevel(gzip.BestSpeed) }

// The values of Fixed.
const (
	// watchInterval is how often the topics are looked at while the engine runs.
	watchInterval = 30 * time.Second
	// standbyInterval is how often the group is looked at and standby copies are brought
	// up to date.
	standbyInterval = time.Second
	// StoreRecords is how many records of the changelog the store may lack, all tasks
	// together: after a crash they are replayed, in four seconds or so.
	StoreRecords = 800_000
)

// Fill gives what is left out its default.
func (c *Config) Fill() {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Metrics == nil {
		c.Metrics = metrics.New(nil)
	}
	c.Fixed.Watch = cmp.Or(c.Fixed.Watch, watchInterval)
	c.Fixed.StandbyEach = cmp.Or(c.Fixed.StandbyEach, standbyInterval)
	c.Fixed.StoreEach = cmp.Or(c.Fixed.StoreEach, StoreRecords)
	c.Fixed.BrokerTimeout = cmp.Or(c.Fixed.BrokerTimeout, ledger.Timeout)
	c.Fixed.CommitTimeout = cmp.Or(c.Fixed.CommitTimeout, ledger.Timeout)
	c.Rules.fill()
	if c.Reads != nil {
		c.Inputs = c.Reads
	}
	c.Inputs = slices.Clone(c.Inputs)
	slices.Sort(c.Inputs)
}

func (r *Rules) fill() {
	if back := r.LookBack; r.LookBackOf == nil {
		r.LookBackOf = func(func(int) bool) map[string]engine.Millis { return back }
	}
}

// Validate gives what is left out its default and returns what does not fit together.
func (c *Config) Validate() error {
	c.Fill()
	for _, missing := range []struct {
		is   bool
		name string
	}{
		{c.App == "", "App"},
		{len(c.Inputs)+len(c.NotRead) == 0, "Inputs"},
		{c.Changes == "" || c.Triggers == "", "Changes and Triggers"},
		{c.Engine == nil, "Engine"},
		{c.Read == nil, "Read"},
		{c.Encoder == nil, "Encoder"},
		{c.Store == nil, "Store"},
		{c.Now == nil, "Now"},
		{c.Batch.Records < 1 || c.Batch.Bytes < 1, "Batch"},
	} {
		if missing.is {
			return fmt.Errorf("consumer: %s must be given", missing.name)
		}
	}
	if c.Time.Until != 0 && c.Time.Clock != EventsClock {
		return errors.New("consumer: a run until an instant needs the clock of events: with the wall clock, time can't be turned to an instant")
	}
	if c.Group.RebalanceTimeout >= c.Group.SessionTimeout {
		return fmt.Errorf("consumer: rebalance timeout %v must be shorter than session timeout %v", c.Group.RebalanceTimeout, c.Group.SessionTimeout)
	}
	if c.Standby < 0 || c.Standby > MaxStandby {
		return fmt.Errorf("consumer: standby %d is not between 0 and %d", c.Standby, MaxStandby)
	}
	if c.Standby > 0 && c.Group.Instance == "" {
		return errors.New("consumer: standby needs Group.Instance: instances know each other by their names")
	}
	if c.Time.Until != 0 {
		c.Standby = 0 // one instance has every partition
	}
	for _, own := range []string{c.Changelog(), c.Repartition(), c.History(), c.DeadLetters(), c.RuleLog(), c.Changes, c.Triggers} {
		if slices.Contains(c.Inputs, own) {
			return fmt.Errorf("consumer: topic %s is written by the engine and can't be an input", own)
		}
	}
	if n := len(c.Inputs); len(slices.Compact(slices.Clone(c.Inputs))) != n {
		return fmt.Errorf("consumer: an input topic is named twice in %v", c.Inputs)
	}
	return nil
}

// Changelog returns the name of the topic that holds the state.
func (c *Config) Changelog() string { return c.App + ".changelog" }

// Repartition returns the name of the topic that forwards records to their partition.
func (c *Config) Repartition() string { return c.App + ".repartition" }

// History returns the topic through which events that Kafka no longer has are imported.
func (c *Config) History() string { return c.App + ".history" }

// DeadLetters returns the name of the dead-letter topic.
func (c *Config) DeadLetters() string { return c.App + ".dlq" }

// RuleLog returns the name of the topic that says which rules are in force.
func (c *Config) RuleLog() string { return c.App + ".rules" }

// ProgressGroup returns the name of the group whose offsets show the lag.
func (c *Config) ProgressGroup() string { return c.App + "-progress" }

// TransactionalID returns the transactional id of a partition.
func (c *Config) TransactionalID(n int32) string { return fmt.Sprintf("%s-%d", c.App, n) }

// Connect returns the cluster, of which nothing has been asked yet.
func (c *Config) Connect() (*broker.Cluster, error) {
	return broker.Connect(broker.Settings{Client: c.Kafka, Hooks: c.Metrics.Kafka, Now: c.Now, Log: c.Logger})
}

// IsOutput returns what knows the values of outputs. A tool that moves state has none.
func (c *Config) IsOutput() func(value []byte) bool {
	if c.Encoder == nil {
		return broker.NoOutputs
	}
	return c.Encoder.Made
}

// IsInput reports whether a topic is an input, be it one that the rules leave out.
func (c *Config) IsInput(topic string) bool {
	return slices.Contains(c.Inputs, topic) || slices.ContainsFunc(c.NotRead, func(n NotRead) bool { return n.Topic == topic })
}

// Sources returns all topics that a task reads, sorted.
func (c *Config) Sources() []string {
	s := append(slices.Clone(c.Inputs), c.Repartition())
	slices.Sort(s)
	return s
}

// NowMillis returns the wall clock.
func (c *Config) NowMillis() engine.Millis { return engine.Millis(c.Now().UnixMilli()) }

// SkewNow returns what MaxFutureSkew is counted from.
func (c *Config) SkewNow() engine.Millis {
	if c.Time.FixedNow != 0 {
		return c.Time.FixedNow
	}
	return c.NowMillis()
}

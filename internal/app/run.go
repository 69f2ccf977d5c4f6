package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/group"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/internal/crash"
	"github.com/segmill/segmill/internal/memlimit"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// RunOptions are the options of a run beside its configuration.
type RunOptions struct {
	// Until ends the run; 0 runs until ctx ends.
	Until engine.Millis
	// Now replaces the wall clock in max_future_skew; 0 means the wall clock.
	Now engine.Millis
	// Apply, ApplyFormer and Rebuild allow changed rules, AcceptLoss a change that does not
	// have all facts: see the settings of these names of config.Config. Where the log of rules
	// decides, the first three write the files of the configuration to it: Apply and Rebuild
	// if they never were in it, ApplyFormer in any case.
	Apply, ApplyFormer, Rebuild, AcceptLoss bool
	// FilesDecide runs the rules of the configuration, and neither reads nor writes the log of
	// rules. A run with an end always does.
	FilesDecide bool
	// Reload has the rule files read again, and applied if they are new. Nil: nobody asks.
	Reload <-chan struct{}

	Logger *slog.Logger
	// OnEffects sees committed effects; nil if nobody looks.
	OnEffects func(task int32, effects []engine.Effect)
	// OnStart is given the owner once it is made, to ask it for its status.
	OnStart func(*group.Owner)
	// Kafka are further options of every client, for tests.
	Kafka []kgo.Opt

	metrics prometheus.Registerer       // nil outside of a run
	gather  *prometheus.Registry        // the same, to serve them
	noted   func(string, *schemas.Note) // what is told of notes in place of metrics and log
}

// Run runs the engine until ctx ends, an --until run is done, or something fails
// that only a person can mend. A clean stop returns nil.
func Run(ctx context.Context, conf *Config, opt RunOptions) error {
	rules, err := LoadRules(conf.Rules)
	if err != nil {
		return err
	}
	return RunRules(ctx, conf, rules, opt)
}

// RunRules is Run with rules that are loaded already.
func RunRules(ctx context.Context, conf *Config, rules *Rules, opt RunOptions) error {
	memlimit.Set()
	for _, w := range rules.Warnings {
		opt.Logger.Warn("rule", "at", fmt.Sprintf("%s:%d:%d", w.Pos.File, w.Pos.Line, w.Pos.Column), "message", w.Message)
	}
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	opt.metrics, opt.gather = reg, reg
	cfg, records, err := conf.consumer(ctx, rules, opt)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	cfg.Metrics = metrics.New(reg)
	var force *inForce
	if opt.Until == 0 && !opt.FilesDecide {
		force = newInForce(&cfg, records, rules, opt)
	}
	spec := rules.Set.Spec
	opt.Logger.Info("starting", "app", conf.App, "brokers", conf.Kafka.Brokers, "state", conf.State, "clock", conf.Clock,
		"segments", len(spec.Segments), "lifecycles", len(spec.Lifecycles), "triggers", len(spec.Triggers))
	warnNotRead(opt.Logger, cfg.NotRead)
	if host := conf.Kafka.plainText(); host != "" {
		opt.Logger.Warn("the connection to the brokers is not encrypted: set kafka.tls", "broker", host)
	}
	if conf.HTTP != nil && *conf.HTTP != "" && !isLoopback(*conf.HTTP) {
		opt.Logger.Warn("the HTTP endpoints can be reached from other machines and need no password", "address", *conf.HTTP)
	}
	for {
		err := runOnce(ctx, conf, cfg, force, opt)
		if err == nil {
			opt.Logger.Info("stopped")
		}
		if !errors.Is(err, state.ErrDamaged) || ctx.Err() != nil {
			return err
		}
		opt.Logger.Error("restarting with an empty local state", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(restartPause):
		}
	}
}

// restartPause keeps a disk that damages everything from being written to without
// end.
const restartPause = time.Second

// unlessStopped returns err, or nil if it comes from the end of ctx: a run that is
// stopped while it waits for something has not failed.
func unlessStopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// runOnce opens the local state and runs until the run ends or the state turns
// out to be damaged. The rules are those of force, unless it is nil.
func runOnce(ctx context.Context, conf *Config, cfg config.Config, force *inForce, opt RunOptions) (err error) {
	store, err := conf.openState(opt.Logger)
	if err != nil {
		return err
	}
	defer func() { err = explainDisk(errors.Join(err, store.Close()), conf.State) }()
	if reason := store.WasReset(); reason != nil {
		opt.Logger.Error("the local state was damaged: it has been set aside and is being restored from the changelog", "directory", conf.State, "error", reason)
	}
	cfg.Store = store
	here, err := thisPlace(conf.State)
	if err != nil {
		return err
	}
	in, err := readInstance(conf.State, here, opt.Logger)
	if err != nil {
		return err
	}
	cfg.Group.Instance = in.id
	owner, err := group.New(cfg)
	if err != nil {
		return err
	}
	if opt.OnStart != nil {
		opt.OnStart(owner)
	}
	if conf.HTTP != nil && *conf.HTTP != "" {
		stop, err := serve(*conf.HTTP, opt.gather, health{owner.Status, force.notes}, opt.Logger)
		if err != nil {
			return err
		}
		defer stop()
	}
	if err := awaitBroker(ctx, &conf.Kafka, cfg.Kafka, opt.Logger); err != nil {
		return unlessStopped(ctx, err)
	}
	cluster, err := awaitCluster(ctx, &conf.Kafka, cfg.Kafka, opt.Logger)
	if err != nil {
		return unlessStopped(ctx, err)
	}
	if err := errors.Join(store.Claim(cluster), in.settle(ctx, conf.App, cfg.Kafka, opt.Logger)); err != nil {
		return err
	}
	owner.Name(in.id)
	err = force.run(ctx, owner)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		err = fmt.Errorf("%w (create it, or set topics.create; for a stream without a topic, set an empty name in topics)", err)
	case errors.Is(err, kerr.FencedInstanceID):
		err = fmt.Errorf("%w: another process has joined under this instance's name, so %s is a copy or was copied: rm %s next to one of the two, and start both", err, in.file, in.file)
	}
	return err
}

// consumer translates the configuration.
func (c *Config) consumer(ctx context.Context, rules *Rules, opt RunOptions) (config.Config, *records, error) {
	cfg, x, err := c.reading(rules, opt)
	if err != nil {
		return cfg, nil, err
	}
	cfg.Encoder, err = c.encoder(ctx, x.registry, opt.Logger)
	return cfg, x, err
}

// reading translates everything but how outputs are written, for which schemas
// would have to be registered.
func (c *Config) reading(rules *Rules, opt RunOptions) (config.Config, *records, error) {
	cfg := config.Default()
	kafka, err := c.Kafka.options()
	if err != nil {
		return cfg, nil, err
	}
	x, err := c.records(opt)
	if err != nil {
		return cfg, nil, err
	}
	cfg.App, cfg.Kafka = c.App, append(kafka, opt.Kafka...)
	var in *inputs
	if cfg.Rules, in, err = x.under(rules, "the rules of the configuration"); err != nil {
		return cfg, nil, err
	}
	in.reads(&cfg)
	cfg.Changes, cfg.Triggers = c.Topics.Changes, c.Topics.Triggers
	cfg.Now, cfg.Logger, cfg.OnEffects = time.Now, opt.Logger, opt.OnEffects
	cfg.OnPanic = crash.Exit
	cfg.Memory.Cache, cfg.Memory.Queue = memoryShare(), memoryShare()
	cfg.Batch.Bytes = int(min(int64(cfg.Batch.Bytes), memoryShare()/batchShare))
	c.times(&cfg.Time, opt)
	cfg.Batch.Interval = time.Duration(c.CommitInterval)
	cfg.Group = config.GroupOf(time.Duration(c.Kafka.SessionTimeout))
	if t := c.Topics.Create; t != nil {
		cfg.Create = config.Create{Topics: true, Partitions: t.Partitions, Replication: t.Replication}
	}
	if c.Delivery == "at_least_once" {
		cfg.Delivery = config.AtLeastOnce
	}
	cfg.DeadLetter.Hash = c.DeadLetter.Payload == "hash"
	if cfg.DeadLetter.Key, err = c.DeadLetter.key(); err != nil {
		return cfg, nil, err
	}
	cfg.SkipDeleted = c.SkipDeleted
	cfg.Compression, cfg.Headers = compressions[c.Output.Compression], headerSets[c.Output.Headers]
	cfg.Apply, cfg.ApplyFormer, cfg.Rebuild, cfg.AcceptLoss = opt.Apply, opt.ApplyFormer, opt.Rebuild, opt.AcceptLoss
	cfg.Standby = c.Standby
	return cfg, x, nil
}

// What the words of output.compression and output.headers mean.
var (
	compressions = map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": config.FastGzip(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	headerSets = map[string]schemas.HeaderSet{
		"cloudevents": schemas.CloudEventsHeaders, "ids": schemas.IDHeaders, "none": schemas.NoHeaders,
	}
)

func (c *Config) times(t *config.Time, opt RunOptions) {
	if c.Clock == "events" {
		t.Clock = config.EventsClock
	}
	t.Grace = time.Duration(c.Grace)
	t.SilenceGrace, t.HoldSilence, _ = c.silence() // it was validated
	t.MaxMergeWait = time.Duration(c.MaxMergeWait)
	t.MaxOpenTransaction = time.Duration(c.MaxOpenTransaction)
	t.MaxClockJump = time.Duration(c.MaxClockJump)
	t.MaxFutureSkew = time.Duration(c.MaxFutureSkew)
	t.FixedNow, t.Until = opt.Now, opt.Until
}

// encoder returns the encoder of outputs; for Avro it registers their schemas, and
// waits for a registry that does not answer.
func (c *Config) encoder(ctx context.Context, registry *sr.Client, log *slog.Logger) (*schemas.Encoder, error) {
	if c.Output.Format == "json" {
		return schemas.NewEncoder(schemas.JSON, c.App, schemas.IDs{})
	}
	changes, triggers := schemas.Subject(c.Topics.Changes), schemas.Subject(c.Topics.Triggers)
	var ids map[string]int
	register := func(ctx context.Context) (err error) {
		ids, err = schemas.Register(ctx, registry, map[string]string{
			changes: schemas.MembershipChange, triggers: schemas.TriggerFired,
		})
		return err
	}
	where := address(c.Registry.URL)
	err := await(ctx, log.With("registry", where), "the schema registry to answer; see registry.url", register, func(err error) error {
		var answer *sr.ResponseError
		if errors.As(err, &answer) && answer.StatusCode < 500 {
			return fmt.Errorf("schema registry %s: %w", where, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return schemas.NewEncoder(schemas.Avro, c.App, schemas.IDs{Change: ids[changes], Trigger: ids[triggers]})
}

// address returns a URL without the password that it may contain.
func address(u string) string {
	if parsed, err := url.Parse(u); err == nil {
		return parsed.Redacted()
	}
	return "that is configured"
}

package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// Until is the instant at which a run over a workload ends.
var Until = time.UnixMilli(job.End).UTC().Format(time.RFC3339)

// Loaded starts a broker with the topics of all sides and publishes a workload. It
// returns the mean size of an event in bytes.
func (l *Lab) Loaded(ctx context.Context, w job.Workload) (b *Broker, mean float64, err error) {
	b, err = l.StartBroker(ctx, slices.Concat(side.Inputs[:], []string{side.Changes, side.Bits, side.Changelog})...)
	if err != nil {
		return nil, 0, err
	}
	if mean, err = b.Load(ctx, w); err != nil {
		return nil, 0, errors.Join(err, b.Stop())
	}
	return b, mean, nil
}

// Inputs returns the inputs of a workload as an EngineConfig has them.
func Inputs(w job.Workload) map[string]string {
	m := map[string]string{"purchase": side.Input}
	if w.Mixed {
		for i, topic := range side.Inputs {
			m[job.StreamNames[i]] = topic
		}
	}
	return m
}

// RunHistory runs the engine over a workload that is loaded, with a state of its own.
// After it, look is called with the configuration, beside which the state is, unless
// it is nil.
func (l *Lab) RunHistory(ctx context.Context, label string, env []string, c EngineConfig, look func(config string) error) (u Usage, err error) {
	c.More = append(c.More, "clock: events")
	config, err := l.WriteEngine(c)
	if err != nil {
		return u, err
	}
	dir := filepath.Dir(config)
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	u, err = l.Run(ctx, label, env, "engine", "-c", config, "-until", Until)
	if err == nil && look != nil {
		err = look(config)
	}
	return u, err
}

// Changes reads what the engine has emitted.
func (b *Broker) Changes(ctx context.Context) (n int, h job.Hash, err error) {
	return b.changes(ctx, job.ReadChange)
}

// ExactChanges reads what `limit exact` has emitted.
func (b *Broker) ExactChanges(ctx context.Context) (n int, h job.Hash, err error) {
	return b.changes(ctx, job.ReadExact)
}

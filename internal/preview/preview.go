// Package preview says what a change of rules would do to the customers of an application,
// from the state that its changelog holds.
//
// The one rule it keeps: nothing is written to Kafka, nobody is fenced, and no group is
// joined, so that it can be asked at any time, of an application that runs as well.
package preview

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/replica"
	"github.com/segmill/segmill/consumer/task"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/engine"
)

// Options are how a preview is made.
type Options struct {
	// Rules are the files and directories that the engine was made of, for the report.
	Rules []string
	// History folds facts that the state lacks from what the inputs still have. Without it,
	// rules that read such facts are named and not previewed.
	History bool
	// Sample is of how many customers one is judged; 1: of all of them.
	Sample int
	// NoExamples leaves customers out of the report.
	NoExamples bool
	// Progress is called with how far it has come, in words. Nil: nobody is called.
	Progress func(text string)
}

// Run makes a preview of the rules of cfg.Engine. The store of cfg is its own: it holds one
// partition at a time, and nothing at the end.
func Run(ctx context.Context, cfg config.Config, o Options) (*Report, error) {
	in, err := task.NewTool(cfg)
	if err != nil {
		return nil, err
	}
	defer in.Cluster.Close()
	if err := find(ctx, in); err != nil {
		return nil, err
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	c := newCounting(&in.Config, &o)
	for n := range in.Partitions {
		if err := c.partition(ctx, in, n); err != nil {
			return nil, fmt.Errorf("partition %d: %w", n, err)
		}
	}
	if c.ran == 0 {
		return nil, fmt.Errorf("%s has no state yet: none of its partitions has committed anything", in.Config.App)
	}
	return c.report(), nil
}

// find takes in what the topics of the application are like.
func find(ctx context.Context, in *task.Instance) error {
	topic := in.Config.Changelog()
	infos, err := in.Cluster.Describe(ctx, topic)
	if err != nil {
		return err
	}
	switch err := infos[topic].Err; {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("there is no topic %s, so %s has never run here: is the app of the configuration right?", topic, in.Config.App)
	case err != nil:
		return fmt.Errorf("topic %s: %w", topic, err)
	}
	n, err := in.Topics().Count(ctx)
	if err != nil {
		return err
	}
	in.Found(topics.Found{Partitions: n.Tasks, Inputs: n.Inputs})
	return nil
}

// partition counts the customers of one partition.
func (c *counting) partition(ctx context.Context, in *task.Instance, n int32) (err error) {
	where := fmt.Sprintf("partition %d of %d: ", n+1, in.Partitions)
	p, err := task.New(in, n).Preview(ctx, func(s *replica.Status) {
		if s != nil {
			c.o.Progress(where + s.String())
		}
	})
	if p != nil {
		defer func() { err = errors.Join(err, p.Close()) }()
	}
	if err != nil || p.Position == nil {
		return err
	}
	if err := c.history(ctx, p, where); err != nil {
		return err
	}
	c.begin(p)
	return p.Each(ctx, c.wanted, func(before []engine.Key, effects []engine.Effect) error {
		if c.customer(before, effects); c.judged%1024 == 0 {
			c.o.Progress(fmt.Sprintf("%sjudged %d customers", where, c.judged))
		}
		return nil
	})
}

// history finds out which facts are lacking, and since when the inputs could give them, and
// folds them if that is wanted.
func (c *counting) history(ctx context.Context, p *task.Preview, where string) error {
	if !p.NeedsHistory() {
		return nil
	}
	oldest, err := p.Oldest(ctx)
	if err != nil {
		return err
	}
	for topic, at := range oldest {
		if since, ok := c.since[topic]; !ok || at < since {
			c.since[topic] = at
		}
	}
	c.lacking = true
	if !c.o.History {
		return nil
	}
	c.o.Progress(where + "folding what the inputs have")
	if err := p.Fold(ctx); err != nil {
		return err
	}
	for _, s := range p.Short {
		c.short = append(c.short, s.String())
	}
	return nil
}

// clocks are the task clocks of the partitions.
type clocks struct{ least, most engine.Millis }

func (k *clocks) add(at engine.Millis) { k.least, k.most = min(k.least, at), max(k.most, at) }

func newClocks() clocks { return clocks{math.MaxInt64, math.MinInt64} }

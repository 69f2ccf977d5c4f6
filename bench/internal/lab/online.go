package lab

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// Recent is a workload of the last ten days, so that nothing of it leaves a window of
// 30 days while one measures.
func Recent(events, customers int, seed uint64) job.Workload {
	const length = 10 * job.Day
	return job.Workload{
		Events: events, Customers: customers, Seed: seed,
		From: time.Now().UnixMilli() - length - 60_000, Length: length,
	}
}

// Online starts a broker with a history and an engine on the wall clock that has read
// it. The rules are the ten and FlowRule.
func (l *Lab) Online(ctx context.Context, label string, w job.Workload, more ...string) (*Broker, *Process, string, error) {
	b, _, err := l.Loaded(ctx, w)
	if err != nil {
		return nil, nil, "", err
	}
	config, err := l.WriteEngine(b.OnlineConfig(more...))
	if err == nil {
		var p *Process
		if p, err = l.StartEngine(ctx, label, config); err == nil {
			if err = b.AwaitProgress(ctx, p); err == nil {
				return b, p, config, nil
			}
			err = errors.Join(err, p.Stop())
		}
	}
	return nil, nil, "", errors.Join(err, b.Stop())
}

// OnlineConfig is the configuration of Online's engine.
func (b *Broker) OnlineConfig(more ...string) EngineConfig {
	return EngineConfig{
		Broker: b, Rules: slices.Concat(job.Ten, []job.Rule{FlowRule}), Inputs: map[string]string{"purchase": side.Input}, More: more,
	}
}

// AwaitProgress waits until an engine says that it has read the purchases to the end
// that they have now.
func (b *Broker) AwaitProgress(ctx context.Context, p *Process) error {
	cl, err := b.Client()
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, side.Input)
	if err != nil {
		return err
	}
	for {
		at, err := adm.FetchOffsets(ctx, side.App+"-progress")
		behind := err != nil
		ends.Each(func(end kadm.ListedOffset) {
			o, ok := at.Lookup(end.Topic, end.Partition)
			behind = behind || end.Offset > 0 && (!ok || o.At < end.Offset)
		})
		if !behind {
			return nil
		}
		select {
		case <-p.done:
			return p.Ended()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Owners returns which member of the engine's group has each partition, "" for one
// that nobody has.
func (b *Broker) Owners(ctx context.Context) (owners [side.Partitions]string, err error) {
	cl, err := b.Client()
	if err != nil {
		return owners, err
	}
	defer cl.Close()
	groups, err := kadm.NewClient(cl).DescribeGroups(ctx, side.App)
	if err != nil {
		return owners, err
	}
	for _, m := range groups[side.App].Members {
		a, ok := m.Assigned.AsConsumer()
		if !ok {
			continue
		}
		for _, t := range a.Topics {
			for _, p := range t.Partitions {
				owners[p] = m.MemberID
			}
		}
	}
	return owners, groups[side.App].Err
}

package brokers

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// poll is the pause between two questions, tryTimeout how long one may take.
const (
	poll       = 100 * time.Millisecond
	tryTimeout = 5 * time.Second
)

// await asks until the answer is nil. The error says what was wrong last.
func (c *Cluster) await(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		trying, cancel := context.WithTimeout(ctx, tryTimeout)
		err := ask(trying)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(poll):
		}
	}
}

// AwaitAll waits until the nodes that run, frozen ones apart, and no others, are in
// service and every partition has a leader; if all nodes run, until every replica
// has all records. Each of these nodes is asked.
func (c *Cluster) AwaitAll(ctx context.Context) error {
	return c.await(ctx, func(ctx context.Context) error {
		var alive []int
		for _, n := range c.nodes {
			if c.running(n.id) && !n.frozen {
				alive = append(alive, n.id)
			}
		}
		if len(alive) == 0 {
			return fmt.Errorf("no node runs")
		}
		for _, id := range alive {
			m, err := c.metadata(ctx, id)
			if err != nil {
				return fmt.Errorf("node %d: %w", id, err)
			}
			if err := served(m, len(alive), len(alive) == len(c.nodes)); err != nil {
				return fmt.Errorf("node %d: %w", id, err)
			}
		}
		return nil
	})
}

// metadata returns what a node knows now of all topics; kadm would answer from the
// client's cache.
func (c *Cluster) metadata(ctx context.Context, id int) (*kmsg.MetadataResponse, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = nil // all
	return req.RequestWith(ctx, c.cl.Broker(id))
}

// served reports what is missing to n nodes that serve every partition, with all
// replicas if complete is set.
func served(m *kmsg.MetadataResponse, n int, complete bool) error {
	if len(m.Brokers) != n {
		return fmt.Errorf("%d of %d nodes are in service", len(m.Brokers), n)
	}
	for _, t := range m.Topics {
		for _, p := range t.Partitions {
			if p.Leader < 0 || complete && len(p.ISR) != len(p.Replicas) {
				return fmt.Errorf("partition %d of %s: leader %d, %d of %d replicas in sync", p.Partition, *t.Topic, p.Leader, len(p.ISR), len(p.Replicas))
			}
		}
	}
	return nil
}

// Leader returns the node that leads a partition.
func (c *Cluster) Leader(ctx context.Context, topic string, partition int32) (node int, err error) {
	err = c.await(ctx, func(ctx context.Context) error {
		req := kmsg.NewPtrMetadataRequest()
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = &topic
		req.Topics = append(req.Topics, t)
		m, err := req.RequestWith(ctx, c.cl)
		if err != nil {
			return err
		}
		for _, p := range m.Topics[0].Partitions {
			if p.Partition == partition && p.Leader > 0 {
				node = int(p.Leader)
				return nil
			}
		}
		return fmt.Errorf("partition %d of %s has no leader", partition, topic)
	})
	return node, err
}

// GroupCoordinator returns the node that coordinates a consumer group.
func (c *Cluster) GroupCoordinator(ctx context.Context, group string) (int, error) {
	return c.coordinator(ctx, group, c.adm.FindGroupCoordinators)
}

// TxnCoordinator returns the node that coordinates the transactions of a
// transactional id.
func (c *Cluster) TxnCoordinator(ctx context.Context, id string) (int, error) {
	return c.coordinator(ctx, id, c.adm.FindTxnCoordinators)
}

func (c *Cluster) coordinator(ctx context.Context, name string, find func(context.Context, ...string) kadm.FindCoordinatorResponses) (node int, err error) {
	err = c.await(ctx, func(ctx context.Context) error {
		r := find(ctx, name)[name]
		node = int(r.NodeID)
		return r.Err
	})
	return node, err
}

// Controller returns the node that is the active controller.
func (c *Cluster) Controller(ctx context.Context) (node int, err error) {
	err = c.await(ctx, func(ctx context.Context) error {
		// Metadata names any broker instead.
		req := kmsg.NewPtrDescribeQuorumRequest()
		topic := kmsg.NewDescribeQuorumRequestTopic()
		topic.Topic = "__cluster_metadata"
		topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
		req.Topics = append(req.Topics, topic)
		r, err := req.RequestWith(ctx, c.cl)
		if err != nil {
			return err
		}
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 || r.Topics[0].Partitions[0].LeaderID < 1 {
			return fmt.Errorf("no active controller: %w", kerr.ErrorForCode(r.ErrorCode))
		}
		node = int(r.Topics[0].Partitions[0].LeaderID)
		return nil
	})
	return node, err
}

package consumer

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/state"
)

// checkDelivery refuses a cluster that has no transactions if they are needed.
func (in *Instance) checkDelivery(ctx context.Context) error {
	if in.cfg.Delivery == config.AtLeastOnce {
		return nil
	}
	resp, err := in.cluster.APIVersions(ctx)
	if err != nil {
		return err
	}
	missing := []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.EndTxn}
	for _, k := range resp.ApiKeys {
		missing = slices.DeleteFunc(missing, func(m kmsg.Key) bool { return m.Int16() == k.ApiKey })
	}
	if len(missing) > 0 {
		return fault.Fatal("the cluster has no transactions (its brokers do not know %v): to do without them, set delivery: at_least_once", missing)
	}
	return nil
}

// warnOfCompaction says so if compaction would not wait for what has to be written
// again.
func (in *Instance) warnOfCompaction(ctx context.Context) {
	const key = "min.compaction.lag.ms"
	configs, err := kadm.NewClient(in.cluster.Admin).DescribeTopicConfigs(ctx, in.cfg.Changelog())
	if err != nil || len(configs) != 1 {
		return
	}
	for _, kv := range configs[0].Configs {
		if lag, err := strconv.ParseInt(kv.MaybeValue(), 10, 64); kv.Key == key && err == nil && lag < ledger.CompactionLag.Milliseconds() {
			in.cfg.Logger.Warn("without transactions the changelog must not be compacted at once: state that the next owner needs can be lost; raise "+key,
				"topic", in.cfg.Changelog(), key, lag, "needed", ledger.CompactionLag.Milliseconds())
		}
	}
}

// again writes the customers of void records as they are.
func (s *session) again(add func(key, value []byte)) error {
	for _, key := range slices.Sorted(maps.Keys(s.rewrite)) {
		var value []byte
		var err error
		switch id, ok := strings.CutPrefix(key, changelog.CustomerPrefix); {
		case ok:
			value, _, err = s.customers.Value(nil, id) // nil if there is none: a tombstone
		case key == changelog.VersionsKey && s.unstoredVersions != nil:
			value = s.unstoredVersions
		case key == changelog.VersionsKey:
			var meta state.Meta
			meta, ok, err = s.t.store.Meta()
			if value = meta.Versions; !ok {
				continue // the first batch writes them
			}
		default:
			continue // written by every batch
		}
		if err != nil {
			return err
		}
		add([]byte(key), value)
	}
	return nil
}

// follow takes in what others have written to the changelog, and ends the session
// if one of them has claimed the task, or may have.
func (s *session) follow() error {
	if err := s.ledger.Alive(); err != nil {
		return err
	}
	s.ledger.TakeVoid(s.rewrite)
	return nil
}

package consumer

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/ledger"
	"github.com/segmill/segmill/state"
)

// checkDelivery refuses a cluster that has no transactions if they are needed.
func (o *Owner) checkDelivery(ctx context.Context) error {
	if o.cfg.Delivery == AtLeastOnce {
		return nil
	}
	resp, err := o.cluster.APIVersions(ctx)
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
func (o *Owner) warnOfCompaction(ctx context.Context) {
	const key = "min.compaction.lag.ms"
	configs, err := kadm.NewClient(o.cluster.Admin).DescribeTopicConfigs(ctx, o.cfg.changelog())
	if err != nil || len(configs) != 1 {
		return
	}
	for _, kv := range configs[0].Configs {
		if lag, err := strconv.ParseInt(kv.MaybeValue(), 10, 64); kv.Key == key && err == nil && lag < ledger.CompactionLag.Milliseconds() {
			o.cfg.Logger.Warn("without transactions the changelog must not be compacted at once: state that the next owner needs can be lost; raise "+key,
				"topic", o.cfg.changelog(), key, lag, "needed", ledger.CompactionLag.Milliseconds())
		}
	}
}

// noTopicID is in the meta of a copy the id of a changelog that has none, as before
// Kafka 2.8: none at all says something else, see knowing.
var noTopicID = [16]byte(bytes.Repeat([]byte{0xff}, 16))

// knowing returns the topic id for the meta of a copy, none if there are records that
// are still to be written again: a copy does not say which, so it must not be
// continued. Whoever reads the whole changelog finds them.
func knowing(topicID [16]byte, void bool) [16]byte {
	if void {
		return [16]byte{}
	}
	return topicID
}

// undo takes back the batch that the log ends with if no position follows it: a
// whole changelog is loaded blindly, and what the customers of that batch were
// before it has to be looked for. Whoever reads on reads the batch again.
func (r *replay) undo(ctx context.Context) error {
	if len(r.filter.Opened()) == 0 {
		return nil
	}
	before := map[string][]byte{}
	for key := range r.filter.Opened() {
		if id, ok := strings.CutPrefix(key, changelog.CustomerPrefix); ok {
			before[id] = nil
		}
	}
	again := &replay{o: r.o, n: r.n, filter: changelog.NewFilter(), next: r.first}
	defer again.close()
	for again.next < r.last {
		if err := again.fetch(ctx, r.last); err != nil {
			return err
		}
		for _, rec := range again.rest {
			if again.next = rec.Offset + 1; rec.Attrs.IsControl() || rec.Offset >= r.last {
				continue
			}
			by, err := again.filter.Judge(rec)
			if err != nil {
				return err
			}
			id, ok := strings.CutPrefix(string(rec.Key), changelog.CustomerPrefix)
			if _, open := before[id]; by != nil && ok && open {
				before[id] = rec.Value
			}
		}
	}
	changes := make([]state.Change, 0, len(before))
	for id, value := range before {
		changes = append(changes, state.Change{Customer: id, Value: value})
	}
	r.close()
	r.cl, r.rest, r.coming, r.next = nil, nil, nil, max(r.first, r.last)
	return r.store.Load(changes)
}

// again writes the customers of void records as they are.
func (s *session) again(add func(key, value []byte)) error {
	for _, key := range slices.Sorted(maps.Keys(s.rewrite)) {
		var value []byte
		var err error
		switch id, ok := strings.CutPrefix(key, changelog.CustomerPrefix); {
		case ok:
			value, _, err = s.customers.value(nil, id) // nil if there is none: a tombstone
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
	if s.ledger == nil { // of the past
		return nil
	}
	if err := s.ledger.Alive(); err != nil {
		return err
	}
	s.ledger.TakeVoid(s.rewrite)
	return nil
}

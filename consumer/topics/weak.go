package topics

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/ledger"
)

// Weakness is a setting of the cluster that is weaker than the guarantees assume.
type Weakness struct {
	Kind    string // as the metric has it
	Message string
	Topics  []string // that have it
}

// Warn says what is weaker than the guarantees assume.
func (t *Set) Warn(ctx context.Context, topics map[string]broker.Topic, configs []kadm.ResourceConfig) {
	if v, message := t.WeakTransactions(ctx); message != "" {
		t.Config.Logger.Warn(message, "transaction_version", v) //nolint:sloglint // one text
	}
	t.Config.Metrics.Weak.Reset()
	for _, w := range t.Weaknesses(topics, configs) {
		t.Config.Logger.Warn(w.Message, "topics", w.Topics) //nolint:sloglint // one of a few texts
		for _, topic := range w.Topics {
			t.Config.Metrics.Weak.WithLabelValues(topic, w.Kind).Set(1)
		}
	}
}

// WeakTransactions returns what to say of the cluster's transaction.version, "" if
// it is good or does not matter.
func (t *Set) WeakTransactions(ctx context.Context) (version int16, message string) {
	v, err := t.Cluster.TransactionVersion(ctx)
	if t.Config.Delivery != config.ExactlyOnce || err != nil || v >= 2 {
		return v, ""
	}
	return v, "the cluster's transaction.version is below 2: a delayed end of a transaction can reach a later one (KIP-890); raise it with kafka-features"
}

// CheckChangelog refuses a changelog that Kafka deletes: it is the state. Settings
// that may not be read are passed over; they are a weakness.
func (t *Set) CheckChangelog(configs []kadm.ResourceConfig) error {
	name := t.Config.Changelog()
	if policy := broker.SettingOf(configs, name, "cleanup.policy"); policy != "" && policy != "compact" {
		return fault.Fatal("%s has cleanup.policy %s: Kafka would delete the state of customers who are silent. "+
			"kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact mends it", name, policy, name)
	}
	return nil
}

// Weaknesses returns those of topics that exist.
func (t *Set) Weaknesses(topics map[string]broker.Topic, configs []kadm.ResourceConfig) []Weakness {
	all, tasks := map[string][]string{}, t.CountOf(topics).Tasks
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		is := func(key, value string) bool { return broker.SettingOf(configs, name, key) == value }
		note := func(kind string, weak bool) {
			if weak {
				all[kind] = append(all[kind], name)
			}
		}
		input := slices.Contains(t.Config.Inputs, name)
		note("replicas", topics[name].Replicas < 3)
		note("min_isr", is("min.insync.replicas", "1"))
		note("unclean", is("unclean.leader.election.enable", "true"))
		note("unknown", name == t.Config.Changelog() && is("cleanup.policy", ""))
		note("compacted", input && strings.Contains(broker.SettingOf(configs, name, "cleanup.policy"), "compact"))
		note("partitions", input && tasks > 0 && topics[name].Partitions%tasks != 0)
		copies := name == t.Config.Repartition() || name == t.Config.DeadLetters()
		note("message_bytes", copies && shorter(broker.SettingOf(configs, name, "max.message.bytes"), CopiedBytes))
		note("retention", input && strings.Contains(broker.SettingOf(configs, name, "cleanup.policy"), "delete") &&
			shorter(broker.SettingOf(configs, name, "retention.ms"), t.Config.LookBack[name]))
	}
	var l []Weakness
	for _, w := range []Weakness{
		{Kind: "replicas", Message: "topics with fewer than 3 replicas: losing a broker can lose what was committed"},
		{Kind: "min_isr", Message: "topics with min.insync.replicas 1: a write is acknowledged by one broker alone"},
		{Kind: "unclean", Message: "topics with unclean leader election: a broker that was behind can take over and lose data"},
		{Kind: "unknown", Message: "the settings of the changelog may not be read, so nobody knows whether it is compacted: a cleanup.policy of delete would lose the state"},
		{Kind: "compacted", Message: "inputs that are compacted: Kafka deletes all events of a customer but the newest, perhaps before they are read"},
		{Kind: "partitions", Message: "inputs whose number of partitions is neither that of the tasks nor a multiple of it: most of their records are forwarded, which is a second write and read, and timers wait for all tasks"},
		{Kind: "retention", Message: "inputs with a retention.ms shorter than what rules look back to: changed rules are built from what is left there"},
		{Kind: "message_bytes", Message: fmt.Sprintf("topics of copies whose max.message.bytes is below %d: the largest records can't be forwarded, and their dead letters have a hash for their content; kafka-configs.sh --alter --add-config max.message.bytes=%d mends it", CopiedBytes, CopiedBytes)},
	} {
		if w.Topics = all[w.Kind]; len(w.Topics) > 0 {
			l = append(l, w)
		}
	}
	return l
}

// shorter reports whether a setting is a number below another one. -1, which means
// that there is no limit, and what is not known are not.
func shorter[T ~int64 | ~int](setting string, than T) bool {
	n, err := strconv.ParseInt(setting, 10, 64)
	return err == nil && n >= 0 && n < int64(than)
}

// CheckDelivery refuses a cluster that has no transactions if they are needed.
func (t *Set) CheckDelivery(ctx context.Context) error {
	if t.Config.Delivery == config.AtLeastOnce {
		return nil
	}
	resp, err := t.Cluster.APIVersions(ctx)
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

// WarnOfCompaction says so if compaction would not wait for what has to be written
// again.
func (t *Set) WarnOfCompaction(ctx context.Context) {
	const key = "min.compaction.lag.ms"
	configs, err := kadm.NewClient(t.Cluster.Admin).DescribeTopicConfigs(ctx, t.Config.Changelog())
	if err != nil || len(configs) != 1 {
		return
	}
	for _, kv := range configs[0].Configs {
		if lag, err := strconv.ParseInt(kv.MaybeValue(), 10, 64); kv.Key == key && err == nil && lag < ledger.CompactionLag.Milliseconds() {
			t.Config.Logger.Warn("without transactions the changelog must not be compacted at once: state that the next owner needs can be lost; raise "+key,
				"topic", t.Config.Changelog(), key, lag, "needed", ledger.CompactionLag.Milliseconds())
		}
	}
}

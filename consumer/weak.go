package consumer

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
)

// weakness is a setting of the cluster that is weaker than the guarantees assume.
type weakness struct {
	kind    string // as the metric has it
	message string
	topics  []string // that have it
}

// warn says what is weaker than the guarantees assume.
func (in *Instance) warn(ctx context.Context, topics map[string]broker.Topic, configs []kadm.ResourceConfig) {
	if v, message := in.weakTransactions(ctx); message != "" {
		in.cfg.Logger.Warn(message, "transaction_version", v) //nolint:sloglint // one text
	}
	in.cfg.Metrics.Weak.Reset()
	for _, w := range in.weaknesses(topics, configs) {
		in.cfg.Logger.Warn(w.message, "topics", w.topics) //nolint:sloglint // one of a few texts
		for _, topic := range w.topics {
			in.cfg.Metrics.Weak.WithLabelValues(topic, w.kind).Set(1)
		}
	}
}

// weakTransactions returns what to say of the cluster's transaction.version, "" if
// it is good or does not matter.
func (in *Instance) weakTransactions(ctx context.Context) (version int16, message string) {
	v, err := in.cluster.TransactionVersion(ctx)
	if in.cfg.Delivery != config.ExactlyOnce || err != nil || v >= 2 {
		return v, ""
	}
	return v, "the cluster's transaction.version is below 2: a delayed end of a transaction can reach a later one (KIP-890); raise it with kafka-features"
}

// checkChangelog refuses a changelog that Kafka deletes: it is the state. Settings
// that may not be read are passed over; they are a weakness.
func (in *Instance) checkChangelog(configs []kadm.ResourceConfig) error {
	name := in.cfg.Changelog()
	if policy := broker.SettingOf(configs, name, "cleanup.policy"); policy != "" && policy != "compact" {
		return fault.Fatal("%s has cleanup.policy %s: Kafka would delete the state of customers who are silent. "+
			"kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name %s --add-config cleanup.policy=compact mends it", name, policy, name)
	}
	return nil
}

// weaknesses returns those of topics that exist.
func (in *Instance) weaknesses(topics map[string]broker.Topic, configs []kadm.ResourceConfig) []weakness {
	all := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(topics)) {
		is := func(key, value string) bool { return broker.SettingOf(configs, name, key) == value }
		note := func(kind string, weak bool) {
			if weak {
				all[kind] = append(all[kind], name)
			}
		}
		input := slices.Contains(in.cfg.Inputs, name)
		note("replicas", topics[name].Replicas < 3)
		note("min_isr", is("min.insync.replicas", "1"))
		note("unclean", is("unclean.leader.election.enable", "true"))
		note("unknown", name == in.cfg.Changelog() && is("cleanup.policy", ""))
		note("compacted", input && strings.Contains(broker.SettingOf(configs, name, "cleanup.policy"), "compact"))
		copies := name == in.cfg.Repartition() || name == in.cfg.DeadLetters()
		note("message_bytes", copies && shorter(broker.SettingOf(configs, name, "max.message.bytes"), copiedBytes))
		note("retention", input && strings.Contains(broker.SettingOf(configs, name, "cleanup.policy"), "delete") &&
			shorter(broker.SettingOf(configs, name, "retention.ms"), in.cfg.LookBack[name]))
	}
	var l []weakness
	for _, w := range []weakness{
		{kind: "replicas", message: "topics with fewer than 3 replicas: losing a broker can lose what was committed"},
		{kind: "min_isr", message: "topics with min.insync.replicas 1: a write is acknowledged by one broker alone"},
		{kind: "unclean", message: "topics with unclean leader election: a broker that was behind can take over and lose data"},
		{kind: "unknown", message: "the settings of the changelog may not be read, so nobody knows whether it is compacted: a cleanup.policy of delete would lose the state"},
		{kind: "compacted", message: "inputs that are compacted: Kafka deletes all events of a customer but the newest, perhaps before they are read"},
		{kind: "retention", message: "inputs with a retention.ms shorter than what rules look back to: changed rules are built from what is left there"},
		{kind: "message_bytes", message: fmt.Sprintf("topics of copies whose max.message.bytes is below %d: the largest records can't be forwarded, and their dead letters have a hash for their content; kafka-configs.sh --alter --add-config max.message.bytes=%d mends it", copiedBytes, copiedBytes)},
	} {
		if w.topics = all[w.kind]; len(w.topics) > 0 {
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

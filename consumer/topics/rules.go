package topics

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/fault"
)

// RulePartitions is how many partitions the log of rules has: their order is what decides.
const RulePartitions = 1

// ruleSettings are what the log of rules is created with: nothing of it is ever deleted.
func ruleSettings() map[string]*string {
	text := func(s string) *string { return &s }
	return map[string]*string{"cleanup.policy": text("delete"), "retention.ms": text("-1"), "retention.bytes": text("-1")}
}

// PrepareRules creates the log of rules if it is missing and that is allowed, and refuses one
// that Kafka deletes from.
func (t *Set) PrepareRules(ctx context.Context) error {
	name := t.Config.RuleLog()
	if t.Config.Create.Topics {
		err := t.Cluster.CreateMissing(ctx, RulePartitions, t.Config.Create.Replication, map[string]map[string]*string{name: ruleSettings()})
		if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
			return fault.Fatal("%w: grant CREATE on it, or create it with one partition, cleanup.policy=delete, retention.ms=-1 and retention.bytes=-1", err)
		}
		if err != nil {
			return err
		}
	}
	return t.CheckRules(t.Cluster.TopicConfigs(ctx, []string{name}))
}

// CheckRules refuses a log of rules that Kafka deletes from: what is left of it says nothing.
// Settings that may not be read are passed over, as those of a topic that does not exist are.
func (t *Set) CheckRules(configs []kadm.ResourceConfig) error {
	name := t.Config.RuleLog()
	for key, want := range ruleSettings() {
		if is := broker.SettingOf(configs, name, key); is != "" && is != *want {
			return fault.Fatal("%s has %s %s: Kafka would delete what says which rules are in force. "+
				"kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name %s --add-config %s=%s mends it", name, key, is, name, key, *want)
		}
	}
	return nil
}

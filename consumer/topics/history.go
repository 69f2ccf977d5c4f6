package topics

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/fault"
)

// historySettings are what the topic of imported history is created with. What is imported
// is years old on the day it is written, so nothing may be deleted by its age, and a broker
// would begin a new file for every week of it.
func historySettings() map[string]*string {
	text := func(s string) *string { return &s }
	return map[string]*string{
		"cleanup.policy": text("delete"), "retention.ms": text("-1"), "retention.bytes": text("-1"),
		"message.timestamp.type": text("CreateTime"),
		"max.message.bytes":      text(strconv.Itoa(CopiedBytes)),
		"segment.ms":             text(tenYears),
	}
}

// tenYears in ms.
const tenYears = "315360000000"

// mustHold are the settings without which imported events would be lost or have another
// time.
var mustHold = []string{"cleanup.policy", "message.timestamp.type", "retention.bytes", "retention.ms"}

// PrepareHistory creates the topic of imported history if it is missing, with as many
// partitions as there are tasks, and returns how many that is. It refuses a topic that does
// not fit, or from which Kafka would delete.
//
// The application need not have run: there are then as many tasks as its first start will
// make.
func (t *Set) PrepareHistory(ctx context.Context) (partitions int32, err error) {
	c, name := t.Config, t.Config.History()
	count, err := t.countToCome(ctx)
	if err != nil {
		return 0, err
	}
	have, err := t.Cluster.Agreed(ctx, name)
	if err != nil {
		return 0, err
	}
	if errors.Is(have[name].Err, kerr.UnknownTopicOrPartition) {
		err := t.Cluster.CreateMissing(ctx, count.Tasks, c.Create.Replication, map[string]map[string]*string{name: historySettings()})
		if errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) {
			return 0, fault.Fatal("%w: grant CREATE on it, or create it with %d partitions, cleanup.policy=delete, retention.ms=-1 and max.message.bytes=%d", err, count.Tasks, CopiedBytes)
		}
		if err != nil {
			return 0, err
		}
		if have, err = t.Cluster.Agreed(ctx, name); err != nil {
			return 0, err
		}
	}
	if err := usable(name, have[name]); err != nil {
		return 0, err
	}
	if n := have[name].Partitions; n != count.Tasks {
		return 0, fault.Fatal("%s has %d partitions and there are %d tasks, as %s says: events would be imported for tasks that there are not: "+
			"delete %s if nothing in it is needed, and import again; or see segmill state reshard", name, n, count.Tasks, count.By, name)
	}
	return count.Tasks, t.checkHistory(t.Cluster.TopicConfigs(ctx, []string{name}))
}

// countToCome is Count of an application whose inputs its first start may be yet to create.
func (t *Set) countToCome(ctx context.Context) (Count, error) {
	c := t.Config
	if c.Create.Partitions == 0 {
		return t.Count(ctx)
	}
	topics, err := t.Cluster.Agreed(ctx, append(slices.Clone(c.Inputs), c.Changelog())...)
	if err != nil {
		return Count{}, err
	}
	if own := topics[c.Changelog()]; !errors.Is(own.Err, kerr.UnknownTopicOrPartition) {
		if err := usable(c.Changelog(), own); err != nil {
			return Count{}, err
		}
	}
	return t.CountOf(topics), nil
}

// checkHistory refuses a topic of imported history that does not keep what is written to it
// as it is written. Settings that may not be read are passed over.
func (t *Set) checkHistory(configs []kadm.ResourceConfig) error {
	name, want := t.Config.History(), historySettings()
	for _, key := range mustHold {
		if is := broker.SettingOf(configs, name, key); is != "" && is != *want[key] {
			return wrongSetting(name, key, is, *want[key], "imported events would be lost, or have another time")
		}
	}
	if n, err := strconv.Atoi(broker.SettingOf(configs, name, "max.message.bytes")); err == nil && n < CopiedBytes {
		return wrongSetting(name, "max.message.bytes", strconv.Itoa(n), strconv.Itoa(CopiedBytes), "some events that the inputs hold would be too large for it")
	}
	return nil
}

// wrongSetting says how to mend a setting of a topic.
func wrongSetting(topic, key, is, want, why string) error {
	return fault.Fatal("%s has %s %s: %s. kafka-configs.sh --bootstrap-server BROKER --alter --entity-type topics --entity-name %s --add-config %s=%s mends it",
		topic, key, is, why, topic, key, want)
}

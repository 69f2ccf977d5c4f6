package topics_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/fault"
	"github.com/segmill/segmill/consumer/topics"
	"github.com/segmill/segmill/internal/fixture"
)

// The log of rules is created so that nothing of it is deleted, once. One that Kafka deletes
// from is refused with what to do about it.
func TestPrepareRules(t *testing.T) {
	fake, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer fake.Close()
	cluster, err := broker.Connect(broker.Settings{Client: []kgo.Opt{kgo.SeedBrokers(fake.ListenAddrs()...)}, Now: time.Now, Log: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cfg := config.Config{App: "shop", Create: config.Create{Topics: true}}
	set := &topics.Set{Config: &cfg, Cluster: cluster}
	for range 2 {
		if err := set.PrepareRules(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	infos, err := cluster.Describe(t.Context(), "shop.rules")
	if err != nil || infos["shop.rules"].Partitions != 1 {
		t.Error(infos, err)
	}
	configs := cluster.TopicConfigs(t.Context(), []string{"shop.rules"})
	for key, want := range map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"} {
		if got := broker.SettingOf(configs, "shop.rules", key); got != want {
			t.Errorf("%s is %q", key, got)
		}
	}
	week := "604800000"
	if _, err := kadm.NewClient(cluster.Admin).AlterTopicConfigs(context.Background(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: &week}}, "shop.rules"); err != nil {
		t.Fatal(err)
	}
	err = set.PrepareRules(t.Context())
	if err == nil || !fault.IsFatal(err) || !strings.HasPrefix(err.Error(), "shop.rules has retention.ms 604800000: ") || !strings.HasSuffix(err.Error(), "--entity-name shop.rules --add-config retention.ms=-1 mends it") {
		t.Error(err)
	}
}

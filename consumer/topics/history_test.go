package topics_test

import (
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

// The topic of imported history has as many partitions as there are tasks, also where the
// application has yet to be started, and keeps what is written to it.
func TestPrepareHistory(t *testing.T) {
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
	cfg := config.Config{App: "shop", Inputs: []string{"purchases"}}
	set := &topics.Set{Config: &cfg, Cluster: cluster}
	if _, err := set.PrepareHistory(t.Context()); err == nil || !strings.Contains(err.Error(), "topic purchases: UNKNOWN_TOPIC") {
		t.Errorf("without an input: %v", err)
	}
	cfg.Create = config.Create{Topics: true, Partitions: 3}
	for range 2 {
		if n, err := set.PrepareHistory(t.Context()); n != 3 || err != nil {
			t.Fatal(n, err)
		}
	}
	configs := cluster.TopicConfigs(t.Context(), []string{"shop.history"})
	for key, want := range map[string]string{"cleanup.policy": "delete", "retention.ms": "-1", "message.timestamp.type": "CreateTime", "max.message.bytes": "4194304"} {
		if got := broker.SettingOf(configs, "shop.history", key); got != want {
			t.Errorf("%s is %q", key, got)
		}
	}
	admin := kadm.NewClient(cluster.Admin)
	set1 := func(key, value string) {
		t.Helper()
		if _, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, "shop.history"); err != nil {
			t.Fatal(err)
		}
	}
	set1("retention.ms", "604800000")
	if _, err := set.PrepareHistory(t.Context()); err == nil || !fault.IsFatal(err) || !strings.HasPrefix(err.Error(), "shop.history has retention.ms 604800000: ") ||
		!strings.HasSuffix(err.Error(), "--entity-name shop.history --add-config retention.ms=-1 mends it") {
		t.Error(err)
	}
	set1("retention.ms", "-1")
	set1("max.message.bytes", "1000000")
	if _, err := set.PrepareHistory(t.Context()); err == nil || !strings.Contains(err.Error(), "max.message.bytes=4194304 mends it") {
		t.Error(err)
	}
	set1("max.message.bytes", "8000000")
	if err := fake.CreateTopic("shop.changelog", 2, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := set.PrepareHistory(t.Context()); err == nil || !strings.Contains(err.Error(), "shop.history has 3 partitions and there are 2 tasks, as the changelog says: ") {
		t.Error(err)
	}
}

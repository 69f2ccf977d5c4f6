package erasure

import (
	"bytes"
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/app"
)

// testConfig is a configuration of an engine on a broker in the process.
func testConfig(t *testing.T) (*app.Config, *kfake.Cluster) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	c := app.DefaultConfig()
	c.App, c.State, c.Kafka.Brokers = "shop", filepath.Join(t.TempDir(), "state"), cluster.ListenAddrs()
	c.Topics.Create = &app.CreateConfig{Partitions: 2, Replication: 1}
	c.Output.Format = "json"
	addr := "127.0.0.1:0"
	c.HTTP = &addr
	return &c, cluster
}

func client(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(opts, kgo.SeedBrokers(brokers...), kgo.DisableFetchSessions())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// An erasure goes where the engine looks for it, and a broker that is away is not
// waited for.
func TestErase(t *testing.T) {
	conf, cluster := testConfig(t)
	if err := cluster.CreateTopic("events.profile", 8, nil); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := Erase(t.Context(), conf, []string{"c1", "anon:7", "c1"}, Options{}, &out); err != nil {
		t.Fatal(err)
	}
	if strings.Count(out.String(), "events.profile/") != 2 {
		t.Errorf("%s", &out)
	}
	cl := client(t, conf.Kafka.Brokers, kgo.ConsumeTopics("events.profile"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	murmur := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for n := 0; n < 2; {
		for _, r := range cl.PollFetches(t.Context()).Records() {
			if n++; r.Value != nil || r.Partition != int32(murmur.Partition(&kgo.Record{Key: r.Key}, 8)) {
				t.Errorf("%v", r)
			}
		}
	}
	for id, want := range map[string]string{"": "empty", strings.Repeat("x", 1025): "1025 bytes", "a\xff": "not text", "a\x00": "not text", "\"c1\"": "quotes around it"} {
		if _, err := Erase(t.Context(), conf, []string{"c9", id}, Options{}, &out); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v", id, err)
		}
	}
	if strings.Contains(out.String(), "c9") {
		t.Error("something was written before all was checked")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf.Kafka.Brokers = []string{l.Addr().String()}
	l.Close()
	if _, err := Erase(context.Background(), conf, []string{"c1"}, Options{}, &out); err == nil || !strings.Contains(err.Error(), "no broker answers") {
		t.Errorf("%v", err)
	}
}

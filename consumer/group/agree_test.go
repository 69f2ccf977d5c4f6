package group

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/segmill/segmill/consumer/broker"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// hearsay makes every broker but the first answer late: what it says of a topic goes
// through edit, with how long the first broker has known it.
func hearsay(t *testing.T, broker *kfake.Cluster, edit func(node int32, known time.Duration, topic *kmsg.MetadataResponseTopic)) {
	t.Helper()
	side, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()[0]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(side.Close)
	var mu sync.Mutex
	since := map[changelog.TopicID]time.Time{}
	broker.ControlKey(int16(kmsg.Metadata), func(r kmsg.Request) (kmsg.Response, error, bool) {
		broker.KeepControl()
		node := broker.CurrentNode()
		if node == 0 {
			return nil, nil, false
		}
		asked := *r.(*kmsg.MetadataRequest)
		var resp *kmsg.MetadataResponse
		var err error
		broker.SleepControl(func() { resp, err = asked.RequestWith(context.Background(), side.Broker(0)) })
		if err != nil {
			return nil, err, true
		}
		resp.Version = r.GetVersion()
		mu.Lock()
		defer mu.Unlock()
		for i := range resp.Topics {
			topic := &resp.Topics[i]
			id := changelog.TopicID(topic.TopicID)
			if _, ok := since[id]; !ok {
				since[id] = time.Now()
			}
			edit(node, time.Since(since[id]), topic)
		}
		return resp, nil, true
	})
}

// Brokers hear of a new topic one after the other. A first start, which creates
// topics and then asks about them, waits until all of them know it, whichever one it
// asks next; and so does a start beside somebody who creates an input.
func TestBrokersHearOneByOne(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(topic *kmsg.MetadataResponseTopic)
	}{
		{"not known yet", func(topic *kmsg.MetadataResponseTopic) {
			topic.ErrorCode, topic.TopicID, topic.Partitions = kerr.UnknownTopicOrPartition.Code, changelog.TopicID{}, nil
		}},
		{"no leader yet", func(topic *kmsg.MetadataResponseTopic) {
			topic.ErrorCode, topic.Partitions = kerr.LeaderNotAvailable.Code, nil
		}},
		{"the topic before it", func(topic *kmsg.MetadataResponseTopic) { topic.TopicID[0]++ }},
		{"fewer partitions", func(topic *kmsg.MetadataResponseTopic) { topic.Partitions = topic.Partitions[:1] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := newFleet(t, 2, kfake.NumBrokers(3))
			hearsay(t, g.Broker, func(node int32, known time.Duration, topic *kmsg.MetadataResponseTopic) {
				if known < time.Duration(node)*400*time.Millisecond && topic.ErrorCode == 0 {
					c.edit(topic)
				}
			})
			in := g.start(fixture.Rules, vfs.NewMem(), nil)
			in.ready()
			g.Produce(g.Event(plan.Purchase, "anna", g.Now(), nil))
			g.Eventually("anna is a buyer", func() bool { return len(g.Members()) == 1 })
			in.stop()
		})
	}
}

// A broker that does not answer has no say in what topics there are.
func TestAskAllPassesOverTheDead(t *testing.T) {
	var down atomic.Value
	var refused atomic.Int32
	g := newFleetOn(t, 3, []kfake.Opt{kfake.NumBrokers(3)}, refusing(&down, &refused))
	o, err := New(g.Config(fixture.Rules, g.Store(vfs.NewMem())))
	if err != nil {
		t.Fatal(err)
	}
	o.Cluster = &broker.Cluster{Admin: g.NewClient(), Settings: broker.Settings{Now: g.Now}}
	down.Store(g.Broker.ListenAddrs()[2])
	topics, err := o.Cluster.Agreed(t.Context(), "web", "lost")
	if err != nil || topics["web"].Partitions != 3 || !errors.Is(topics["lost"].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("%v, %v", topics, err)
	}
	if refused.Load() == 0 {
		t.Error("no broker was down")
	}
}

// refusing refuses connections to one address, "" for none, and counts them.
func refusing(down *atomic.Value, refused *atomic.Int32) kgo.Opt {
	down.Store("")
	return kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
		if down.Load() == host {
			refused.Add(1)
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		var d net.Dialer
		return d.DialContext(ctx, network, host)
	})
}

// A topic that no broker knows and nobody may create ends the start.
func TestMissingInputEndsTheStart(t *testing.T) {
	g := newFleet(t, 2, kfake.NumBrokers(3))
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) { c.Inputs = append(c.Inputs, "lost") })
	if err := in.wait(); err == nil || !strings.Contains(err.Error(), "topic lost: UNKNOWN_TOPIC_OR_PARTITION") {
		t.Error(err)
	}
}

// A run with an end that starts while the broker of a partition is down waits for it,
// as a run without an end does.
func TestUntilWaitsForABroker(t *testing.T) {
	var down atomic.Value
	var refused atomic.Int32
	g := newFleetOn(t, 3, []kfake.Opt{kfake.NumBrokers(3)}, refusing(&down, &refused))
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	g.Produce(g.Event(plan.Purchase, "anna", day, nil))
	if err := g.Broker.MoveTopicPartition("web", 0, 2); err != nil {
		t.Fatal(err)
	}
	down.Store(g.Broker.ListenAddrs()[2])
	in := g.start(fixture.Rules, vfs.NewMem(), func(c *config.Config) {
		c.Time.Clock, c.Time.Until = config.EventsClock, engine.Millis(day.Add(time.Hour).UnixMilli())
	})
	g.Eventually("the broker is asked again", func() bool { return refused.Load() > 3 })
	down.Store("")
	if err := in.wait(); err != nil {
		t.Fatal(err)
	}
	if got := g.Members(); !slices.Equal(got, []string{"anna buyer"}) {
		t.Error(got)
	}
}

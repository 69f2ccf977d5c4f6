package group

import (
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
)

// impatient makes clients of a test look for brokers sooner.
func impatient(c *config.Config) {
	c.Kafka = append(c.Kafka, kgo.MetadataMinAge(20*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }))
}

// The broker is stopped in good order and started again from its disk, a few times,
// while events keep coming in between.
func TestBrokerRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	g := newFleet(t, 2, kfake.DataDir(dir))
	in := g.start(fixture.Rules, vfs.NewMem(), impatient)
	in.ready()
	n := 0
	for range 3 {
		for range 20 {
			g.Produce(g.Event(plan.Purchase, "c"+strconv.Itoa(n), g.Now(), nil))
			n++
		}
		g.restart(kfake.DataDir(dir)) // in the middle of what these bring
	}
	in.caughtUp()
	in.stop()
	if got := len(g.Members()); got != n {
		t.Errorf("%d buyers, want %d", got, n)
	}
	if folded, dead, forwarded := g.Totals(); int(folded) != n || dead+forwarded != 0 {
		t.Errorf("folded %d of %d, dead letters %d, forwarded %d", folded, n, dead, forwarded)
	}
	g.verifyFromNothing(fixture.Rules, nil)
}

// restart stops the broker and starts it again where it was.
func (g *fleet) restart(opts ...kfake.Opt) {
	g.Helper()
	var ports []int
	for _, addr := range g.Broker.ListenAddrs() {
		_, port, err := net.SplitHostPort(addr)
		if err != nil {
			g.Fatal(err)
		}
		p, err := strconv.Atoi(port)
		if err != nil {
			g.Fatal(err)
		}
		ports = append(ports, p)
	}
	g.Broker.Close()
	broker, err := kfake.NewCluster(append(opts, kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.GroupMinSessionTimeout(100*time.Millisecond))...)
	if err != nil {
		g.Fatal(err)
	}
	g.Broker = broker
	g.Cleanup(broker.Close)
}

// Brokers are added and taken away, leaders move with them.
func TestBrokersComeAndGo(t *testing.T) {
	t.Parallel()
	g := newFleet(t, 2, kfake.NumBrokers(2))
	in := g.start(fixture.Rules, vfs.NewMem(), impatient)
	in.ready()
	n := 0
	for round := range 4 {
		id, _, err := g.Broker.AddNode(-1, 0)
		if err != nil {
			t.Fatal(err)
		}
		g.Broker.ShufflePartitionLeaders()
		g.Broker.RehashCoordinators()
		for range 20 {
			g.Produce(g.Event(plan.Purchase, "c"+strconv.Itoa(n), g.Now(), nil))
			n++
		}
		if round%2 == 0 {
			if err := g.Broker.RemoveNode(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	in.caughtUp()
	in.stop()
	if got := slices.Compact(g.Members()); len(got) != n {
		t.Errorf("%d buyers, want %d", len(got), n)
	}
	if folded, dead, forwarded := g.Totals(); int(folded) != n || dead+forwarded != 0 {
		t.Errorf("folded %d of %d, dead letters %d, forwarded %d", folded, n, dead, forwarded)
	}
}

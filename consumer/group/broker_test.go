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
	g := newRig(t, 2, kfake.DataDir(dir))
	in := g.start(rules, vfs.NewMem(), impatient)
	in.ready()
	n := 0
	for range 3 {
		for range 20 {
			g.produce(g.event(plan.Purchase, "c"+strconv.Itoa(n), g.now(), nil))
			n++
		}
		g.restart(kfake.DataDir(dir)) // in the middle of what these bring
	}
	in.caughtUp()
	in.stop()
	if got := len(g.members()); got != n {
		t.Errorf("%d buyers, want %d", got, n)
	}
	if folded, dead, forwarded := g.totals(); int(folded) != n || dead+forwarded != 0 {
		t.Errorf("folded %d of %d, dead letters %d, forwarded %d", folded, n, dead, forwarded)
	}
	g.verifyFromNothing(rules, nil)
}

// restart stops the broker and starts it again where it was.
func (g *rig) restart(opts ...kfake.Opt) {
	g.Helper()
	var ports []int
	for _, addr := range g.broker.ListenAddrs() {
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
	g.broker.Close()
	broker, err := kfake.NewCluster(append(opts, kfake.NumBrokers(len(ports)), kfake.Ports(ports...), kfake.GroupMinSessionTimeout(100*time.Millisecond))...)
	if err != nil {
		g.Fatal(err)
	}
	g.broker = broker
	g.Cleanup(broker.Close)
}

// Brokers are added and taken away, leaders move with them.
func TestBrokersComeAndGo(t *testing.T) {
	t.Parallel()
	g := newRig(t, 2, kfake.NumBrokers(2))
	in := g.start(rules, vfs.NewMem(), impatient)
	in.ready()
	n := 0
	for round := range 4 {
		id, _, err := g.broker.AddNode(-1, 0)
		if err != nil {
			t.Fatal(err)
		}
		g.broker.ShufflePartitionLeaders()
		g.broker.RehashCoordinators()
		for range 20 {
			g.produce(g.event(plan.Purchase, "c"+strconv.Itoa(n), g.now(), nil))
			n++
		}
		if round%2 == 0 {
			if err := g.broker.RemoveNode(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	in.caughtUp()
	in.stop()
	if got := slices.Compact(g.members()); len(got) != n {
		t.Errorf("%d buyers, want %d", len(got), n)
	}
	if folded, dead, forwarded := g.totals(); int(folded) != n || dead+forwarded != 0 {
		t.Errorf("folded %d of %d, dead letters %d, forwarded %d", folded, n, dead, forwarded)
	}
}

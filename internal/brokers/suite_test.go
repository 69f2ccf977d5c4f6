//go:build brokers

package brokers

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/segmill/segmill/internal/promise"
)

// long is set for the long form of the suite: all versions, longer load.
var long = os.Getenv("LONG") != ""

// shared clusters are started by the first test that needs them.
type shared struct {
	options Options
	once    sync.Once
	cluster *Cluster
	err     error
}

var (
	three = &shared{options: Options{Nodes: 3}}
	// Ids of transactions expire while a job is idle, and logs are compacted at once.
	one = &shared{options: Options{Properties: map[string]string{
		"transactional.id.expiration.ms":                             "8000",
		"transaction.remove.expired.transaction.cleanup.interval.ms": "1000",
		"log.cleaner.backoff.ms":                                     "1000",
		"log.retention.check.interval.ms":                            "1000",
	}}}
)

func (s *shared) get(t *testing.T) *Cluster {
	t.Helper()
	s.once.Do(func() { s.cluster, s.err = startNamed(t, s.options) })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.cluster
}

// slots bound how many tests run at once beside TestBrokersDie, which takes longest
// and begins first.
var slots = make(chan struct{}, 4)

func parallel(t *testing.T) {
	t.Helper()
	t.Parallel()
	slots <- struct{}{}
	t.Cleanup(func() { <-slots })
}

func TestMain(m *testing.M) {
	code := m.Run()
	for _, s := range []*shared{three, one} {
		if s.cluster == nil {
			continue
		}
		if code != 0 {
			dir, err := s.cluster.KeepLogs()
			fmt.Printf("logs of the brokers: %s (%v)\n", dir, err)
		}
		if err := s.cluster.Close(); err != nil {
			fmt.Println(err)
			code = 1
		}
	}
	os.Exit(code)
}

// startNamed starts a cluster and says what it started.
func startNamed(t *testing.T, o Options) (*Cluster, error) {
	t.Helper()
	begin := time.Now()
	c, err := Start(context.Background(), o)
	if err == nil {
		t.Logf("%d node(s) of Kafka %s, transaction.version %q, started in %s", c.Nodes(), c.Version(), o.TransactionVersion, time.Since(begin).Round(time.Millisecond))
	}
	return c, err
}

// start starts a cluster for one test. If the test fails, its logs are kept.
func start(t *testing.T, o Options) *Cluster {
	t.Helper()
	c, err := startNamed(t, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			dir, err := c.KeepLogs()
			t.Logf("logs of the brokers: %s (%v)", dir, err)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// kafka is a cluster as the suite sees it.
func kafka(c *Cluster) promise.Kafka { return promise.Kafka{Addresses: c.Addresses()} }

//go:build brokers

package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const customers, purchases = 60, 3 // of each producer

// producer is a client as a program that sends lines of key, tab, value from its
// standard input, with its own default partitioner.
type producer struct {
	name    string
	foreign bool // its partitioner is not Kafka's murmur2
	command func(ctx context.Context, topic string) *exec.Cmd
}

var producers = []producer{
	{"kcat", true, func(ctx context.Context, topic string) *exec.Cmd {
		return exec.CommandContext(ctx, "kcat", "-P", "-b", servers(), "-t", topic, "-K", "\t")
	}},
	{"confluent-kafka", true, func(ctx context.Context, topic string) *exec.Cmd {
		return pythonProgram(ctx, "confluent.py", "produce", servers(), topic)
	}},
	{"confluent-kafka-murmur2", false, func(ctx context.Context, topic string) *exec.Cmd {
		return pythonProgram(ctx, "confluent.py", "produce", servers(), topic, "partitioner=murmur2_random")
	}},
	{"aiokafka", false, func(ctx context.Context, topic string) *exec.Cmd {
		return pythonProgram(ctx, "aio.py", "produce", servers(), topic)
	}},
	{"kafkajs", false, func(ctx context.Context, topic string) *exec.Cmd {
		return nodeProgram(ctx, "kafka.js", "produce", servers(), topic)
	}},
	{"kafkajs-legacy", true, func(ctx context.Context, topic string) *exec.Cmd {
		return nodeProgram(ctx, "kafka.js", "legacy", servers(), topic)
	}},
	{"java-console-producer", false, func(ctx context.Context, topic string) *exec.Cmd {
		return suite.cluster.Tool(ctx, "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", servers(), "--topic", topic,
			"--reader-property", "parse.key=true")
	}},
}

func pythonProgram(ctx context.Context, name string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, suite.python, append([]string{filepath.Join("programs", name)}, args...)...)
}

func nodeProgram(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "node", append([]string{filepath.Join("programs", name)}, args...)...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+suite.modules)
	return cmd
}

// purchasesOf returns the lines that a producer sends: three orders of 200 by each
// of its customers, by turns.
func purchasesOf(p producer, at time.Time) string {
	var b strings.Builder
	for n := range purchases {
		for c := range customers {
			who := fmt.Sprintf("%s-%d", p.name, c)
			fmt.Fprintf(&b, "%s\t{\"event_id\":\"%s-%d\",\"customer_id\":\"%s\",\"occurred_at\":\"%s\",\"order_id\":\"%d\",\"revenue\":\"200.00\",\"currency\":\"EUR\"}\n",
				who, who, n, who, at.UTC().Format("2006-01-02T15:04:05.000Z"), n)
		}
	}
	return b.String()
}

// produce lets a client send its purchases.
func produce(t *testing.T, p producer, topic string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := p.command(ctx, topic)
	cmd.Stdin = strings.NewReader(purchasesOf(p, time.Now()))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd, err, out)
	}
}

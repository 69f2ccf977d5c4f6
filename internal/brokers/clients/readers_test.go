//go:build brokers

package clients

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// reader is a client as a program that prints the committed records of a topic, as
// lines of key, tab, value, up to its end.
type reader struct {
	name    string
	command func(ctx context.Context, topic string) *exec.Cmd
}

var readers = []reader{
	{"kcat", func(ctx context.Context, topic string) *exec.Cmd {
		return exec.CommandContext(ctx, "kcat", "-C", "-b", servers(), "-t", topic, "-o", "beginning", "-e", "-q", "-K", "\t",
			"-X", "isolation.level=read_committed")
	}},
	{"confluent-kafka", func(ctx context.Context, topic string) *exec.Cmd {
		return pythonProgram(ctx, "confluent.py", "consume", servers(), topic)
	}},
	{"aiokafka", func(ctx context.Context, topic string) *exec.Cmd {
		return pythonProgram(ctx, "aio.py", "consume", servers(), topic)
	}},
	{"kafkajs", func(ctx context.Context, topic string) *exec.Cmd {
		return nodeProgram(ctx, "kafka.js", "consume", servers(), topic)
	}},
	{"java-console-consumer", func(ctx context.Context, topic string) *exec.Cmd {
		return suite.cluster.Tool(ctx, "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", servers(), "--topic", topic,
			"--from-beginning", "--isolation-level", "read_committed", "--formatter-property", "print.key=true", "--timeout-ms", "3000")
	}},
}

// read returns the lines that a client reads from a topic, sorted: partitions have
// an order, topics have none.
func read(t *testing.T, r reader, topic string) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := r.command(ctx, topic)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%v: %w\n%s", cmd, err, stderr.Bytes())
	}
	return lines(out.String()), nil
}

// lines returns the lines of a text, sorted.
func lines(text string) []string {
	l := strings.Split(strings.TrimRight(text, "\n"), "\n")
	slices.Sort(l)
	return l
}

// same fails the test if a client did not read what was written.
func same(t *testing.T, got, want []string) {
	t.Helper()
	for _, l := range got {
		if _, ok := slices.BinarySearch(want, l); !ok {
			t.Errorf("read and not written: %s", l)
			break
		}
	}
	for _, l := range want {
		if _, ok := slices.BinarySearch(got, l); !ok {
			t.Errorf("written and not read: %s", l)
			break
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d records were read, %d written", len(got), len(want))
	}
}

//go:build brokers

package clients

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/segmill/segmill/internal/leash"
)

const partitions = 6

// admin returns a client of the tests' own.
func admin(t *testing.T, more ...kgo.Opt) (*kgo.Client, *kadm.Client) {
	t.Helper()
	cl, err := suite.cluster.Client(more...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl, kadm.NewClient(cl)
}

func createTopics(t *testing.T, names ...string) {
	t.Helper()
	_, adm := admin(t)
	r, err := adm.CreateTopics(t.Context(), partitions, -1, nil, names...)
	if err == nil {
		err = r.Error()
	}
	for end := time.Now().Add(30 * time.Second); err == nil; time.Sleep(20 * time.Millisecond) {
		offsets, failed := adm.ListEndOffsets(t.Context(), names...)
		if failed == nil {
			failed = offsets.Error()
		}
		if failed == nil {
			return // every partition is led
		}
		if time.Now().After(end) {
			err = failed
		}
	}
	t.Fatal(err)
}

// engine is a running `segmill run`.
type engine struct {
	app     string
	process *leash.Process
}

// startEngine starts the engine on the purchases of an app, with the rules that the
// independent judge knows. extra is YAML that is appended to its configuration.
func startEngine(t *testing.T, app, servers, extra string) *engine {
	t.Helper()
	return startWith(t, "testdata/rules.yaml", app, servers, extra)
}

// startWith is startEngine with other rules.
func startWith(t *testing.T, file, app, servers, extra string) *engine {
	t.Helper()
	program, err := filepath.Abs("../../../bin/segmill")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "segmill.yaml")
	text := fmt.Sprintf(`app: %s
rules: [%s]
state: %s
kafka: {brokers: [%q], session_timeout: 6s}
topics: {web: "", email: "", profile: "", consent: "", purchase: %s.purchase, changes: %s.changes, triggers: %s.triggers, create: {partitions: %d}}
http: ""
log: warn
%s`, app, rules, filepath.Join(dir, "state"), servers, app, app, app, partitions, extra)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return &engine{app, start(t, exec.Command(program, "run", "-c", config), filepath.Join(dir, "segmill.log"))}
}

// stop ends the engine in good order.
func (e *engine) stop(t *testing.T) {
	t.Helper()
	if err := e.process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := e.process.Wait(); err != nil {
		t.Fatalf("segmill after SIGTERM: %v", err)
	}
}

// collect reads committed records of a topic until there are n and returns all
// that it has read by then.
func collect(t *testing.T, topic string, n int) []*kgo.Record {
	t.Helper()
	return collectAs(t, kgo.ReadCommitted(), topic, n)
}

// collectAs does so with an isolation level.
func collectAs(t *testing.T, level kgo.IsolationLevel, topic string, n int) []*kgo.Record {
	t.Helper()
	cl, _ := admin(t, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(level), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.UnknownTopicRetries(-1))
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	var l []*kgo.Record
	for len(l) < n {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%s has %d records after 90 s, want %d", topic, len(l), n)
		}
		l = append(l, fetches.Records()...)
	}
	return l
}

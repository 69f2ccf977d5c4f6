//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

const root = "../.."

// program returns the path of a built program.
func program(t *testing.T, name string) string {
	t.Helper()
	p, err := filepath.Abs(filepath.Join(root, "bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(p); err != nil {
		t.Fatalf("%v: run `make build` first", err)
	}
	return p
}

// kcat returns a kcat command; the test fails where it is not installed.
func kcat(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	p, err := exec.LookPath("kcat")
	if err != nil {
		t.Fatal("kcat is not installed: it is in Debian's package kcat")
	}
	return exec.Command(p, args...)
}

// broker is a devkafka process.
type broker struct {
	kafka, registry string
	cl              *kgo.Client // for questions and for records of the tests' own
	adm             *kadm.Client
}

// session is the session timeout of instances whose partitions shall move soon.
const session = 2 * time.Second

func startBroker(t *testing.T, topics ...string) broker {
	t.Helper()
	return startBrokerFor(t, "", "", topics...)
}

// startBrokerFor starts a broker at which only user may log in, or everybody if
// it is empty.
func startBrokerFor(t *testing.T, user, password string, topics ...string) broker {
	t.Helper()
	cmd := exec.Command(program(t, "devkafka"), "--kafka", "127.0.0.1:0", "--registry", "127.0.0.1:0",
		"--data", t.TempDir(), "--topics", strings.Join(topics, ","), "--min-session", "1s")
	login := kgo.SASL()
	if user != "" {
		cmd.Args = append(cmd.Args, "--user", user+":"+password)
		login = kgo.SASL(scram.Auth{User: user, Pass: password}.AsSha256Mechanism())
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its end is asked for
	})
	var b broker
	sc := bufio.NewScanner(out)
	for b.kafka == "" || b.registry == "" {
		if !sc.Scan() {
			t.Fatal("devkafka ended before it said where it listens")
		}
		if v, ok := strings.CutPrefix(sc.Text(), "kafka "); ok {
			b.kafka = v
		}
		if v, ok := strings.CutPrefix(sc.Text(), "registry "); ok {
			b.registry = v
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if b.cl, err = kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.ManualFlushing(), kgo.MaxBufferedRecords(1<<20), kgo.ProducerBatchMaxBytes(1<<20), login); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.cl.Close)
	b.adm = kadm.NewClient(b.cl)
	return b
}

// publish sends lines of "key<TAB>value" with kcat, by Java's partitioner.
func (b broker) publish(t *testing.T, topic string, lines []byte) {
	t.Helper()
	cmd := kcat(t, "-P", "-b", b.kafka, "-t", topic, "-K", "\t", "-X", "topic.partitioner=murmur2_random")
	cmd.Stdin = bytes.NewReader(lines)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kcat -P: %v\n%s", err, out)
	}
}

// written returns how many records a topic holds, committed or not; 0 if there
// is no such topic.
func (b broker) written(t *testing.T, topic string) int64 {
	t.Helper()
	ends, err := b.adm.ListEndOffsets(context.Background(), topic)
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	ends.Each(func(o kadm.ListedOffset) { n += max(0, o.Offset) })
	return n
}

// change is an output record with what is left of it without emitted_at.
type change struct {
	Customer  string `json:"customer_id"`
	Segment   string `json:"segment"`
	Trigger   string `json:"trigger"`
	Action    string `json:"action"`
	Effective string `json:"effective_at"`
	FiredAt   string `json:"fired_at"`
	text      string
}

// consume reads a whole topic with kcat, committed records only.
func (b broker) consume(t *testing.T, topic string) []change {
	t.Helper()
	out, err := kcat(t, "-C", "-b", b.kafka, "-t", topic, "-o", "beginning", "-e", "-q",
		"-X", "isolation.level=read_committed", "-f", "%s\n").Output()
	if err != nil {
		t.Fatalf("kcat -C %s: %v", topic, err)
	}
	return changes(t, out)
}

// changes reads output records, one a line.
func changes(t *testing.T, out []byte) []change {
	t.Helper()
	var l []change
	for line := range bytes.Lines(out) {
		var fields map[string]json.RawMessage
		var c change
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		delete(fields, "emitted_at")
		text, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		c.text = string(text)
		l = append(l, c)
	}
	return l
}

// byCustomer splits records by customer, keeping their order.
func byCustomer(l []change) map[string][]string {
	m := map[string][]string{}
	for _, c := range l {
		m[c.Customer] = append(m[c.Customer], c.text)
	}
	return m
}

// sameByCustomer reports the first customers whose records differ.
func sameByCustomer(t *testing.T, what string, got, want []change) {
	t.Helper()
	g, w := byCustomer(got), byCustomer(want)
	if len(got) != len(want) {
		t.Errorf("%s: %d records, want %d", what, len(got), len(want))
	}
	shown := 0
	for id := range w {
		if !slices.Equal(g[id], w[id]) && shown < 3 {
			shown++
			t.Errorf("%s: customer %s\n got %s\nwant %s", what, id, strings.Join(g[id], "\n     "), strings.Join(w[id], "\n     "))
		}
	}
	for id := range g {
		if _, ok := w[id]; !ok && shown < 3 {
			shown++
			t.Errorf("%s: customer %s is not expected", what, id)
		}
	}
}

// instance is one segmill: a configuration and a place for its state.
type instance struct {
	b       broker
	program string
	config  string
	state   string   // directory of the local copy
	log     string   // file of everything its processes have said
	env     []string // added to the environment
}

// newInstance writes a configuration. extra is YAML that is appended.
func newInstance(t *testing.T, b broker, app, rules, extra string) *instance {
	t.Helper()
	dir := t.TempDir()
	abs, err := filepath.Abs(rules)
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`app: %s
rules: [%s]
state: %s
kafka: {brokers: [%q], session_timeout: 6s}
topics: {web: "", email: "", profile: "", consent: "", changes: %s.changes, triggers: %s.triggers, create: {partitions: 4, replication: 1}}
output: {format: json}
clock: events
http: ""
log: warn
%s`, app, abs, filepath.Join(dir, "state"), b.kafka, app, app, extra)
	path := filepath.Join(dir, "segmill.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	e := &instance{b: b, program: program(t, "segmill"), config: path, state: filepath.Join(dir, "state"), log: filepath.Join(dir, "log")}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log of %s:\n%s", dir, tail(e.logged(t), 20))
		}
	})
	return e
}

// logged returns what the processes of e have said so far.
func (e *instance) logged(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(e.log)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

// tail returns the last n lines.
func tail(text string, n int) string {
	l := strings.Split(text, "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// process is a running `segmill run`.
type process struct {
	*os.Process
	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed

	log  string // its log, and where its part begins
	from int64
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// ExitCode returns the exit code of a process that has ended, -1 after a signal.
func (p *process) ExitCode() int {
	var e *exec.ExitError
	if errors.As(p.err, &e) {
		return e.ExitCode()
	}
	return 0
}

// kill ends the process as `kill -9` does.
func (p *process) kill(t *testing.T) {
	t.Helper()
	if !p.running() {
		t.Fatalf("the process had ended before it was killed: %v", p.err)
	}
	p.Process.Kill()
	<-p.done
}

// stop ends the process with SIGTERM, which must take less than 10 s and end well.
func (p *process) stop(t *testing.T) time.Duration {
	t.Helper()
	// A program that has not come to main does not know of signals yet. Every run
	// warns that the topics have one replica.
	for end := time.Now().Add(20 * time.Second); p.running() && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s, err := os.Stat(p.log); err == nil && s.Size() > p.from {
			break
		}
	}
	start := time.Now()
	p.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		t.Fatal("still running 10 s after SIGTERM")
	}
	if p.err != nil {
		t.Fatalf("after SIGTERM: %v", p.err)
	}
	took := time.Since(start)
	t.Logf("stopped in %s", took.Round(time.Millisecond))
	return took
}

// start starts `segmill run`.
func (e *instance) start(t *testing.T, args ...string) *process {
	t.Helper()
	log, err := os.OpenFile(e.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(e.program, append([]string{"run", "-c", e.config}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), e.env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{Process: cmd.Process, done: make(chan struct{}), log: e.log, from: info.Size()}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.Process.Kill()
		<-p.done
	})
	return p
}

// run runs `segmill run` to its end.
func (e *instance) run(t *testing.T, args ...string) error {
	t.Helper()
	p := e.start(t, args...)
	select {
	case <-p.done:
	case <-time.After(5 * time.Minute):
		t.Fatalf("segmill run %s has not ended in 5 minutes", strings.Join(args, " "))
	}
	return p.err
}

// finish runs `segmill run` to its end, which must be a good one.
func (e *instance) finish(t *testing.T, args ...string) {
	t.Helper()
	start := time.Now()
	if err := e.run(t, args...); err != nil {
		t.Fatalf("segmill run %s: %v", strings.Join(args, " "), err)
	}
	t.Logf("segmill run took %s", time.Since(start).Round(time.Millisecond))
}

package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segmill/segmill/internal/crash"
)

// process is segmill as a process of its own.
type process struct {
	*exec.Cmd
	mu   sync.Mutex
	said bytes.Buffer // standard error
	done chan error
}

// text returns what the process has said so far.
func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said.String()
}

// launch starts a command of TestMain as a process.
func launch(t *testing.T, name string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, link); err != nil {
		t.Fatal(err)
	}
	p := &process{Cmd: exec.Command(link, args...), done: make(chan error, 1)}
	p.Args[0] = name
	stderr, err := p.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Process.Kill() })
	go func() {
		for lines := bufio.NewReader(stderr); ; {
			line, err := lines.ReadString('\n')
			p.mu.Lock()
			p.said.WriteString(line)
			p.mu.Unlock()
			if err != nil {
				break
			}
		}
		p.done <- p.Wait()
	}()
	return p
}

// says waits until the process has said a text.
func (p *process) says(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !strings.Contains(p.text(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not say %q, but:\n%s", text, p.text())
		}
	}
}

// ends waits for the end of the process and checks its exit code.
func (p *process) ends(t *testing.T, code int) {
	t.Helper()
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		if got := p.ProcessState.ExitCode(); got != code {
			t.Errorf("%v: exit code %d (%v), want %d:\n%s", p.Args, got, err, code, p.text())
		}
	case <-time.After(10 * time.Second):
		t.Errorf("%v does not end:\n%s", p.Args, p.text())
	}
}

func (p *process) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func pipe(t *testing.T, name string) string {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// warned are rules with a warning, which is said once they are read.
const warned = "version: 1\nsegments: [{id: a, objective: o, owner: w, review_by: 2099-01-01, when: count(web.name == \"nosuch\") > 0}]\n"

// What commands read may be anything: they do not wait for what no file is, and take
// no more of a file than there may be.
func TestOddFiles(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, sub := range []string{"pipe", "zero", "link", "locked"} {
		if err := os.Mkdir(at(sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	pipe(t, at("pipe/a.yaml"))
	for link, to := range map[string]string{"zero/a.yaml": "/dev/zero", "link/a.yaml": "../pipe/a.yaml", "locked/.#a.yaml": "somebody@host.1234:567"} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, at("locked/a.yaml"), strings.Replace(warned, `web.name == "nosuch"`, "web", 1))
	writeFile(t, at("locked/.#b.yaml"), "an editor's")
	large := writeFile(t, at("large.yaml"), "")
	if err := os.Truncate(large, 1<<40); err != nil { // takes no room
		t.Fatal(err)
	}
	good := writeFile(t, at("good.yaml"), "app: shop\nrules: [locked]\nkafka: {brokers: [\"127.0.0.1:1\"]}\n")
	for _, tt := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"check", at("pipe")}, 78, at("pipe/a.yaml") + " is a pipe, not a file"},
		{[]string{"check", at("pipe/a.yaml")}, 78, "is a pipe, not a file"},
		{[]string{"check", at("zero")}, 78, "is a device, not a file"},
		{[]string{"check", "/dev/zero"}, 78, "is a device, not a file"},
		{[]string{"check", at("link")}, 78, "is a pipe, not a file"},
		{[]string{"check", large}, 78, "is more than 1048576 bytes long: split it"},
		{[]string{"check", at("locked")}, 0, ""},
		{[]string{"run", "-c", at("pipe/a.yaml")}, 78, "is a pipe, not a file"},
		{[]string{"run", "-c", "/dev/zero"}, 78, "is a device, not a file"},
		{[]string{"run", "-c", large}, 78, "is more than 1048576 bytes long"},
		{[]string{"check", "--online", "-c", at("zero/a.yaml")}, 78, "is a device, not a file"},
		{[]string{"replay", "--rules", at("zero"), "--events", "/dev/null"}, 78, "is a device, not a file"},
		{[]string{"replay", "--rules", at("locked"), "--events", dir}, 1, "is a directory"},
		{[]string{"diff", at("locked"), at("zero"), "--events", "/dev/null"}, 78, "is a device, not a file"},
		{[]string{"erase", "-c", good, "--file", at("pipe/a.yaml")}, 1, "is a pipe, not a file (standard input is --file -)"},
		{[]string{"erase", "-c", good, "--file", large}, 1, "is more than"},
	} {
		p := launch(t, "segmill", tt.args...)
		p.ends(t, tt.code)
		if !strings.Contains(p.text(), tt.says) {
			t.Errorf("%v says\n%s", tt.args, p.text())
		}
	}
}

// Whatever a command waits for, SIGTERM ends it.
func TestCommandsEndOnSIGTERM(t *testing.T) {
	dir := t.TempDir()
	rules := writeFile(t, filepath.Join(dir, "rules.yaml"), warned)
	for _, events := range []string{pipe(t, filepath.Join(dir, "events")), "/dev/zero"} {
		for _, command := range [][]string{{"replay", "--rules", rules}, {"backtest", rules}, {"diff", rules, rules}} {
			p := launch(t, "segmill", append(command, "--events", events)...)
			p.says(t, "nosuch")
			p.signal(t, syscall.SIGTERM)
			p.ends(t, exitFailed)
			if !strings.Contains(p.text(), "segmill: interrupted") {
				t.Errorf("%v %s: %s", command, events, p.text())
			}
		}
	}
	// A pipe that is written to, and then waits.
	name := filepath.Join(dir, "events")
	p := launch(t, "segmill", "replay", "--rules", rules, "--events", name)
	w, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := io.WriteString(w, "no event\n"); err != nil {
		t.Fatal(err)
	}
	p.says(t, name+":1: ")
	p.signal(t, syscall.SIGTERM)
	p.ends(t, exitFailed)

	// Rules that take long. The process may not have come to reading them.
	var b strings.Builder
	b.WriteString("version: 1\nlifecycles:\n  - id: l\n    objective: o\n    owner: w\n    review_by: 2099-01-01\n    stages:\n")
	for i := range 15_000 {
		fmt.Fprintf(&b, "      - {id: s%d, when: count(web.name == \"x%d\") > 0}\n", i, i)
	}
	p = launch(t, "segmill", "check", writeFile(t, filepath.Join(dir, "many.yaml"), b.String()))
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.done: //nolint:errcheck // only that it ends
	case <-time.After(10 * time.Second):
		t.Error("check goes on")
	}
}

// SIGHUP has the rule files read again, and a run with an end ignores it. Neither dies of it.
func TestHangUp(t *testing.T) {
	dir := t.TempDir()
	rules := strings.Replace(warned, `web.name == "nosuch"`, "web", 1)
	writeFile(t, filepath.Join(dir, "rules.yaml"), rules)
	broker, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	text := "app: shop\nrules: [rules.yaml]\nstate: " + filepath.Join(dir, "state") + "\nhttp: \"\"\nkafka: {brokers: [\"" + broker.ListenAddrs()[0] + "\"]}\ntopics: {create: {partitions: 1}}\n"
	conf := writeFile(t, filepath.Join(dir, "segmill.yaml"), text)
	p := launch(t, "segmill", "run", "-c", conf)
	p.says(t, `"msg":"rules in force","set":1`)
	for range 2 {
		p.signal(t, syscall.SIGHUP)
		p.says(t, "SIGHUP: reading the rule files again")
		p.says(t, "rule files read again")
	}
	p.signal(t, syscall.SIGTERM)
	p.ends(t, exitOK)

	l, err := net.Listen("tcp", "127.0.0.1:0") // a broker that says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conf = writeFile(t, filepath.Join(dir, "until.yaml"), "app: shop\nclock: events\nrules: [rules.yaml]\nhttp: \"\"\nkafka: {brokers: [\""+l.Addr().String()+"\"]}\n")
	p = launch(t, "segmill", "run", "-c", conf, "--until", "2026-01-01")
	p.says(t, `"msg":"starting"`)
	p.signal(t, syscall.SIGHUP)
	p.says(t, "SIGHUP is ignored")
	p.signal(t, syscall.SIGTERM)
	p.ends(t, exitOK)
}

// A panic has an exit code of its own, on any goroutine that is ours, and says what
// it was.
func TestPanicExitCode(t *testing.T) {
	for _, name := range []string{"panics", "panics-within"} {
		p := launch(t, name)
		p.ends(t, crash.Code)
		if text := p.text(); !strings.Contains(text, "panic: the sky is falling") || !strings.Contains(text, "goroutine ") || !strings.Contains(text, "this is a bug") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

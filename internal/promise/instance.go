package promise

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/segmill/segmill/internal/leash"
)

// SessionTimeout is how long the others wait for a dead instance: the least that
// brokers take by default.
const SessionTimeout = 6 * time.Second

// Instance is a configuration and a state directory.
type Instance struct {
	Config, State string
	// Env is added to the environment of its processes.
	Env []string

	job  *Job
	name string
}

// Instance writes the configuration of an instance. more is YAML that is appended
// to it.
func (j *Job) Instance(name, more string) *Instance {
	j.Helper()
	in := &Instance{job: j, name: name, Config: filepath.Join(j.leash.Dir(), name+".yaml"), State: filepath.Join(j.leash.Dir(), "state-"+name)}
	addresses, err := json.Marshal(j.Kafka.Addresses)
	if err != nil {
		j.Fatal(err)
	}
	create := ""
	if j.tasks > 0 {
		create = fmt.Sprintf(", create: {partitions: %d}", j.tasks)
	}
	text := fmt.Sprintf(`app: %s
rules: [%s]
state: %s
kafka: {brokers: %s, session_timeout: %s%s}
topics: {web: %q, purchase: %q, email: %q, profile: %q, consent: "", changes: %q, triggers: %q%s}
clock: %s
delivery: %s
output: {format: json}
http: ""
log: info
%s
`, j.App, j.Rules, in.State, addresses, SessionTimeout, j.Kafka.Login, j.Topic("web"), j.Topic("purchase"), j.Topic("email"), j.Topic("profile"),
		j.Topic("changes"), j.Topic("triggers"), create, j.Clock, j.Delivery, more)
	if err := os.WriteFile(in.Config, []byte(text), 0o600); err != nil {
		j.Fatal(err)
	}
	j.instances = append(j.instances, in)
	return in
}

// LoseDisk removes the local state.
func (in *Instance) LoseDisk() {
	in.job.Helper()
	if err := os.RemoveAll(in.State); err != nil {
		in.job.Fatal(err)
	}
}

func (in *Instance) log() string { return filepath.Join(in.job.leash.Dir(), in.name+".log") }

// Logged returns what the instance's processes have said so far.
func (in *Instance) Logged() string {
	b, err := os.ReadFile(in.log())
	if err != nil && !os.IsNotExist(err) {
		in.job.Error(err)
	}
	return string(b)
}

// AwaitLog waits until the instance has said something.
func (in *Instance) AwaitLog(text string) {
	in.job.Helper()
	in.job.Await(fmt.Sprintf("the log says %q", text), func() error {
		if log := in.Logged(); !strings.Contains(log, text) {
			return fmt.Errorf("it says: %s", tail(log))
		}
		return nil
	})
}

// tail returns the last lines of a text.
func tail(text string) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// keep shows the ends of all logs, and copies logs, configurations and the list of
// acknowledged records to a folder that stays.
func (j *Job) keep() {
	for _, in := range j.instances {
		j.Logf("the log of %s:\n%s", in.name, tail(in.Logged()))
	}
	if j.Load != nil {
		j.WriteAcked()
	}
	dir, err := os.MkdirTemp("", "segmill-failed-")
	if err != nil {
		j.Error(err)
		return
	}
	for _, pattern := range []string{"*.log", "*.yaml", "*.jsonl"} {
		names, _ := filepath.Glob(filepath.Join(j.leash.Dir(), pattern)) // the patterns are well formed
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, filepath.Base(name)), b, 0o600)
			}
			if err != nil {
				j.Error(err)
			}
		}
	}
	j.Logf("kept of app %s: %s", j.App, dir)
}

// Process is a running `segmill run`.
type Process struct {
	*leash.Process
	in   *Instance
	job  *Job
	from int // where its part of the log begins
}

// Program returns the path of the built program, for a package two folders below
// the root.
func (j *Job) Program() string {
	j.Helper()
	program, err := filepath.Abs("../../bin/segmill")
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		j.Fatalf("%v: run `make build` first", err)
	}
	return program
}

// Start starts `segmill run`.
func (in *Instance) Start(args ...string) *Process {
	in.job.Helper()
	if !in.job.Until.IsZero() {
		args = append(args, "--until", in.job.Until.Format(time.RFC3339Nano))
	}
	return in.start(append([]string{"run", "-c", in.Config}, args...)...)
}

func (in *Instance) start(args ...string) *Process {
	in.job.Helper()
	from := len(in.Logged())
	log, err := os.OpenFile(in.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		in.job.Fatal(err)
	}
	defer log.Close() // the process has it
	cmd := exec.Command(in.job.Program(), args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), in.Env...)
	p, err := in.job.leash.Start(cmd)
	if err != nil {
		in.job.Fatal(err)
	}
	return &Process{p, in, in.job, from}
}

// Do runs another command of the program to its end and returns what it printed.
func (j *Job) Do(args ...string) (string, error) {
	j.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(j.Context(), j.Program(), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// Send sends a signal. The process must be running.
func (p *Process) Send(s syscall.Signal) {
	p.job.Helper()
	if err := p.Signal(s); err != nil {
		p.job.Fatalf("%v: %v", s, err)
	}
}

// Kill ends the process as `kill -9` does.
func (p *Process) Kill() {
	p.job.Helper()
	p.Send(syscall.SIGKILL)
	<-p.Done()
}

// End waits for the end of the process and returns its error.
func (p *Process) End() error {
	p.job.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		p.job.Fatalf("a process has not ended within %s", patience)
	}
	return p.Wait()
}

// Logged returns what the process has said so far.
func (p *Process) Logged() string { return p.in.Logged()[p.from:] }

// Stop ends the process with SIGTERM, which must end well.
func (p *Process) Stop() {
	p.job.Helper()
	// A program that has not come to main does not know of signals yet.
	p.job.Await("the process has begun", func() error {
		if p.Running() && p.Logged() == "" {
			return errors.New("it has said nothing")
		}
		return nil
	})
	p.Send(syscall.SIGTERM)
	if err := p.End(); err != nil {
		p.job.Errorf("after SIGTERM: %v", err)
	}
}

//go:build hostile

package hostile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/segmill/segmill/internal/brokers"
)

// process is a segmill.
type process struct {
	cmd   *exec.Cmd
	log   string
	began time.Time
	done  chan struct{}
}

// launch starts the real program in a directory, with little memory.
func launch(t *testing.T, dir string, args ...string) *process {
	t.Helper()
	program, err := filepath.Abs("../../bin/segmill")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := &process{cmd: exec.Command(program, args...), log: f.Name(), began: time.Now(), done: make(chan struct{})}
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr, p.cmd.Env = dir, f, f, append(os.Environ(), "GOMEMLIMIT=256MiB")
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%v: make build", err)
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in ProcessState
		close(p.done)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			text := p.text(t)
			t.Logf("%v said\n%s", args, text[max(0, len(text)-4000):])
		}
	})
	return p
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// code returns the exit code of a process that has ended.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

// wait waits for the end.
func (p *process) wait(within time.Duration) error {
	select {
	case <-p.done:
		return nil
	case <-time.After(within):
		return fmt.Errorf("still running after %v", within)
	}
}

// stop ends the process with SIGTERM.
func (p *process) stop(within time.Duration) error {
	return errors.Join(p.cmd.Process.Signal(syscall.SIGTERM), p.wait(within))
}

func (p *process) text(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Error(err)
	}
	return string(b)
}

var listening = regexp.MustCompile(`"msg":"http","address":"([^"]+)"`)

// ready returns what /readyz says, metrics what /metrics does.
func (p *process) ready() string   { return p.page("/readyz") }
func (p *process) metrics() string { return p.page("/metrics") }

func (p *process) page(path string) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	m := listening.FindSubmatch(b)
	if m == nil {
		return "not listening yet"
	}
	return get("http://" + string(m[1]) + path)
}

// highWater returns the greatest resident size in bytes, 0 if the process has ended.
func (p *process) highWater() int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	n, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(rest, "kB", 2)[0]), 10, 64)
	if err != nil {
		return 0
	}
	return n << 10
}

// change is what is read of a change or a trigger.
type change struct {
	Customer string `json:"customer_id"`
	Segment  string `json:"segment"`
	Action   string `json:"action"`
}

func changeOf(b []byte) (c change) {
	if err := json.Unmarshal(b, &c); err != nil {
		c.Action = err.Error()
	}
	return c
}

// Brokers of all tests.
var (
	cluster   *kfake.Cluster // nil: real ones
	addresses string
	startOnce sync.Once
	startErr  error
	closeReal = func() error { return nil }
)

// brokersOf returns the addresses of the brokers.
func brokersOf(t *testing.T) string {
	t.Helper()
	startOnce.Do(func() {
		switch addresses = os.Getenv("SEGMILL_TEST_BROKERS"); addresses {
		case "":
			if cluster, startErr = kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second)); startErr == nil {
				addresses = strings.Join(cluster.ListenAddrs(), ",")
			}
		case "kafka":
			var c *brokers.Cluster
			if c, startErr = brokers.Start(t.Context(), brokers.Options{}); startErr == nil {
				addresses, closeReal = strings.Join(c.Addresses(), ","), c.Close
			}
		}
	})
	if startErr != nil {
		t.Fatal(startErr)
	}
	return addresses
}

func TestMain(m *testing.M) {
	code := m.Run()
	fmt.Printf("%d classes, %d of them left out by these brokers\n", classes.Load(), leftOut.Load())
	if cluster != nil {
		cluster.Close()
	}
	if err := closeReal(); err != nil {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

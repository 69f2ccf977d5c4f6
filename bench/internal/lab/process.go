package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/segmill/segmill/bench/internal/job"
	"github.com/segmill/segmill/bench/internal/side"
)

// Process is an engine that runs until it is stopped.
type Process struct {
	cmd   *exec.Cmd
	label string
	out   bytes.Buffer
	done  chan struct{} // closed when it has ended
	err   error         // why it ended, once done is closed
}

// StartEngine starts an engine. It runs until Stop or Kill, or until ctx ends, which
// kills it.
func (l *Lab) StartEngine(ctx context.Context, label, config string) (*Process, error) {
	p := &Process{cmd: exec.CommandContext(ctx, l.program("engine"), l.profiled(label, "-c", config)...), label: label, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// Stop asks the engine to end, and waits for it.
func (p *Process) Stop() error {
	if err := p.Ended(); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-p.done
	if p.err != nil {
		return fmt.Errorf("%s: %w\n%s", p.label, p.err, p.out.String())
	}
	return nil
}

// Kill ends the process as a crash would.
func (p *Process) Kill() error {
	if err := p.Ended(); err != nil {
		return err
	}
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.done
	return nil
}

// RSS returns the peak of the resident memory in bytes, -1 where it can't be had.
func (p *Process) RSS() (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if errors.Is(err, fs.ErrNotExist) {
		return -1, p.Ended()
	}
	_, after, _ := strings.Cut(string(b), "VmHWM:")
	line, _, _ := strings.Cut(after, "kB")
	n, bad := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return n << 10, errors.Join(err, bad)
}

// Change adds rules to those of a running engine, and waits until it is under them.
func (p *Process) Change(ctx context.Context, config string, rules ...job.Rule) error {
	dir := filepath.Dir(config)
	if err := os.WriteFile(filepath.Join(dir, "rules", "more.yaml"), []byte(job.RuleFile(rules)), 0o600); err != nil {
		return err
	}
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, side.Changed))
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-p.done:
			return p.Ended()
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Ended returns an error if the process has ended by itself.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %w\n%s", p.label, errors.Join(p.err), p.out.String())
	default:
		return nil
	}
}

// Package leash keeps processes and a folder of a test from outliving it, however
// it ends: by a return, Ctrl-C, a panic of the test's time limit, or kill -9. A
// shell in a process group of its own reads a pipe whose other end only this
// process holds. When the pipe closes, the shell kills what is still running and
// removes the folder.
package leash

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// watch reads lines, each with all process groups that run; the last one counts.
const watch = `
groups=
while read -r line; do groups=$line; done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
for i in 1 2 3 4 5 6 7 8 9 10; do # a dying process may still write
  rm -rf -- "$1" 2>/dev/null
  alive=
  for g in $groups; do kill -s 0 -- "-$g" 2>/dev/null && alive=1; done
  [ "$alive" ] || break
  sleep 0.1
done
rm -rf -- "$1"
`

// Leash holds processes and a folder. It is safe for concurrent use.
type Leash struct {
	dir   string
	shell *exec.Cmd

	mu      sync.Mutex
	pipe    io.WriteCloser // nil once closed
	running map[int]bool   // process groups
}

// New makes a folder in the system's folder for temporary files, whose name begins
// with name, and watches over it.
func New(name string) (*Leash, error) {
	dir, err := os.MkdirTemp("", name+"-")
	if err != nil {
		return nil, err
	}
	l := &Leash{dir: dir, shell: exec.Command("sh", "-c", watch, "leash", dir), running: map[int]bool{}}
	// Ctrl-C goes to the whole group of the terminal; the shell must not hear it.
	l.shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if l.pipe, err = l.shell.StdinPipe(); err == nil {
		err = l.shell.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("watch over %s: %w", dir, err)
	}
	return l, nil
}

// Dir returns the folder.
func (l *Leash) Dir() string { return l.dir }

// Process is a command that runs in a process group of its own.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

// Start starts a command and waits for its end in the background. The command must
// not have been given a writer other than a file, or the end of a test would wait
// for it.
func (l *Leash) Start(cmd *exec.Cmd) (*Process, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pipe == nil {
		return nil, os.ErrClosed
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	group := cmd.Process.Pid
	l.running[group] = true
	p := &Process{cmd: cmd, done: make(chan struct{})}
	if err := l.write(); err != nil {
		_ = p.Signal(syscall.SIGKILL) // nobody would watch over it
		_ = cmd.Wait()
		return nil, err
	}
	go func() {
		p.err = cmd.Wait()
		l.mu.Lock()
		delete(l.running, group)
		_ = l.write() // the shell would find no such group
		l.mu.Unlock()
		close(p.done)
	}()
	return p, nil
}

func (l *Leash) write() error {
	if l.pipe == nil {
		return nil
	}
	var groups []string
	for g := range l.running {
		groups = append(groups, strconv.Itoa(g))
	}
	_, err := io.WriteString(l.pipe, strings.Join(groups, " ")+"\n")
	return err
}

// Close kills what still runs, removes the folder, and returns when both is done.
func (l *Leash) Close() error {
	l.mu.Lock()
	pipe := l.pipe
	l.pipe = nil
	l.mu.Unlock()
	if pipe == nil {
		return nil
	}
	if err := pipe.Close(); err != nil {
		return err
	}
	return l.shell.Wait()
}

// Pid returns the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Signal sends a signal to the command and to what it has started. It fails if
// none of them runs.
func (p *Process) Signal(s syscall.Signal) error { return syscall.Kill(-p.cmd.Process.Pid, s) }

// Done is closed when the command has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the command has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Wait waits for the end of the command and returns what exec.Cmd.Wait returned.
func (p *Process) Wait() error {
	<-p.done
	return p.err
}

package leash

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

func gone(dir string) bool { _, err := os.Stat(dir); return errors.Is(err, os.ErrNotExist) }

func dead(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestClose(t *testing.T) {
	l, err := New("leash")
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Start(exec.Command("sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	short, err := l.Start(exec.Command("true"))
	if err != nil {
		t.Fatal(err)
	}
	if err := short.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if p.Wait() == nil || !gone(l.Dir()) {
		t.Error("the process was not killed, or its folder stays")
	}
	if _, err := l.Start(exec.Command("true")); err == nil {
		t.Error("a closed leash starts processes")
	}
}

// The test starts itself, lets that start a process with a child, and kills it:
// by Ctrl-C, and by kill -9, of which a process hears nothing.
func TestTheTestItselfIsKilled(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run", "^TestHolder$")
			cmd.Env = append(os.Environ(), "LEASH_HOLDER=1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			line, err := bufio.NewReader(out).ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			words := strings.Fields(line)
			pid, err := strconv.Atoi(words[0])
			if err != nil {
				t.Fatal(err)
			}
			dir := words[1]
			var child []byte
			until(t, "the child has started", func() bool {
				child, err = os.ReadFile(dir + "/child")
				return err == nil && strings.HasSuffix(string(child), "\n")
			})
			grandchild, err := strconv.Atoi(strings.TrimSpace(string(child)))
			if err != nil {
				t.Fatal(err)
			}
			if dead(pid) || dead(grandchild) || gone(dir) {
				t.Fatal("nothing was started")
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // killed
			until(t, "the processes are dead", func() bool { return dead(pid) && dead(grandchild) })
			until(t, "the folder is removed", func() bool { return gone(dir) })
		})
	}
}

// TestHolder is no test but the process that the test above kills.
func TestHolder(t *testing.T) {
	if os.Getenv("LEASH_HOLDER") == "" {
		t.Skip("only as a process of TestTheTestItselfIsKilled")
	}
	l, err := New("leash")
	if err != nil {
		t.Fatal(err)
	}
	p, err := l.Start(exec.Command("sh", "-c", `sleep 600 & echo $! >"$1/child"; wait`, "sh", l.Dir()))
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout.WriteString(strconv.Itoa(p.Pid()) + " " + l.Dir() + "\n")
	<-p.Done()
}

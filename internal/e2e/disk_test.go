//go:build e2e

package e2e

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallMemory makes memtables and logs of a few MiB, so that the local copy makes
// new files soon.
const smallMemory = "GOMEMLIMIT=256MiB"

// The state directory is removed from under a running process. It goes on with the
// files that it has open, and ends with the reason when it needs a new one; what it
// emits is right all the while, and a start brings the copy back.
func TestStateRemovedWhileRunning(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	f := newFlow(t, facts(r, 400, 60, inOrder, 20*time.Minute))
	e := f.instance(t, "removed", "testdata/hours.yaml")
	e.env = []string{smallMemory}
	p := e.start(t)
	f.commits(t, "removed", len(f.l), p)
	e.loseState(t)
	f.commits(t, "removed", len(f.l), p)
	f.most(t) // far more than the files that are open take
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatal("the process still runs a minute after its state directory was removed")
	}
	if p.ExitCode() != 1 {
		t.Errorf("exit code %d, want 1 (%v)", p.ExitCode(), p.err)
	}
	e.says(t, e.state, "the directory was removed", "restart")
	f.fine(t, e, "removed")
	f.compare(t, e, "removed", "testdata/hours.yaml")
}

// A disk that is full ends the process with an error that says so; nothing is half
// done, and a start with more room goes on.
func TestDiskFull(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", dir).CombinedOutput(); err != nil {
		t.Skipf("no small disk can be mounted here: %s", out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %s", out)
		}
	})
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	f := newFlow(t, facts(r, 400, 60, inOrder, 20*time.Minute))
	e := f.instance(t, "full", "testdata/hours.yaml")
	e.env = []string{smallMemory}
	e.replace(t, "state: "+e.state, "state: "+filepath.Join(dir, "state"))
	e.state = filepath.Join(dir, "state")
	p := e.start(t)
	f.commits(t, "full", len(f.l), p)
	ballast := fill(t, dir)
	f.most(t)
	select {
	case <-p.done:
	case <-time.After(time.Minute):
		t.Fatal("the process still runs a minute after its disk became full")
	}
	if p.ExitCode() != 1 {
		t.Errorf("exit code %d, want 1 (%v)", p.ExitCode(), p.err)
	}
	e.says(t, e.state, "is full: free some space", "restart")

	// Without more room it says so again, whatever it gets done before, and sets
	// nothing aside.
	if err := e.run(t); err == nil {
		t.Error("a run on a full disk ended well")
	}
	if _, err := os.Stat(e.state + ".damaged"); err == nil {
		t.Error("a full disk was taken for a damaged copy")
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	f.fine(t, e, "full")
	f.compare(t, e, "full", "testdata/hours.yaml")
}

// fill takes all the room of a disk, and returns the file that has it.
func fill(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	out, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = out.Write(make([]byte, size))
		}
	}
	return name
}

// says fails the test unless the last words of a process have all these parts.
func (e *instance) says(t *testing.T, parts ...string) {
	t.Helper()
	last := tail(strings.TrimSpace(e.logged(t)), 1)
	t.Log(last)
	for _, part := range parts {
		if !strings.Contains(last, part) {
			t.Errorf("the last words do not have %q:\n%s", part, last)
		}
	}
}

// fine starts a process, which must commit, come to the end of the inputs, and
// stop well.
func (f *flow) fine(t *testing.T, e *instance, app string) {
	t.Helper()
	p := e.start(t)
	f.commits(t, app, len(f.l), p)
	f.b.drained(t, app)
	p.stop(t)
}

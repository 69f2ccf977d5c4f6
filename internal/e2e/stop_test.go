//go:build e2e

package e2e

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Stopped by SIGTERM under load, a process ends soon and well: what it had is
// committed, the other instance has its partitions long before a session could
// run out, nothing is left lying about, and its own next start restores nothing.
func TestSIGTERMUnderLoad(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	const stops = 6
	f := newFlow(t, facts(r, 80, 40, inOrder, 20*time.Minute))
	var es [2]*instance
	var ps [2]*process
	temp := t.TempDir()
	for i := range es {
		es[i] = f.instance(t, "term", "testdata/hours.yaml")
		es[i].replace(t, "session_timeout: "+session.String(), "session_timeout: 1m")
		es[i].replace(t, "log: warn", "log: info")
		es[i].env = []string{"TMPDIR=" + temp}
		ps[i] = es[i].start(t)
	}
	var took, over []time.Duration
	for k := range stops {
		bound := len(f.l) * (k + 1) / (stops + 1)
		some := bound - len(f.l)/(2*stops) // the rest is for those that are left
		f.commits(t, "term", some, ps[:]...)
		f.during(t, time.Duration(r.IntN(300))*time.Millisecond, some)
		i := k % 2
		took = append(took, ps[i].stop(t))
		start := time.Now()
		// Only an instance with all partitions comes to the end of the inputs.
		f.b.publishFacts(t, f.l[f.next:bound])
		f.next = bound
		f.b.drained(t, "term")
		over = append(over, time.Since(start))
		// Alone, it is stopped and started again: its copy must be what was committed.
		ps[1-i].stop(t)
		said := len(es[1-i].logged(t))
		ps[1-i] = es[1-i].start(t)
		f.commits(t, "term", bound+len(f.l)/20, ps[1-i])
		if after := es[1-i].logged(t)[said:]; strings.Contains(after, `"msg":"restored"`) {
			t.Errorf("a clean stop left the copy behind the changelog:\n%s", after)
		}
		ps[i] = es[i].start(t)
	}
	told(t, "SIGTERM to exit", took)
	told(t, "all partitions taken over and read to their end", over)
	for _, d := range over {
		if d > 40*time.Second {
			t.Errorf("%s until the partitions moved: the session ran out", d)
		}
	}
	for i, p := range ps {
		p.stop(t)
		left(t, es[i].state)
	}
	if l, _ := os.ReadDir(temp); len(l) > 0 {
		t.Errorf("left in the directory for temporary files: %v", l)
	}
	f.compare(t, es[0], "term", "testdata/hours.yaml", es[1])
}

// left fails the test if there is more beside and in the state directory than
// belongs there.
func left(t *testing.T, state string) {
	t.Helper()
	beside, err := filepath.Glob(state + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range beside {
		if name != state && name != state+".instance" {
			t.Errorf("left beside the state: %s", name)
		}
	}
	l, err := os.ReadDir(state)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l {
		if strings.Contains(e.Name(), "tmp") {
			t.Errorf("left in the state: %s", e.Name())
		}
	}
}

//go:build e2e

package e2e

import (
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Two instances; one is frozen for longer than its session, so that the other one
// takes its partitions, and thaws in the middle of what it did. Its unfinished
// transaction and all that it believes must have no effect.
func TestFrozen(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	const freezes = 10
	f := newFlow(t, facts(r, 80, 40, inOrder, 20*time.Minute))
	var es [2]*instance
	var ps [2]*process
	for i := range es {
		es[i] = f.instance(t, "frozen", "testdata/hours.yaml")
		es[i].replace(t, "log: warn", "log: info\ncommit_interval: 10ms")
		ps[i] = es[i].start(t)
	}
	var moved []time.Duration
	for k := range freezes {
		bound := len(f.l) * (k + 1) / (freezes + 1)
		f.commits(t, "frozen", bound, ps[:]...)
		f.during(t, time.Duration(r.IntN(100))*time.Millisecond, bound)
		i := r.IntN(2)
		ps[i].Signal(syscall.SIGSTOP)
		start := time.Now()
		restored := strings.Count(es[1-i].logged(t), `"msg":"restored"`)
		f.until(t, bound, "a partition that moves", func() bool {
			return strings.Count(es[1-i].logged(t), `"msg":"restored"`) > restored
		})
		moved = append(moved, time.Since(start))
		f.during(t, time.Duration(r.IntN(500))*time.Millisecond, bound)
		ps[i].Signal(syscall.SIGCONT)
		// It must come back: both are needed to have a commit on every partition.
		f.during(t, session/2, bound)
	}
	told(t, "from the freeze to the first partition taken over", moved)
	fenced := 0
	for i, e := range es {
		ps[i].stop(t)
		fenced += strings.Count(e.logged(t), "batch dropped")
	}
	t.Logf("%d freezes, %d batches dropped by those that were fenced", freezes, fenced)
	f.compare(t, es[0], "frozen", "testdata/hours.yaml", es[1])
}

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
		part := len(f.l) / (4 * freezes)
		f.shared(t, "frozen", 2, bound-3*part)
		// It freezes in the middle of what it does with these, at best before the end
		// of a transaction; the others are for those that are left.
		f.b.publishFacts(t, f.l[f.next:f.next+2*part])
		f.next += 2 * part
		time.Sleep(time.Duration(r.IntN(15_000)) * time.Microsecond)
		i := r.IntN(2)
		ps[i].Signal(syscall.SIGSTOP)
		start := time.Now()
		f.shared(t, "frozen", 1, bound)
		moved = append(moved, time.Since(start))
		f.during(t, time.Duration(r.IntN(500))*time.Millisecond, bound)
		ps[i].Signal(syscall.SIGCONT)
	}
	told(t, "from the freeze to all partitions being the other's", moved)
	fenced := 0
	for i, e := range es {
		ps[i].stop(t)
		fenced += strings.Count(e.logged(t), "batch dropped")
	}
	t.Logf("%d freezes, %d batches dropped by those that were fenced", freezes, fenced)
	f.compare(t, es[0], "frozen", "testdata/hours.yaml", es[1])
}

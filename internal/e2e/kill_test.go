//go:build e2e

package e2e

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// usualKills is how often the tests of this file kill a process together; KILLS
// is another number.
const usualKills = 40

// A process that is killed again and again while events flow, at any moment from
// its start on, and now and then loses its disk or its name, emits what one that
// was never killed emits.
func TestKilledUnderLoad(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	kills := share(t, "KILLS", 25, usualKills)
	f := newFlow(t, facts(r, 80, max(20, 2*kills), inOrder, 20*time.Minute))
	e := f.instance(t, "flow", "testdata/hours.yaml")
	var back []time.Duration
	lost := 0
	for k := range kills {
		bound := len(f.l) * (k + 1) / (kills + 1)
		p := e.start(t)
		if r.IntN(3) == 0 {
			f.during(t, time.Duration(r.IntN(800))*time.Millisecond, bound)
		} else {
			back = append(back, f.commits(t, "flow", bound, p))
			f.during(t, time.Duration(r.IntN(200))*time.Millisecond, bound)
		}
		p.kill(t)
		switch r.IntN(10) {
		case 0, 1:
			e.loseState(t)
			lost++
		case 2:
			e.loseState(t)
			os.Remove(e.state + ".instance") // another machine: the old name must time out
			lost++
		}
	}
	told(t, "from start to first commit", back)
	t.Logf("%d kills, the state lost %d times", kills, lost)
	f.compare(t, e, "flow", "testdata/hours.yaml")
}

// Two instances share the partitions, and one or the other is killed while events
// flow. It comes back at once, or only when the other one has its partitions.
func TestKilledInPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	kills := share(t, "KILLS", 15, usualKills)
	f := newFlow(t, facts(r, 80, max(20, 3*kills), inOrder, 20*time.Minute))
	var es [2]*instance
	var ps [2]*process
	for i := range es {
		es[i] = f.instance(t, "pairs", "testdata/hours.yaml")
		ps[i] = es[i].start(t)
	}
	var back []time.Duration
	for k := range kills {
		bound := len(f.l) * (k + 1) / (kills + 1)
		back = append(back, f.commits(t, "pairs", bound, ps[:]...))
		f.during(t, time.Duration(r.IntN(300))*time.Millisecond, bound)
		i := r.IntN(2)
		ps[i].kill(t)
		if r.IntN(3) == 0 {
			es[i].loseState(t)
		}
		if r.IntN(2) == 0 {
			f.during(t, session+session/2, bound)
			back = append(back, f.commits(t, "pairs", len(f.l), ps[1-i]))
		}
		ps[i] = es[i].start(t)
	}
	told(t, "commits after kills", back)
	for _, p := range ps {
		p.stop(t)
	}
	f.compare(t, es[0], "pairs", "testdata/hours.yaml", es[1])
}

// loseState removes the local copy.
func (e *instance) loseState(t *testing.T) {
	t.Helper()
	if err := os.RemoveAll(e.state); err != nil {
		t.Fatal(err)
	}
}

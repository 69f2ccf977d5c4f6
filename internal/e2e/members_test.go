//go:build e2e

package e2e

import (
	"math/rand/v2"
	"testing"
	"time"
)

// members are instances of one app that come and go.
type members struct {
	r  *rand.Rand
	es []*instance
	ps []*process // nil where an instance does not run

	starts, stops, kills int
}

// act lets one instance, chosen at random, come or go, but never the last one go.
func (m *members) act(t *testing.T) {
	t.Helper()
	running := 0
	for _, p := range m.ps {
		if p != nil {
			running++
		}
	}
	i := m.r.IntN(len(m.es))
	switch {
	case m.ps[i] == nil:
		m.ps[i] = m.es[i].start(t)
		m.starts++
	case running == 1:
	case m.r.IntN(2) == 0:
		m.ps[i].kill(t)
		m.ps[i] = nil
		m.kills++
	default:
		m.ps[i].stop(t)
		m.ps[i] = nil
		m.stops++
	}
}

// stopAll stops everybody. Those that were killed come back once more, so that
// their names leave the group.
func (m *members) stopAll(t *testing.T) {
	t.Helper()
	for i, p := range m.ps {
		if p == nil {
			m.ps[i] = m.es[i].start(t)
		}
	}
	for i, p := range m.ps {
		if p != nil {
			p.stop(t)
			m.ps[i] = nil
		}
	}
	t.Logf("%d starts, %d clean stops, %d kills", m.starts, m.stops, m.kills)
}

// Three instances come and go while events flow, whose clock follows the events.
func TestMembersComeAndGo(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	const acts = 24
	f := newFlow(t, facts(r, 80, 40, inOrder, 20*time.Minute))
	m := &members{r: r}
	for range 3 {
		m.es = append(m.es, f.instance(t, "members", "testdata/hours.yaml"))
	}
	m.ps = make([]*process, len(m.es))
	for k := range acts {
		bound := len(f.l) * (k + 1) / (acts + 1)
		m.act(t)
		f.during(t, time.Duration(r.IntN(1500))*time.Millisecond, bound)
		if r.IntN(4) == 0 {
			f.commits(t, "members", len(f.l))
		}
	}
	m.stopAll(t)
	f.compare(t, m.es[0], "members", "testdata/hours.yaml", m.es[1:]...)
}

// The same with the wall clock, and events that are published at their time.
func TestMembersComeAndGoOnTime(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	const rules = "testdata/seconds.yaml"
	f := newFlow(t, facts(r, 40, 6, inOrder, 2500*time.Millisecond))
	m := &members{r: r}
	for range 3 {
		e := f.instance(t, "ontime", rules)
		e.replace(t, "clock: events", "clock: wall")
		m.es = append(m.es, e)
	}
	m.ps = make([]*process, len(m.es))
	begin, planned := time.Now(), f.l[0].at
	for next := begin; f.next < len(f.l); time.Sleep(10 * time.Millisecond) {
		now := time.Now()
		if now.After(next) {
			m.act(t)
			next = now.Add(time.Duration(r.IntN(3000)) * time.Millisecond)
		}
		// An event is as old as its publication, however slow this machine is.
		to := f.next
		for ; to < len(f.l) && f.l[to].at.Sub(planned) <= now.Sub(begin); to++ {
			f.l[to].at = time.Now().Truncate(time.Millisecond)
		}
		f.b.publishFacts(t, f.l[f.next:to])
		f.next = to
	}
	cutoff := f.l[len(f.l)-1].at
	f.b.drained(t, "ontime")
	told := func() int64 { return f.b.written(t, "ontime.changes") + f.b.written(t, "ontime.triggers") }
	for n := int64(-1); n != told(); time.Sleep(5 * time.Second) {
		n = told() // silence is judged after the grace, and rules look back 9 s
	}
	m.stopAll(t)
	want := replayFacts(t, rules, "ontime", f.l, cutoff.Add(time.Minute))
	memberships, triggers := split(before(want, cutoff))
	t.Logf("%d events, %d changes, %d triggers", len(f.l), len(memberships), len(triggers))
	sameByCustomer(t, "changes", before(f.b.consume(t, "ontime.changes"), cutoff), memberships)
	sameByCustomer(t, "triggers", before(f.b.consume(t, "ontime.triggers"), cutoff), triggers)
	f.b.judge(t, "ontime", rules, time.Time{}, m.es...)
}

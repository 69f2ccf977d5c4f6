//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/segmill/segmill/internal/checker"
)

// inOrder is when the facts of flowing tests begin; they are long past, so only
// their order counts.
var inOrder = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// flow publishes facts bit by bit, in the order of their time, while instances
// come and go.
type flow struct {
	b    broker
	l    []fact
	next int // the first that is not published
}

// chunk and chunkPause are how much of a flow is published at a time.
const (
	chunk      = 5
	chunkPause = 10 * time.Millisecond
)

// some publishes a chunk of what comes before bound, and waits a little.
func (f *flow) some(t *testing.T, bound int) {
	t.Helper()
	if to := min(f.next+chunk, bound, len(f.l)); to > f.next {
		f.b.publishFacts(t, f.l[f.next:to])
		f.next = to
	}
	time.Sleep(chunkPause)
}

// during publishes for a time.
func (f *flow) during(t *testing.T, d time.Duration, bound int) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); {
		f.some(t, bound)
	}
}

// until publishes until a condition holds. It fails the test after a minute.
func (f *flow) until(t *testing.T, bound int, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); {
		if time.Now().After(end) {
			t.Fatalf("a minute has passed without %s", what)
		}
		f.some(t, bound)
	}
}

// most publishes all but the last bit.
func (f *flow) most(t *testing.T) {
	t.Helper()
	to := len(f.l) - 500
	f.b.publishFacts(t, f.l[f.next:to])
	f.next = to
}

// rest publishes what is left.
func (f *flow) rest(t *testing.T) {
	t.Helper()
	f.b.publishFacts(t, f.l[f.next:])
	f.next = len(f.l)
}

// commits publishes until the changelog has become longer, which ps must live to
// see: somebody has committed, or fenced somebody else.
func (f *flow) commits(t *testing.T, app string, bound int, ps ...*process) time.Duration {
	t.Helper()
	start := time.Now()
	before := f.b.written(t, app+".changelog")
	f.until(t, bound, "a commit", func() bool {
		for _, p := range ps {
			if !p.running() {
				t.Fatalf("the process has ended: %v", p.err)
			}
		}
		return f.b.written(t, app+".changelog") > before
	})
	return time.Since(start)
}

// instance returns an instance of an app over all inputs whose clock follows the
// events, with a short session.
func (f *flow) instance(t *testing.T, app, rules string) *instance {
	t.Helper()
	e := newInstance(t, f.b, app, rules, "")
	e.replaceTopics(t, fmt.Sprintf(allTopics, app))
	e.replace(t, "session_timeout: 6s", "session_timeout: "+session.String())
	return e
}

// shared publishes until the group has shared out all partitions among n members
// and is at rest.
func (f *flow) shared(t *testing.T, app string, n, bound int) {
	t.Helper()
	var last string
	defer func() {
		if t.Failed() {
			t.Log("the group is ", last)
		}
	}()
	f.until(t, bound, "a group at rest", func() bool {
		groups, err := f.b.adm.DescribeGroups(context.Background(), app)
		g := groups[app]
		partitions, idle := 0, 0
		for _, m := range g.Members {
			a, _ := m.Assigned.AsConsumer()
			had := partitions
			if a != nil {
				for _, topic := range a.Topics {
					partitions += len(topic.Partitions)
				}
			}
			if partitions == had {
				idle++
			}
		}
		last = fmt.Sprintf("%s: %d members, %d of them without partitions, %d partitions (%v)", g.State, len(g.Members), idle, partitions, err)
		return err == nil && g.State == "Stable" && len(g.Members) == n && idle == 0 && partitions == 4
	})
}

// newFlow returns a broker with the inputs, and a flow to it.
func newFlow(t *testing.T, l []fact) *flow {
	t.Helper()
	return &flow{b: startBroker(t, allInputs...), l: l}
}

// compare runs e, the only instance left, to an instant after the last event, and
// compares the outputs with what replay says. The checker judges them too, and the
// states of the others.
func (f *flow) compare(t *testing.T, e *instance, app, rules string, others ...*instance) *checker.Report {
	t.Helper()
	f.rest(t)
	until := f.l[len(f.l)-1].at.Add(30 * time.Hour)
	e.finish(t, "--until", until.Format(time.RFC3339Nano))
	memberships, triggers := split(replayFacts(t, rules, app, f.l, until))
	t.Logf("%d events, %d changes, %d triggers", len(f.l), len(memberships), len(triggers))
	sameByCustomer(t, "changes", f.b.consume(t, app+".changes"), memberships)
	sameByCustomer(t, "triggers", f.b.consume(t, app+".triggers"), triggers)
	return f.b.judge(t, app, rules, until, append(others, e)...)
}

// share returns a part of the number in an environment variable, usual/of of it,
// or usual if it is not set.
func share(t *testing.T, name string, usual, of int) int {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: a number from 1 on is needed", name, v)
	}
	return max(1, n*usual/of)
}

// told logs the middle and the greatest of some durations.
func told(t *testing.T, what string, l []time.Duration) {
	t.Helper()
	if len(l) == 0 {
		return
	}
	slices.Sort(l)
	t.Logf("%s: %d times, middle %s, longest %s", what, len(l), l[len(l)/2].Round(time.Millisecond), l[len(l)-1].Round(time.Millisecond))
}

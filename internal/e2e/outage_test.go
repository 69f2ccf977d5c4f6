//go:build e2e

package e2e

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fact is one event of a test: JSON without a stream.
type fact struct {
	at                       time.Time
	stream, customer, fields string
	id                       int
}

func (f fact) json(extra string) string {
	return fmt.Sprintf(`{%s"event_id":"e%d","customer_id":"%s","occurred_at":"%s",%s}`,
		extra, f.id, f.customer, f.at.UTC().Format("2006-01-02T15:04:05.000Z"), f.fields)
}

// facts makes events of some customers from start on, those of one customer at
// least gap apart, in the order of time.
func facts(r *rand.Rand, customers, each int, start time.Time, gap time.Duration) []fact {
	var l []fact
	for c := range customers {
		at := start.Add(time.Duration(r.Int64N(int64(gap))))
		for range each {
			f := fact{at: at.Truncate(time.Millisecond), customer: fmt.Sprintf("c%d", c)}
			switch r.IntN(6) {
			case 0, 1:
				f.stream, f.fields = "web", `"name":"page_viewed","url":"/"`
			case 2:
				f.stream, f.fields = "web", `"name":"product_added","currency":"EUR","items":[{"product_id":"p1","quantity":1,"price":"9.90"}]`
			case 3:
				f.stream, f.fields = "email", `"action":"opened","campaign_id":"k"`
			default:
				f.stream, f.fields = "purchase", fmt.Sprintf(`"order_id":"o","currency":"EUR","revenue":"%d"`, r.IntN(200))
			}
			l = append(l, f)
			at = at.Add(gap + time.Duration(r.Int64N(int64(gap)*2)))
		}
	}
	slices.SortStableFunc(l, func(a, b fact) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.customer, b.customer)) })
	for i := range l {
		l[i].id = i
	}
	return l
}

// publishFacts sends events in one request, with their time as the record's: who
// reads sees all of them or none.
func (b broker) publishFacts(t *testing.T, l []fact) {
	t.Helper()
	var rs []*kgo.Record
	for _, f := range l {
		rs = append(rs, &kgo.Record{Topic: "events." + f.stream, Key: []byte(f.customer), Value: []byte(f.json("")), Timestamp: f.at})
	}
	b.produce(t, rs)
}

// produce sends records and waits until they are written.
func (b broker) produce(t *testing.T, rs []*kgo.Record) {
	t.Helper()
	errs := make(chan error, len(rs))
	for _, r := range rs {
		b.cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) { errs <- err })
	}
	if err := b.cl.Flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range rs {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// replayFacts returns what replay says of the events up to an instant.
func replayFacts(t *testing.T, rules, app string, l []fact, until time.Time) []change {
	t.Helper()
	var buf bytes.Buffer
	for _, f := range l {
		buf.WriteString(f.json(fmt.Sprintf(`"stream":%q,`, f.stream)) + "\n")
	}
	cmd := exec.Command(program(t, "segmill"), "replay", "--rules", rules, "--events", "-", "--app", app,
		"--until", until.UTC().Format(time.RFC3339Nano))
	cmd.Stdin, cmd.Stderr = &buf, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("segmill replay: %v", err)
	}
	return changes(t, out)
}

// lag returns how many records of the inputs the run has not committed.
func (b broker) lag(t *testing.T, app string) (int64, error) {
	t.Helper()
	ends, err := b.adm.ListEndOffsets(context.Background(), "events.web", "events.email", "events.purchase")
	if err != nil {
		t.Fatal(err)
	}
	at, err := b.adm.FetchOffsets(context.Background(), app+"-progress")
	left := int64(0)
	ends.Each(func(e kadm.ListedOffset) {
		o, _ := at.Lookup(e.Topic, e.Partition)
		left += e.Offset - max(0, o.At)
	})
	return left, err
}

// drained waits until the run has committed every record of the inputs.
func (b broker) drained(t *testing.T, app string) {
	t.Helper()
	b.drainedWithin(t, app, time.Minute)
}

func (b broker) drainedWithin(t *testing.T, app string, most time.Duration) {
	t.Helper()
	deadline := time.Now().Add(most)
	for ; ; time.Sleep(100 * time.Millisecond) {
		left, err := b.lag(t, app)
		if err == nil && left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records are left after %s (%v)", left, most, err)
		}
	}
}

var allInputs = []string{"events.web:4", "events.email:4", "events.purchase:4"}

const allTopics = `topics: {profile: "", consent: "", changes: %[1]s.changes, triggers: %[1]s.triggers, create: {partitions: 4, replication: 1}}`

// Stopped for a day of event time and started again, each customer's output is
// that of a run without the stop.
func TestStoppedForADay(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	l := facts(r, 60, 25, start, 20*time.Minute)
	b := startBroker(t, allInputs...)
	e := newInstance(t, b, "stopped", "testdata/hours.yaml", "")
	e.replaceTopics(t, fmt.Sprintf(allTopics, "stopped"))
	i := len(l) / 2
	b.publishFacts(t, l[:i])
	cmd := e.start(t)
	b.drained(t, "stopped")
	cmd.stop(t)
	b.publishFacts(t, l[i:])
	until := l[len(l)-1].at.Add(30 * time.Hour)
	e.finish(t, "--until", until.Format(time.RFC3339Nano))
	memberships, triggers := split(replayFacts(t, "testdata/hours.yaml", "stopped", l, until))
	t.Logf("%d changes, %d triggers", len(memberships), len(triggers))
	sameByCustomer(t, "changes", b.consume(t, "stopped.changes"), memberships)
	sameByCustomer(t, "triggers", b.consume(t, "stopped.triggers"), triggers)
}

// With the wall clock, an engine that was down while carts were left and bought,
// and windows ran out, emits what it would have emitted.
func TestWallClockOutage(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	b := startBroker(t, allInputs...)
	e := newInstance(t, b, "wall", "testdata/seconds.yaml", "")
	e.replaceTopics(t, fmt.Sprintf(allTopics, "wall"))
	e.replace(t, "clock: events", "clock: wall")
	cmd := e.start(t)
	begin := time.Now()
	l := facts(r, 30, 6, begin.Add(500*time.Millisecond), 2500*time.Millisecond)
	down := begin.Add(6 * time.Second)
	stopped := false
	for i := 0; i < len(l); {
		if !stopped && time.Now().After(down) {
			cmd.stop(t)
			stopped = true
		}
		j := i
		for j < len(l) && !l[j].at.After(time.Now()) {
			j++
		}
		if j > i {
			b.publishFacts(t, l[i:j])
			i = j
		}
		if stopped && time.Now().After(down.Add(8*time.Second)) {
			cmd = e.start(t)
			down = down.Add(time.Hour)
		}
		time.Sleep(20 * time.Millisecond)
	}
	cutoff := l[len(l)-1].at
	b.drained(t, "wall")
	time.Sleep(4 * time.Second) // silence is judged grace after its time
	cmd.stop(t)
	want := replayFacts(t, "testdata/seconds.yaml", "wall", l, cutoff.Add(time.Minute))
	memberships, triggers := split(before(want, cutoff))
	t.Logf("%d changes, %d triggers", len(memberships), len(triggers))
	sameByCustomer(t, "changes", before(b.consume(t, "wall.changes"), cutoff), memberships)
	sameByCustomer(t, "triggers", before(b.consume(t, "wall.triggers"), cutoff), triggers)
}

// before keeps what took effect at or before an instant.
func before(l []change, at time.Time) []change {
	end := at.UTC().Format("2006-01-02T15:04:05.000Z")
	return slices.DeleteFunc(slices.Clone(l), func(c change) bool { return c.Effective+c.FiredAt > end })
}

// replace changes the configuration.
func (e *instance) replace(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(e.config)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b, []byte(from)) {
		t.Fatalf("the configuration has no %q", from)
	}
	if err := os.WriteFile(e.config, bytes.Replace(b, []byte(from), []byte(to), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (e *instance) replaceTopics(t *testing.T, line string) {
	t.Helper()
	b, err := os.ReadFile(e.config)
	if err != nil {
		t.Fatal(err)
	}
	for old := range bytes.Lines(b) {
		if bytes.HasPrefix(old, []byte("topics:")) {
			e.replace(t, string(old), line+"\n")
		}
	}
}

// Two instances share the partitions; one is killed, comes back, and the other is
// stopped: every record is there once, as if there had been one.
func TestTwoInstances(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	l := facts(r, 60, 30, start, 20*time.Minute)
	b := startBroker(t, allInputs...)
	one := newInstance(t, b, "pair", "testdata/hours.yaml", "")
	one.replaceTopics(t, fmt.Sprintf(allTopics, "pair"))
	two := newInstance(t, b, "pair", "testdata/hours.yaml", "")
	two.replaceTopics(t, fmt.Sprintf(allTopics, "pair"))
	first, second := one.start(t), two.start(t)
	part := len(l) / 4
	b.publishFacts(t, l[:part])
	b.drained(t, "pair")
	first.kill(t)
	b.publishFacts(t, l[part:2*part])
	first = one.start(t)
	b.drained(t, "pair")
	b.publishFacts(t, l[2*part:3*part])
	second.stop(t)
	b.drained(t, "pair")
	first.stop(t)
	b.publishFacts(t, l[3*part:])
	until := l[len(l)-1].at.Add(30 * time.Hour)
	two.finish(t, "--until", until.Format(time.RFC3339Nano))
	memberships, triggers := split(replayFacts(t, "testdata/hours.yaml", "pair", l, until))
	sameByCustomer(t, "changes", b.consume(t, "pair.changes"), memberships)
	sameByCustomer(t, "triggers", b.consume(t, "pair.triggers"), triggers)
}

// Changed rules are refused by name; with --rebuild the differences are emitted.
func TestRebuild(t *testing.T) {
	r := rand.New(rand.NewPCG(seedOf(t), 0))
	start := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	l := facts(r, 40, 10, start, 20*time.Minute)
	until := l[len(l)-1].at.Add(30 * time.Hour)
	b := startBroker(t, allInputs...)
	e := newInstance(t, b, "rebuilt", "testdata/hours.yaml", "")
	e.replaceTopics(t, fmt.Sprintf(allTopics, "rebuilt"))
	b.publishFacts(t, l)
	at := "--until=" + until.Format(time.RFC3339Nano)
	e.finish(t, at)
	first := b.consume(t, "rebuilt.changes")

	abs, err := filepath.Abs("testdata/hours.yaml")
	if err != nil {
		t.Fatal(err)
	}
	changed, err := filepath.Abs("testdata/hours-changed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	e.replace(t, abs, changed)
	out, err := exec.Command(e.program, "run", "-c", e.config, at).CombinedOutput()
	if err == nil {
		t.Fatalf("changed rules were run:\n%s", out)
	}
	for _, want := range []string{"busy", "cart_holder", "spender", "--rebuild"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("the refusal does not name %s:\n%s", want, out)
		}
	}
	e.finish(t, at, "--rebuild")
	all := b.consume(t, "rebuilt.changes")
	before := map[string]bool{}
	for _, c := range first {
		before[c.text] = true
	}
	for _, c := range all {
		if !before[c.text] && !bytes.Contains([]byte(c.text), []byte(`"cause":"rule_change"`)) {
			t.Errorf("emitted by a rebuild: %s", c.text)
			break
		}
	}
	if len(all) == len(first) {
		t.Error("the rebuild emitted nothing")
	}
	// The result is what a run with the changed rules alone would have come to.
	fresh, _ := split(replayFacts(t, "testdata/hours-changed.yaml", "rebuilt", l, until))
	end := until.Format("2006-01-02T15:04:05.000Z")
	got, want := counts(all, end), counts(fresh, end)
	for s, n := range want {
		if got[s] != n {
			t.Errorf("%s has %d members after the rebuild, %d in a run from the start", s, got[s], n)
		}
	}
	if got["cart_holder"] != 0 {
		t.Errorf("%d members are left in a segment that was removed", got["cart_holder"])
	}
	// Once rebuilt, it starts without being asked.
	e.finish(t, at)
}

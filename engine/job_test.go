package engine_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// jobRules are the ten segments of the job that the engine's speed is judged by:
// how often and for how much somebody bought within 30 days, and where last.
func jobRules() string {
	var b strings.Builder
	b.WriteString("version: 1\nsegments:\n")
	for i, when := range []string{
		"count(purchase, days(30)) >= 1", "count(purchase, days(30)) >= 10", "count(purchase, days(30)) >= 15",
		"count(purchase, days(30)) >= 20", "sum(purchase.revenue, days(30)) > 100", "sum(purchase.revenue, days(30)) > 500",
		"sum(purchase.revenue, days(30)) > 900", "sum(purchase.revenue, days(30)) > 1500",
		"last(purchase.channel) == 'app'",
		"count(purchase, days(30)) >= 4 && sum(purchase.revenue, days(30)) > 250 && last(purchase.channel) == 'web'",
	} {
		fmt.Fprintf(&b, "  - {id: job-%d, objective: o, owner: o, review_by: 2030-01-01, when: \"%s\"}\n", i, when)
	}
	return b.String()
}

// job makes purchases of many customers: 7.5 of each in 30 days, in order of
// time, 1 to 100 each, most in the customer's usual channel.
type job struct {
	r       *rand.Rand
	ids     []string
	names   []string // of events
	e       *engine.Engine
	ev      engine.Event
	n       int
	kind    int // slots
	revenue int
	channel int
}

func newJob(e *engine.Engine, customers int) *job {
	l := e.Layout(plan.Purchase)
	j := &job{
		r: rand.New(rand.NewPCG(1, 2)), ids: make([]string, customers), names: make([]string, 1<<16),
		e: e, kind: l.Slot("kind"), revenue: l.Slot("revenue"), channel: l.Slot("channel"),
	}
	for i := range j.ids {
		j.ids[i] = fmt.Sprintf("customer-%06d", i)
	}
	for i := range j.names {
		j.names[i] = fmt.Sprintf("ev-%08d", i)
	}
	j.ev = engine.Event{
		Stream: plan.Purchase, Source: "/unknown", At: 1_700_000_000_000, Fields: make([]expr.Value, len(l.Paths)),
	}
	return j
}

var channels = []string{"web", "web", "web", "app", "store"}

// next makes the next event and returns the number of its customer. The event is
// overwritten by the next call.
func (j *job) next() int {
	c := j.r.IntN(len(j.ids))
	j.ev.Customer, j.ev.ID = j.ids[c], j.names[j.n%len(j.names)]
	j.ev.At += engine.Millis(30 * 86_400_000 * 2 / 15 / len(j.ids))
	j.ev.Fields[j.kind] = expr.StringValue("completed")
	if j.revenue >= 0 {
		j.ev.Fields[j.revenue] = expr.DecimalValue(100 * int64(100+j.r.IntN(10_000)))
	}
	if j.channel >= 0 {
		j.ev.Fields[j.channel] = expr.StringValue(channels[(c+j.r.IntN(6)/5)%len(channels)])
	}
	j.n++
	return c
}

// run folds n events of the job into customers.
func (j *job) run(x *engine.Evaluator, customers []*engine.Customer, out *engine.Output, n int) {
	for range n {
		i := j.next()
		if customers[i] == nil {
			customers[i] = j.e.NewCustomer(j.ids[i])
		}
		x.Apply(customers[i], &j.ev, j.ev.At-2000, out)
		out.Reset()
	}
}

const jobCustomers = 10_000

// BenchmarkJob is the core's part of the job: apply folds a purchase and decides;
// append and decode write and read its customer. Few customers are in the
// processor's cache, many are not.
func BenchmarkJob(b *testing.B) {
	for _, people := range []int{jobCustomers / 100, jobCustomers, 10 * jobCustomers} {
		b.Run(fmt.Sprint(people), func(b *testing.B) { benchmarkJob(b, people) })
	}
}

func benchmarkJob(b *testing.B, people int) {
	e := testEngine(b, jobRules())
	j := newJob(e, people)
	customers := make([]*engine.Customer, people)
	x := e.Evaluator()
	var out engine.Output
	j.run(x, customers, &out, 12*people)
	b.Run("apply", func(b *testing.B) {
		effects := 0
		b.ReportAllocs()
		for b.Loop() {
			i := j.next()
			out.Reset()
			x.Apply(customers[i], &j.ev, j.ev.At-2000, &out)
			effects += len(out.Effects)
		}
		b.ReportMetric(float64(effects)/float64(b.N), "effects/op")
	})
	var buf []byte
	b.Run("append", func(b *testing.B) {
		i, bytes := 0, 0
		b.ReportAllocs()
		for b.Loop() {
			buf = e.Append(buf[:0], customers[i*7919%people])
			bytes += len(buf)
			i++
		}
		b.ReportMetric(float64(bytes)/float64(b.N), "bytes/op")
	})
	stored := make([][]byte, people)
	for i := range stored {
		stored[i] = e.Append(nil, customers[i])
	}
	b.Run("decode", func(b *testing.B) {
		i := 0
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.Decode(j.ids[i*7919%people], stored[i*7919%people]); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("event", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			j.next()
		}
	})
}

// jobState returns customers of the job who have what a month leaves of them.
func jobState(t *testing.T, rules string) (*engine.Evaluator, *job, []*engine.Customer, *engine.Output) {
	t.Helper()
	const people = 500
	e := testEngine(t, rules)
	j := newJob(e, people)
	customers, out := make([]*engine.Customer, people), &engine.Output{}
	x := e.Evaluator()
	j.run(x, customers, out, 40*people)
	return x, j, customers, out
}

// Folding allocates nothing but room for customers that grow, and pieces of which
// the evidence of many effects is cut.
func TestApplyAllocatesNothing(t *testing.T) {
	const events = 1000
	for name, c := range map[string]struct {
		rules string
		most  float64
	}{
		"job":        {jobRules(), events / 10},
		"no effects": {ruleSet(1, func(int) string { return "count(purchase, days(30)) > 1000" }), events / 50},
	} {
		x, j, customers, out := jobState(t, c.rules)
		if n := testing.AllocsPerRun(10, func() { j.run(x, customers, out, events) }); n > c.most {
			t.Errorf("%s: %v allocations for %d events, more than %v", name, n, events, c.most)
		}
	}
}

// What an event costs does not depend on how many rules there are, if as much
// changes.
func TestCostFollowsTheChanges(t *testing.T) {
	const events = 1000
	for name, when := range map[string]func(int) string{"distinct": distinct, "alike": alike} {
		x, j, customers, out := jobState(t, ruleSet(10_000, when))
		evaluated, effects := 0, 0
		n := testing.AllocsPerRun(1, func() {
			for range events {
				i := j.next()
				out.Reset()
				x.Apply(customers[i], &j.ev, j.ev.At-2000, out)
				evaluated += out.Stats.Evaluated
				effects += len(out.Effects)
			}
		})
		if effects == 0 || evaluated > 2*effects {
			t.Errorf("%s: %d units evaluated for %d changes", name, evaluated, effects)
		}
		if n > events/5 {
			t.Errorf("%s: %v allocations for %d events", name, n, events)
		}
	}
}

// Writing a customer allocates nothing, reading it a few pieces; its bytes are
// few.
func TestCustomerIsSmall(t *testing.T) {
	_, j, customers, _ := jobState(t, jobRules())
	e := j.e
	var buf []byte
	sum := 0
	ids := 0
	for i, c := range customers {
		if n := testing.AllocsPerRun(1, func() { buf = e.Append(buf[:0], c) }); n > 0 && i > 0 {
			t.Fatalf("writing a customer takes %v allocations", n)
		}
		bytes, n := c.SeenBytes()
		sum, ids = sum+len(buf)-bytes, ids+n
		if most := 12*n + 2; n > 0 && bytes > most {
			t.Fatalf("%d event ids take %d bytes, more than %d", n, bytes, most)
		}
		allocs := testing.AllocsPerRun(1, func() {
			if _, err := e.Decode(j.ids[i], buf); err != nil {
				t.Fatal(err)
			}
		})
		if allocs > 7 {
			t.Fatalf("reading a customer takes %v allocations", allocs)
		}
	}
	if mean := sum / len(customers); mean > 220 || ids < len(customers) {
		t.Errorf("a customer has %d bytes; all have %d event ids", mean, ids)
	}
}

// A customer with a number and a sum over 30 days, bought on 5 days, with the last
// purchase and ten memberships, has at most 200 bytes and those of its event ids.
func TestBytesOfACustomer(t *testing.T) {
	e := testEngine(t, ruleSet(10, func(i int) string {
		return fmt.Sprintf("count(purchase, days(30)) > %d || sum(purchase.revenue, days(30)) > 10 || since_last(purchase) < days(%d)", i%4, 50+i)
	}))
	j := newJob(e, 1)
	c, x := e.NewCustomer("c"), e.Evaluator()
	var out engine.Output
	for range 5 {
		j.next()
		j.ev.At += 86_400_000
		x.Apply(c, &j.ev, j.ev.At, &out)
	}
	n, m := len(e.Append(nil, c)), len(e.Memberships(c))
	if bytes, ids := c.SeenBytes(); n-bytes > 200 || m != 10 || ids != 5 {
		t.Errorf("%d bytes, %d of them of %d event ids, %d memberships", n, bytes, ids, m)
	}
}

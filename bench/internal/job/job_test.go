package job

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/schemas"
)

var workloads = []Workload{
	{Events: 3000, Customers: 500, Seed: 1},
	{Events: 3000, Customers: 2_000_000, Zipf: 1.05, Late: 0.2, Seed: 2},
}

// The walk and the engine's reader agree on every event, in the sizes that the
// figures are quoted for.
func TestDecodeAgainstReader(t *testing.T) {
	rules, err := app.CompileRules([]rule.File{{Name: "ten.yaml", Data: []byte(RuleFile(Ten))}})
	if err != nil {
		t.Fatal(err)
	}
	reader, err := schemas.NewReader(schemas.Config{
		Layouts: rules.Engine.Layout, Topics: map[string]plan.Stream{"purchase": plan.Purchase},
		Registry: all{}, Zones: func(string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	layout := rules.Engine.Layout(plan.Purchase)
	for _, w := range workloads {
		var e Event
		for g := NewGenerator(w); g.Next(&e); {
			b := e.Append(nil, 0)
			if len(b) < 100 || len(b) > 140 {
				t.Fatalf("event %d has %d bytes", e.N, len(b))
			}
			var d Decoded
			if !Decode(b, &d) {
				t.Fatalf("event %d is not decoded", e.N)
			}
			var ev engine.Event
			rec := schemas.Record{Topic: "purchase", Key: AppendCustomer(nil, e.Customer), Value: b}
			if _, err := reader.Read(&rec, &ev); err != nil {
				t.Fatal(err)
			}
			field := func(name string) expr.Value { return ev.Fields[layout.Slot(name)] }
			got := fmt.Sprintln(string(d.ID), string(d.Customer), d.At, d.Revenue, string(d.Channel), string(d.Currency), string(d.Source))
			want := fmt.Sprintln(ev.ID, ev.Customer, int64(ev.At), field("revenue").N, field("channel").S, field("currency").S, ev.Source)
			if got != want || d.At != e.At || d.Revenue != e.Revenue || field("revenue").K != expr.Decimal {
				t.Fatalf("seed %d, event %d:\n%s%s", w.Seed, e.N, got, want)
			}
		}
	}
}

// What is cut off is refused, and the walk does not read beyond it.
func TestDecodeCutOff(t *testing.T) {
	var e Event
	NewGenerator(workloads[0]).Next(&e)
	b := e.Append(nil, 0)
	var d Decoded
	for n := range b {
		if Decode(b[:n:n], &d) {
			t.Errorf("%d of %d bytes are taken for an event", n, len(b))
		}
	}
	if Decode(append(b, 0), &d) {
		t.Error("a byte too many is not seen")
	}
}

func TestDecodeAllocations(t *testing.T) {
	var e Event
	NewGenerator(workloads[0]).Next(&e)
	b := e.Append(nil, 0)
	var d Decoded
	if n := testing.AllocsPerRun(100, func() { Decode(b, &d) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// The law of Zipf: the share of rank k is k^-s over the sum of all.
func TestZipf(t *testing.T) {
	w := Workload{Events: 200_000, Customers: 1000, Zipf: 1.05, Seed: 3}
	seen := make([]float64, w.Customers)
	var e Event
	for g := NewGenerator(w); g.Next(&e); {
		seen[e.Customer]++
	}
	var all float64
	for k := range seen {
		all += math.Pow(float64(k+1), -w.Zipf)
	}
	for _, k := range []int{0, 1, 9, 99} {
		p := math.Pow(float64(k+1), -w.Zipf) / all
		n := float64(w.Events)
		if d := math.Abs(seen[k] - n*p); d > 5*math.Sqrt(n*p*(1-p)) {
			t.Errorf("rank %d: %.0f events, %.0f expected (seed %d)", k+1, seen[k], n*p, w.Seed)
		}
	}
}

// The same workload is the same stream; late events are late, and the others in order.
func TestGenerator(t *testing.T) {
	w := workloads[1]
	a, b := NewGenerator(w), NewGenerator(w)
	var x, y Event
	late := 0
	for a.Next(&x) {
		if !b.Next(&y) || x != y {
			t.Fatalf("event %d differs", x.N)
		}
		if by := Start + int64(float64(x.N)*Span/float64(w.Events)) - x.At; by != 0 {
			if late++; (by <= Grace || by > maxLate) && x.At > Start { // the first ones have nowhere to go
				t.Errorf("event %d is late by %d ms", x.N, by)
			}
		}
		if x.At < Start || x.At >= End || x.Customer < 0 || x.Customer >= w.Customers {
			t.Errorf("event %+v", x)
		}
	}
	if want := w.Late * float64(w.Events); math.Abs(float64(late)-want) > 0.2*want {
		t.Errorf("%d late events of %d", late, w.Events)
	}
}

// The engine's reader takes what is written of web and email, and all rules compile.
func TestMixed(t *testing.T) {
	for _, rules := range [][]Rule{append(Ten[:len(Ten):len(Ten)], Mixed...), Many(10), Many(1000)} {
		r, err := app.CompileRules([]rule.File{{Name: "rules.yaml", Data: []byte(RuleFile(rules))}})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(r.Set.Spec.Segments); n != len(rules) {
			t.Errorf("%d segments of %d rules", n, len(rules))
		}
	}
	r, err := app.CompileRules([]rule.File{{Name: "rules.yaml", Data: []byte(RuleFile(append(Ten[:len(Ten):len(Ten)], Mixed...)))}})
	if err != nil {
		t.Fatal(err)
	}
	streams := [...]plan.Stream{plan.Purchase, plan.Web, plan.Email}
	topics := map[string]plan.Stream{}
	for i, s := range streams {
		topics[StreamNames[i]] = s
	}
	reader, err := schemas.NewReader(schemas.Config{Layouts: r.Engine.Layout, Topics: topics, Registry: all{}, Zones: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	var e Event
	for g := NewGenerator(Workload{Events: 2000, Customers: 100, Mixed: true, Seed: 4}); g.Next(&e); {
		rec := schemas.Record{Topic: StreamNames[e.Stream], Key: AppendCustomer(nil, e.Customer), Value: e.Append(nil, int(e.Stream))}
		var ev engine.Event
		if _, err := reader.Read(&rec, &ev); err != nil {
			t.Fatalf("event %d: %v", e.N, err)
		}
		if ev.Stream != streams[e.Stream] || ev.Customer != string(rec.Key) || int64(ev.At) != e.At {
			t.Fatalf("event %+v is read as %+v", e, ev)
		}
		for _, f := range [...]string{"name", "action"} {
			if i := r.Engine.Layout(ev.Stream).Slot(f); i >= 0 {
				seen[ev.Fields[i].S] = true
			}
		}
	}
	for _, s := range []string{"product_viewed", "page_viewed", "sent", "opened", "clicked"} {
		if !seen[s] {
			t.Errorf("no event is %q: %v", s, seen)
		}
	}
}

// all is a registry that knows the schemas of all streams by their numbers.
type all struct{}

func (all) Schema(_ context.Context, id int) (string, []string, error) {
	text, err := schemas.Text(Schemas[id])
	return text, []string{StreamNames[id] + "-value"}, err
}

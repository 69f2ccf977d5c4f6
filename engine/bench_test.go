package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// ruleSet returns n segments over windows of one stream, with thresholds on
// counts, sums and silences, and page names. The first are crossed by every
// customer, the rest lie further and further out: the changes an event brings are
// about the same for every n.
func ruleSet(n int) string {
	var b strings.Builder
	b.WriteString("version: 1\nsegments:\n")
	for i := range n {
		when := ""
		switch i % 4 {
		case 0:
			when = fmt.Sprintf("count(purchase, days(30)) >= %d", 3+40*(i/4))
		case 1:
			when = fmt.Sprintf("sum(purchase.revenue, days(30)) > %d", 50+700*(i/4))
		case 2:
			when = fmt.Sprintf("since_last(purchase) >= hours(%d) && count(purchase) > 2", 60+24*(i/4))
		case 3:
			when = fmt.Sprintf("did(web.name == 'page%d', days(7))", i/4)
		}
		fmt.Fprintf(&b, "  - {id: s%d, objective: o, owner: o, review_by: 2030-01-01, when: \"%s\"}\n", i, when)
	}
	return b.String()
}

// BenchmarkApply folds a purchase and decides, with 10 to 10,000 segments: the
// cost follows the thresholds that are crossed.
func BenchmarkApply(b *testing.B) {
	for _, n := range []int{10, 100, 1_000, 10_000} {
		b.Run(fmt.Sprint(n, "rules"), func(b *testing.B) {
			e := testEngine(b, ruleSet(n))
			layout := e.Layout(plan.Purchase)
			fields := make([]expr.Value, len(layout.Paths))
			fields[layout.Slot("kind")] = expr.StringValue("completed")
			fields[layout.Slot("revenue")] = expr.DecimalValue(12_3400)
			var out engine.Output
			customers := make([]*engine.Customer, 1000)
			for i := range customers {
				customers[i] = e.NewCustomer(fmt.Sprint("c", i))
			}
			ev := engine.Event{Stream: plan.Purchase, Source: "/unknown", Fields: fields, At: 1_700_000_000_000}
			effects, evaluated, i := 0, 0, 0
			b.ReportAllocs()
			for b.Loop() {
				c := customers[i%len(customers)]
				ev.Customer, ev.ID = c.ID, fmt.Sprint("e", i)
				ev.At += 300_000 // each customer buys every 3.5 days
				out.Reset()
				e.Apply(c, &ev, ev.At-2000, &out)
				effects += len(out.Effects)
				evaluated += out.Stats.Evaluated
				i++
			}
			b.ReportMetric(float64(effects)/float64(b.N), "effects/op")
			b.ReportMetric(float64(evaluated)/float64(b.N), "evaluated/op")
		})
	}
}

// BenchmarkCodec writes and reads a customer with some months of everything.
func BenchmarkCodec(b *testing.B) {
	e := testEngine(b, codecRules)
	c := e.NewCustomer("c")
	history(b, e, c)
	buf := e.Append(nil, c)
	b.Run("append", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf = e.Append(buf[:0], c)
		}
		b.ReportMetric(float64(len(buf)), "bytes")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.Decode("c", buf); err != nil {
				b.Fatal(err)
			}
		}
	})
}

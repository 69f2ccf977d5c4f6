package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/segmill/segmill/engine"
)

// distinct is a condition over windows of one stream, with thresholds on counts,
// sums and silences, or a page name. The first are crossed by every customer, the
// rest lie further and further out: the changes that an event brings are about the
// same for every number of rules.
func distinct(i int) string {
	switch k := i / 4; i % 4 {
	case 0:
		return fmt.Sprintf("count(purchase, days(30)) >= %d", 3+40*k)
	case 1:
		return fmt.Sprintf("sum(purchase.revenue, days(30)) > %d", 50+7000*k)
	case 2:
		return fmt.Sprintf("since_last(purchase) >= hours(%d) && count(purchase) > 2", 60+300*k)
	default:
		return fmt.Sprintf("did(web.name == 'page%d', days(7))", k)
	}
}

// alike is a condition that shares a part with many: a part that most events of
// some customers make true and false again.
func alike(i int) string {
	switch k := i / 4; i % 4 {
	case 0:
		return fmt.Sprintf("last(purchase.channel) == 'app' && sum(purchase.revenue, days(30)) > %d", 50+7000*k)
	case 1:
		return fmt.Sprintf("count(purchase, days(7)) >= 2 && count(purchase) > %d", 10_000_000+k)
	case 2:
		return fmt.Sprintf("count(purchase) > 2 && since_last(purchase) >= hours(%d)", 60+300*k)
	default:
		return fmt.Sprintf("count(purchase, days(7)) >= 2 && max(purchase.revenue) > %d && last(purchase.channel) in ['web', 'app']", 1000+k)
	}
}

func ruleSet(n int, when func(i int) string) string {
	var b strings.Builder
	b.WriteString("version: 1\nsegments:\n")
	for i := range n {
		fmt.Fprintf(&b, "  - {id: s%d, objective: o, owner: o, review_by: 2030-01-01, when: \"%s\"}\n", i, when(i))
	}
	return b.String()
}

// BenchmarkApply folds a purchase and decides, with 10 to 10,000 segments: the
// cost follows the thresholds that are crossed.
func BenchmarkApply(b *testing.B) {
	for name, when := range map[string]func(int) string{"distinct": distinct, "alike": alike} {
		for _, n := range []int{10, 100, 1_000, 10_000} {
			b.Run(fmt.Sprint(name, n), func(b *testing.B) { applyRules(b, n, when) })
		}
	}
}

func applyRules(b *testing.B, n int, when func(i int) string) {
	const people = 1000
	e := testEngine(b, ruleSet(n, when))
	j := newJob(e, people)
	customers := make([]*engine.Customer, people)
	x := e.Evaluator()
	var out engine.Output
	j.run(x, customers, &out, 10*people)
	effects, evaluated := 0, 0
	b.ReportAllocs()
	for b.Loop() {
		i := j.next()
		out.Reset()
		x.Apply(customers[i], &j.ev, j.ev.At-2000, &out)
		effects += len(out.Effects)
		evaluated += out.Stats.Evaluated
	}
	b.ReportMetric(float64(effects)/float64(b.N), "effects/op")
	b.ReportMetric(float64(evaluated)/float64(b.N), "evaluated/op")
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

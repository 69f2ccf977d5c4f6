package aggregate

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/segmill/segmill/engine/expr"
)

// What is kept of windows is what adding them up gives, whatever happens to the list;
// and a number that only falls leaves its range when taking out the elements one by
// one says so.
func TestKeptWindows(t *testing.T) {
	defer func(n int) { longList = n }(longList)
	longList = 0
	rapid.Check(t, func(t *rapid.T) {
		l := &List{From: None}
		now := Millis(1_000_000)
		least := rapid.SampledFrom([]int64{0, 0, -5}).Draw(t, "least")
		reach := Millis(400)
		windows := []Millis{50, 200, 400}
		entry := func(t *rapid.T, at Millis) {
			l.Prune(now, reach)
			l.Fold(&Sample{Stamp: Stamp{At: at}, Num: rapid.Int64Range(least, 9).Draw(t, "num")})
		}
		t.Repeat(map[string]func(*rapid.T){
			"event": func(t *rapid.T) {
				now += Millis(rapid.IntRange(0, 20).Draw(t, "later"))
				entry(t, now)
			},
			"late event": func(t *rapid.T) { entry(t, now-Millis(rapid.IntRange(0, 450).Draw(t, "late"))) },
			"early":      func(t *rapid.T) { entry(t, now+Millis(rapid.IntRange(1, 30).Draw(t, "early"))) },
			"time":       func(t *rapid.T) { now += Millis(rapid.IntRange(0, 300).Draw(t, "later")) },
			"back":       func(t *rapid.T) { now -= Millis(rapid.IntRange(0, 30).Draw(t, "back")) },
			"squeeze":    func(t *rapid.T) { l.Squeeze() },
			"merge": func(t *rapid.T) {
				o := &List{From: None}
				for range rapid.IntRange(0, 4).Draw(t, "events") {
					o.Insert(Entry{At: now - Millis(rapid.IntRange(0, 300).Draw(t, "ago")), Num: rapid.Int64Range(least, 9).Draw(t, "num")})
				}
				o.Prune(now, reach)
				if rapid.Bool().Draw(t, "coarse") {
					o.Squeeze()
				}
				l.Merge(o, nil)
			},
			"": func(t *rapid.T) {
				w := rapid.SampledFrom(windows).Draw(t, "window")
				got := l.Over(OpSum, now, w)
				i, j := l.span(now, w)
				want := l.total(i, j)
				if got.i != i || got.j != j || got.total.n != want.n || got.total.sum != want.sum || (got.total.min < 0) != (want.n > 0 && want.min < 0) {
					t.Fatalf("%+v, want %d to %d: %+v", got, i, j, want)
				}
				for _, op := range []*Op{OpSum, OpCount} {
					cur := want.value(op, expr.Int)
					lo := rapid.Int64Range(-3, 30).Draw(t, "below")
					r := Range{Kind: cur.K, N: cur.N, Lo: Cut{At: float64(lo), Above: rapid.Bool().Draw(t, "above")}, Hi: Highest}
					if !r.Has(cur) {
						continue
					}
					v := l.Over(op, now, w)
					if v.bare || v.i == v.j {
						continue
					}
					total := want
					if got, want := l.NextOf(&v, op, expr.Int, &r), l.nextTotal(&total, op, expr.Int, i, j, w, 1, &r); got != want {
						t.Fatalf("sum %v leaves %+v at %v, want %v; %+v", op == OpSum, r, got, want, l)
					}
				}
			},
		})
	})
}

package engine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
)

// A customer of few summaries is one piece of memory. It means the same where it
// does not fit into it: more registers, memberships and event ids than there is room
// for. It also means the same after it was written and read at any time, which lays
// it out again.
func TestSmallCustomers(t *testing.T) {
	e := testEngine(t, ruleSet(24, func(i int) string {
		return []string{
			fmt.Sprintf("count(purchase, days(%d)) > %d", i+1, i/4), "last(purchase.channel) == 'app'", "first(purchase.channel) == 'web'",
			"first(purchase.revenue) > 50",
		}[i%4]
	}))
	if n := len(e.Plan().Summaries); n != 4 {
		t.Fatalf("%d summaries", n)
	}
	for seed := range uint64(20) {
		j := newJob(e, 1)
		j.r = rand.New(rand.NewPCG(seed, 0))
		c, other, x := e.NewCustomer("c"), e.NewCustomer("c"), e.Evaluator()
		for range 60 {
			j.next()
			j.ev.At += engine.Millis(j.r.IntN(4) / 3 * j.r.IntN(100) * 3_600_000)
			j.ev.Fields[j.channel] = expr.StringValue(fmt.Sprint("channel ", j.r.IntN(200)))
			var a, b engine.Output
			x.Apply(c, &j.ev, j.ev.At, &a)
			x.Apply(other, &j.ev, j.ev.At, &b)
			if !reflect.DeepEqual(a.Effects, b.Effects) {
				t.Fatalf("effects of the one that was read again differ: %v, %v", a.Effects, b.Effects)
			}
			bytesOf := e.Append(nil, c)
			if !bytes.Equal(bytesOf, e.Append(nil, other)) {
				t.Fatal("bytes of the one that was read again differ")
			}
			if j.r.IntN(3) == 0 {
				var err error
				if other, err = e.Decode("c", bytesOf); err != nil {
					t.Fatal(err)
				}
			}
			if j.r.IntN(30) == 0 {
				x.Erase(c, engine.Erasure{At: j.ev.At}, j.ev.At, &a)
				x.Erase(other, engine.Erasure{At: j.ev.At}, j.ev.At, &a)
			}
		}
	}
}

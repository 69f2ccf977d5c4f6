package dedup

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine/aggregate"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// docs/semantics.md, 1.12: a lag is rounded up, by an eighth and 128 ms at most, and the
// codes are in the order of the lags.
func TestLag(t *testing.T) {
	if lagOf(0) != 0 || lagOf(-5) != 0 || lag(0) != 0 {
		t.Error("no lag is no lag")
	}
	for code := range uint64(255) {
		at := lag(code)
		if lagOf(at) != code || lag(code+1) <= at || lagOf(at+1) != code+1 {
			t.Errorf("code %d is %d ms, the next %d; that is code %d, and a millisecond more %d", code, at, lag(code+1), lagOf(at), lagOf(at+1))
		}
		if next := lag(code + 1); next > at+at/8+lagUnit {
			t.Errorf("%d ms are rounded up to %d", at+1, next)
		}
	}
	if years := lag(255) / (365 * 24 * 3_600_000); years != 65 || lagOf(1<<62) != 255 {
		t.Errorf("the greatest lag is %d years", years)
	}
}

var horizons = Horizons{plan.Web: 1000, plan.Email: 3000, plan.Purchase: 1 << 50}

func memoryOf(rng *rand.Rand, n int, at, span expr.Millis) (m Memory) {
	for i := range n {
		ev := Event{Stream: plan.Stream(rng.IntN(int(plan.NumBuiltin))), Source: "s", ID: fmt.Sprint(i), At: at - expr.Millis(rng.Int64N(int64(span)))}
		if rng.IntN(4) == 0 {
			ev.Lag = expr.Millis(rng.Int64N(int64(span)))
		}
		m.insert(Of(&ev))
	}
	return m
}

// What is written is read, from the few bytes that it should have; what is cut off, or
// is not what Append writes, is an error and no panic.
func TestBytes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	const day, at = 86_400_000, 1_800_000_000_000
	for _, span := range []expr.Millis{1, 20 * day, 3000 * day} {
		for _, n := range []int{0, 1, 2, 70, 500} {
			m := memoryOf(rng, n, at, span)
			b := m.Append(nil, at, nil)
			if most := 3 + 12*n + 12*int(plan.NumBuiltin); span < 31*day && len(b) > most || n == 0 && len(b) != 1 {
				t.Errorf("%d ids within %d ms have %d bytes", n, span, len(b))
			}
			r := aggregate.NewReader(b, 3)
			var got Memory
			if got.Read(&r, at, nil); !r.Done() || !slices.Equal(got.ids, m.ids) {
				t.Fatalf("%d ids within %d ms are not read as they were written", n, span)
			}
			for range 50 {
				bent := slices.Clone(b)
				if rng.IntN(2) == 0 {
					bent = bent[:rng.IntN(len(bent))]
				} else {
					bent[rng.IntN(len(bent))] ^= 1 << rng.IntN(8)
				}
				r, got := aggregate.NewReader(bent, 3), Memory{}
				if got.Read(&r, at, nil); r.Done() && !slices.IsSortedFunc(got.ids, compare) {
					t.Fatalf("%x is read as ids that are not sorted", bent)
				}
			}
		}
	}
}

// docs/semantics.md, 1.9 to 1.11: merging knows what both sides have, and keeps the later
// time of each; what is too old is neither.
func TestMerge(t *testing.T) {
	id := func(name string, at, lag expr.Millis) ID {
		return Of(&Event{Stream: plan.Email, Source: "s", ID: name, At: at, Lag: lag})
	}
	var a, b Memory
	for _, s := range []ID{id("1", 5000, 0), id("2", 6000, 0)} {
		a.Remember(s, 6000, &horizons)
	}
	for _, s := range []ID{id("0", 2500, 0), id("2", 6000, 1280), id("3", 6500, 0)} {
		b.insert(s)
	}
	shared := a.Merge(&b, 7000, &horizons)
	if len(shared) != 1 || shared[0].At != 6000 || a.Len() != 3 {
		t.Errorf("shared %v, %d ids", shared, a.Len())
	}
	if v := a.Judge(id("2", 6000, 0), 10_200, &horizons); !v.Duplicate || v.Conflict || v.Prolonged {
		t.Errorf("the id of the later copy: %+v", v)
	}
	if v := a.Judge(id("3", 6400, 0), 7000, &horizons); !v.Duplicate || !v.Conflict {
		t.Errorf("another time: %+v", v)
	}
	if v := a.Judge(id("1", 5000, 0), 8000, &horizons); v.Duplicate {
		t.Errorf("forgotten: %+v", v)
	}
}

package aggregate

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/segmill/segmill/engine/expr"
)

var allFamilies = []*Family{
	FamCount, FamSum, FamMin, FamMax, FamFirstTime, FamLastTime, FamFirst, FamLast, FamAnchor,
	FamList, FamDistinct, FamRecent, FamCart,
}

const testReach Millis = 1000

// sampleGen draws an event near the window's edges, with values and ids that
// often tie.
func sampleGen(f *Family) *rapid.Generator[Sample] {
	return rapid.Custom(func(t *rapid.T) Sample {
		at := Millis(rapid.IntRange(0, 2000).Draw(t, "at"))
		s := Sample{Stamp: Stamp{
			At: at, ID: fmt.Sprint("e", rapid.IntRange(0, 5).Draw(t, "id")),
			Source: rapid.SampledFrom([]string{"/unknown", "", "/shop"}).Draw(t, "source"),
		}}
		s.Num = rapid.Int64Range(-3, 3).Draw(t, "num")
		s.Value = expr.DecimalValue(s.Num)
		if f == FamAnchor {
			s.Value = expr.Value{}
		}
		if f == FamCart {
			s.Clear = rapid.IntRange(0, 9).Draw(t, "clear") == 0
			s.Replace = rapid.IntRange(0, 4).Draw(t, "replace") == 0
			s.Cart = rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(t, "cart")
			plain := rapid.Bool().Draw(t, "plain")
			for range rapid.IntRange(0, 2).Draw(t, "lines") {
				l := Line{
					Product:  rapid.SampledFrom([]string{"", "p", "q"}).Draw(t, "product"),
					Quantity: rapid.SampledFrom([]int64{1, 2, 3, -1, -2}).Draw(t, "quantity") * Unit,
					Currency: rapid.SampledFrom([]string{"", "EUR"}).Draw(t, "currency"),
				}
				if !plain {
					l.Variant = rapid.SampledFrom([]string{"", "v", "w"}).Draw(t, "variant")
					l.SKU = rapid.SampledFrom([]string{"", "p", "s"}).Draw(t, "sku")
					l.Quantity += rapid.SampledFrom([]int64{0, 5_000}).Draw(t, "fraction")
				}
				s.Lines = append(s.Lines, l)
			}
		}
		return s
	})
}

func foldAll(f *Family, l []Sample) Cell {
	c := f.New()
	for i := range l {
		s := l[i]
		s.Lines = slices.Clone(s.Lines)
		c.Fold(&s)
	}
	return c
}

// docs/semantics.md, 1.2: folding in any order, or folding two halves and merging,
// gives the same bytes after pruning to one instant.
func TestFoldsCommuteAndMerge(t *testing.T) {
	for _, f := range allFamilies {
		t.Run(f.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				// Events are distinct: no two have one stamp.
				l := rapid.SliceOfNDistinct(sampleGen(f), 0, 30, func(s Sample) Stamp { return s.Stamp }).Draw(t, "events")
				cut := rapid.IntRange(0, len(l)).Draw(t, "cut")
				shuffled := rapid.Permutation(l).Draw(t, "shuffled")
				want := foldAll(f, l)
				want.Prune(2000, testReach)
				got := foldAll(f, shuffled)
				got.Prune(2000, testReach)
				if !bytes.Equal(got.Append(nil, testAt), want.Append(nil, testAt)) {
					t.Fatalf("shuffled: %+v\nin order: %+v", got, want)
				}
				a, b := foldAll(f, l[:cut]), foldAll(f, l[cut:])
				a.Prune(1500, testReach)
				b.Prune(900, testReach)
				b.Merge(a, nil)
				b.Prune(2000, testReach)
				if !bytes.Equal(b.Append(nil, testAt), want.Append(nil, testAt)) {
					t.Fatalf("merged: %+v\nin order: %+v", b, want)
				}
			})
		})
	}
}

func TestBytesRoundTrip(t *testing.T) {
	for _, f := range allFamilies {
		rapid.Check(t, func(t *rapid.T) {
			c := foldAll(f, rapid.SliceOfN(sampleGen(f), 0, 20).Draw(t, "events"))
			if rapid.Bool().Draw(t, "prune") {
				c.Prune(1500, testReach)
			}
			b := c.Append(nil, testAt)
			d, err := decode(f, b)
			if err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			if again := d.Append(nil, testAt); !bytes.Equal(again, b) {
				t.Fatalf("%s: %x became %x", f, b, again)
			}
		})
	}
}

// testAt is what times are stored relative to.
const testAt = 1500

func decode(f *Family, b []byte) (Cell, error) {
	r := NewReader(b, 2)
	r.Base(testAt)
	return f.Read(&r)
}

// testOps are the ops, and one that is computed from totals.
var testOps = []*Op{OpCount, OpSum, OpAvg, OpMin, OpMax, {of: func(t Total, k expr.Kind) expr.Value {
	if t.N == 0 {
		return expr.Value{}
	}
	return Number(k, t.Max-t.Min)
}}}

// naive computes op over now - w < t <= now.
func naive(l []Sample, op *Op, now, w Millis) expr.Value {
	var t running
	for _, s := range l {
		if s.At > now-w && s.At <= now {
			t.add(&Pane{N: 1, Sum: Int128{}.Add(s.Num), Min: s.Num, Max: s.Num})
		}
	}
	return t.value(op, expr.Decimal)
}

// docs/semantics.md, 2.1 and 5.2: a window holds now - W < t <= now, and its next
// change is exact.
func TestWindowsAgainstNaive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := rapid.SliceOfN(sampleGen(FamList), 0, 20).Draw(t, "events")
		if rapid.Bool().Draw(t, "positive") { // a sum then only falls
			for i := range l {
				l[i].Num = max(l[i].Num, -l[i].Num)
			}
		}
		c := foldAll(FamList, l).(*List)
		i := rapid.IntRange(0, len(testOps)-1).Draw(t, "op")
		op := testOps[i]
		w := Millis(rapid.IntRange(1, 1000).Draw(t, "w"))
		now := Millis(rapid.IntRange(2000, 2600).Draw(t, "now"))
		cur := c.Compute(op, expr.Decimal, now, w)
		if want := naive(l, op, now, w); !sameValue(cur, want) {
			t.Fatalf("op %d over %d at %d: %v, naive %v", i, w, now, cur, want)
		}
		r := Range{Kind: cur.K, N: cur.N, Only: rapid.Bool().Draw(t, "only"), Lo: Lowest, Hi: Highest}
		same := func(v expr.Value) bool { return sameValue(v, cur) }
		if cuts := rapid.SliceOfN(cutGen, 0, 4).Draw(t, "cuts"); !r.Only && cur.Present() {
			for _, c := range cuts {
				switch f := cur.Float(); {
				case c.Passed(f) && r.Lo.At <= c.At:
					r.Lo = c
				case !c.Passed(f) && c.At <= r.Hi.At:
					r.Hi = c
				}
			}
			same = func(v expr.Value) bool {
				return v.Present() && r.Lo.Passed(v.Float()) && !r.Hi.Passed(v.Float())
			}
		}
		next := c.Next(op, expr.Decimal, now, w, &r)
		for at := now + 1; at <= now+1001; at++ {
			if changed := !same(naive(l, op, at, w)); changed != (at == next) {
				if changed || at == next {
					t.Fatalf("op %d over %d from %d in %v: next is %d, naive changes=%v at %d", i, w, now, r, next, changed, at)
				}
			} else if changed {
				return
			}
		}
		if next != expr.Never {
			t.Fatalf("next is %d, naive never changes", next)
		}
	})
}

// cutGen makes cuts among the numbers that windows give, and close to them.
var cutGen = rapid.Custom(func(t *rapid.T) Cut {
	at := float64(rapid.IntRange(-4, 20).Draw(t, "half")) / 2
	if rapid.Bool().Draw(t, "money") {
		at = float64(rapid.IntRange(-60, 60).Draw(t, "n")) / expr.DecimalOne
	}
	return Cut{At: at, Above: rapid.Bool().Draw(t, "above")}
})

func sameValue(a, b expr.Value) bool { return a.K == b.K && a.N == b.N }

// A coarsened list counts up to one pane too many, never too few.
func TestCoarseListErrsByOnePaneAtMost(t *testing.T) {
	const reach = 90 * 86_400_000
	seed := rand.Uint64()
	t.Log("seed", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	c := FamList.New().(*List)
	var all []Millis
	now := Millis(0)
	for range 3 * MaxEntries {
		now += Millis(r.Int64N(20 * 60_000))
		at := now - Millis(r.Int64N(3_600_000))
		c.Prune(now, reach)
		c.Fold(&Sample{Stamp: Stamp{At: at}, Num: 1})
		all = append(all, at)
	}
	if !c.Coarse() || len(c.Entries) > MaxEntries || len(c.Panes()) > panesPerReach+2 {
		t.Fatalf("coarse %v, %d entries, %d panes", c.Coarse(), len(c.Entries), len(c.Panes()))
	}
	for _, w := range []Millis{reach, reach / 2, reach / 7} {
		exact, slack := int64(0), int64(0)
		for _, at := range all {
			if at > now-w {
				exact++
			} else if at > now-w-reach/panesPerReach {
				slack++
			}
		}
		if got := c.Compute(OpCount, expr.Absent, now, w).N; got < exact || got > exact+slack {
			t.Errorf("window %d: %d, exact %d, one pane %d", w, got, exact, slack)
		}
	}
	b := c.Append(nil, testAt)
	d, err := decode(FamList, b)
	if err != nil || !bytes.Equal(d.Append(nil, testAt), b) {
		t.Fatalf("coarse list does not survive its bytes: %v", err)
	}
}

func TestDistinctSamplesPastItsCap(t *testing.T) {
	c := FamDistinct.New().(*Distinct)
	const n = 50_000
	for i := range n {
		for range 2 {
			c.Fold(&Sample{Value: expr.IntValue(int64(i))})
		}
		if i < MaxDistinct && (c.Compute(nil, expr.Absent, 0, 0).N != int64(i+1) || c.Coarse()) {
			t.Fatalf("%d values: %d, coarse %v", i+1, c.Compute(nil, expr.Absent, 0, 0).N, c.Coarse())
		}
	}
	if got := c.Compute(nil, expr.Absent, 0, 0).N; !c.Coarse() || got < n*9/10 || got > n*11/10 {
		t.Fatalf("%d values estimated as %d, coarse %v", n, got, c.Coarse())
	}
}

// docs/semantics.md, 1.11: ids remembered on both sides are counted once where
// entries allow it.
func TestMergeCountsSharedEventsOnce(t *testing.T) {
	ev := Sample{Stamp: Stamp{At: 10, ID: "e"}, Num: 5, Value: expr.DecimalValue(5)}
	for _, f := range []*Family{FamList, FamLast, FamMax, FamRecent} {
		a, b := foldAll(f, []Sample{ev}), foldAll(f, []Sample{ev})
		if exact := a.Merge(b, []Shared{{At: 10, Hash: 1}}); !exact {
			t.Errorf("%s: not exact", f)
		}
		if want := foldAll(f, []Sample{ev}); !bytes.Equal(a.Append(nil, testAt), want.Append(nil, testAt)) {
			t.Errorf("%s: %+v", f, a)
		}
	}
	a, b := foldAll(FamCount, []Sample{ev}), foldAll(FamCount, []Sample{ev})
	if a.Merge(b, []Shared{{At: 10, Hash: 1}}) {
		t.Error("a count cannot undo a shared event, and says it did")
	}
}

func TestInt128(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x Int128
		var want float64
		for _, v := range rapid.SliceOfN(rapid.Int64Range(-1<<40, 1<<40), 0, 50).Draw(t, "v") {
			x = x.Add(v)
			want += float64(v)
		}
		if got := x.Float(1); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
		r := NewReader(x.append(nil), 2)
		if y := r.int128(); y != x || !r.Done() {
			t.Fatalf("%v became %v", x, y)
		}
	})
	x := Int128{}.Add(1 << 62).Plus(Int128{}.Add(1 << 62)).Plus(Int128{}.Add(1 << 62))
	if got := x.Float(1); got != 3*float64(1<<62) {
		t.Errorf("%v", got)
	}
	if got := x.Neg().Float(1); got != -3*float64(1<<62) {
		t.Errorf("%v", got)
	}
}

// Coarse lists whose panes differ in width merge: no event is lost, and the bytes
// survive.
func TestMergeCoarseLists(t *testing.T) {
	const reach = 90 * 86_400_000
	make := func(from Millis, squeeze int) *List {
		l := FamList.New().(*List)
		l.Prune(0, reach)
		for i := range Millis(MaxEntries + 1) {
			l.Fold(&Sample{Stamp: Stamp{At: from + i*60_000}, Num: 1})
		}
		for range squeeze {
			l.coarsen()
			l.older.widen(2 * l.older.width)
		}
		return l
	}
	for _, c := range []struct{ a, b *List }{
		{make(1, 0), make(2, 2)},
		{make(1, 2), make(86_400_000, 0)},
		{make(86_400_000, 1), make(1, 3)},
		{make(1, 1), foldAll(FamList, []Sample{{Stamp: Stamp{At: 70_000}, Num: 1}}).(*List)},
	} {
		want := c.a.Compute(OpSum, expr.Int, 1<<40, 1<<41).N + c.b.Compute(OpSum, expr.Int, 1<<40, 1<<41).N
		c.a.Merge(c.b, nil)
		if got := c.a.Compute(OpSum, expr.Int, 1<<40, 1<<41).N; got != want {
			t.Errorf("%d events became %d", want, got)
		}
		for i := 1; i < c.a.size(); i++ {
			if c.a.time(i) < c.a.time(i-1) {
				t.Fatalf("element %d is earlier than the one before", i)
			}
		}
		b := c.a.Append(nil, testAt)
		d, err := decode(FamList, b)
		if err != nil || !bytes.Equal(d.Append(nil, testAt), b) || d.(*List).Compute(OpSum, expr.Int, 1<<40, 1<<41).N != want {
			t.Errorf("the merged list does not survive its bytes: %v", err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for i, fam := range allFamilies {
		f.Add(uint8(i), foldAll(fam, []Sample{{Stamp: Stamp{At: 5, ID: "a"}, Num: 2, Value: expr.DecimalValue(2), Lines: []Line{{Product: "p", Quantity: 1}}}}).Append(nil, testAt))
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		fam := allFamilies[int(i)%len(allFamilies)]
		c, err := decode(fam, b)
		if err != nil {
			return
		}
		// What was read can be used and written.
		c.Prune(1<<40, testReach)
		if d, err := decode(fam, c.Append(nil, testAt)); err != nil {
			t.Fatalf("%s: %v cannot be read back: %v", fam, d, err)
		}
	})
}

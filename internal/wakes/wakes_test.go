package wakes

import (
	"math/rand"
	"testing"

	"github.com/segmill/segmill/engine/expr"
)

type item struct {
	id    string
	place Place
}

func byID(a, b *item) bool { return a.id < b.id }

func newItems(n int) []*item {
	l := make([]*item, n)
	for i := range l {
		l[i] = &item{id: string(rune('a' + i))}
	}
	return l
}

// The first wake-up is always the one that a look at all of them finds.
func TestAgainstLinear(t *testing.T) {
	for seed := range int64(50) {
		g := rand.New(rand.NewSource(seed))
		items := newItems(1 + g.Intn(40))
		at := map[*item]expr.Millis{}
		h := New(byID)
		for range 400 {
			it := items[g.Intn(len(items))]
			when := expr.Millis(g.Intn(30))
			if g.Intn(3) == 0 {
				when = expr.Never
				delete(at, it)
			} else {
				at[it] = when
			}
			h.Set(it, &it.place, when)
			var first *item
			for o, when := range at {
				if first == nil || when < at[first] || when == at[first] && o.id < first.id {
					first = o
				}
			}
			got, when, ok := h.First()
			if ok != (first != nil) || got != first || ok && when != at[first] || h.Len() != len(at) {
				t.Fatalf("seed %d: first %v at %v of %d, want %v of %d", seed, got, when, h.Len(), first, len(at))
			}
			for i, w := range h.l {
				if *w.place != Place(i+1) || w.place != &w.item.place {
					t.Fatalf("seed %d: the item at %d believes to be at %d", seed, i, *w.place)
				}
			}
		}
	}
}

// An item that is taken out has the place of one that was never in.
func TestRemoved(t *testing.T) {
	h := New(byID)
	l := newItems(3)
	for i, it := range l {
		h.Set(it, &it.place, expr.Millis(i))
	}
	for _, it := range l {
		h.Set(it, &it.place, expr.Never)
		h.Set(it, &it.place, expr.Never)
		if it.place != 0 {
			t.Errorf("%s is at %d", it.id, it.place)
		}
	}
	for _, it := range l {
		h.Set(it, &it.place, 5)
	}
	if h.Clear(); l[0].place != 0 || l[2].place != 0 {
		t.Error("places are left")
	}
	if _, at, ok := h.First(); ok || at != expr.Never || h.Len() != 0 {
		t.Error("not empty")
	}
}

func BenchmarkSet(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(map[int]string{100: "few", 100_000: "many"}[n], func(b *testing.B) {
			g := rand.New(rand.NewSource(1))
			items := newItems(n)
			h := New(byID)
			for _, it := range items {
				h.Set(it, &it.place, expr.Millis(g.Int63n(1e9)))
			}
			which, when := make([]*item, 1<<16), make([]expr.Millis, 1<<16)
			for i := range which {
				which[i], when[i] = items[g.Intn(n)], expr.Millis(g.Int63n(1e9))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				it := which[i&(1<<16-1)]
				h.Set(it, &it.place, when[i&(1<<16-1)])
			}
		})
	}
}

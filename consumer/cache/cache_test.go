package cache

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/state"
)

func newEngine(t *testing.T) *engine.Engine {
	t.Helper()
	utc := func(string) (*time.Location, bool) { return time.UTC, true }
	p, err := plan.Compile(&plan.Spec{}, utc)
	if err != nil {
		t.Fatal(err)
	}
	eng, err := engine.New(p, nil, engine.Options{Zones: utc})
	if err != nil {
		t.Fatal(err)
	}
	return eng
}

// Whoever is evicted is out of all that finds a customer.
func TestEvict(t *testing.T) {
	store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // memory
	cs := New(newEngine(t), store.Task(0))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1_000 {
		if _, err := cs.Get(fmt.Sprint(rng.IntN(100))); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(10) == 0 {
			cs.Evict(cs.Bytes() * int64(rng.IntN(100)) / 100)
		}
		if len(cs.byID) != len(cs.ring) {
			t.Fatalf("%d customers, %d in the ring", len(cs.byID), len(cs.ring))
		}
	}
}

// TestFindGuesses holds that a guess at a customer is believed only if it is right.
func TestFindGuesses(t *testing.T) {
	eng := newEngine(t)
	cs := New(eng, nil)
	a := &Customer{C: eng.NewCustomer("a")}
	b := &Customer{C: eng.NewCustomer("b")}
	old := &Customer{C: eng.NewCustomer("a"), dropped: true}
	cs.byID["a"], cs.byID["b"] = a, b
	for _, guess := range []*Customer{nil, a, b, old} {
		if e, err := cs.Find("a", guess); err != nil || e != a {
			t.Errorf("found %p for a, not %p: %v", e, a, err)
		}
	}
}

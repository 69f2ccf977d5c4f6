package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/ruleset"
	"github.com/segmill/segmill/state"
)

// newEngine returns an engine of segments that everybody is in.
func newEngine(t *testing.T, segments ...string) *engine.Engine {
	t.Helper()
	utc := func(string) (*time.Location, bool) { return time.UTC, true }
	spec := &plan.Spec{}
	for _, id := range segments {
		everybody := &expr.Node{Op: expr.OpConst, Type: expr.Bool, Const: expr.BoolValue(true)}
		spec.Segments = append(spec.Segments, plan.Segment{ID: id, When: everybody})
	}
	p, err := plan.Compile(spec, utc)
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

// A customer whom an earlier version has written is read as of the rules before the change that
// is in progress: the key that it has of a segment is that of two now.
func TestKeysOfTheRulesBefore(t *testing.T) {
	before, both := newEngine(t, "s10065"), newEngine(t, "s10065", "s10823")
	was, other := engine.SegmentKey("s10065"), engine.SegmentKey("s10823")
	if was == other || was.Half() != other.Half() {
		t.Fatalf("the keys are %x and %x", was, other)
	}
	store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()                                                 // memory
	b := binary.BigEndian.AppendUint64([]byte{3}, uint64(engine.Never)) // format and wake-up
	b = append(b, 0, 1)                                                 // instant, one membership
	b = binary.LittleEndian.AppendUint32(b, was.Half())
	b = append(b, 1, 0, 0, 1, 0, 0, 0, 0) // a member since then, no triggers, one event, no ids, times and summaries
	task := store.Task(0)
	if err := task.Apply([]state.Change{{Customer: "c", Value: b, Old: engine.Never, New: engine.Never}}, nil); err != nil {
		t.Fatal(err)
	}
	cs := New(both, task)
	if _, err := cs.Get("c"); !errors.Is(err, engine.ErrFormat) {
		t.Errorf("without a change: %v", err)
	}
	cs.Change = both.RuleChange(ruleset.Of(before.Plan()), engine.Former{Versions: before.Versions()}, 0)
	e, err := cs.Get("c")
	if err != nil {
		t.Fatal(err)
	}
	if l := slices.Collect(e.C.Segments()); !slices.Equal(l, []engine.Key{was}) {
		t.Errorf("member of %x, want %x", l, was)
	}
}

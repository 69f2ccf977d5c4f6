package task

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"pgregory.net/rapid"

	"github.com/segmill/segmill/consumer/cache"
	"github.com/segmill/segmill/consumer/changelog"
	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/consumer/feed"
	"github.com/segmill/segmill/consumer/metrics"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/fixture"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/state"
)

// Timers come in order of (due, customer), whether they stand in the store, in
// changes, committed or not, or in several of these; whatever is evicted, the digest
// is that of the store once it is written.
func TestCustomersAgainstModel(t *testing.T) {
	eng := fixture.NewEngine(t, fixture.Rules)
	rapid.Check(t, func(t *rapid.T) {
		store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		defer store.Close() // memory
		s := &session{folder: folder{
			t:   &Task{Instance: &Instance{Config: config.Config{Memory: config.Memory{Cache: cache.Overhead}}, Running: func() int { return 1 }}, Store: store.Task(0)},
			cfg: &config.Config{Rules: config.Rules{Engine: eng}}, batch: newBatch(eng), customers: cache.New(eng, store.Task(0)),
		}}
		model := map[string]engine.Millis{} // wake-ups
		pos := &changelog.Position{}
		var out engine.Output
		now := engine.Millis(1_767_225_600_000)
		n := 0
		guesses := map[string]*cache.Customer{} // whom lookAhead may have seen, however long ago
		t.Repeat(map[string]func(*rapid.T){
			"event": func(t *rapid.T) {
				n++
				id := fmt.Sprintf("c%d", rapid.IntRange(0, 9).Draw(t, "customer"))
				e, err := s.customers.Find(id, guesses[id])
				guesses[id] = e
				if err != nil {
					t.Fatal(err)
				}
				l := eng.Layout(plan.Web)
				ev := engine.Event{
					Stream: plan.Web, Customer: id, ID: fmt.Sprint(n), At: now + engine.Millis(rapid.IntRange(0, 3).Draw(t, "at"))*1000,
					Fields: make([]expr.Value, len(l.Paths)),
				}
				eng.Evaluator().Apply(e.C, &ev, now, &out)
				s.customers.Touch(e)
				model[id] = e.C.Wake()
			},
			"fire": func(t *rapid.T) {
				now += engine.Millis(rapid.IntRange(0, int(4*time.Hour/time.Millisecond)).Draw(t, "later"))
				var got, want []state.Due
				for id, at := range model {
					if at <= now {
						want = append(want, state.Due{At: at, Customer: id})
					}
				}
				for {
					e, at, ok, err := s.customers.Next(now)
					if err != nil {
						t.Fatal(err)
					}
					if !ok {
						break
					}
					got = append(got, state.Due{At: at, Customer: e.C.ID})
					eng.Evaluator().Advance(e.C, at, &out)
					s.customers.Touch(e)
					if model[e.C.ID] = e.C.Wake(); e.C.Wake() <= now {
						want = append(want, state.Due{At: e.C.Wake(), Customer: e.C.ID})
					}
				}
				slices.SortFunc(want, func(a, b state.Due) int {
					if a.At != b.At {
						return int(a.At - b.At)
					}
					return int(a.Customer[1]) - int(b.Customer[1])
				})
				if !slices.Equal(got, want) {
					t.Fatalf("fired %v, want %v", got, want)
				}
			},
			"commit": func(t *rapid.T) {
				s.changes(pos)
				s.customers.Committed(s.t.Instance.cacheShare())
				s.batch.reset()
			},
			"store": func(t *rapid.T) {
				s.changes(pos)
				s.customers.Committed(s.t.Instance.cacheShare())
				if err := s.t.Store.Write(s.customers.Changes(), &state.Meta{}); err != nil {
					t.Fatal(err)
				}
				s.customers.Stored()
				if s.customers.Evict(s.t.Instance.cacheShare()) {
					t.Fatal("nothing is changed, and the limit is not kept")
				}
				v, err := store.Task(0).Verify(t.Context())
				if err != nil || v.Digest != pos.Digest || v.Misplaced > 0 || v.Customers != len(model) {
					t.Fatalf("%+v, %v; digest %v, %d customers", v, err, pos.Digest, len(model))
				}
			},
		})
	})
}

// A customer stays in memory until the store has what was committed of it.
func TestCustomersStayUntilStored(t *testing.T) {
	eng := fixture.NewEngine(t, fixture.Rules)
	store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf, Logger: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // memory
	task := store.Task(0)
	s := &session{folder: folder{cfg: &config.Config{Rules: config.Rules{Engine: eng}}, batch: newBatch(eng), customers: cache.New(eng, task)}}
	e, err := s.customers.Get("anna")
	if err != nil {
		t.Fatal(err)
	}
	eng.Evaluator().Apply(e.C, webEvent(eng, "anna", 1, 1_767_225_600_000), 0, &engine.Output{})
	s.customers.Touch(e)
	s.changes(&changelog.Position{})
	if !s.customers.Committed(0) {
		t.Error("there is no memory for anybody, and the store need not be written")
	}
	if again, err := s.customers.Get("anna"); again != e || err != nil {
		t.Fatalf("%v, %v instead of the customer that was committed", again, err)
	}
	if err := task.Write(s.customers.Changes(), &state.Meta{}); err != nil {
		t.Fatal(err)
	}
	s.customers.Stored()
	if s.customers.Evict(0) || s.customers.Len() > 0 {
		t.Error("a customer that the store has is not evicted")
	}
}

// What is written again of a customer who has not changed is what the digest counts,
// also if these rules would write them otherwise.
func TestValueIsWhatWasCommitted(t *testing.T) {
	before, after := fixture.NewEngine(t, fixture.Rules), fixture.NewEngine(t, fixture.OtherRules)
	store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf, Logger: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // memory
	c := before.NewCustomer("anna")
	before.Evaluator().Apply(c, webEvent(before, "anna", 1, 1_767_225_600_000), 0, &engine.Output{})
	was := before.Append(nil, c)
	if err := store.Task(0).Apply([]state.Change{{Customer: "anna", Value: was, Old: engine.Never, New: c.Wake()}}, nil); err != nil {
		t.Fatal(err)
	}
	cs := cache.New(after, store.Task(0))
	e, err := cs.Get("anna")
	if err != nil {
		t.Fatal(err)
	}
	now := after.Append(nil, e.C)
	if bytes.Equal(was, now) {
		t.Fatal("both rule sets write the same bytes")
	}
	check := func(what string, want []byte) {
		t.Helper()
		if got, ok, err := cs.Value(nil, "anna"); err != nil || !ok || !bytes.Equal(got, want) {
			t.Errorf("%s: %x, %v, %v; want %x", what, got, ok, err, want)
		}
	}
	check("clean", was)
	cs.Touch(e)
	check("dirty", now)
	cs.Committed(1 << 20)
	check("behind", now)
}

// Large customers make transactions of few of them.
func TestLargeCustomersFillTheBatch(t *testing.T) {
	eng := fixture.NewEngine(t, fixture.Rules)
	store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf, Logger: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // memory
	const customers, records, limit = 40, 300, 1_000
	s := &session{folder: folder{cfg: &config.Config{Rules: config.Rules{Engine: eng}}, batch: newBatch(eng), customers: cache.New(eng, store.Task(0))}}
	var out engine.Output
	round := func(n int) (changed, size int) {
		for ; changed < customers && !s.batch.full(records*customers, limit); changed++ {
			e, err := s.customers.Get(fmt.Sprint(changed))
			if err != nil {
				t.Fatal(err)
			}
			for i := range n {
				eng.Evaluator().Apply(e.C, webEvent(eng, e.C.ID, i, 1_767_225_600_000+engine.Millis(i)), 0, &out)
			}
			s.touch(e)
			s.touch(e) // counts once
		}
		for _, c := range s.changes(&changelog.Position{}) {
			size += len(c.value)
		}
		s.customers.Committed(1 << 30)
		s.batch.reset()
		return changed, size
	}
	changed, size := round(records)
	if changed != customers {
		t.Fatalf("%d of %d new customers", changed, customers)
	}
	each := size / customers
	changed, size = round(records + 1)
	if most := stateShare*limit + 2*each; changed == customers || size > most || size < stateShare*limit/2 {
		t.Errorf("%d of %d customers of %d bytes, %d bytes; want about %d", changed, customers, each, size, stateShare*limit)
	}
}

func webEvent(eng *engine.Engine, customer string, n int, at engine.Millis) *engine.Event {
	return &engine.Event{
		Stream: plan.Web, Customer: customer, ID: fmt.Sprint(n), At: at,
		Fields: make([]expr.Value, len(eng.Layout(plan.Web).Paths)),
	}
}

// A timer fires at its instant and not a millisecond before, whether it stands in
// memory or in the store.
func TestTimerFiresAtItsInstant(t *testing.T) {
	eng := fixture.NewEngine(t, fixture.Rules)
	store, err := state.Open("db", state.Options{FS: vfs.NewMem(), Wake: engine.WakeOf, Logger: fixture.Logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() // memory
	task := store.Task(0)
	enc, err := schemas.NewEncoder(schemas.JSON, "app", schemas.IDs{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := &config.Config{Rules: config.Rules{Engine: eng}, Encoder: enc, Metrics: metrics.New(prometheus.NewRegistry()), Batch: config.Batch{Bytes: 1 << 20}}
	cfg.Time.Clock = config.EventsClock
	s := &session{
		folder:  folder{t: &Task{limit: 100, Store: task}, cfg: cfg, batch: newBatch(eng), customers: cache.New(eng, task), feed: &feed.Feed{}},
		headers: schemas.HeadersOf[kgo.RecordHeader](enc, schemas.CloudEventsHeaders), emitted: newEffectCounters(),
	}
	var out engine.Output
	const start = engine.Millis(1_767_225_600_000)
	for i := range 3 {
		e, err := s.customers.Get(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		eng.Evaluator().Apply(e.C, webEvent(eng, e.C.ID, i, start+engine.Millis(i)), 0, &out)
		s.touch(e)
	}
	for _, stored := range []bool{false, true} {
		if stored {
			s.changes(&changelog.Position{})
			s.customers.Committed(1 << 30)
			if err := task.Write(s.customers.Changes(), nil); err != nil {
				t.Fatal(err)
			}
			s.customers.Stored()
			s.batch.reset()
		}
		due := engine.Never
		for e := range s.customers.All() {
			due = min(due, e.C.Wake())
		}
		for _, c := range []struct {
			clock engine.Millis
			fired int
		}{{due - 1, 0}, {due, 1}} {
			s.feed.Clock.Now = c.clock
			before := s.batch.steps
			if err := s.fire(); err != nil {
				t.Fatal(err)
			}
			if got := s.batch.steps - before; got != c.fired {
				t.Errorf("stored %v: %d timers fired at %v, the first is due at %v", stored, got, c.clock, due)
			}
		}
	}
}

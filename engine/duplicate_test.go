package engine_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/dedup"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// accepted is an event id as the model of the memory of ids has it.
type accepted struct {
	stream plan.Stream
	id     string
	at     engine.Millis
	kept   engine.Millis // the instant with which it is remembered
}

const day = engine.Millis(24 * 3600 * 1000)

// days is how long the ids of a stream are remembered.
var days = [plan.NumBuiltin]engine.Millis{plan.Web: day, plan.Email: 3 * day, plan.Purchase: 30 * day, plan.Profile: 7 * day, plan.Consent: 30 * day}

// memory is the model: a plain list, sorted by kept.
type memory struct {
	all     []accepted
	instant engine.Millis
}

func (m *memory) keeps(a accepted) bool { return a.kept > m.instant-days[a.stream] }

// take reports whether an event is no duplicate, and remembers it.
func (m *memory) take(next accepted) bool {
	i := slices.IndexFunc(m.all, func(a accepted) bool { return a.stream == next.stream && a.id == next.id && m.keeps(a) })
	fresh := i < 0
	if fresh {
		m.instant = max(m.instant, next.at)
	} else {
		old := m.all[i]
		if old.kept < next.kept {
			old.kept = old.at + rounded(next.kept-old.at)
		}
		next = old
		m.all = slices.Delete(m.all, i, i+1)
	}
	m.all = slices.DeleteFunc(m.all, func(a accepted) bool { return !m.keeps(a) })
	if m.keeps(next) {
		i, _ := slices.BinarySearchFunc(m.all, next.kept, func(a accepted, at engine.Millis) int { return cmp.Compare(a.kept, at) })
		m.all = slices.Insert(m.all, i, next)
	}
	web := 0
	for _, a := range m.all {
		if a.stream == plan.Web {
			web++
		}
	}
	for ; web > dedup.Max-dedup.Reserved; web-- {
		i := slices.IndexFunc(m.all, func(a accepted) bool { return a.stream == plan.Web })
		m.all = slices.Delete(m.all, i, i+1)
	}
	m.all = m.all[max(0, len(m.all)-dedup.Max):]
	return fresh
}

// docs/semantics.md, 1.9, 1.10 and 1.12: ids of busy customers, of all streams, with duplicates and
// records that come into Kafka late, in times of much and of little: what is taken for a
// duplicate is held against a plain list.
func TestDuplicatesOfBusyCustomers(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	e := testEngine(t, jobless)
	for round := range 4 {
		c, x, out := e.NewCustomer("c"), e.Evaluator(), engine.Output{}
		now, n, longest, duplicates, prolonged := -20*day, 0, 0, 0, 0 // the zero instant is nothing special
		model := memory{instant: -1 << 60}
		streams := []plan.Stream{plan.Web, plan.Web, plan.Web, plan.Web, plan.Web, plan.Purchase, plan.Email, plan.Consent}
		if round%2 == 1 {
			streams = []plan.Stream{plan.Purchase, plan.Web}
		}
		for range 30 {
			pace := []engine.Millis{10_000, 60_000, 600_000, 10_000_000}[rng.IntN(4)]
			for range rng.IntN(2000) {
				now += 1 + engine.Millis(rng.Int64N(int64(pace)))
				next := accepted{stream: streams[rng.IntN(len(streams))], id: fmt.Sprint("e", n), at: now}
				switch n++; rng.IntN(8) {
				case 0: // late
					next.at -= engine.Millis(rng.Int64N(int64(30 * day)))
				case 1: // an id again, not always with its time
					next.id = fmt.Sprint("e", max(0, n-1-rng.IntN(6000)))
				case 2:
					if len(model.all) > 0 {
						next = model.all[rng.IntN(len(model.all))]
					}
				}
				if next.kept = next.at; rng.IntN(3) == 0 {
					next.kept += rounded(engine.Millis(rng.Int64N(1 << rng.IntN(30))))
				}
				other := func(a accepted) bool { return a.kept == next.kept && a.id != next.id }
				for ; slices.ContainsFunc(model.all, other); next.kept++ {
					next.at++ // which of two at one instant is forgotten first is not defined
				}
				out.Reset()
				before := len(model.all)
				want := model.take(next)
				if got := x.Apply(c, eventOf(e, next), -100*day, &out); got != want {
					t.Fatalf("event %d, %v, with %d ids known: taken %v, want %v", n, next, before, got, want)
				}
				if !want {
					duplicates++
					prolonged += out.Stats.Prolonged
				}
				longest = max(longest, len(model.all))
			}
			if rng.IntN(3) == 0 {
				b := e.Append(nil, c)
				if bytes, ids := c.SeenBytes(); ids != len(model.all) || bytes > 12*ids+ids/2+64 {
					t.Fatalf("%d ids in %d bytes, want %d", ids, bytes, len(model.all))
				}
				var err error
				if c, err = e.Decode("c", b); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("%d events, %d duplicates, %d of them prolong, at most %d ids", n, duplicates, prolonged, longest)
		if duplicates == 0 || prolonged == 0 || longest < 1000 {
			t.Error("nothing was seen of long lists")
		}
	}
}

// rounded returns a lag as it is remembered.
func rounded(lag engine.Millis) engine.Millis {
	for unit := engine.Millis(128); ; unit *= 2 {
		if up := (lag + unit - 1) / unit; up <= 16 {
			return up * unit
		}
	}
}

const jobless = `
version: 1
segments:
  - {id: all, objective: test, owner: test, review_by: 2030-01-01, when: "count(purchase) > 0"}
`

func eventOf(e *engine.Engine, a accepted) *engine.Event {
	return &engine.Event{
		Stream: a.stream, Customer: "c", ID: a.id, Source: "s", At: a.at, Lag: a.kept - a.at,
		Fields: make([]expr.Value, len(e.Layout(a.stream).Paths)),
	}
}

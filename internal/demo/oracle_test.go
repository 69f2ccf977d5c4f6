package demo

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/replay"
	"github.com/segmill/segmill/internal/sim"
	"github.com/segmill/segmill/schemas"
)

// Some months of the shop under the rules of the example give the effects that
// the naive oracle expects, from bytes of Avro to changes and triggers.
func TestShopAgainstOracle(t *testing.T) {
	rules := shopRules(t)
	e := rules.Engine
	registry := schemas.Config{Layouts: e.Layout, Topics: map[string]plan.Stream{}}
	for s := range plan.NumBuiltin {
		registry.Topics[s.String()] = s
	}
	reader, err := schemas.NewReader(registry)
	if err != nil {
		t.Fatal(err)
	}
	enc := schemas.NewEventEncoder(schemas.JSON, [plan.NumBuiltin]int{})
	got, want := map[string][]engine.Effect{}, map[string][]engine.Effect{}
	run := &replay.Runner{Engine: e, Grace: app.DefaultGrace, Emit: func(l []engine.Effect) {
		for _, ef := range l {
			got[ef.Customer] = append(got[ef.Customer], bare(ef))
		}
	}}
	oracle := sim.NewOracle(rules.Set.Spec, engine.Options{Zones: app.Zones()})
	tell := func(l []engine.Effect) {
		for _, ef := range l {
			want[ef.Customer] = append(want[ef.Customer], bare(ef))
		}
	}
	from := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	h := newHistory(7, 4, from)
	known := map[string]bool{}
	latest := engine.Millis(0)
	for i := range 400 {
		x := h.next()
		b, err := enc.Append(nil, x.stream, x.fields)
		if err != nil {
			t.Fatal(err)
		}
		var ev engine.Event
		if _, err := reader.Read(&schemas.Record{Topic: x.stream.String(), Value: b}, &ev); err != nil {
			t.Fatalf("event %d: %v\n%s", i, err, b)
		}
		clock := latest - app.DefaultGrace
		run.Feed(&ev)
		effects, _ := oracle.Apply(record(&ev, e.Layout(ev.Stream)), clock)
		tell(effects)
		known[ev.Customer] = true
		latest = max(latest, ev.At)
	}
	n := 0
	for id := range known {
		// The events are in order of time: what is due before a customer's next
		// event may as well fire with it.
		tell(oracle.Advance(id, latest-app.DefaultGrace))
		n += len(want[id])
		if d := cmp.Diff(want[id], got[id], cmp.Comparer(func(a, b expr.Value) bool { return a.K == b.K && a.String() == b.String() })); d != "" {
			t.Fatalf("customer %s (-oracle +engine)\n%s", id, d)
		}
	}
	if n < 50 {
		t.Errorf("only %d effects: the shop is too dull to judge anything by", n)
	}
}

// record is an event with its fields by path.
func record(ev *engine.Event, l *plan.Layout) sim.Record {
	r := sim.Record{Stream: ev.Stream, Customer: ev.Customer, ID: ev.ID, Source: ev.Source, At: ev.At, Fields: map[string]expr.Value{}}
	for i, path := range l.Paths {
		if v := ev.Fields[i]; v.Present() {
			v.L = slices.Clone(v.L)
			r.Fields[path] = v
		}
	}
	return r
}

// bare leaves out what the oracle does not know.
func bare(ef engine.Effect) engine.Effect {
	ef.Version, ef.Evidence = "", nil
	if ef.Action == engine.Fired {
		ef.Cause, ef.CauseEvent = 0, "" // a trigger has no cause
	}
	return ef
}

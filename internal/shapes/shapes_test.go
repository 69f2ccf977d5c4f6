package shapes

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/sim"
	"github.com/segmill/segmill/schemas"
	"github.com/segmill/segmill/triggers"
)

// eachSeed runs a property on random input: for SIM_TIME (default 3s), or once on SEED.
func eachSeed(t *testing.T, f func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	run := func(seed uint64) bool {
		return t.Run(fmt.Sprintf("SEED=%d", seed), func(t *testing.T) { f(t, rand.New(rand.NewPCG(seed, 0))) })
	}
	if seed, err := strconv.ParseUint(os.Getenv("SEED"), 10, 64); err == nil {
		run(seed)
		return
	}
	limit := 3 * time.Second
	if d, err := time.ParseDuration(os.Getenv("SIM_TIME")); err == nil {
		limit = d
	} else if testing.Short() {
		limit /= 10
	}
	n := 0
	for start := time.Now(); time.Since(start) < limit; n++ {
		if !run(rand.Uint64N(1 << 40)) {
			break
		}
	}
	t.Logf("%d seeds", n)
}

// docs/semantics.md, 10.11 to 10.13, 12.1 to 12.3 and 12.8: a history that producers write
// in shapes of their own gives what the events give that it is a history of.
func TestMappedHistories(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *rand.Rand) {
		rules := sim.RandomRules(r, sim.World{Catalog: schemas.Catalog(), Kinds: triggers.Kinds()})
		calls := sim.RandomHistory(r, rules.Spec, 80)
		events := vary(r, calls)
		shape := Random(r, rules.Spec, events)
		set, err := rule.Parse([]rule.File{{Name: "rules.yaml", Data: []byte(rules.Text + shape.Text)}}, schemas.Catalog(), triggers.Kinds(), sim.Zones)
		if err != nil {
			t.Fatalf("%v\n%s", err, shape.Text)
		}
		h := newHistory(t, set.Spec, shape, events)
		for len(calls) > 0 {
			n := 0
			for n < len(calls) && calls[n].Do == sim.DoApply {
				n++
			}
			if n == 0 {
				h.run(&calls[0], nil)
				calls = calls[1:]
				continue
			}
			w, taken := shape.Write(calls[:n])
			h.take(&w, calls[taken-1].Clock)
			calls = calls[taken:]
		}
	})
}

// vary gives events other currencies, and orders no revenue, and returns the events.
func vary(r *rand.Rand, calls []sim.Call) (events []sim.Record) {
	varied := map[string]map[string]expr.Value{}
	for i := range calls {
		rec := &calls[i].Record
		if calls[i].Do != sim.DoApply {
			continue
		}
		f := varied[rec.ID]
		if f == nil {
			f = map[string]expr.Value{}
			for path, v := range rec.Fields {
				f[path] = v
			}
			delete(f, "hits") // which no schema has
			delete(f, "score")
			varyMoney(r, rec.Stream, f)
			varied[rec.ID] = f
		}
		rec.Fields = f
		events = append(events, *rec)
	}
	return events
}

func varyMoney(r *rand.Rand, stream plan.Stream, f map[string]expr.Value) {
	if stream != plan.Web && stream != plan.Purchase {
		return
	}
	delete(f, "currency")
	if code := pick(r, "", "EUR", "EUR", "USD", "usd", " jpy", "GBP"); code != "" {
		f["currency"] = expr.StringValue(code)
	}
	if stream == plan.Web || !chance(r, 40) {
		return
	}
	delete(f, "revenue")
	if total := f["total"]; total.Present() && chance(r, 50) {
		f["tax"] = expr.DecimalValue(total.N / 5)
		f["shipping"] = expr.DecimalValue(total.N / 7)
	}
	if chance(r, 30) {
		f["subtotal"] = expr.DecimalValue(r.Int64N(1_000_000))
	}
	if chance(r, 30) {
		f["value"] = expr.DecimalValue(r.Int64N(1_000_000))
	}
}

// history runs a history in three ways: the oracle and an engine take the events as they
// are meant, and another engine takes what is read of the records.
type history struct {
	t           *testing.T
	spec        *plan.Spec
	shape       *Shape
	oracle      *sim.Oracle
	meant, read *subject
	reader      *schemas.Reader
	whole       *schemas.Reader // reads all fields, whether a rule reads them or not
	layouts     map[plan.Stream]*plan.Layout
	offset      int64
}

// subject is an engine with its customers.
type subject struct {
	e         *engine.Engine
	x         *engine.Evaluator
	customers map[string]*engine.Customer
}

func newSubject(t *testing.T, s *plan.Spec) *subject {
	p, err := plan.Compile(s, sim.Zones)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(p, triggers.New(p), engine.Options{Zones: sim.Zones})
	if err != nil {
		t.Fatal(err)
	}
	return &subject{e, e.Evaluator(), map[string]*engine.Customer{}}
}

func newHistory(t *testing.T, s *plan.Spec, shape *Shape, events []sim.Record) *history {
	h := &history{t: t, spec: s, shape: shape, oracle: sim.NewOracle(s, engine.Options{Zones: sim.Zones}), meant: newSubject(t, s), read: newSubject(t, s)}
	mappings := map[string][]*plan.Mapping{}
	for topic, names := range shape.Topics {
		for i := range s.Mappings {
			if m := &s.Mappings[i]; slices.Contains(names, m.Name) {
				mappings[topic] = append(mappings[topic], m)
			}
		}
	}
	h.layouts = layoutsOf(s, events)
	config := schemas.Config{Catalog: h.read.e.Catalog(), Layouts: h.read.e.Layout, Mappings: mappings, Locations: sim.Zones, Reading: s.Reading}
	var err error
	if h.reader, err = schemas.NewReader(config); err != nil {
		t.Fatal(err)
	}
	config.Layouts = func(s plan.Stream) *plan.Layout { return h.layouts[s] }
	if h.whole, err = schemas.NewReader(config); err != nil {
		t.Fatal(err)
	}
	return h
}

// layoutsOf are layouts of all fields that events have.
func layoutsOf(s *plan.Spec, events []sim.Record) map[plan.Stream]*plan.Layout {
	l := map[plan.Stream]*plan.Layout{}
	for i := range events {
		r := sim.AsRead(s, events[i])
		if l[r.Stream] == nil {
			l[r.Stream] = &plan.Layout{Stream: r.Stream}
		}
		for path := range r.Fields {
			if at := l[r.Stream]; at.Slot(path) < 0 && (path != "items" || r.Stream == plan.Web) {
				at.Paths = append(at.Paths, path)
			}
		}
	}
	return l
}

// isWhole compares all fields of an event with what they are to be.
func (h *history) isWhole(w *Written, meant *sim.Record, ev *engine.Event) {
	h.t.Helper()
	for slot, path := range h.layouts[meant.Stream].Paths {
		want, got := meant.Fields[path], ev.Fields[slot]
		if path == "items" {
			if a, b := h.items(want), h.items(got); a != b {
				h.fail(w, "the items of %v are %s, want %s", meant, b, a)
			}
		} else if !expr.Identical(want, got) {
			h.fail(w, "%s of %v is %q, want %q", path, meant, got.String(), want.String())
		}
	}
}

// items writes items down; what there is of one is its amount, else its quantity.
func (h *history) items(v expr.Value) string {
	if !v.Present() {
		return "unknown"
	}
	var b strings.Builder
	for _, it := range v.L {
		o := plainOf(h.spec, it).(Object)
		if o["amount"] == nil {
			o["amount"] = o["quantity"]
		}
		fmt.Fprintf(&b, "%v %v %v %d", o["product_id"], o["variant_id"], o["sku"], units(o["amount"]))
		if price := o["price"]; price != nil {
			fmt.Fprintf(&b, " at %v", price)
		}
		b.WriteString("; ")
	}
	return b.String()
}

// take reads a record, and folds its events.
func (h *history) take(w *Written, clock sim.Millis) {
	h.t.Helper()
	h.offset++
	rec := schemas.Record{Topic: w.Topic, Key: []byte(w.Key), Value: w.Value, Time: w.Time, Offset: h.offset}
	if w.Type != "" {
		rec.Headers = []schemas.Header{{Key: "type", Value: []byte(w.Type)}}
	}
	events := []engine.Event{{}}
	what, err := h.reader.Read(&rec, &events[0])
	if err != nil || what != schemas.IsEvent {
		h.fail(w, "it is %d (%v)", what, err)
	}
	events = append(events, rec.More.Events...)
	if len(events) != len(w.Events) || len(rec.More.Refused) != w.Refused {
		h.fail(w, "%d events and %d refused, want %d and %d: %v", len(events), len(rec.More.Refused), len(w.Events), w.Refused, rec.More.Refused)
	}
	if !slices.IsSortedFunc(events, func(a, b engine.Event) int { return int(a.At - b.At) }) {
		h.fail(w, "its events are not in order of time")
	}
	for i := range events {
		h.forwarded(w, &rec, i, &events[i])
	}
	whole := []engine.Event{{}}
	if _, err := h.whole.Read(&rec, &whole[0]); err != nil {
		h.fail(w, "it is %v", err)
	}
	whole = append(whole, rec.More.Events...)
	for i := range w.Events {
		meant := sim.AsRead(h.spec, w.Events[i])
		at := slices.IndexFunc(events, func(ev engine.Event) bool {
			return ev.Stream == meant.Stream && ev.Source == meant.Source && ev.ID == meant.ID && ev.Customer == meant.Customer && ev.At == meant.At && ev.Lag == meant.Lag
		})
		if at < 0 {
			h.fail(w, "no event is %v", &meant)
		}
		h.isWhole(w, &meant, &whole[at])
		h.run(&sim.Call{Do: sim.DoApply, Customer: meant.Customer, Clock: clock, Record: meant}, &events[at])
	}
}

// forwarded reads an event again as another task does to whom it is forwarded.
func (h *history) forwarded(w *Written, rec *schemas.Record, n int, ev *engine.Event) {
	text := rec.More.Texts[n]
	var again engine.Event
	_, err := h.reader.Read(&schemas.Record{
		Topic: w.Topic, Key: rec.Key, Value: text.JSON, Time: w.Time, Offset: h.offset, Forwarded: true,
		Mapped: &schemas.MappedAs{Mapping: text.Mapping, Stream: text.Stream, Number: text.Number},
	}, &again)
	if d := cmp.Diff(*ev, again); d != "" || err != nil {
		h.fail(w, "forwarded as %s it is another event: %v\n%s", text.JSON, err, d)
	}
}

// run makes a call in all three ways. ev is the event that was read.
func (h *history) run(c *sim.Call, ev *engine.Event) {
	h.t.Helper()
	want, accepted := h.oracle.Run(c)
	meant, ok := h.meant.run(c, nil)
	read, folded := h.read.run(c, ev)
	if d := cmp.Diff(brief(want), brief(meant)); d != "" || ok != accepted {
		h.t.Fatalf("%v\nthe oracle accepts it: %v, the engine: %v (-oracle +engine)\n%s", c, accepted, ok, d)
	}
	if d := cmp.Diff(meant, read); d != "" || ok != folded {
		h.t.Fatalf("%v\nit is accepted: %v; as read: %v (-as meant +as read)\n%s\n%s", c, ok, folded, d, h.shape.Text)
	}
}

// brief is what is compared with the oracle here; internal/sim compares the rest.
func brief(l []engine.Effect) (lines []string) {
	for i := range l {
		e := &l[i]
		lines = append(lines, fmt.Sprint(e.At, e.Customer, e.Action, e.Name, e.Sequence, e.From, e.MemberFor))
	}
	return lines
}

func (s *subject) run(c *sim.Call, ev *engine.Event) (effects []engine.Effect, accepted bool) {
	cust := s.customers[c.Customer]
	if cust == nil {
		cust = s.e.NewCustomer(c.Customer)
		s.customers[c.Customer] = cust
	}
	var out engine.Output
	accepted = true
	switch c.Do {
	case sim.DoApply:
		if ev == nil {
			ev = c.Record.Event(s.e.Layout(c.Record.Stream))
		}
		accepted = s.x.Apply(cust, ev, c.Clock, &out)
	case sim.DoAdvance:
		s.x.Advance(cust, c.Clock, &out)
	case sim.DoErase:
		s.x.Erase(cust, c.Record.Erasure(), c.Clock, &out)
	}
	if !cust.Known() {
		delete(s.customers, c.Customer)
	}
	return out.Effects, accepted
}

func (h *history) fail(w *Written, format string, args ...any) {
	h.t.Helper()
	var of []string
	for i := range w.Events {
		of = append(of, w.Events[i].String())
	}
	h.t.Fatalf("%s\n%s\n%s\n%s", fmt.Sprintf(format, args...), w.Value, strings.Join(of, "\n"), h.shape.Text)
}

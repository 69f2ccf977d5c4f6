package checker

import (
	"context"
	"maps"
	"slices"

	"github.com/segmill/segmill/consumer/config"
	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/internal/sim"
	"github.com/segmill/segmill/schemas"
)

// person is a customer as one run over the inputs leaves it.
type person struct {
	c                 *engine.Customer
	changes, triggers []*output
	latest            engine.Millis // the greatest event time since the last erasure
	ever              engine.Millis // the greatest time of an event or an erasure
	forwarded, erased bool
	// left says why it can't be compared record for record, "" if it can.
	left string
	late int
}

// judgeMeaning is I2, I6 and the rest of I7.
func (j *judgement) judgeMeaning(context.Context) error {
	enc, err := schemas.NewEncoder(schemas.JSON, j.cfg.App, schemas.IDs{})
	if err != nil {
		return err
	}
	oracle := sim.NewOracle(j.cfg.Spec, engine.Options{Zones: j.cfg.Zones})
	for _, p := range slices.Sorted(maps.Keys(j.parts)) {
		run := &run{j: j, enc: enc, oracle: oracle, eval: j.cfg.Engine.Evaluator(), people: map[string]*person{}}
		if err := run.partition(p); err != nil {
			return err
		}
	}
	return nil
}

// run is one run over the inputs of a partition.
type run struct {
	j      *judgement
	enc    *schemas.Encoder
	oracle *sim.Oracle
	people map[string]*person
	eval   *engine.Evaluator
	out    engine.Output
}

func (r *run) partition(p int32) error {
	part := r.j.parts[p]
	turns, end := r.j.order(p)
	forwards := len(part.sources[source{topic: r.j.cfg.repartition(), number: p}]) > 0 && r.j.cfg.Until == 0
	for _, t := range turns {
		if err := r.take(t, forwards); err != nil {
			return err
		}
	}
	// Every output so far must be among those up to "to", and everything due by
	// "settled" must be among the outputs.
	settled := max(part.last.Clock, r.j.cfg.Settled)
	if r.j.cfg.Until != 0 {
		settled = max(settled, end, r.j.cfg.Until)
	}
	to := settled
	for _, t := range part.emitted {
		for _, l := range [][]*output{t.changes, t.triggers} {
			for _, o := range l {
				to = max(to, o.at())
			}
		}
	}
	for id := range part.emitted {
		if r.people[id] == nil {
			r.j.violate("I6", "something was emitted about customer %q of partition %d, and no input names it", id, p)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(r.people)) {
		who := r.people[id]
		must := max(settled, who.c.Instant())
		if err := r.advance(who, to); err != nil {
			return err
		}
		if who.left == "" && part.of(id).wasRenamed(r.j.gone) {
			who.left = "a segment that it was in has another id now"
		}
		exact := who.left == "" && (r.j.cfg.Exact == nil || r.j.cfg.Exact(id))
		if exact || !r.j.cfg.AtLeastOnce {
			r.judgeMembers(id, who, part.of(id), max(settled, who.latest))
			r.judgeEarly(who, part.of(id))
		}
		if !exact {
			r.j.r.Left++
			continue
		}
		r.j.r.Compared++
		r.j.r.Late += who.late
		for _, d := range part.of(id).doubts {
			r.j.violate(d.Invariant, "%s", d.Text)
		}
		r.compare(r.lasting(part.of(id).changes), r.lasting(who.changes), must)
		r.compare(r.lasting(part.of(id).triggers), r.lasting(who.triggers), must)
	}
	return nil
}

// wasRenamed reports whether something was emitted under ids that segments no longer have, or
// that they have not had all along: one run has only those of today.
func (t *emitted) wasRenamed(gone map[string]bool) bool {
	return slices.ContainsFunc(t.changes, func(o *output) bool { return o.Action == "renamed" || gone[o.Segment] })
}

// take folds one record.
func (r *run) take(t turn, forwards bool) error {
	ev := &t.in.ev
	who := r.people[ev.Customer]
	if who == nil {
		who = &person{c: r.j.cfg.Engine.NewCustomer(ev.Customer), latest: never, ever: never}
		r.people[ev.Customer] = who
	}
	if t.in.forwarded && forwards {
		who.forwarded, who.left = true, "its records were forwarded"
	}
	if t.late {
		who.late++
	}
	if forwards && r.j.cfg.Clock == config.EventsClock && t.late {
		who.left = "its instant is the clock's, which waited for what was forwarded"
	}
	if r.j.cfg.Changing != nil && t.late {
		who.left = "its instant, at which late events take effect, has moved with rules that changed"
	}
	who.ever = max(who.ever, ev.At)
	if t.in.result == schemas.IsTombstone {
		return r.erase(who, t)
	}
	if err := r.advance(who, t.clock); err != nil {
		return err
	}
	r.eval.Apply(who.c, ev, t.clock, &r.out)
	who.latest = max(who.latest, ev.At)
	r.oracle.Know(recordOf(ev, r.j.cfg.Engine.Layout(ev.Stream)))
	return r.emit(who)
}

// erase erases a customer, as of when that was asked for.
func (r *run) erase(who *person, t turn) error {
	at := t.in.at
	if r.j.cfg.Horizon != 0 && at > r.j.cfg.Horizon {
		at = never
	}
	if r.j.cfg.Until != 0 {
		at = min(at, r.j.cfg.Until)
	}
	if err := r.advance(who, t.clock); err != nil {
		return err
	}
	who.erased, who.latest = true, never
	r.eval.Erase(who.c, engine.Erasure{At: at, Place: t.in.from.String()}, max(t.clock, 0), &r.out)
	r.oracle.Forget(who.c.ID)
	return r.emit(who)
}

// advance fires what is due for a customer up to an instant.
func (r *run) advance(who *person, to engine.Millis) error {
	if who.c.Wake() > to {
		return nil
	}
	r.eval.Advance(who.c, to, &r.out)
	return r.emit(who)
}

// emit makes outputs of effects.
func (r *run) emit(who *person) error {
	for i := range r.out.Effects {
		e := &r.out.Effects[i]
		var rec schemas.Output
		r.enc.Append(nil, &rec, e, 0)
		o, err := decode(rec.Value, "the run over the inputs")
		if err != nil {
			return err
		}
		if e.Action == engine.Fired {
			who.triggers = append(who.triggers, o)
		} else if !r.j.cfg.AtLeastOnce || !slices.ContainsFunc(who.changes, o.repeats) {
			// An erasure that was forwarded twice has two receipts that say the same; of
			// those one is judged.
			who.changes = append(who.changes, o)
		}
	}
	r.out.Reset()
	return nil
}

// lasting returns the outputs of rules that were the same all along, without what they say of
// others.
func (r *run) lasting(all []*output) (l []*output) {
	if r.j.cfg.Changing == nil {
		return all
	}
	for _, o := range all {
		if !r.j.cfg.Changing(o.rule()) {
			l = append(l, o.without(r.j.cfg.Changing))
		}
	}
	return l
}

// compare is I6: what was emitted is what the run emits, to its end or, of what was
// due after must, as far as it goes.
func (r *run) compare(got, want []*output, must engine.Millis) {
	for i, g := range got {
		if i >= len(want) {
			r.j.violate("I6", "%v: one run over the inputs does not emit this", g)
			return
		}
		if a, b := g.text(), want[i].text(); a != b {
			r.j.violate("I6", "%v: one run over the inputs emits something else\n\tgot  %s\n\twant %s", g, a, b)
			return
		}
	}
	if len(got) < len(want) && want[len(got)].at() <= must {
		r.j.violate("I6", "missing, after %d of %d outputs, by %v: %s", len(got), len(want), must, want[len(got)].text())
	}
}

// judgeMembers is I2.
func (r *run) judgeMembers(id string, who *person, t *emitted, at engine.Millis) {
	if who.forwarded && who.erased {
		return // nobody knows which came first
	}
	last := map[string]string{}
	for _, o := range t.changes {
		switch o.Action {
		case "erased":
			clear(last)
		case "renamed":
			delete(last, o.From)
			last[o.Segment] = "entered"
		default:
			last[o.Segment] = o.Action
		}
	}
	maps.DeleteFunc(last, func(_, action string) bool { return action != "entered" })
	got, want := slices.Sorted(maps.Keys(last)), r.oracle.Members(id, at)
	if !slices.Equal(got, want) {
		r.j.violate("I2", "customer %q is in %v by what was emitted, in %v by its events at %v", id, got, want, at)
	}
}

// judgeEarly is the part of I7 about the wall clock: what comes of time alone is
// emitted after its time, unless an event of the customer was of a later time.
func (r *run) judgeEarly(who *person, t *emitted) {
	if r.j.cfg.Clock != config.WallClock {
		return
	}
	for _, l := range [][]*output{t.changes, t.triggers} {
		for _, o := range l {
			written := engine.Millis(o.Emitted.UnixMilli())
			if (o.TriggerID != "" || o.Cause == "timer") && written+r.j.cfg.Skew < o.at() && who.ever < o.at() {
				r.j.violate("I7", "%v: emitted at %v", o, written)
			}
		}
	}
}

// recordOf is an event as the oracle knows it, its fields by path.
func recordOf(ev *engine.Event, l *plan.Layout) sim.Record {
	r := sim.Record{Stream: ev.Stream, Customer: ev.Customer, ID: ev.ID, Source: ev.Source, At: ev.At, Fields: map[string]expr.Value{}}
	for i, path := range l.Paths {
		if v := ev.Fields[i]; v.Present() {
			v.L = slices.Clone(v.L)
			r.Fields[path] = v
		}
	}
	return r
}

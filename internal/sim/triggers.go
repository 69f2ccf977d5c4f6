package sim

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// The kinds of triggers that this package knows.
const (
	abandonedCart = "abandoned_cart"
	inactivity    = "inactivity"
	anniversary   = "anniversary"
	ruleKind      = "rule"
)

// delayOf returns how long a trigger waits, 0 for one that waits for nothing.
func delayOf(t *plan.Trigger) Millis { return Millis(t.Setting("after").N) }

// occasion is one thing that a trigger can fire for, at most once: a state of the
// cart, a silence, a year of an anniversary.
type occasion struct {
	key    string
	due    Millis
	effect engine.Effect // what is particular to the kind
}

// fired returns the effect of a trigger at m with nothing particular in it.
func (o *Oracle) fired(m moment, t *plan.Trigger, why reason) engine.Effect {
	m.p.sequence["trigger:"+t.ID]++
	return engine.Effect{
		Action: engine.Fired, Customer: m.p.id, Name: t.ID, At: m.now, Message: &engine.Message{Kind: t.Kind.Name},
		Sequence: m.p.sequence["trigger:"+t.ID], Cause: why.cause, CauseEvent: why.event,
	}
}

// spent reports whether a trigger that fires once has.
func (p *person) spent(t *plan.Trigger) bool {
	return t.Reentry == plan.Once && p.sequence["trigger:"+t.ID] > 0
}

// blank is an effect in which nothing that only some kinds of triggers have
// applies.
func blank() engine.Effect {
	return engine.Effect{Message: &engine.Message{AnchorAt: engine.Never}}
}

// ruleTrigger fires a trigger of kind rule when its condition becomes true.
func (o *Oracle) ruleTrigger(m moment, u *unit, why reason) []engine.Effect {
	on := u.choose(m) != ""
	was := m.p.on[u.id]
	m.p.on[u.id] = on
	if !on || was || m.p.spent(u.trigger) {
		return nil
	}
	e := o.fired(m, u.trigger, why)
	particular(&e, blank())
	e.Due = m.now
	for _, f := range u.trigger.Fields {
		if v := m.scope().eval(f.Node); v.Present() {
			e.Context = append(e.Context, engine.Pair{Name: f.Name, Value: o.shownOf(f.Node, v).String()})
		}
	}
	slices.SortFunc(e.Context, byName)
	return []engine.Effect{e}
}

// timed fires the triggers whose time has come: in a step made by a timer those
// due exactly then, in any other those that the event has made overdue. An
// anniversary is never overdue: one that a change of zone moves into the past is
// no more news than one that is past when its date becomes known.
func (o *Oracle) timed(m moment, why reason) []engine.Effect {
	var l []engine.Effect
	for i := range o.spec.Triggers {
		t := &o.spec.Triggers[i]
		for _, c := range o.occasions(m, t) {
			overdue := why.due == nil && c.due <= m.now && t.Kind.Name != anniversary
			if !overdue && (why.due == nil || c.due != m.now) || m.p.done[c.key] {
				continue
			}
			m.p.done[c.key] = true
			if m.p.spent(t) {
				continue
			}
			e := o.fired(m, t, why)
			particular(&e, c.effect)
			e.Due = c.due
			l = append(l, e)
		}
	}
	return l
}

// particular copies what only some kinds of triggers have.
func particular(e *engine.Effect, of engine.Effect) {
	e.AnchorID, e.AnchorAt, e.Fields = of.AnchorID, of.AnchorAt, of.Fields
}

// say adds a field to a message, if it has a value.
func say(e *engine.Effect, name string, v expr.Value) {
	if v.Present() {
		e.Fields = append(e.Fields, engine.Field{Name: name, Value: v})
	}
}

// occasions returns what a trigger can fire for according to the events, as seen
// at m, whether or not its time has come.
func (o *Oracle) occasions(m moment, t *plan.Trigger) []occasion {
	switch t.Kind.Name {
	case abandonedCart:
		return abandoned(m, t)
	case inactivity:
		return silence(m, t)
	case anniversary:
		return anniversaries(m, t)
	}
	return nil
}

// abandoned returns an occasion for every cart that holds something, by the time of its
// last change and its id.
func abandoned(m moment, t *plan.Trigger) (l []occasion) {
	ids := map[string]bool{}
	for i := range m.p.events {
		if r := &m.p.events[i]; changesCart(r) {
			ids[cartOf(r)] = true
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		c := m.cart(id)
		if len(c.items) == 0 {
			continue
		}
		e := blank()
		e.AnchorID, e.AnchorAt = c.last.ID, c.last.At
		say(&e, "cart_id", ifAny(id))
		say(&e, "items", expr.ListValue(c.items))
		say(&e, "value", c.value)
		say(&e, "currency", ifAny(c.currency))
		l = append(l, occasion{fmt.Sprint(t.ID, " cart ", id, " ", c.last.At), c.last.At + delayOf(t), e})
	}
	slices.SortStableFunc(l, func(a, b occasion) int { return cmp.Compare(a.due, b.due) })
	return l
}

func silence(m moment, t *plan.Trigger) []occasion {
	l := m.matching(t.Sources, 0)
	if len(l) == 0 {
		return nil
	}
	last := l[len(l)-1]
	e := blank()
	e.AnchorID, e.AnchorAt = last.ID, last.At
	say(&e, "last_event_at", expr.TimeValue(last.At))
	say(&e, "days_silent", expr.IntValue(int64((m.now-last.At)/Day)))
	var in []expr.Value
	for _, name := range m.p.members() {
		in = append(in, expr.StringValue(name))
	}
	say(&e, "segments", expr.ListValue(in))
	return []occasion{{fmt.Sprint(t.ID, " silence ", last.At), last.At + delayOf(t), e}}
}

// anniversaries returns the years of a date that come round within two years of
// m; earlier ones have long been fired or been met as past.
func anniversaries(m moment, t *plan.Trigger) []occasion {
	v := m.input(t.Input)
	if !v.Present() {
		return nil
	}
	zone := m.zone()
	date := civilOf(v, zone)
	var l []occasion
	for year := today(m.now, zone).year - 2; year <= today(m.now, zone).year+2; year++ {
		if year <= date.year {
			continue
		}
		day := date.inYear(year, t.Setting("feb_29").True()).days() + t.Setting("offset").N
		e := blank()
		say(&e, "date", expr.DateValue(date.days()))
		say(&e, "years", expr.IntValue(int64(year-date.year)))
		key := fmt.Sprint(t.ID, " date ", v.K, v.N, " ", year-date.year)
		if due := clockAt(day, Millis(t.Setting("at").N), zone); due > m.p.met[t.ID] {
			l = append(l, occasion{key, due, e})
		}
	}
	return l
}

// dates returns the values of the dates that anniversaries are counted from.
func (o *Oracle) dates(p *person) map[string]expr.Value {
	l := map[string]expr.Value{}
	for i := range o.spec.Triggers {
		if t := &o.spec.Triggers[i]; t.Kind.Name == anniversary {
			l[t.ID] = moment{o, p, p.instant}.input(t.Input)
		}
	}
	return l
}

// meetDates notes for every anniversary whose date an event has made known or
// changed that nothing up to an instant is news.
func (o *Oracle) meetDates(p *person, before map[string]expr.Value, now Millis) {
	for id, v := range o.dates(p) {
		if v.K != before[id].K || v.N != before[id].N {
			p.met[id] = now
		}
	}
}

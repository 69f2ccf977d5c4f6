package sim

import (
	"maps"
	"math"
	"slices"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
)

// Oracle says what the engine must say. It takes the same calls, for any number
// of customers, and answers them from the full list of their events.
//
// Effects leave two things open, which a comparison must leave out: Version is
// empty, and Evidence holds every input that the rule reads.
type Oracle struct {
	spec   *plan.Spec
	opt    engine.Options
	line   lineItem
	units  []*unit // segments and lifecycles, each after those it reads; then rule triggers
	people map[string]*person
}

// person is one customer.
type person struct {
	id      string
	instant Millis
	events  []Record // accepted, in order of arrival; none: not known

	// What was emitted.
	since    map[string]Millis // of current memberships
	sequence map[string]uint64 // of segments and triggers; "trigger:" before the latter's id
	on       map[string]bool   // rule triggers whose condition was true
	done     map[string]bool   // occasions of triggers that are over, see occasion
	met      map[string]Millis // anniversaries: the instant at which the date became known
}

// NewOracle returns an oracle for a rule set. opt means what it means for the
// engine.
func NewOracle(s *plan.Spec, opt engine.Options) *Oracle {
	own := *s
	own.Triggers = slices.Clone(s.Triggers)
	o := &Oracle{spec: &own, line: lineItemOf(s), opt: opt, people: map[string]*person{}}
	for s, h := range map[plan.Stream]Millis{plan.Web: Day, plan.Email: 3 * Day, plan.Purchase: 30 * Day, plan.Profile: 7 * Day, plan.Consent: 30 * Day} {
		if own, ok := o.spec.Reading.Dedup[s.String()]; ok {
			h = own
		}
		if o.opt.Dedup[s] == 0 {
			o.opt.Dedup[s] = h
		}
	}
	o.units = unitsOf(&own)
	return o
}

func (o *Oracle) person(id string) *person {
	p := o.people[id]
	if p == nil {
		p = &person{
			id: id, instant: math.MinInt64,
			since: map[string]Millis{}, sequence: map[string]uint64{},
			on: map[string]bool{}, done: map[string]bool{}, met: map[string]Millis{},
		}
		o.people[id] = p
	}
	return p
}

// Run makes a call on the oracle and returns what is emitted, and whether an event
// was accepted.
func (o *Oracle) Run(c *Call) ([]engine.Effect, bool) {
	switch c.Do {
	case DoApply:
		return o.Apply(c.Record, c.Clock)
	case DoErase:
		return o.Erase(c.Customer, c.Record.Erasure(), c.Clock), true
	default: // the others need nothing here
	}
	return o.Advance(c.Customer, c.Clock), true
}

// Apply folds one event. It returns false, and no effects, if it is a repeat.
func (o *Oracle) Apply(r Record, clock Millis) ([]engine.Effect, bool) {
	p := o.person(r.Customer)
	for i := range p.events {
		if e := &p.events[i]; e.same(&r) && e.At+e.Lag > p.instant-o.horizon(e.Stream) {
			e.Lag = max(e.Lag, rounded(r.At+rounded(r.Lag)-e.At))
			return nil, false
		}
	}
	r.Lag = rounded(r.Lag)
	out := o.fire(p, r.At, nil)
	p.instant = max(p.instant, r.At)
	now := max(p.instant, clock)
	dates := o.dates(p)
	p.events = append(p.events, r)
	o.meetDates(p, dates, now)
	out = o.fire(p, now, out)
	p.instant = now
	return o.step(p, reason{cause: engine.CauseEvent, event: r.ID}, out), true
}

// rounded returns how much longer than its time an event is remembered that came
// into Kafka so much later: rounded up to a multiple of 128 ms and to four binary
// digits.
func rounded(lag Millis) Millis {
	if lag <= 0 {
		return 0
	}
	for unit := Millis(128); ; unit *= 2 {
		if up := (lag + unit - 1) / unit; up <= 16 {
			return up * unit
		}
	}
}

// Know takes note of an event and emits nothing: for Members alone. A duplicate
// counts once, however old it is. It returns false for one.
func (o *Oracle) Know(r Record) bool {
	p := o.person(r.Customer)
	for i := range p.events {
		if p.events[i].same(&r) {
			return false
		}
	}
	p.events = append(p.events, r)
	return true
}

// Forget drops a customer and emits nothing: the counterpart of Know.
func (o *Oracle) Forget(customer string) { delete(o.people, customer) }

// Advance fires what is due at or before an instant.
func (o *Oracle) Advance(customer string, to Millis) []engine.Effect {
	return o.fire(o.person(customer), to, nil)
}

// Erase forgets a customer, as of an instant.
func (o *Oracle) Erase(customer string, r engine.Erasure, clock Millis) []engine.Effect {
	p := o.person(customer)
	out := o.fire(p, r.At, nil)
	at := max(p.instant, r.At, clock)
	known := len(p.events) > 0
	var exits []engine.Effect
	for name := range p.since {
		exits = append(exits, o.exit(p, name, at, engine.CauseErasure, ""))
	}
	sortStep(exits)
	delete(o.people, customer)
	l := append(exits, engine.Effect{Action: engine.Erased, Customer: customer, At: at, Cause: engine.CauseErasure, Known: known})
	for i := range l {
		l[i].Erasure = r.Place
	}
	return append(out, l...)
}

// Change is a change of the rules.
type Change struct {
	Spec *plan.Spec // the rules to be
	// Both are those that the rules before have too, under their ids of then.
	Both *plan.Spec
	// Renamed are the rules that go on under other ids, by the former ones; triggers as
	// "trigger:<id>".
	Renamed map[string]string
	Clock   Millis
}

// begin gives the oracle the rules to be, and returns one of those that both sets have.
func (o *Oracle) begin(c *Change) (kept *Oracle) {
	kept = NewOracle(c.Both, o.opt)
	n := NewOracle(c.Spec, o.opt)
	n.people, kept.people = o.people, o.people
	o.spec, o.line, o.units = n.spec, n.line, n.units
	return kept
}

// Rebuild changes the rules. What time has made due of those that both sets have fires
// first; no trigger fires because of the change.
func (o *Oracle) Rebuild(c *Change) []engine.Effect {
	kept := o.begin(c)
	var out []engine.Effect
	for _, id := range slices.Sorted(maps.Keys(o.people)) {
		if p := o.people[id]; len(p.events) > 0 {
			now := max(p.instant, c.Clock)
			out = append(out, kept.fire(p, now, nil)...)
			out = append(out, o.rename(p, c.Renamed, now)...)
			out = append(out, o.emitAgain(p, now, engine.CauseRuleChange)...)
		}
	}
	return out
}

// Adopt changes the rules, as Rebuild does, but to whom nothing happens because of it keeps
// the instant: that of the last step, which is also one in which a threshold of a changed
// rule was crossed.
func (o *Oracle) Adopt(c *Change) []engine.Effect {
	kept := o.begin(c)
	var out []engine.Effect
	for _, id := range slices.Sorted(maps.Keys(o.people)) {
		p := o.people[id]
		if len(p.events) == 0 {
			continue
		}
		now := max(p.instant, c.Clock)
		for _, at := range o.candidates(p, now) {
			crossed := slices.ContainsFunc(o.units, func(u *unit) bool { return u.due(o, p, at) })
			out = append(out, kept.fire(p, at, nil)...)
			if crossed {
				p.instant = at
			}
		}
		out = append(out, kept.fire(p, now, nil)...)
		instant := p.instant
		l := o.rename(p, c.Renamed, now)
		l = append(l, o.emitAgain(p, now, engine.CauseRuleChange)...)
		if len(l) == 0 {
			p.instant = instant
			if slices.ContainsFunc(o.candidates(p, now), func(at Millis) bool { return o.occasion(p, at) }) {
				p.instant = now // of which something lapsed unmarked
			}
		}
		out = append(out, l...)
	}
	return out
}

// Merge gives one customer, as time has left it, the events of another. A rule trigger whose condition
// becomes true fires; one that waits for a time and is overdue because of the
// merge does not.
func (o *Oracle) Merge(dst, src string, clock Millis) []engine.Effect {
	d, s := o.person(dst), o.person(src)
	now := max(d.instant, s.instant, clock)
	out := o.fire(d, now, nil)
	d.events = append(d.events, s.events...)
	return append(out, o.emitAgain(d, now, engine.CauseMerge)...)
}

// emitAgain evaluates every rule at an instant and emits what differs from what was
// emitted before. Triggers that wait for a time take what is past as old news.
func (o *Oracle) emitAgain(p *person, now Millis, cause engine.Cause) []engine.Effect {
	p.instant = now
	m := moment{o, p, now}
	var l []engine.Effect
	for name := range p.since {
		if !slices.ContainsFunc(o.units, func(u *unit) bool { return u.trigger == nil && slices.Contains(u.names, name) }) {
			l = append(l, o.exit(p, name, now, cause, ""))
		}
	}
	for _, u := range o.units {
		why := reason{cause: cause}
		switch {
		case u.trigger == nil:
			l = append(l, o.move(m, u, why)...)
		case cause == engine.CauseMerge:
			l = append(l, o.ruleTrigger(m, u, why)...)
		default:
			p.on[u.id] = u.choose(m) != ""
		}
	}
	for i := range o.spec.Triggers {
		for _, c := range o.occasions(m, &o.spec.Triggers[i]) {
			if c.due <= now {
				p.done[c.key] = true
			}
		}
	}
	sortStep(l)
	return l
}

// Members returns the names of the segments that a customer must be a member of
// at an instant, computed from the events alone, sorted.
func (o *Oracle) Members(customer string, at Millis) []string {
	p := *o.person(customer)
	if len(p.events) == 0 {
		return nil
	}
	p.since = map[string]Millis{}
	m := moment{o, &p, at}
	for _, u := range o.units {
		if name := u.choose(m); name != "" && u.trigger == nil {
			p.since[name] = at
		}
	}
	return p.members()
}

// Told returns the names of the segments that a customer is a member of
// according to what was emitted, sorted.
func (o *Oracle) Told(customer string) []string { return o.person(customer).members() }

// Instant returns the customer's instant; very small for one not known.
func (o *Oracle) Instant(customer string) Millis { return o.person(customer).instant }

func (p *person) members() []string {
	var l []string
	for name := range p.since {
		l = append(l, name)
	}
	slices.Sort(l)
	return l
}

// exit ends a membership and returns what is emitted about it.
func (o *Oracle) exit(p *person, name string, at Millis, cause engine.Cause, event string) engine.Effect {
	p.sequence[name]++
	e := engine.Effect{
		Action: engine.Exited, Customer: p.id, Name: name, At: at, Sequence: p.sequence[name],
		Cause: cause, CauseEvent: event, Group: o.group(name), MemberFor: at - p.since[name],
	}
	delete(p.since, name)
	return e
}

// enter begins a membership and returns what is emitted about it. from is the stage of
// the same lifecycle left in the same step.
func (o *Oracle) enter(p *person, name, from string, at Millis, cause engine.Cause, event string) engine.Effect {
	p.sequence[name]++
	p.since[name] = at
	return engine.Effect{
		Action: engine.Entered, Customer: p.id, Name: name, At: at, Sequence: p.sequence[name],
		Cause: cause, CauseEvent: event, Group: o.group(name), From: from,
	}
}

// group returns the lifecycle that a segment is a stage of, "" for none.
func (o *Oracle) group(name string) string {
	for i := range o.spec.Lifecycles {
		l := &o.spec.Lifecycles[i]
		for _, s := range l.Stages {
			if name == l.ID+"/"+s.ID {
				return l.ID
			}
		}
	}
	return ""
}

// evidence returns the inputs that expressions read, with their values at m.
func (m moment) evidence(nodes []*expr.Node) []engine.Pair {
	var l []engine.Pair
	for _, n := range nodes {
		for _, ref := range inputsOf(n) {
			l = append(l, engine.Pair{Name: m.o.spec.Inputs[ref].Text, Value: m.o.shown(ref, m.input(ref)).String()})
		}
	}
	slices.SortFunc(l, byName)
	return slices.Compact(l)
}

// clone returns a copy that shares nothing that changes.
func (p *person) clone() *person {
	c := *p
	c.events = slices.Clone(p.events)
	c.since, c.sequence = maps.Clone(p.since), maps.Clone(p.sequence)
	c.on, c.done, c.met = maps.Clone(p.on), maps.Clone(p.done), maps.Clone(p.met)
	return &c
}

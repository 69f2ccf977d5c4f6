package ruletest

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule/file"
)

// The customer of events and expectations that name none, and when tests start that do
// not say so.
const (
	someone      = "customer"
	defaultStart = "2026-01-01T00:00:00Z"
)

// binder binds one test.
type binder struct {
	*File
	rules *Rules
	at    *yaml.Node // the row of a case, nil if there is none
	test  Test
	whom  []string // the events are of, sorted; made when first asked for
}

func (b *binder) bind(n *yaml.Node, suffix string) []*Test {
	errors := b.log.Errors()
	k, ok := b.form.Keys(n, "a test", testKeys...)
	if !ok {
		return nil
	}
	t := &b.test
	t.File, t.rules, t.Pos = b.Name, b.rules, b.form.Pos(n)
	if b.at != nil {
		t.Pos = b.form.Pos(b.at)
	}
	if name := k.Required("name", "add name: what the test shows"); name != nil {
		t.Name = strings.TrimSpace(name.Text)
		if suffix != "" {
			t.Name += " (" + suffix + ")"
		}
	}
	t.start = b.startOf(k)
	latest := b.events(k)
	latest = max(latest, b.expect(k))
	b.of(k)
	t.until = latest
	if p := k.Text("run_until"); p != nil {
		if t.until = b.instant(p); t.until < latest {
			b.log.FailHint(p, "the last of them is at "+Relative(latest, t.start), "the test ends before its events and expectations")
		}
	}
	if b.log.Errors() > errors {
		return nil
	}
	return []*Test{t}
}

func (b *binder) startOf(k *Keys) engine.Millis {
	at, _ := time.Parse(time.RFC3339, defaultStart)
	if p := k.Text("start"); p != nil {
		if given, ok := absolute(p.Text); ok {
			at = given
		} else {
			b.log.FailHint(p, "write 2026-01-01T00:00:00Z", "%s is not an instant", strconv.Quote(p.Text))
		}
	}
	return expr.MillisOf(at)
}

// absolute reads an instant, or a date that stands for its midnight in UTC.
func absolute(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// instant reads a time of the test: since its start, or an instant.
func (b *binder) instant(p *file.Passage) engine.Millis {
	if t, ok := absolute(p.Text); ok {
		return expr.MillisOf(t)
	}
	digits, negative := strings.CutPrefix(p.Text, "-")
	d, err := model.ParseDuration(digits)
	if err != nil {
		b.log.FailHint(p, "write the time since the start: 0s, 1h30m, 90d; or an instant: 2026-01-31T09:00:00Z", "%s is not a time", strconv.Quote(p.Text))
		return b.test.start
	}
	since := engine.Millis(time.Duration(d).Milliseconds())
	if negative {
		since = -since
	}
	return b.test.start + since
}

// of reads which rules the test is about, beside those of its expectations.
func (b *binder) of(k *Keys) {
	t := &b.test
	for i := range t.expected {
		t.Names = append(t.Names, t.expected[i].name)
	}
	n := k.Node("of")
	if n == nil {
		slices.Sort(t.Names)
		t.Names = slices.Compact(t.Names)
		return
	}
	for _, p := range b.form.Texts(n, "of") {
		found := b.rules.namesOf(p.Text)
		if found == nil {
			b.log.FailHint(p, file.DidYouMean(p.Text, b.rules.names()), "there is no segment, lifecycle or trigger %q in the rules", p.Text)
		}
		t.Names = append(t.Names, found...)
	}
	slices.Sort(t.Names)
	t.Names = slices.Compact(t.Names)
}

// expect reads what must be emitted and returns when the last of it is due.
func (b *binder) expect(k *Keys) engine.Millis {
	latest := b.test.start
	n := k.Node("expect")
	switch {
	case !k.Has("expect"):
		b.log.FailHint(k.At(), "add expect: a list of what must be emitted, or expect: none", "a test has no expect")
	case n == nil:
	case n.Kind == yaml.ScalarNode && n.Value == "none":
	case n.Kind == yaml.ScalarNode:
		b.log.FailHint(b.form.At(n), "write expect: none, or a list", "expect cannot be %s", strconv.Quote(n.Value))
	default:
		for _, e := range b.form.List(n, "expect") {
			if x, ok := b.expectation(e); ok {
				b.test.expected = append(b.test.expected, x)
				latest = max(latest, x.at)
			}
		}
	}
	return latest
}

var expectKeys = []string{"at", "customer", "segment", "action", "from", "trigger", "message", "cause"}

func (b *binder) expectation(n *yaml.Node) (x expectation, ok bool) {
	k, ok := b.form.Keys(n, "an expectation", expectKeys...)
	if !ok {
		return x, false
	}
	x.pos = b.form.Pos(n)
	errors := b.log.Errors()
	at := k.Required("at", "add at: when it is emitted, as the time since the start")
	if at != nil {
		x.at = b.instant(at)
	}
	x.customer = b.customer(k)
	if p := k.Text("cause"); p != nil {
		x.cause = b.choice(p, "cause", "event", "timer")
	}
	segment, trigger := k.Text("segment"), k.Text("trigger")
	switch {
	case segment != nil && trigger != nil:
		b.log.FailHint(trigger, "write two expectations", "an expectation is of a segment or of a trigger")
	case segment != nil:
		b.membership(&x, k, segment)
	case trigger != nil:
		b.firing(&x, k, trigger)
	case !k.Has("segment") && !k.Has("trigger"):
		b.log.FailHint(k.At(), "add segment: with action:, or trigger:", "an expectation names no rule")
	}
	return x, b.log.Errors() == errors && at != nil
}

func (b *binder) membership(x *expectation, k *Keys, segment *file.Passage) {
	ids := b.rules.segments()
	x.name = segment.Text
	if !slices.Contains(ids, x.name) {
		b.log.FailHint(segment, file.DidYouMean(x.name, ids), "there is no segment or stage %q in the rules", x.name)
	}
	if p := k.Required("action", "add action: entered or action: exited"); p != nil {
		x.action = engine.Entered
		if b.choice(p, "action", "entered", "exited") == "exited" {
			x.action = engine.Exited
		}
	}
	if p := k.Text("from"); p != nil {
		if x.from = p.Text; !slices.Contains(ids, x.from) {
			b.log.FailHint(p, file.DidYouMean(x.from, ids), "there is no stage %q in the rules", x.from)
		}
	}
	b.refuse(k, "a segment", "message")
}

func (b *binder) firing(x *expectation, k *Keys, trigger *file.Passage) {
	x.name, x.action = triggerName(trigger.Text), engine.Fired
	t := b.rules.trigger(trigger.Text)
	if t == nil {
		b.log.FailHint(trigger, file.DidYouMean(trigger.Text, b.rules.triggers()), "there is no trigger %q in the rules", trigger.Text)
	}
	b.refuse(k, "a trigger", "action", "from", "cause")
	n := k.Node("message")
	if n == nil || t == nil {
		return
	}
	m, ok := b.form.Keys(n, "message")
	if !ok {
		return
	}
	known := messageFields(t)
	x.message = map[string]*yaml.Node{}
	for _, p := range m.Order() {
		if !slices.Contains(known, p.Text) {
			b.log.FailHint(p, file.DidYouMean(p.Text, known), "messages of %s have no %q", t.Kind.Name, p.Text)
			continue
		}
		x.message[p.Text] = m.Node(p.Text)
	}
}

// messageFields are the fields of a trigger's messages that a test can name.
func messageFields(t *plan.TriggerPlan) []string {
	l := []string{"due_at", "anchor_at", "anchor_event_id"}
	for _, f := range t.Kind.Message {
		l = append(l, f.Name)
	}
	if t.Kind.Has(plan.SetFields) {
		l = append(l, "context")
	}
	slices.Sort(l)
	return slices.Compact(l)
}

// refuse tells that an expectation has keys of another kind.
func (b *binder) refuse(k *Keys, what string, keys ...string) {
	for _, p := range k.Order() {
		if slices.Contains(keys, p.Text) {
			b.log.Fail(p, "an expectation of %s has no %q", what, p.Text)
		}
	}
}

func (b *binder) choice(p *file.Passage, key string, values ...string) string {
	if !slices.Contains(values, p.Text) {
		b.log.FailHint(p, file.DidYouMean(p.Text, values), "%s cannot be %s", key, strconv.Quote(p.Text))
	}
	return p.Text
}

func (b *binder) customer(k *Keys) string {
	if p := k.Text("customer"); p != nil {
		if !b.knows(p.Text) {
			b.log.FailHint(p, file.DidYouMean(p.Text, b.customers()), "no event of the test is of the customer %q", p.Text)
		}
		return p.Text
	}
	if !k.Has("customer") && !b.knows(someone) {
		b.log.FailHint(k.At(), file.OneOf(b.customers()), "an expectation names no customer, and all events do")
	}
	return someone
}

func (b *binder) knows(customer string) bool {
	_, found := slices.BinarySearch(b.customers(), customer)
	return found || len(b.test.events) == 0
}

// customers are those that the events are of.
func (b *binder) customers() []string {
	if b.whom == nil {
		for i := range b.test.events {
			b.whom = append(b.whom, b.test.events[i].Customer)
		}
		slices.Sort(b.whom)
		b.whom = slices.Compact(b.whom)
	}
	return b.whom
}

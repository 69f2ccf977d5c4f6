package rule

import (
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"go.yaml.in/yaml/v4"
)

// trigger is a trigger as written: what needs no expression is already in spec.
type trigger struct {
	id      *passage
	spec    plan.Trigger
	streams []*passage // inactivity
	date    *passage   // anniversary
	when    *passage   // rule
	fields  []declaration
	feb29   bool // whether it says what 29 February means
}

var (
	triggerKinds = []string{"abandoned_cart", "inactivity", "anniversary", "rule"}
	laterKinds   = []string{"behaviour_change", "lifecycle"}
	// commonWords may stand in every trigger, kindWords in those of one kind.
	commonWords = []string{"id", "kind", "name", "description", "reentry"}
	kindWords   = map[string][]string{
		"abandoned_cart": {"after"},
		"inactivity":     {"streams", "after"},
		"anniversary":    {"date", "at", "offset", "feb_29"},
		"rule":           {"when", "fields"},
	}
	laterTriggerWords = []string{
		"cooldown", "only_if", "not_if", "quiet_hours", "consent", "channel", "at_most", "per", "cancel", "since",
		"stream", "recent", "baseline", "below", "above", "lifecycle", "from", "to", "hold", "purpose", "enabled",
	}
)

func (r *reader) trigger(n *yaml.Node) {
	kind := peek(n, "kind")
	w := words{known: commonWords, later: laterTriggerWords}
	for _, k := range triggerKinds {
		if k == kind {
			w.known = append(commonWords[:len(commonWords):len(commonWords)], kindWords[k]...)
		} else {
			w.elsewhere = append(w.elsewhere, kindWords[k]...)
		}
	}
	what := "a trigger of kind " + kind
	if kindWords[kind] == nil {
		// One error is enough: what keys it takes depends on its kind.
		what, w = "a trigger", words{any: true}
	}
	s, ok := r.section(n, what, w)
	if !ok {
		return
	}
	t := trigger{id: r.identify(s, "trigger", "a trigger")}
	if !r.kind(s) {
		return
	}
	r.scalar(s, "name")
	r.scalar(s, "description")
	r.reentry(s, &t)
	switch kind {
	case "abandoned_cart":
		r.abandonedCart(s, &t)
	case "inactivity":
		r.inactivity(s, &t)
	case "anniversary":
		r.anniversary(s, &t)
	case "rule":
		r.ruleTrigger(s, &t)
	}
	if t.id != nil {
		t.spec.ID, t.spec.Pos = t.id.text, posOf(t.id)
		r.doc.triggers = append(r.doc.triggers, t)
	}
}

// peek looks for the value of a key before the mapping is checked.
func peek(n *yaml.Node, key string) string {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1].Value
			}
		}
	}
	return ""
}

func (r *reader) kind(s *section) bool {
	p := r.required(s, "kind", "add kind: "+strings.Join(triggerKinds, ", "))
	if p == nil {
		return false
	}
	if kindWords[p.text] != nil {
		return true
	}
	for _, k := range laterKinds {
		if p.text == k {
			r.failHint(p, oneOf(triggerKinds), "this version does not have triggers of kind %s", k)
			return false
		}
	}
	r.failHint(p, didYouMean(p.text, triggerKinds), "no triggers of kind %s", strconv.Quote(p.text))
	return false
}

func (r *reader) reentry(s *section, t *trigger) {
	n := s.vals["reentry"]
	if n == nil {
		return
	}
	switch n.Value {
	case "every_time":
	case "once":
		t.spec.Reentry = plan.Once
	default:
		value := n.Value
		if n.Kind != yaml.ScalarNode {
			value = "that is " + kindOf(n)
		}
		names := []string{"every_time", "once"}
		r.failHint(offset{r.file, r.file.offset(n.Line, n.Column)}, didYouMean(n.Value, names), "this version does not have a reentry %s", value)
	}
}

// abandonedCart: the cart holds items and nothing was bought for a while since
// it last changed.
func (r *reader) abandonedCart(s *section, t *trigger) {
	t.spec.Kind, t.spec.After = plan.AbandonedCart, 30*60_000
	if p := r.scalar(s, "after"); p != nil {
		t.spec.After = r.delay(p, maxCart)
	}
}

// inactivity: nothing was heard of the customer for a while.
func (r *reader) inactivity(s *section, t *trigger) {
	t.spec.Kind = plan.Inactivity
	if p := r.required(s, "after", "add after: how long the silence lasts, such as 45d"); p != nil {
		t.spec.After = r.delay(p, maxWindow)
	}
	if n := s.vals["streams"]; n != nil {
		t.streams = r.texts(n, "streams")
		if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
			r.failHint(offset{r.file, r.file.offset(n.Line, n.Column)}, "take the key out to mean any activity", "streams names no stream")
		}
	}
}

// anniversary: the day of a date comes round.
func (r *reader) anniversary(s *section, t *trigger) {
	t.spec.Kind, t.spec.At = plan.Anniversary, 9*3_600_000
	t.date = r.required(s, "date", "add date: such as profile.birth_date or first(purchase)")
	if p := r.scalar(s, "at"); p != nil {
		at, err := time.Parse("15:04", p.text)
		if err != nil || len(p.text) != 5 {
			r.failHint(p, `write a local time as "09:00"`, "%s is not a time of day", strconv.Quote(p.text))
		}
		t.spec.At = expr.Millis(at.Hour()*3_600_000 + at.Minute()*60_000)
	}
	if p := r.scalar(s, "offset"); p != nil {
		t.spec.Offset = r.days(p)
	}
	if p := r.scalar(s, "feb_29"); p != nil {
		t.spec.MarFirst, t.feb29 = r.feb29(p), true
	}
}

// feb29 reads what being born on 29 February means in common years.
func (r *reader) feb29(p *passage) (marFirst bool) {
	names := []string{"feb_28", "mar_1"}
	if p.text != names[0] && p.text != names[1] {
		r.failHint(p, didYouMean(p.text, names), "feb_29 is feb_28 or mar_1, not %s", strconv.Quote(p.text))
	}
	return p.text == names[1]
}

// ruleTrigger: a condition becomes true.
func (r *reader) ruleTrigger(s *section, t *trigger) {
	t.spec.Kind = plan.Rule
	t.when = r.required(s, "when", "add when: the condition that sends the message")
	n := s.vals["fields"]
	if n == nil {
		return
	}
	f, ok := r.section(n, "fields", words{any: true})
	if !ok {
		return
	}
	for _, name := range f.order {
		if !nameForm.MatchString(name.text) {
			r.failHint(name, "use letters, digits and _", "%s cannot be the name of a field", strconv.Quote(name.text))
			continue
		}
		if text := r.scalar(f, name.text); text != nil {
			t.fields = append(t.fields, declaration{name, text})
		}
	}
}

// delay reads a length of time above zero.
func (r *reader) delay(p *passage, most expr.Millis) expr.Millis {
	d, err := model.ParseDuration(strings.TrimSpace(p.text))
	after := expr.Millis(time.Duration(d).Milliseconds())
	switch {
	case err != nil:
		r.failHint(p, "write a number with a unit: 30m, 1h30m, 45d", "%s is not a length of time", strconv.Quote(p.text))
	case after <= 0:
		r.fail(p, "the length of time must be above zero")
	case after > most:
		r.fail(p, "the length of time is at most %s", expr.FormatDuration(most))
	}
	return after
}

// days reads a number of whole days, which may be negative.
func (r *reader) days(p *passage) int {
	text, negative := strings.CutPrefix(p.text, "-")
	d, err := model.ParseDuration(strings.TrimPrefix(text, "+"))
	n := int(time.Duration(d) / (24 * time.Hour))
	switch {
	case err != nil:
		r.failHint(p, "write a number of days: -7d, 0d, 3d", "%s is not a number of days", strconv.Quote(p.text))
	case time.Duration(d)%(24*time.Hour) != 0:
		r.failHint(p, `set the time of day with at: "09:00"`, "an offset has whole days, %s has not", p.text)
	case n > 365:
		r.fail(p, "an offset is at most 365 days")
	}
	if negative {
		return -n
	}
	return n
}

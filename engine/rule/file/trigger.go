package file

import (
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/plan"
)

// Trigger is a trigger as written: what needs no expression is already in spec.
type Trigger struct {
	ID   *Passage
	Was  *Passage // the id before, nil if it had no other
	Spec plan.Trigger
	// What the settings of the kind that need an expression hold, nil where they
	// are missing.
	Streams []*Passage
	Input   *Passage
	When    *Passage
	Fields  []Declaration
	Allow   *Allow
}

var (
	// commonWords are the keys of every trigger, besides the settings of its kind.
	commonWords       = []string{"id", "was", "kind", "name", "description", "reentry"}
	laterTriggerWords = []string{
		"cooldown", "only_if", "not_if", "quiet_hours", "consent", "channel", "at_most", "per", "cancel", "since",
		"stream", "recent", "baseline", "below", "above", "lifecycle", "from", "to", "hold", "purpose", "enabled",
	}
	// nearestOfRule and nearestOfKind say what to do today in the place of keys of later
	// versions: with a condition, and without one.
	nearestOfRule = map[string]string{
		"consent": `add && consented("email") to when`,
		"only_if": "join it to when with &&",
		"not_if":  "join it to when with && !(…)",
	}
	nearestOfKind = map[string]string{
		"consent": `let the sender of the message check consent, or make it a trigger of kind rule with consented("email") in when; without either, everybody gets it`,
		"only_if": "let the sender of the message check it, or make it a trigger of kind rule with it in when",
		"not_if":  "let the sender of the message check it, or make it a trigger of kind rule with it in when",
	}
)

func (r *reader) trigger(n *yaml.Node) {
	kind := r.kindOf(peek(n, "kind"))
	// One error is enough if there is no such kind: what keys there are depends on it.
	what, w := "a trigger", words{any: true}
	if kind != nil {
		what, w = "a trigger of kind "+kind.Name, r.triggerWords(kind)
	}
	s, ok := r.section(n, what, w)
	if !ok {
		return
	}
	t := Trigger{ID: r.identify(s, "trigger", "a trigger")}
	if kind == nil {
		r.noKind(s)
		return
	}
	t.Was = r.was(s, t.ID, "trigger")
	r.scalar(s, "name")
	r.scalar(s, "description")
	t.Allow = r.allow(s, r.all)
	r.reentry(s, &t)
	r.settings(s, kind, &t)
	if t.ID != nil {
		t.Spec.ID, t.Spec.Pos = t.ID.Text, PosOf(t.ID)
		r.doc.Triggers = append(r.doc.Triggers, t)
	}
}

// kindOf returns the kind of that name, nil if this version has none.
func (r *reader) kindOf(name string) *plan.Kind {
	for _, k := range r.kinds {
		if k.Name == name && !k.Later {
			return k
		}
	}
	return nil
}

// triggerWords are the keys of a trigger of some kind.
func (r *reader) triggerWords(kind *plan.Kind) words {
	w := words{known: commonWords[:len(commonWords):len(commonWords)], later: laterTriggerWords, nearest: nearestOfKind}
	if kind != nil && slices.ContainsFunc(kind.Settings, func(s plan.Setting) bool { return s.Form == plan.SetCondition }) {
		w.nearest = nearestOfRule
	}
	for _, k := range r.kinds {
		for _, s := range k.Settings {
			if k == kind {
				w.known = append(w.known, s.Word)
			} else {
				w.elsewhere = append(w.elsewhere, s.Word)
			}
		}
	}
	w.known = append(w.known, "allow")
	return w
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

// noKind says that a trigger has no kind, or none that this version has.
func (r *reader) noKind(s *section) {
	var names, later []string
	for _, k := range r.kinds {
		if k.Later {
			later = append(later, k.Name)
		} else {
			names = append(names, k.Name)
		}
	}
	switch p := r.required(s, "kind", "add kind: "+strings.Join(names, ", ")); {
	case p == nil:
	case slices.Contains(later, p.Text):
		r.FailHint(p, OneOf(names), "this version does not have triggers of kind %s", p.Text)
	default:
		r.FailHint(p, DidYouMean(p.Text, names), "unknown trigger kind %s", strconv.Quote(p.Text))
	}
}

func (r *reader) reentry(s *section, t *Trigger) {
	n := s.vals["reentry"]
	if n == nil {
		return
	}
	switch n.Value {
	case "every_time":
	case "once":
		t.Spec.Reentry = plan.Once
	default:
		value := n.Value
		if n.Kind != yaml.ScalarNode {
			value = kindOf(n)
		}
		names := []string{"every_time", "once"}
		r.FailHint(Offset{r.file, r.file.offset(n.Line, n.Column)}, DidYouMean(n.Value, names), "reentry must be every_time or once, not %s", value)
	}
}

// settings reads the settings of the kind.
func (r *reader) settings(s *section, kind *plan.Kind, t *Trigger) {
	t.Spec.Kind = kind
	t.Spec.Values = kind.NoValues()
	for i := range kind.Settings {
		set := &kind.Settings[i]
		if _, ok := s.vals[set.Word]; !ok && set.Missing != "" {
			r.FailHint(s.at, set.Missing, "%s has no %s", s.what, set.Word)
			continue
		}
		switch set.Form {
		case plan.SetValue:
			if p := r.scalar(s, set.Word); p != nil {
				v, flaw := set.Read(p.Text)
				t.Spec.Values[i] = v
				r.flaw(p, flaw)
			}
		case plan.SetStreams:
			t.Streams = r.streams(s, set.Word)
		case plan.SetInput:
			t.Input = r.scalar(s, set.Word)
		case plan.SetCondition:
			t.When = r.scalar(s, set.Word)
		case plan.SetFields:
			t.Fields = r.fields(s, set.Word)
		}
	}
}

// flaw tells what is wrong with the text of a setting, if anything is.
func (r *reader) flaw(p *Passage, f *plan.Flaw) {
	if f == nil {
		return
	}
	hint := f.Remedy
	if f.Choices != nil {
		hint = DidYouMean(p.Text, f.Choices)
	}
	r.FailHint(p, hint, "%s", f.Message)
}

// streams reads a list of streams.
func (r *reader) streams(s *section, word string) []*Passage {
	n := s.vals[word]
	if n == nil {
		return nil
	}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.FailHint(Offset{r.file, r.file.offset(n.Line, n.Column)}, "remove the key to count any activity", "%s is empty", word)
	}
	return r.texts(n, word)
}

// fields reads named expressions.
func (r *reader) fields(s *section, word string) (l []Declaration) {
	n := s.vals[word]
	if n == nil {
		return nil
	}
	f, ok := r.section(n, word, words{any: true})
	if !ok {
		return nil
	}
	for _, name := range f.order {
		if !NameForm.MatchString(name.Text) {
			r.FailHint(name, "use letters, digits and _", "%s is not a valid field name", strconv.Quote(name.Text))
			continue
		}
		if text := r.scalar(f, name.Text); text != nil {
			l = append(l, Declaration{name, text, r.all})
		}
	}
	return l
}

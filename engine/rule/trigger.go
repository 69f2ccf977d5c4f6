package rule

import (
	"slices"
	"strconv"
	"strings"

	"github.com/segmill/segmill/engine/plan"
	"go.yaml.in/yaml/v4"
)

// trigger is a trigger as written: what needs no expression is already in spec.
type trigger struct {
	id   *passage
	spec plan.Trigger
	// What the settings of the kind that need an expression hold, nil where they
	// are missing.
	streams []*passage
	input   *passage
	when    *passage
	fields  []declaration
}

var (
	// commonWords are the keys of every trigger, besides the settings of its kind.
	commonWords       = []string{"id", "kind", "name", "description", "reentry"}
	laterTriggerWords = []string{
		"cooldown", "only_if", "not_if", "quiet_hours", "consent", "channel", "at_most", "per", "cancel", "since",
		"stream", "recent", "baseline", "below", "above", "lifecycle", "from", "to", "hold", "purpose", "enabled",
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
	t := trigger{id: r.identify(s, "trigger", "a trigger")}
	if kind == nil {
		r.noKind(s)
		return
	}
	r.scalar(s, "name")
	r.scalar(s, "description")
	r.reentry(s, &t)
	r.settings(s, kind, &t)
	if t.id != nil {
		t.spec.ID, t.spec.Pos = t.id.text, posOf(t.id)
		r.doc.triggers = append(r.doc.triggers, t)
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
	w := words{known: commonWords[:len(commonWords):len(commonWords)], later: laterTriggerWords}
	for _, k := range r.kinds {
		for _, s := range k.Settings {
			if k == kind {
				w.known = append(w.known, s.Word)
			} else {
				w.elsewhere = append(w.elsewhere, s.Word)
			}
		}
	}
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
	case slices.Contains(later, p.text):
		r.failHint(p, oneOf(names), "this version does not have triggers of kind %s", p.text)
	default:
		r.failHint(p, didYouMean(p.text, names), "unknown trigger kind %s", strconv.Quote(p.text))
	}
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
			value = kindOf(n)
		}
		names := []string{"every_time", "once"}
		r.failHint(offset{r.file, r.file.offset(n.Line, n.Column)}, didYouMean(n.Value, names), "reentry must be every_time or once, not %s", value)
	}
}

// settings reads the settings of the kind.
func (r *reader) settings(s *section, kind *plan.Kind, t *trigger) {
	t.spec.Kind = kind
	t.spec.Values = kind.NoValues()
	for i := range kind.Settings {
		set := &kind.Settings[i]
		if _, ok := s.vals[set.Word]; !ok && set.Missing != "" {
			r.failHint(s.at, set.Missing, "%s has no %s", s.what, set.Word)
			continue
		}
		switch set.Form {
		case plan.SetValue:
			if p := r.scalar(s, set.Word); p != nil {
				v, flaw := set.Read(p.text)
				t.spec.Values[i] = v
				r.flaw(p, flaw)
			}
		case plan.SetStreams:
			t.streams = r.streams(s, set.Word)
		case plan.SetInput:
			t.input = r.scalar(s, set.Word)
		case plan.SetCondition:
			t.when = r.scalar(s, set.Word)
		case plan.SetFields:
			t.fields = r.fields(s, set.Word)
		}
	}
}

// flaw tells what is wrong with the text of a setting, if anything is.
func (r *reader) flaw(p *passage, f *plan.Flaw) {
	if f == nil {
		return
	}
	hint := f.Remedy
	if f.Choices != nil {
		hint = didYouMean(p.text, f.Choices)
	}
	r.failHint(p, hint, "%s", f.Message)
}

// streams reads a list of streams.
func (r *reader) streams(s *section, word string) []*passage {
	n := s.vals[word]
	if n == nil {
		return nil
	}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.failHint(offset{r.file, r.file.offset(n.Line, n.Column)}, "remove the key to count any activity", "%s is empty", word)
	}
	return r.texts(n, word)
}

// fields reads named expressions.
func (r *reader) fields(s *section, word string) (l []declaration) {
	n := s.vals[word]
	if n == nil {
		return nil
	}
	f, ok := r.section(n, word, words{any: true})
	if !ok {
		return nil
	}
	for _, name := range f.order {
		if !nameForm.MatchString(name.text) {
			r.failHint(name, "use letters, digits and _", "%s is not a valid field name", strconv.Quote(name.text))
			continue
		}
		if text := r.scalar(f, name.text); text != nil {
			l = append(l, declaration{name, text})
		}
	}
	return l
}

package file

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Allow are the warnings that a rule, or a file, says are meant.
type Allow struct {
	entries []*allowed
	// around is what holds for all of the lifecycle or file.
	around *Allow
}

// allowed is one warning with whether there is one.
type allowed struct {
	id   ID
	at   *Passage
	used bool
}

// Takes reports whether warnings of a class are allowed, and notes that there is one.
func (a *Allow) Takes(id ID) bool {
	for ; a != nil; a = a.around {
		for _, e := range a.entries {
			if e.id == id {
				e.used = true
				return true
			}
		}
	}
	return false
}

// Allowing says what is allowed from now on, nil for nothing, and returns what was before.
func (l *Log) Allowing(a *Allow) (before *Allow) {
	before, l.allow = l.allow, a
	return before
}

// Unused warns of what is allowed in vain. Two classes are found elsewhere, by the day and
// by the plan, and may or may not be there.
func (l *Log) Unused() {
	for _, a := range l.allows {
		for _, e := range a.entries {
			if !e.used && e.id != ReviewOverdue && e.id != CoarseWindow {
				l.Warn(e.at, UnusedAllow.Hint("remove it"), "there is no warning %s here", e.id)
			}
		}
	}
}

// allow reads what a mapping allows: each class of warnings with the reason.
func (r *reader) allow(s *section, around *Allow) *Allow {
	n := s.vals["allow"]
	if n == nil {
		return around
	}
	list, ok := r.section(n, "allow", words{any: true})
	if !ok {
		return around
	}
	a := &Allow{around: around}
	for _, name := range list.order {
		id, known := ID(name.Text), false
		var names []string
		for _, one := range ids {
			names = append(names, string(one))
			known = known || one == id
		}
		if !known {
			r.FailHint(name, DidYouMean(name.Text, names), "there are no warnings %s", strconv.Quote(name.Text))
			continue
		}
		if v := list.vals[name.Text]; v.Kind == yaml.ScalarNode && strings.TrimSpace(v.Value) == "" {
			r.FailHint(newPassage(r.file, v), "say why: {"+name.Text+`: "tiers overlap by design"}`, "%s is allowed without a reason", name.Text)
			continue
		}
		if r.scalar(list, name.Text) != nil {
			a.entries = append(a.entries, &allowed{id: id, at: name})
		}
	}
	r.allows = append(r.allows, a)
	return a
}

// Review is the day by which somebody looks at a rule again.
type Review struct {
	At    *Passage
	Allow *Allow
}

package ruletest

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine/rule/file"
)

var placeholder = regexp.MustCompile(`\$(\$|[A-Za-z_][A-Za-z0-9_]*)`)

// fill returns a test in which each placeholder $name has the value that a row of its
// cases gives the name: as it is where the placeholder is the whole value, lists
// included, and as text within a text. $$ is a dollar sign. The values keep their places
// in the row, so that errors point there.
func (f *File) fill(n, row *yaml.Node) (*yaml.Node, bool) {
	k, ok := f.form.Keys(row, "a case")
	if !ok {
		return nil, false
	}
	values := map[string]*yaml.Node{}
	var names []string
	for _, key := range k.Order() {
		values[key.Text] = k.Node(key.Text)
		names = append(names, key.Text)
	}
	s := filler{File: f, values: values, names: names, used: map[string]bool{}, ok: true}
	filled := s.node(n)
	for _, key := range k.Order() {
		if !s.used[key.Text] {
			f.log.FailHint(key, "write $"+key.Text+" where its value belongs", "nothing in the test uses %q", key.Text)
			s.ok = false
		}
	}
	return filled, s.ok
}

type filler struct {
	*File
	values map[string]*yaml.Node
	names  []string
	used   map[string]bool
	ok     bool
}

func (s *filler) node(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.ScalarNode {
		return s.scalar(n)
	}
	out := *n
	out.Content = make([]*yaml.Node, len(n.Content))
	for i, c := range n.Content {
		out.Content[i] = s.node(c)
	}
	return &out
}

func (s *filler) scalar(n *yaml.Node) *yaml.Node {
	if !strings.Contains(n.Value, "$") {
		return n
	}
	if m := placeholder.FindStringSubmatch(n.Value); m != nil && m[0] == n.Value && m[1] != "$" {
		if v := s.value(n, m[1]); v != nil {
			return v
		}
		return n
	}
	out := *n
	out.Value = placeholder.ReplaceAllStringFunc(n.Value, func(m string) string {
		if m == "$$" {
			return "$"
		}
		v := s.value(n, m[1:])
		switch {
		case v == nil:
			return m
		case v.Kind != yaml.ScalarNode:
			s.log.Fail(s.form.At(v), "%s is within a text, and must be a single value", m)
			s.ok = false
			return m
		}
		return v.Value
	})
	return &out
}

// value returns what the row gives a name, nil after an error.
func (s *filler) value(at *yaml.Node, name string) *yaml.Node {
	s.used[name] = true
	if v := s.values[name]; v != nil {
		return v
	}
	s.log.FailHint(s.form.At(at), file.DidYouMean(name, s.names), "the case has no %q", name)
	s.ok = false
	return nil
}

// Package ruletest runs tests of rules: files that say which events come when, and what
// the rules must emit. The engine runs as in a replay, with a clock that follows the
// events.
//
// The one rule it keeps: a test says everything that the rules it names emit. What is
// emitted and not expected is as wrong as what is expected and not emitted.
//
// It reads no files: the caller does.
package ruletest

import (
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/segmill/segmill/engine"
	"github.com/segmill/segmill/engine/expr"
	"github.com/segmill/segmill/engine/plan"
	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/file"
)

// File is a test file whose form was read.
type File struct {
	Name string
	// Rules are the rule files and directories as written, relative to the file; none
	// stands for its directory.
	Rules []*file.Passage

	form  *file.Form
	log   *file.Log
	tests []*yaml.Node
}

// Test is a test that can be run: one row of it, if it has cases.
type Test struct {
	File, Name string
	Pos        plan.Pos

	rules    *Rules
	start    engine.Millis
	until    engine.Millis
	events   []engine.Event
	expected []expectation
	// Names are the segments, stages and triggers that it is about; nil: all.
	Names []string
}

// expectation is one effect that must come.
type expectation struct {
	pos      plan.Pos
	at       engine.Millis
	customer string
	action   engine.Action
	name     string
	cause    string // "" if any will do
	from     string
	message  map[string]*yaml.Node // of a trigger
}

// Read reads the form of a test file. What is wrong with it is in log, and nothing in
// the file can be run then.
func Read(f rule.File, log *file.Log) *File {
	form, root := file.Open(f, "test", log)
	t := &File{Name: f.Name, form: form, log: log}
	if root == nil {
		return t
	}
	k, ok := form.Keys(root, "a test file", fileKeys...)
	if !ok {
		return t
	}
	if n := k.Node("rules"); n != nil {
		t.Rules = form.Texts(n, "rules")
	}
	if !k.Has("tests") {
		log.FailHint(k.At(), "add tests: a list of name, events and expect", "a test file has no tests")
	}
	t.tests = form.List(k.Node("tests"), "tests")
	return t
}

// Bind checks the tests of the file against the rules and returns those that can be
// run. Errors are in the log that the file was read with.
func (f *File) Bind(r *Rules) []*Test {
	var tests []*Test
	for _, n := range f.tests {
		tests = append(tests, f.test(r, n)...)
	}
	return tests
}

var (
	fileKeys = []string{"rules", "tests"}
	testKeys = []string{"name", "start", "of", "cases", "events", "expect", "run_until"}
)

// test binds a test, to one test for each of its cases.
func (f *File) test(r *Rules, n *yaml.Node) []*Test {
	k, ok := f.form.Keys(n, "a test", testKeys...)
	if !ok {
		return nil
	}
	if !k.Has("cases") {
		b := binder{File: f, rules: r}
		return b.bind(n, "")
	}
	rows := f.form.List(k.Node("cases"), "cases")
	if len(rows) == 0 && k.Node("cases").Kind == yaml.SequenceNode {
		f.log.FailHint(f.form.At(k.Node("cases")), "add rows such as - {revenue: 100}", "cases is empty")
	}
	var tests []*Test
	for i, row := range rows {
		filled, ok := f.fill(without(n, "cases"), row)
		if !ok {
			continue
		}
		b := binder{File: f, rules: r, at: row}
		tests = append(tests, b.bind(filled, "case "+strconv.Itoa(i+1))...)
	}
	return tests
}

// without returns a mapping without one of its keys.
func without(n *yaml.Node, key string) *yaml.Node {
	out := *n
	out.Content = nil
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != key {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
		}
	}
	return &out
}

// Relative writes an instant as tests do, as the time since start.
func Relative(at, start engine.Millis) string { return expr.FormatDuration(at - start) }

// Known returns the keys that each mapping of a test file may have, by what it is: those of
// events are the ones that are no fields.
func Known() map[string][]string {
	return map[string][]string{"file": fileKeys, "test": testKeys, "event": eventKeys, "expectation": expectKeys}
}

package docs

import (
	"strings"
	"testing"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/ruletest"
)

// TestTestExamples: every test file in the documents passes with the rule file before
// it.
func TestTestExamples(t *testing.T) {
	for path, least := range map[string]int{"testing.md": 3, "cookbook.md": 17} {
		var rules *ruletest.Rules
		n := 0
		for _, b := range blocks(t, path) {
			switch {
			case b.info == "yaml" && strings.HasPrefix(b.text, "version:"):
				rules = testedRules(t, b.text)
			case b.info == "yaml" && strings.HasPrefix(b.text, "tests:"):
				n++
				runTests(t, path, rules, b.text)
			}
		}
		if n < least {
			t.Errorf("%s has %d test files", path, n)
		}
	}
}

func testedRules(t *testing.T, text string) *ruletest.Rules {
	t.Helper()
	rules, err := app.CompileRules([]rule.File{{Name: "r.yaml", Data: []byte(text)}})
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	if len(rules.Warnings) > 0 {
		t.Errorf("%s\n%v", text, rules.Warnings)
	}
	r, err := ruletest.NewRules(rules.Engine, app.Zones(), app.DefaultGrace, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func runTests(t *testing.T, path string, rules *ruletest.Rules, text string) {
	t.Helper()
	var log file.Log
	tests := ruletest.Read(rule.File{Name: path, Data: []byte(text)}, &log).Bind(rules)
	if errs, _ := log.Split(); len(errs) > 0 {
		t.Errorf("%s:\n%s\n%v", path, text, errs)
	}
	report := &ruletest.Report{Files: 1}
	for _, x := range tests {
		report.Results = append(report.Results, x.Run())
	}
	if !report.Passed() || len(tests) == 0 {
		var b strings.Builder
		report.Text(&b)
		t.Errorf("%s:\n%s\n%s", path, text, b.String())
	}
}

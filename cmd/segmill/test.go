package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/engine/rule/file"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/internal/rulefiles"
	"github.com/segmill/segmill/internal/ruletest"
)

type testFlags struct {
	only     string
	coverage bool
	output   string
	require  string
}

// requireAll is --require without a directory.
const requireAll = "all rules"

func testCommand() *cobra.Command {
	var f testFlags
	c := &cobra.Command{
		Use:   "test RULES...",
		Short: "Run the tests of rules",
		Long: `test runs tests of rules: *_test.yaml files, which say which events come when and
which changes and triggers must come of them. Of a directory, all test files below it
are run; of a rule file such as loyal.yaml, the tests in loyal_test.yaml.

  segmill test rules
  segmill test --run 'third purchase' rules/loyal.yaml

With --coverage it says which rules and stages were never true or never false of a
customer, which triggers never fired, and which parts of a condition never decided.
With --require it fails if a segment, stage or trigger has no test; with
--require=DIR only of those that are not in the rule files of DIR, or differ there.

The exit code is 1 if a test fails, and 78 if a rule or test file has errors.
docs/testing.md describes the files.`,
		Args: arguments(cobra.MinimumNArgs(1), "segmill test rules"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains([]string{"text", "json", "junit"}, f.output) {
				return &exitError{exitUsage, fmt.Errorf("-o %s: must be text, json or junit", f.output)}
			}
			only, err := regexp.Compile(f.only)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("--run: %w", err)}
			}
			return f.run(cmd, args, only)
		},
	}
	fl := c.Flags()
	fl.StringVar(&f.only, "run", "", "run only tests whose name matches this regular expression")
	fl.BoolVar(&f.coverage, "coverage", false, "say what the tests do not show of the rules")
	fl.StringVarP(&f.output, "output", "o", "text", "text, json or junit")
	fl.StringVar(&f.require, "require", "", "fail if a rule has no test; with =DIR, only rules that differ from those in DIR")
	fl.Lookup("require").NoOptDefVal = requireAll
	return c
}

func (f *testFlags) run(cmd *cobra.Command, args []string, only *regexp.Regexp) error {
	s := suite{}
	if f.coverage {
		s.coverage = ruletest.NewCoverage()
	}
	need, err := f.needed(args)
	if err != nil {
		return badConfig(err)
	}
	report, err := bounded.Within(cmd.Context(), func() (*ruletest.Report, error) {
		if err := s.load(args); err != nil {
			return nil, badConfig(err)
		}
		return s.run(only), nil
	})
	if err != nil {
		return interrupted(cmd, err)
	}
	report.Require(need, s.tests)
	if f.coverage {
		report.Covered = true
		report.Gaps, report.Shown, report.Rules = s.coverage.Gaps()
	}
	if err := f.print(cmd.OutOrStdout(), report); err != nil {
		return failed(err)
	}
	if !report.Passed() {
		return failed(nil)
	}
	return nil
}

func (f *testFlags) print(w io.Writer, r *ruletest.Report) error {
	switch f.output {
	case "json":
		return r.JSON(w)
	case "junit":
		return r.JUnit(w)
	}
	r.Text(w)
	return nil
}

// needed returns the rules that --require wants a test of.
func (f *testFlags) needed(args []string) (names []string, err error) {
	if f.require == "" {
		return nil, nil
	}
	paths := slices.DeleteFunc(slices.Clone(args), rulefiles.IsTest)
	if len(paths) == 0 {
		return nil, errors.New("--require: name rule files or directories, not tests alone")
	}
	now, err := app.LoadRules(paths)
	if err != nil {
		return nil, err
	}
	var before map[string]string
	if f.require != requireAll {
		old, err := app.LoadRules([]string{f.require})
		if err != nil {
			return nil, err
		}
		before = old.Engine.Versions()
	}
	for name, version := range now.Engine.Versions() {
		what, _, _ := strings.Cut(name, ":")
		if (what == name || what == "trigger") && before[name] != version {
			names = append(names, name)
		}
	}
	return names, nil
}

// suite is the tests of some rule files and directories.
type suite struct {
	files    int
	tests    []*ruletest.Test
	coverage *ruletest.Coverage // nil: nobody asks
	sets     map[string]*ruletest.Rules
	loaded   map[string]*app.Rules // that need not be read again, by setKey
}

// setKey names the rule set of paths.
func setKey(paths []string) string {
	clean := make([]string, len(paths))
	for i, p := range paths {
		clean[i] = filepath.Clean(p)
	}
	return strings.Join(clean, "\x00")
}

// load reads and checks the test files that belong to paths. The error has all that is
// wrong with them and with the rules that they name.
func (s *suite) load(paths []string) error {
	files, err := rulefiles.Tests(paths)
	if err != nil {
		return err
	}
	s.files = len(files)
	var log file.Log
	var wrong rule.Problems
	for _, f := range files {
		if err := s.loadFile(f, &log); err != nil {
			var ps rule.Problems
			if !errors.As(err, &ps) {
				return err
			}
			wrong = append(wrong, ps...)
		}
	}
	errs, _ := log.Split()
	if wrong = append(errs, distinct(wrong)...); len(wrong) > 0 {
		return wrong
	}
	return nil
}

// distinct returns problems of rule files, which several tests may name, once.
func distinct(ps rule.Problems) (l rule.Problems) {
	for _, p := range ps {
		if !slices.Contains(l, p) {
			l = append(l, p)
		}
	}
	return l
}

func (s *suite) loadFile(f rule.File, log *file.Log) error {
	errs := log.Errors()
	t := ruletest.Read(f, log)
	if log.Errors() > errs {
		return nil
	}
	dir := filepath.Dir(f.Name)
	paths := []string{dir}
	if len(t.Rules) > 0 {
		paths = nil
	}
	for _, p := range t.Rules {
		path := filepath.Join(dir, filepath.FromSlash(p.Text))
		if _, err := os.Stat(path); err != nil {
			log.FailHint(p, "name files and directories from here: "+dir, "there is no rule file %s", path)
			return nil
		}
		paths = append(paths, path)
	}
	key := setKey(paths)
	if s.sets == nil {
		s.sets = map[string]*ruletest.Rules{}
	}
	if s.sets[key] == nil {
		rules, err := s.rules(key, paths)
		if err != nil {
			var ps rule.Problems
			if !errors.As(err, &ps) {
				return fmt.Errorf("%s: %w", f.Name, err)
			}
			return err
		}
		if s.sets[key], err = ruletest.NewRules(rules.Engine, app.Zones(), app.DefaultGrace, s.coverage); err != nil {
			return err
		}
	}
	s.tests = append(s.tests, t.Bind(s.sets[key])...)
	return nil
}

func (s *suite) rules(key string, paths []string) (*app.Rules, error) {
	if r := s.loaded[key]; r != nil {
		return r, nil
	}
	return app.LoadRules(paths)
}

// run runs the tests whose names match.
func (s *suite) run(only *regexp.Regexp) *ruletest.Report {
	r := &ruletest.Report{Files: s.files}
	for _, t := range s.tests {
		if only.MatchString(t.Title()) {
			r.Results = append(r.Results, t.Run())
		}
	}
	return r
}

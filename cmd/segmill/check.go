package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/bounded"
	"github.com/segmill/segmill/internal/findings"
	"github.com/segmill/segmill/internal/rulefiles"
)

type checkFlags struct {
	deny, online bool
	config       string
	output       string
	today        string
}

func checkCommand() *cobra.Command {
	var f checkFlags
	c := &cobra.Command{
		Use:   "check RULES... | check - | check -c segmill.yaml [--online]",
		Short: "Check rule files and directories, or a configuration",
		Long: `check reads rule files (in a directory: every *.yaml) as one set and reports every
error in them, with its place and a remedy. A - is a rule file on standard input.
Tests of the rules, *_test.yaml, are checked too, and not run: that is segmill test.

With -c it reads a configuration and its rules. No broker is needed, and neither are
the environment variables that the configuration names.

With --online it also checks with the brokers and the schema registry whether the
engine could run: whether the topics exist and those that it writes have one
partition for each task, which settings are weaker than the guarantees assume, and,
in the newest 1,000 records of each input partition, which records are on the wrong
partition and which are bad input. It changes nothing.

With -o json, sarif or github, errors and warnings go to standard output: for
programs, for code scanning, and as annotations of a GitHub workflow.

The exit code is 78 if there are errors, and 1 if no broker answers.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.ofConfig(cmd) {
				return arguments(cobra.NoArgs, "segmill check -c segmill.yaml")(cmd, args)
			}
			return arguments(cobra.MinimumNArgs(1), "segmill check rules")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case f.output != "text" && !slices.Contains(findings.Formats(), f.output):
				return &exitError{exitUsage, fmt.Errorf("-o %s: must be text, json, sarif or github", f.output)}
			case f.online && f.output != "text":
				return &exitError{exitUsage, errors.New("--online has no -o but text")}
			case f.online:
				return checkOnline(cmd, f.config, f.deny)
			}
			return f.report(cmd, args)
		},
	}
	c.Flags().BoolVar(&f.online, "online", false, "check a configuration against its cluster")
	c.Flags().StringVarP(&f.config, "config", "c", "segmill.yaml", "configuration file")
	c.Flags().BoolVar(&f.deny, "deny-warnings", false, "exit with 78 if there are warnings")
	c.Flags().StringVarP(&f.output, "output", "o", "text", "text, json, sarif or github")
	c.Flags().StringVar(&f.today, "today", time.Now().UTC().Format(time.DateOnly), "the day by which review_by is judged")
	return c
}

// ofConfig reports whether it is a configuration that is checked.
func (f *checkFlags) ofConfig(cmd *cobra.Command) bool {
	return f.online || cmd.Flags().Changed("config")
}

// checked is what a check without brokers found.
type checked struct {
	rules    *app.Rules
	what     string // was checked
	warnings rule.Problems
	overdue  rule.Problems    // reviews, which deny nothing
	unset    []string         // environment variables
	conf     app.ConfigErrors // warnings of the configuration
}

// report checks rules or a configuration and says what is wrong.
func (f *checkFlags) report(cmd *cobra.Command, args []string) error {
	c, err := bounded.Within(cmd.Context(), func() (*checked, error) {
		if f.ofConfig(cmd) {
			return checkConfig(f.config)
		}
		return checkRules(cmd.InOrStdin(), args)
	})
	if ctx := cmd.Context(); ctx.Err() != nil {
		return interrupted(cmd, err)
	}
	if c != nil && c.rules != nil {
		c.overdue = c.rules.Set.Overdue(f.today)
	}
	if f.output != "text" {
		return f.write(cmd.OutOrStdout(), c, err)
	}
	if err != nil {
		return badConfig(err)
	}
	for _, w := range slices.Concat(c.warnings, c.overdue) {
		fmt.Fprintln(cmd.ErrOrStderr(), w)
	}
	for _, w := range c.conf {
		fmt.Fprintln(cmd.ErrOrStderr(), w.Warning())
	}
	for _, name := range c.unset {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: warning: %s\n", f.config, unsetText(name))
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s; %s\n", c.what, problems(len(c.warnings)+len(c.conf)+len(c.unset)))
	return f.denied(c)
}

// denied returns the error of warnings that are not allowed.
func (f *checkFlags) denied(c *checked) error {
	if f.deny && len(c.warnings)+len(c.conf) > 0 {
		return badConfig(errors.New("warnings are denied"))
	}
	return nil
}

func unsetText(name string) string { return "the environment variable " + name + " is not set here" }

// write reports what was found in a form for programs.
func (f *checkFlags) write(w io.Writer, c *checked, wrong error) error {
	l := findingsOf(wrong)
	if c != nil {
		l = append(l, problemFindings(slices.Concat(c.warnings, c.overdue))...)
		for _, w := range c.conf {
			l = append(l, findings.Finding{File: w.File, Line: w.Line, Severity: findings.Warning, Message: w.Message})
		}
		for _, name := range c.unset {
			l = append(l, findings.Finding{File: f.config, Severity: findings.Warning, Message: unsetText(name)})
		}
	}
	if err := findings.Write(w, f.output, l); err != nil {
		return failed(err)
	}
	if wrong != nil {
		return badConfig(nil)
	}
	return f.denied(c)
}

// findingsOf returns what an error says, each thing by itself.
func findingsOf(err error) (l []findings.Finding) {
	var ps rule.Problems
	var conf app.ConfigErrors
	switch {
	case err == nil:
	case errors.As(err, &ps):
		l = problemFindings(ps)
	case errors.As(err, &conf):
		for _, e := range conf {
			l = append(l, findings.Finding{File: e.File, Line: e.Line, Severity: findings.Error, Message: e.Message})
		}
	default:
		l = []findings.Finding{{Severity: findings.Error, Message: err.Error()}}
	}
	return l
}

func problemFindings(ps rule.Problems) (l []findings.Finding) {
	for _, p := range ps {
		f := findings.Finding{
			File: p.Pos.File, Line: p.Pos.Line, Column: p.Pos.Column, Severity: findings.Error, ID: string(p.ID), Message: p.Message, Hint: p.Hint,
		}
		if p.Severity == rule.Warning {
			f.Severity, f.ID = findings.Warning, string(p.ID)
		}
		l = append(l, f)
	}
	return l
}

// stdin is what errors call standard input.
const stdin = "stdin"

// checkRules checks rule files and their tests. Of paths that are all tests, the rules are
// those that the tests name.
func checkRules(in io.Reader, paths []string) (*checked, error) {
	rest := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p == "-" })
	var files []rule.File
	if len(rest) < len(paths) {
		text, err := io.ReadAll(io.LimitReader(in, rule.MaxFileSize+1))
		if err != nil {
			return nil, err
		}
		files = append(files, rule.File{Name: stdin, Data: text})
	}
	testsAlone := !slices.ContainsFunc(paths, func(p string) bool { return !rulefiles.IsTest(p) })
	if len(rest) > 0 && !testsAlone {
		read, err := rulefiles.Rules(rest)
		if err != nil {
			return nil, err
		}
		files = append(files, read...)
	}
	c := &checked{}
	if !testsAlone {
		var err error
		if c.rules, err = app.CompileRules(files); err != nil {
			return nil, err
		}
		c.what, c.warnings = describe(c.rules), c.rules.Warnings
	}
	var s suite
	if c.rules != nil && len(rest) == len(paths) {
		s.loaded = map[string]*app.Rules{setKey(rest): c.rules}
	}
	if err := s.load(rest); err != nil {
		return nil, err
	}
	if testsAlone {
		c.what = fmt.Sprintf("%s: %s", app.Plural(s.files, "file"), app.Plural(len(s.tests), "test"))
	}
	return c, nil
}

func checkConfig(path string) (*checked, error) {
	conf, unset, err := app.CheckConfig(path)
	if err != nil {
		return nil, err
	}
	c, err := checkRules(nil, conf.Rules)
	if err != nil {
		return nil, err
	}
	c.unset = unset
	c.conf, err = conf.CheckRules(path, c.rules)
	return c, err
}

// describe says what a rule set has.
func describe(rules *app.Rules) string {
	s := rules.Set.Spec
	stages := 0
	for _, l := range s.Lifecycles {
		stages += len(l.Stages)
	}
	parts := []string{app.Plural(len(s.Segments), "segment")}
	if len(s.Lifecycles) > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s", app.Plural(len(s.Lifecycles), "lifecycle"), app.Plural(stages, "stage")))
	}
	parts = append(parts, app.Plural(len(s.Triggers), "trigger"))
	return fmt.Sprintf("%s: %s", app.Plural(len(rules.Files), "file"), strings.Join(parts, ", "))
}

func checkOnline(cmd *cobra.Command, config string, deny bool) error {
	conf, err := app.ReadConfigToRun(config)
	if err != nil {
		return badConfig(err)
	}
	rules, err := app.LoadRulesWithin(cmd.Context(), conf.Rules)
	if err != nil {
		return interrupted(cmd, badConfig(err))
	}
	found, err := app.CheckOnline(cmd.Context(), conf, rules, app.RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return failed(err)
	}
	if len(found.Warnings) > 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), found.Warned())
	}
	if len(found.Errors) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%s\n\n%s\n", found.Failed(), app.Plural(len(found.Errors), "error"))
		return badConfig(nil)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s; %s\n", found.Summary, problems(len(found.Warnings)))
	if deny && len(found.Warnings) > 0 {
		return badConfig(errors.New("warnings are denied"))
	}
	return nil
}

func problems(warnings int) string {
	if warnings == 0 {
		return "no problems"
	}
	return app.Plural(warnings, "warning")
}

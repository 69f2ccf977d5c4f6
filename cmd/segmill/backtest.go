package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/backtest"
	"github.com/segmill/segmill/internal/history"
	"github.com/segmill/segmill/internal/page"
)

func backtestCommand() *cobra.Command {
	var f historyFlags
	c := &cobra.Command{
		Use:   "backtest RULES... --events FILE",
		Short: "Show what rules would have done over a history of events",
		Long: `backtest runs rules over files of events and reports how large each segment and stage
would have been over time, how many customers would have entered and left it, and how
often each trigger would have fired. Nothing is written anywhere.

  segmill backtest rules --events orders.jsonl.gz --events visits.jsonl.gz
  segmill backtest rules --events history --from 2026-01-01 --html report.html

` + historyHelp + `

With -o json the report is a JSON document, with -o html a page that needs nothing
else. docs/before-you-apply.md describes them. Lines that are no events are reported on
standard error, and make the exit code 1.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.config != "" {
				return nil
			}
			return arguments(cobra.MinimumNArgs(1), "segmill backtest rules --events events.jsonl")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return &exitError{exitUsage, err}
			}
			if err := f.readConfig(); err != nil {
				return badConfig(err)
			}
			if len(args) == 0 {
				args = f.conf.Rules
			}
			return runBacktest(cmd, &f, args)
		},
	}
	f.add(c.Flags())
	return c
}

func runBacktest(cmd *cobra.Command, f *historyFlags, paths []string) error {
	rules, err := app.LoadRulesWithin(cmd.Context(), paths)
	if err != nil {
		return interrupted(cmd, badConfig(err))
	}
	return f.pass(cmd, []*app.Rules{rules}, func(h *history.History, opt backtest.Options) (report, error) {
		b, err := backtest.Run(h, backtest.Rules{Paths: paths, Engine: rules.Engine}, opt)
		if err != nil {
			return report{}, err
		}
		return report{&b.Input, b.Lines(), b, func(w io.Writer) error { return page.Backtest(w, b) }}, nil
	})
}

func diffCommand() *cobra.Command {
	var f historyFlags
	c := &cobra.Command{
		Use:   "diff OLD NEW --events FILE",
		Short: "Show what a change of rules would have changed",
		Long: `diff runs two rule sets over the same files of events and reports where they differ: for
each segment and stage its sizes under both, who would be in one and not in the other,
entries and exits, and up to ten such customers with the values that decide; for each
trigger how often it would have fired under both. Nothing is written anywhere.

  segmill diff main/rules rules --events history --html report.html

A rule is unchanged if it means the same. One that is affected is unchanged, and
something that it reads is not: a segment, a default, or how records are read.

` + historyHelp + `

With -o json the report is a JSON document, with -o html a page that needs nothing
else. docs/before-you-apply.md describes them. The exit code is 0 whether or not there is
a difference. Lines that are no events are reported on standard error, and make it 1.`,
		Args: arguments(cobra.ExactArgs(2), "segmill diff main/rules rules --events events.jsonl"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return &exitError{exitUsage, err}
			}
			if err := f.readConfig(); err != nil {
				return badConfig(err)
			}
			return runDiff(cmd, &f, args[0], args[1])
		},
	}
	f.add(c.Flags())
	c.Flags().BoolVar(&f.noExamples, "no-examples", false, "leave out customers by name, for a report that others read")
	return c
}

func runDiff(cmd *cobra.Command, f *historyFlags, before, after string) error {
	var both []*app.Rules
	for _, path := range []string{before, after} {
		rules, err := app.LoadRulesWithin(cmd.Context(), []string{path})
		if err != nil {
			return interrupted(cmd, badConfig(err))
		}
		both = append(both, rules)
	}
	return f.pass(cmd, both, func(h *history.History, opt backtest.Options) (report, error) {
		d, err := backtest.Compare(h, backtest.Rules{Paths: []string{before}, Engine: both[0].Engine}, backtest.Rules{Paths: []string{after}, Engine: both[1].Engine}, opt)
		if err != nil {
			return report{}, err
		}
		return report{&d.New, d.Lines(), d, func(w io.Writer) error { return page.Diff(w, d) }}, nil
	})
}

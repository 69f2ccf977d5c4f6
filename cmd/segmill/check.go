package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
)

func checkCommand() *cobra.Command {
	var deny, online bool
	var config string
	c := &cobra.Command{
		Use:   "check RULES... | check --online -c segmill.yaml",
		Short: "Check rule files and directories, or a configuration against its cluster",
		Long: `check reads rule files (in a directory: every *.yaml except *_test.yaml) as one set
and reports every error in them, with its place and a remedy.

With --online it reads a configuration and its rules, and checks with the brokers and
the schema registry whether the engine could run: whether the topics exist and have
the same number of partitions, which settings are weaker than the guarantees assume,
and, in the newest 1,000 records of each input partition, which records are on the
wrong partition and which are bad input. It changes nothing.

The exit code is 78 if there are errors, and 1 if no broker answers.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if online {
				return cobra.NoArgs(cmd, args)
			}
			return cobra.MinimumNArgs(1)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if online {
				return checkOnline(cmd, config, deny)
			}
			rules, err := app.LoadRulesWithin(cmd.Context(), args)
			if err != nil {
				return interrupted(cmd, badConfig(err))
			}
			for _, w := range rules.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), w)
			}
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
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s; %s\n", app.Plural(len(rules.Files), "file"), strings.Join(parts, ", "), problems(len(rules.Warnings)))
			if deny && len(rules.Warnings) > 0 {
				return badConfig(errors.New("warnings are denied"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&online, "online", false, "check a configuration against its cluster")
	c.Flags().StringVarP(&config, "config", "c", "segmill.yaml", "configuration file, for --online")
	c.Flags().BoolVar(&deny, "deny-warnings", false, "exit with 78 if there are warnings")
	return c
}

func checkOnline(cmd *cobra.Command, config string, deny bool) error {
	conf, err := app.ReadConfig(config)
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

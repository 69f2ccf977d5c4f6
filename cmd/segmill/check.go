package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/engine/rule"
	"github.com/segmill/segmill/internal/app"
)

func checkCommand() *cobra.Command {
	var deny bool
	c := &cobra.Command{
		Use:   "check RULES...",
		Short: "Check rule files and directories",
		Long: `check reads rule files (in a directory: every *.yaml but *_test.yaml) as one set
and reports everything that is wrong in them, with its place and a remedy.
It exits with 78 if there are errors.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			rules, err := app.LoadRules(args)
			if err != nil {
				return badConfig(err)
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
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %s; %s\n", app.Plural(len(rules.Files), "file"), strings.Join(parts, ", "), warned(rules.Warnings))
			if deny && len(rules.Warnings) > 0 {
				return badConfig(errors.New("warnings are denied"))
			}
			return nil
		},
	}
	c.Flags().BoolVar(&deny, "deny-warnings", false, "exit with 78 if there are warnings")
	return c
}

func warned(w rule.Problems) string {
	if len(w) == 0 {
		return "no problems"
	}
	return app.Plural(len(w), "warning")
}

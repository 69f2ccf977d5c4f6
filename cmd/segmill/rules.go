package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/segmill/segmill/internal/app"
	"github.com/segmill/segmill/internal/apply"
)

// rulesFlags are those of the commands that look at the rules in force.
type rulesFlags struct{ config, output, files string }

func rulesCommand() *cobra.Command {
	var f rulesFlags
	c := &cobra.Command{
		Use:   "rules -c segmill.yaml",
		Short: "Show which rules are in force, and how far they are",
		Long: `rules shows the set of rules that is in force, which set each partition is under, and
of each rule whether its members are those of that set everywhere. It reads Kafka alone,
and asks no instance.

  segmill rules -c segmill.yaml
  segmill rules log -c segmill.yaml
  segmill rules show 12 -c segmill.yaml --files before

A partition is ready, or changing while its customers are brought under the set, or
waiting while it is under another one, or empty. segmill apply changes the rules.`,
		Args: arguments(cobra.NoArgs, "segmill rules -c segmill.yaml"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd, func(s *apply.Session) error {
				st, err := s.State(cmd.Context())
				if err != nil {
					return err
				}
				return f.print(cmd, st, st.Lines())
			})
		},
	}
	c.AddCommand(f.logCommand(), f.showCommand())
	c.PersistentFlags().StringVarP(&f.config, "config", "c", "segmill.yaml", "configuration file")
	c.Flags().StringVarP(&f.output, "output", "o", "table", "table or json")
	return c
}

func (f *rulesFlags) logCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "log -c segmill.yaml",
		Short: "List the sets of rules that were in force: when, by whom and why",
		Args:  arguments(cobra.NoArgs, "segmill rules log -c segmill.yaml"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd, func(s *apply.Session) error { return f.print(cmd, s.JSON(), s.Log()) })
		},
	}
	c.Flags().StringVarP(&f.output, "output", "o", "table", "table or json")
	return c
}

func (f *rulesFlags) showCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show SET -c segmill.yaml",
		Short: "Show the files of a set of rules",
		Args:  arguments(cobra.ExactArgs(1), "segmill rules show 12 -c segmill.yaml"),
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return &exitError{exitUsage, fmt.Errorf("%s is not the number of a set, such as 12", args[0])}
			}
			return f.with(cmd, func(s *apply.Session) error {
				e, err := s.Set(n)
				if err != nil {
					return err
				}
				if f.files == "" {
					return apply.Show(e, cmd.OutOrStdout())
				}
				names, err := apply.WriteFiles(e, f.files)
				for _, name := range names {
					fmt.Fprintln(cmd.OutOrStdout(), name)
				}
				return err
			})
		},
	}
	c.Flags().StringVar(&f.files, "files", "", "write the files to this directory")
	return c
}

// with calls do with a look at the rules of the application.
func (f *rulesFlags) with(cmd *cobra.Command, do func(*apply.Session) error) error {
	if f.output != "" && !slices.Contains([]string{"table", "json"}, f.output) {
		return &exitError{exitUsage, fmt.Errorf("-o %s: must be table or json", f.output)}
	}
	conf, err := app.ReadConfig(f.config)
	if err != nil {
		return badConfig(err)
	}
	s, err := apply.Open(cmd.Context(), conf, app.RunOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return interrupted(cmd, failed(err))
	}
	defer s.Close()
	if err := do(s); err != nil {
		return interrupted(cmd, failed(err))
	}
	return nil
}

// print writes what there is to say as JSON or as a text.
func (f *rulesFlags) print(cmd *cobra.Command, value any, lines []string) error {
	out := cmd.OutOrStdout()
	if f.output == "json" {
		return json.NewEncoder(out).Encode(value)
	}
	width := widthOf(out)
	for _, l := range lines {
		if _, err := io.WriteString(out, fit(l, width)+"\n"); err != nil {
			return err
		}
	}
	return nil
}
